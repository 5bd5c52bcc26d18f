//! The guests, what the host gives them, and what they must answer.

#[expect(
    clippy::cast_possible_truncation,
    reason = "what fits is known where it is made"
)]
#[path = "interpreter/guest.rs"]
mod interpreter;

#[path = "json/guest.rs"]
mod json;

#[expect(
    clippy::cast_possible_truncation,
    reason = "programs have fewer than 128 instructions"
)]
#[path = "regex/guest.rs"]
mod regex;

#[expect(clippy::cast_possible_truncation, reason = "at most 64 numbers")]
#[path = "shadow_stack/guest.rs"]
mod shadow_stack;

mod words;

/// What the host gives to guests, and to the same programs compiled for the host.
pub(crate) mod host {
    /// A number that follows from `x`.
    pub(crate) fn next(x: u32) -> u32 {
        let mut z = x.wrapping_mul(0x9e37_79b9).wrapping_add(0x85eb_ca6b);
        z = (z ^ z >> 15).wrapping_mul(0x2c1b_3c6d);
        z = (z ^ z >> 12).wrapping_mul(0x297a_2d39);
        z ^ z >> 15
    }

    /// Bytes that follow from `seed`.
    pub(crate) fn fill(bytes: &mut [u8], seed: u32) {
        for (byte, n) in bytes.iter_mut().zip(0u32..) {
            *byte = next(seed.wrapping_mul(1000).wrapping_add(n)).to_le_bytes()[1];
        }
    }
}

/// A module that a real compiler made.
pub(crate) struct Guest {
    pub(crate) name: &'static str,
    pub(crate) wasm: &'static [u8],
    pub(crate) answers: Answers,
}

/// Exports with their arguments, and how the answer is known.
#[derive(Clone, Copy)]
pub(crate) enum Answers {
    /// By calling the function itself.
    Native(&'static [Native]),
    /// By lines `export argument answer`; which of them take long.
    Recorded(&'static str, fn(&str, u32) -> bool),
}

pub(crate) struct Native {
    export: &'static str,
    func: extern "C" fn(u32) -> u64,
    awaits: bool,
    small: &'static [u32],
    large: &'static [u32],
}

/// A call and its answer.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) export: &'static str,
    pub(crate) argument: u32,
    pub(crate) answer: u64,
    /// Whether it must have awaited.
    pub(crate) awaits: bool,
    /// Whether it takes little time even where every loop suspends.
    pub(crate) small: bool,
}

impl Guest {
    pub(crate) fn calls(&self) -> Vec<Known> {
        match self.answers {
            Answers::Native(natives) => natives
                .iter()
                .flat_map(|native| {
                    let small = native.small.iter().map(|&argument| (argument, true));
                    let large = native.large.iter().map(|&argument| (argument, false));
                    small.chain(large).map(|(argument, small)| Known {
                        export: native.export,
                        argument,
                        answer: (native.func)(argument),
                        awaits: native.awaits,
                        small,
                    })
                })
                .collect(),
            Answers::Recorded(lines, is_large) => lines
                .lines()
                .filter(|line| !line.starts_with('#'))
                .map(|line| {
                    let words: Vec<&'static str> = line.split_whitespace().collect();
                    let [export, argument, answer] = words[..] else {
                        panic!("`{line}` is not an answer");
                    };
                    let argument = argument.parse().expect("a number");
                    Known {
                        export,
                        argument,
                        answer: u64::from_str_radix(answer, 16).expect("a hexadecimal number"),
                        awaits: matches!(export, "packets" | "sorted"),
                        small: !is_large(export, argument),
                    }
                })
                .collect(),
        }
    }
}

/// All of them.
pub(crate) const GUESTS: &[Guest] = &[
    Guest {
        name: "interpreter",
        wasm: include_bytes!("interpreter/guest.wasm"),
        answers: Answers::Native(&[
            Native {
                export: "fibonacci",
                func: interpreter::fibonacci,
                awaits: false,
                small: &[0, 1, 7],
                large: &[19],
            },
            Native {
                export: "primes",
                func: interpreter::primes,
                awaits: false,
                small: &[2, 60],
                large: &[1000],
            },
            Native {
                export: "mix",
                func: interpreter::mix,
                awaits: true,
                small: &[1, 40],
                large: &[2000],
            },
        ]),
    },
    Guest {
        name: "json",
        wasm: include_bytes!("json/guest.wasm"),
        answers: Answers::Native(&[
            Native {
                export: "round_trip",
                func: json::round_trip,
                awaits: true,
                small: &[1, 12],
                large: &[300],
            },
            Native {
                export: "errors",
                func: json::errors,
                awaits: true,
                small: &[5],
                large: &[40],
            },
        ]),
    },
    Guest {
        name: "regex",
        wasm: include_bytes!("regex/guest.wasm"),
        answers: Answers::Native(&[Native {
            export: "matches",
            func: regex::matches,
            awaits: true,
            small: &[1],
            large: &[20],
        }]),
    },
    Guest {
        name: "shadow stack",
        wasm: include_bytes!("shadow_stack/guest.wasm"),
        answers: Answers::Native(&[
            Native {
                export: "filled",
                func: shadow_stack::filled,
                awaits: true,
                small: &[3, 40],
                large: &[1000],
            },
            Native {
                export: "nested",
                func: shadow_stack::nested,
                awaits: true,
                small: &[1, 12],
                large: &[60],
            },
            Native {
                export: "sorted",
                func: shadow_stack::sorted,
                awaits: true,
                small: &[10, 64],
                large: &[],
            },
        ]),
    },
    Guest {
        name: "digest",
        wasm: include_bytes!("digest/guest.wasm"),
        answers: Answers::Recorded(include_str!("digest/answers.txt"), |_, argument| {
            argument > 64
        }),
    },
    Guest {
        name: "words",
        wasm: include_bytes!("words/guest.wasm"),
        answers: Answers::Native(&[
            Native {
                export: "areas",
                func: words::areas,
                awaits: true,
                small: &[5, 50],
                large: &[1000],
            },
            Native {
                export: "words",
                func: words::words,
                awaits: true,
                small: &[1, 20],
                large: &[300],
            },
            Native {
                export: "garbage",
                func: words::garbage,
                awaits: true,
                small: &[1, 20],
                large: &[2000],
            },
        ]),
    },
];

#[test]
fn digests_are_those_of_the_standard() {
    let digest = GUESTS.iter().find(|guest| guest.name == "digest");
    let calls = digest.expect("it is there").calls();
    for (letters, answer) in [(0, 0xe3b0_c442_98fc_1c14), (3, 0xba78_16bf_8f01_cfea)] {
        let known = calls
            .iter()
            .find(|known| known.export == "letters" && known.argument == letters);
        assert_eq!(known.expect("recorded").answer, answer);
    }
}
