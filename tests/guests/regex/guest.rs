//! A regular-expression matcher: a compiler to a small program, and a simulation of all its threads at once. Rust without
//! its standard library.

#![cfg_attr(target_arch = "wasm32", no_std)]

#[cfg(target_arch = "wasm32")]
mod host {
    #[link(wasm_import_module = "host")]
    unsafe extern "C" {
        #[link_name = "fill"]
        unsafe fn fill_bytes(to: *mut u8, len: u32, seed: u32);
    }

    pub(crate) fn fill(bytes: &mut [u8], seed: u32) {
        // SAFETY: the host writes to these bytes only.
        unsafe { fill_bytes(bytes.as_mut_ptr(), bytes.len() as u32, seed) };
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        core::arch::wasm32::unreachable()
    }
}
#[cfg(not(target_arch = "wasm32"))]
use super::host;

#[derive(Clone, Copy)]
enum Inst {
    /// A byte of a set of 128.
    Set(u128),
    /// Both ways, the first preferred.
    Split(u8, u8),
    Jump(u8),
    Match,
}

const MOST: usize = 96;

struct Regex {
    insts: [Inst; MOST],
    len: usize,
}

/// By recursive descent: alternatives of sequences of repeated atoms.
struct Parser<'a> {
    pattern: &'a [u8],
    at: usize,
    regex: Regex,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.pattern.get(self.at).copied()
    }

    fn emit(&mut self, inst: Inst) -> usize {
        let at = self.regex.len;
        self.regex.insts[at] = inst;
        self.regex.len += 1;
        at
    }

    /// Makes room for one instruction in front of what begins at `from`.
    fn insert(&mut self, from: usize, inst: Inst) {
        let moved = |target: u8| {
            if usize::from(target) >= from {
                target + 1
            } else {
                target
            }
        };
        let mut at = self.regex.len;
        while at > from {
            self.regex.insts[at] = match self.regex.insts[at - 1] {
                Inst::Split(a, b) => Inst::Split(moved(a), moved(b)),
                Inst::Jump(a) => Inst::Jump(moved(a)),
                other => other,
            };
            at -= 1;
        }
        self.regex.insts[from] = inst;
        self.regex.len += 1;
    }

    fn alternatives(&mut self) {
        let from = self.regex.len;
        self.sequence();
        while self.peek() == Some(b'|') {
            self.at += 1;
            self.insert(from, Inst::Match);
            let jump = self.emit(Inst::Jump(0));
            self.regex.insts[from] = Inst::Split(from as u8 + 1, self.regex.len as u8);
            self.sequence();
            self.regex.insts[jump] = Inst::Jump(self.regex.len as u8);
        }
    }

    fn sequence(&mut self) {
        while self.peek().is_some_and(|byte| byte != b'|' && byte != b')') {
            self.repeated();
        }
    }

    fn repeated(&mut self) {
        let from = self.regex.len;
        self.atom();
        match self.peek() {
            Some(b'*') => {
                self.insert(from, Inst::Match);
                self.emit(Inst::Jump(from as u8));
                self.regex.insts[from] = Inst::Split(from as u8 + 1, self.regex.len as u8);
            }
            Some(b'+') => {
                let next = self.regex.len as u8 + 1;
                self.emit(Inst::Split(from as u8, next));
            }
            Some(b'?') => {
                self.insert(from, Inst::Match);
                self.regex.insts[from] = Inst::Split(from as u8 + 1, self.regex.len as u8);
            }
            _ => return,
        }
        self.at += 1;
    }

    fn atom(&mut self) {
        let byte = self.pattern[self.at];
        self.at += 1;
        match byte {
            b'(' => {
                self.alternatives();
                self.at += 1;
            }
            b'[' => {
                let mut set = 0u128;
                let not = self.peek() == Some(b'^');
                self.at += usize::from(not);
                while let Some(first) = self.peek().filter(|&byte| byte != b']') {
                    self.at += 1;
                    let mut last = first;
                    if self.peek() == Some(b'-') {
                        last = self.pattern[self.at + 1];
                        self.at += 2;
                    }
                    for byte in first..=last {
                        set |= 1 << byte;
                    }
                }
                self.at += 1;
                self.emit(Inst::Set(if not { !set } else { set }));
            }
            b'.' => drop(self.emit(Inst::Set(u128::MAX))),
            _ => drop(self.emit(Inst::Set(1 << byte))),
        }
    }
}

fn compile(pattern: &[u8]) -> Regex {
    let mut parser = Parser {
        pattern,
        at: 0,
        regex: Regex {
            insts: [Inst::Match; MOST],
            len: 0,
        },
    };
    parser.alternatives();
    parser.emit(Inst::Match);
    parser.regex
}

/// Which instructions are to be tried at the next byte.
#[derive(Clone, Copy)]
struct Threads(u128);

impl Threads {
    fn add(&mut self, regex: &Regex, at: u8) {
        if self.0 >> at & 1 == 1 {
            return;
        }
        self.0 |= 1 << at;
        match regex.insts[usize::from(at)] {
            Inst::Jump(to) => self.add(regex, to),
            Inst::Split(a, b) => {
                self.add(regex, a);
                self.add(regex, b);
            }
            Inst::Set(_) | Inst::Match => (),
        }
    }
}

/// The length of the longest match at the front of `text`.
fn longest(regex: &Regex, text: &[u8]) -> Option<usize> {
    let mut threads = Threads(0);
    threads.add(regex, 0);
    let mut found = None;
    for at in 0..=text.len() {
        let mut next = Threads(0);
        let mut left = threads.0;
        while left != 0 {
            let thread = left.trailing_zeros();
            left &= left - 1;
            match regex.insts[thread as usize] {
                Inst::Match => found = Some(at),
                Inst::Set(set) => {
                    if text
                        .get(at)
                        .is_some_and(|byte| set >> (byte & 127) & 1 == 1)
                    {
                        next.add(regex, thread as u8 + 1);
                    }
                }
                Inst::Jump(_) | Inst::Split(..) => (),
            }
        }
        threads = next;
        if threads.0 == 0 {
            break;
        }
    }
    found
}

const PATTERNS: [&[u8]; 7] = [
    b"abc",
    b"a(b|c)*d",
    b"[a-f]+[0-9]?",
    b"(a|ab)(c|bcd)(d*)",
    b"[^aeiou]*(e|i)+",
    b".b.",
    b"(b|c(d|e)*f|[g-p]+)?[a-d]",
];

/// All matches of all patterns in text that comes from the host line by line.
#[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
pub(crate) extern "C" fn matches(lines: u32) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325u64;
    let mut line = [0u8; 80];
    for number in 0..lines {
        host::fill(&mut line, number);
        for byte in &mut line {
            *byte = b"abcdefghijklmnop0123456789 aeiou"[usize::from(*byte & 31)];
        }
        for pattern in PATTERNS {
            let regex = compile(pattern);
            let mut at = 0;
            while at < line.len() {
                let len = longest(&regex, &line[at..]);
                sum = (sum ^ len.map_or(0xff, |len| len as u64)).wrapping_mul(0x0100_0000_01b3);
                at += len.unwrap_or(0).max(1);
            }
        }
    }
    sum
}
