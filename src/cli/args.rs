//! What the command `midair` is told: its subcommands, and the values of a call read by the types of the function called.
//!
//! Everything wrong with a command line is one line of text and exit code 2; see [`Refused`].

#![forbid(unsafe_code)]

use clap::Parser;
use clap::error::ErrorKind;
use midair_jit::wasm::types::ValType;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// The command line cannot be followed: a wrong file, name, value or number of values.
pub(crate) const EXIT_USAGE: u8 = 2;

/// The guest trapped.
pub(crate) const EXIT_TRAP: u8 = 134;

/// Runs WebAssembly modules, and shows the machine code they become.
#[derive(Debug, Parser)]
#[command(name = "midair", version, disable_help_subcommand = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, PartialEq, Eq, clap::Subcommand)]
pub(crate) enum Command {
    Listing(Listing),
    Run(Run),
}

/// Prints the machine code of a function, annotated.
#[derive(Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct Listing {
    /// A module, binary or text
    pub(crate) file: PathBuf,

    /// The function: an export, its name in the module, or its index
    #[arg(long = "func", value_name = "NAME")]
    pub(crate) function: String,

    /// Whose code
    #[arg(long, default_value = "0")]
    pub(crate) tier: Tier,

    /// With `--tier osr`: of the n-th loop only, counted from 0 in the order of the text
    #[arg(long = "loop", value_name = "N")]
    pub(crate) nth_loop: Option<usize>,
}

/// The code of which compiler, starting where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Tier {
    /// The baseline compiler's.
    #[value(name = "0")]
    Zero,
    /// The optimizing compiler's, from each loop header.
    #[value(name = "osr")]
    Osr,
    /// The optimizing compiler's, from the top.
    #[value(name = "1")]
    One,
}

/// Instantiates a module and calls an export of it.
#[derive(Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct Run {
    /// A module, binary or text
    pub(crate) file: PathBuf,

    /// The exported function to call
    #[arg(long, value_name = "NAME")]
    pub(crate) invoke: Option<String>,

    /// Its arguments: integers decimal or 0x…, floats also inf, nan and nan:0x…
    #[arg(
        value_name = "ARGS",
        requires = "invoke",
        allow_hyphen_values = true,
        trailing_var_arg = true
    )]
    pub(crate) args: Vec<String>,
}

/// Why there is nothing to do: what to print, and where, and the exit code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Help or the version was asked for: text for the standard output, exit code 0.
    Asked(String),
    /// One line for the error output, exit code 2.
    Wrong(String),
}

impl Refused {
    /// How the process ends.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Asked(_) => 0,
            Self::Wrong(_) => EXIT_USAGE,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked(text) => f.write_str(text.trim_end()),
            Self::Wrong(line) => write!(f, "midair: {line}"),
        }
    }
}

/// Reads a command line, the program's own name first.
pub(crate) fn parse<T: Into<OsString> + Clone>(
    line: impl IntoIterator<Item = T>,
) -> Result<Command, Refused> {
    match CommandLine::try_parse_from(line) {
        Ok(CommandLine { command }) => Ok(command),
        Err(error) => Err(match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Refused::Asked(error.to_string()),
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
                Refused::Wrong("a command is missing: `listing` or `run`".to_owned())
            }
            _ => Refused::Wrong(first_paragraph(&error.to_string())),
        }),
    }
}

/// Clap explains at length; the first paragraph says what is wrong.
fn first_paragraph(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let line: Vec<_> = paragraph.split_whitespace().collect();
    let line = line.join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

/// An argument of a call; floats as bits, so that every NaN can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    /// The null reference of a type.
    Null(ValType),
}

impl fmt::Display for Argument {
    /// As it can be read back: integers signed, floats in the shortest form, a NaN with sign and payload.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nan = |f: &mut fmt::Formatter<'_>, negative: bool, payload: u64, canonical: u64| {
            let sign = if negative { "-" } else { "" };
            if payload == canonical {
                write!(f, "{sign}nan")
            } else {
                write!(f, "{sign}nan:{payload:#x}")
            }
        };
        match *self {
            Self::I32(x) => write!(f, "{x}"),
            Self::I64(x) => write!(f, "{x}"),
            Self::F32(bits) => match f32::from_bits(bits) {
                x if x.is_nan() => {
                    let payload = u64::from(bits & F32_PAYLOAD);
                    nan(f, x.is_sign_negative(), payload, 1 << 22)
                }
                x => write!(f, "{x:?}"),
            },
            Self::F64(bits) => match f64::from_bits(bits) {
                x if x.is_nan() => nan(f, x.is_sign_negative(), bits & F64_PAYLOAD, 1 << 51),
                x => write!(f, "{x:?}"),
            },
            Self::Null(_) => write!(f, "null"),
        }
    }
}

const F32_PAYLOAD: u32 = (1 << 23) - 1;
const F64_PAYLOAD: u64 = (1 << 52) - 1;

/// Reads the arguments of a call by the types of its parameters.
pub(crate) fn parse_arguments(
    function: &str,
    types: &[ValType],
    texts: &[String],
) -> Result<Vec<Argument>, Refused> {
    if types.len() != texts.len() {
        let names: Vec<_> = types.iter().map(ValType::to_string).collect();
        let takes = match types.len() {
            0 => "no arguments".to_owned(),
            1 => format!("1 argument ({})", names.join(", ")),
            n => format!("{n} arguments ({})", names.join(", ")),
        };
        let given = texts.len();
        return Err(Refused::Wrong(format!(
            "`{function}` takes {takes}, not {given}"
        )));
    }
    let read = |(i, (ty, text)): (usize, (&ValType, &String))| {
        parse_argument(*ty, text).map_err(|why| {
            Refused::Wrong(format!(
                "argument {} of `{function}`: `{text}` {why}",
                i + 1
            ))
        })
    };
    types.iter().zip(texts).enumerate().map(read).collect()
}

/// The rest of a sentence that begins with the text if it cannot be read.
fn parse_argument(ty: ValType, text: &str) -> Result<Argument, String> {
    let unfit = || format!("does not fit {ty}");
    Ok(match ty {
        ValType::I32 => {
            let x = integer(text)?;
            let signed = i32::try_from(x);
            let unsigned = || u32::try_from(x).map(u32::cast_signed);
            Argument::I32(signed.or_else(|_| unsigned()).map_err(|_| unfit())?)
        }
        ValType::I64 => {
            let x = integer(text)?;
            let signed = i64::try_from(x);
            let unsigned = || u64::try_from(x).map(u64::cast_signed);
            Argument::I64(signed.or_else(|_| unsigned()).map_err(|_| unfit())?)
        }
        ValType::F32 => Argument::F32(match nan(text, 22)? {
            Some((negative, payload)) => {
                let payload = u32::try_from(payload).map_err(|_| unfit())?;
                u32::from(negative) << 31 | 0xff << 23 | payload
            }
            None => plain(text)
                .parse::<f32>()
                .map(f32::to_bits)
                .map_err(no_float)?,
        }),
        ValType::F64 => Argument::F64(match nan(text, 51)? {
            Some((negative, payload)) => u64::from(negative) << 63 | 0x7ff << 52 | payload,
            None => plain(text)
                .parse::<f64>()
                .map(f64::to_bits)
                .map_err(no_float)?,
        }),
        ValType::FuncRef | ValType::ExternRef if text == "null" => Argument::Null(ty),
        ValType::FuncRef | ValType::ExternRef => {
            return Err("is not `null`, the only reference that can be written".to_owned());
        }
    })
}

/// Without the underscores that may stand between digits.
fn plain(text: &str) -> String {
    text.replace('_', "")
}

fn no_float(_: std::num::ParseFloatError) -> String {
    "is not a number".to_owned()
}

fn integer(text: &str) -> Result<i128, String> {
    let plain = plain(text);
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let (digits, radix) = match digits.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (digits, 10),
    };
    // `from_str_radix` would take a second sign
    let magnitude = match digits.starts_with(['+', '-']) {
        true => None,
        false => i128::from_str_radix(digits, radix).ok(),
    };
    let magnitude = magnitude.ok_or("is not an integer")?;
    Ok(if negative { -magnitude } else { magnitude })
}

/// Sign and payload of `nan`, `-nan`, `nan:0x…`; `None` if it is another number. The quiet bit is number `quiet`.
fn nan(text: &str, quiet: u32) -> Result<Option<(bool, u64)>, String> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let Some(rest) = rest.strip_prefix("nan") else {
        return Ok(None);
    };
    let payload = match rest {
        "" => 1 << quiet,
        _ => rest
            .strip_prefix(":0x")
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .filter(|payload| (1..2 << quiet).contains(payload))
            .ok_or("is not a NaN")?,
    };
    Ok(Some((negative, payload)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Result<Command, Refused> {
        parse(line.split_whitespace())
    }

    fn run(line: &str) -> Run {
        match command(line) {
            Ok(Command::Run(run)) => run,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn wrong(line: &str) -> String {
        match command(line) {
            Err(Refused::Wrong(text)) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn read(ty: ValType, text: &str) -> Result<Argument, String> {
        parse_argument(ty, text)
    }

    #[test]
    fn a_run_names_its_file_its_export_and_its_arguments() {
        let given = run("midair run a.wat --invoke fib 10 -5 -inf 0x1F");
        assert_eq!(given.file, PathBuf::from("a.wat"));
        assert_eq!(given.invoke.as_deref(), Some("fib"));
        assert_eq!(given.args, ["10", "-5", "-inf", "0x1F"]);
    }

    #[test]
    fn a_first_argument_may_be_negative() {
        assert_eq!(run("midair run a.wat --invoke f -5").args, ["-5"]);
        assert_eq!(
            run("midair run a.wat --invoke f -nan:0x1 2").args,
            ["-nan:0x1", "2"]
        );
        assert_eq!(run("midair run --invoke f a.wat -0.0").args, ["-0.0"]);
    }

    #[test]
    fn a_run_needs_no_export() {
        let given = run("midair run a.wasm");
        assert_eq!(given.invoke, None);
        assert_eq!(given.args, [""; 0]);
    }

    #[test]
    fn a_listing_is_of_tier_zero_unless_told() {
        for (line, tier) in [
            ("midair listing a.wat --func f", Tier::Zero),
            ("midair listing a.wat --func f --tier 0", Tier::Zero),
            ("midair listing --tier osr --func f a.wat", Tier::Osr),
            ("midair listing a.wat --tier=1 --func=f", Tier::One),
        ] {
            let expected = Command::Listing(Listing {
                file: "a.wat".into(),
                function: "f".to_owned(),
                tier,
                nth_loop: None,
            });
            assert_eq!(command(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn whatever_is_wrong_is_one_line_and_exit_code_two() {
        for (line, says) in [
            ("midair", "a command is missing"),
            ("midair fly a.wat", "fly"),
            ("midair run", "<FILE>"),
            ("midair run a.wat --invoke", "--invoke"),
            ("midair run a.wat 5", "--invoke"),
            ("midair listing a.wat", "--func"),
            ("midair listing a.wat --func f --tier 2", "'2'"),
            ("midair listing a.wat --func f --color", "--color"),
        ] {
            let text = wrong(line);
            assert!(text.contains(says), "{line}: {text}");
            assert!(!text.contains('\n'), "{line}: {text}");
            let refused = Refused::Wrong(text);
            assert_eq!(refused.exit_code(), EXIT_USAGE);
            assert!(refused.to_string().starts_with("midair: "), "{refused}");
        }
    }

    #[test]
    fn help_is_not_wrong() {
        for line in ["midair --help", "midair run -h", "midair --version"] {
            let refused = command(line).expect_err("nothing to do");
            assert_eq!(refused.exit_code(), 0);
            assert!(refused.to_string().contains("midair"), "{refused}");
        }
    }

    #[test]
    fn a_wrong_number_of_arguments_names_the_right_one() {
        let texts = ["1".to_owned(), "2".to_owned()];
        for (types, says) in [
            (&[][..], "`f` takes no arguments, not 2"),
            (&[ValType::I32][..], "`f` takes 1 argument (i32), not 2"),
            (
                &[ValType::F64; 3][..],
                "`f` takes 3 arguments (f64, f64, f64), not 2",
            ),
        ] {
            assert_eq!(
                parse_arguments("f", types, &texts),
                Err(Refused::Wrong(says.to_owned()))
            );
        }
    }

    #[test]
    fn arguments_are_read_by_their_types() {
        let texts = ["-1", "-1", "-1", "-1"].map(str::to_owned);
        let types = [ValType::I32, ValType::I64, ValType::F32, ValType::F64];
        assert_eq!(
            parse_arguments("f", &types, &texts),
            Ok(vec![
                Argument::I32(-1),
                Argument::I64(-1),
                Argument::F32((-1f32).to_bits()),
                Argument::F64((-1f64).to_bits()),
            ])
        );
    }

    #[test]
    fn integers_are_signed_unsigned_or_hexadecimal() {
        for (text, x) in [
            ("0", 0),
            ("2147483647", i32::MAX),
            ("-2147483648", i32::MIN),
            ("4294967295", -1),
            ("0xffff_ffff", -1),
            ("-0x80000000", i32::MIN),
            ("+7", 7),
        ] {
            assert_eq!(read(ValType::I32, text), Ok(Argument::I32(x)), "{text}");
        }
        assert_eq!(
            read(ValType::I64, "18446744073709551615"),
            Ok(Argument::I64(-1))
        );
        for text in ["4294967296", "-2147483649", "0x1_0000_0000"] {
            assert_eq!(read(ValType::I32, text), Err("does not fit i32".to_owned()));
        }
        for text in ["", "-", "--1", "0x", "0x-1", "1.5", "ten", "1e3"] {
            assert_eq!(
                read(ValType::I64, text),
                Err("is not an integer".to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn floats_include_infinities_and_every_nan() {
        for (text, bits) in [
            ("1.5", 0x3fc0_0000),
            ("-0.0", 0x8000_0000),
            ("1e-3", 0x3a83_126f),
            ("inf", 0x7f80_0000),
            ("-inf", 0xff80_0000),
            ("nan", 0x7fc0_0000),
            ("-nan", 0xffc0_0000),
            ("nan:0x200001", 0x7fa0_0001),
        ] {
            assert_eq!(read(ValType::F32, text), Ok(Argument::F32(bits)), "{text}");
        }
        assert_eq!(
            read(ValType::F64, "-nan:0x4123456789abc"),
            Ok(Argument::F64(0xfff4_1234_5678_9abc))
        );
        for text in ["nan:0x0", "nan:0x800000", "nan:1", "nano"] {
            assert_eq!(read(ValType::F32, text), Err("is not a NaN".to_owned()));
        }
        assert_eq!(read(ValType::F64, "x"), Err("is not a number".to_owned()));
    }

    #[test]
    fn a_printed_value_reads_back_as_itself() {
        for (ty, value) in [
            (ValType::I32, Argument::I32(i32::MIN)),
            (ValType::I64, Argument::I64(-1)),
            (ValType::F32, Argument::F32(0x7fa0_0001)),
            (ValType::F32, Argument::F32(0xffc0_0000)),
            (ValType::F32, Argument::F32(0.1f32.to_bits())),
            (ValType::F64, Argument::F64((-0.0f64).to_bits())),
            (ValType::F64, Argument::F64(f64::NEG_INFINITY.to_bits())),
            (ValType::F64, Argument::F64(0x7ff8_0000_0000_0000)),
            (ValType::F64, Argument::F64(1)),
        ] {
            assert_eq!(read(ty, &value.to_string()), Ok(value), "{value}");
        }
    }

    #[test]
    fn a_trap_ends_as_an_abort_would() {
        assert_eq!(EXIT_TRAP, 128 + 6);
    }
}
