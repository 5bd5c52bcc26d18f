//! What a program of the corpus says about itself: the grammar of `;;!` lines, and the comparison of stated with given answers.
//!
//! A program is a `.wat` file. Lines that start with `;;!` are read, in order; all else is the program's own text.
//!
//! ```text
//! line     = PROSE                              starts with an upper-case letter; what the program is about
//!          | "invoke" NAME value* [answer]      call an export; without an answer: no results, no trap
//!          | "memory" ADDRESS "=>" HEX*         bytes of the exported memory, two digits each
//!          | "pages" "=>" N                     size of the exported memory
//!          | "global" NAME "=>" pattern         an exported global
//!          | "instantiate" "=>" trap            the start function (or a data segment) traps; nothing can follow
//!          | "log" I32*                         everything the run logged; without this line, nothing
//!          | "osr" "headers:" N                 how many loop headers the program has
//! answer   = "=>" pattern* | "=>" trap
//! trap     = "trap" TEXT                        a trap's text, or `host error N`
//! value    = "(" TYPE NUMBER ")"
//! pattern  = value | "(" FLOAT ("nan:canonical" | "nan:arithmetic") ")"
//! NUMBER   = integers: signed, unsigned, hexadecimal, `_` between digits
//!          | floats: decimal, `inf`, `-inf`, `nan` (the positive canonical one), `bits:0x…`
//! ```
//!
//! The steps `invoke`, `memory`, `pages` and `global` run in order on one instance, so state carries over.

use std::fmt;
use std::path::{Path, PathBuf};

/// A Wasm value; floats as bits, so that equality means identity.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
}

impl Value {
    /// Whether this is a NaN, of whatever sign and payload.
    pub(crate) fn is_nan(self) -> bool {
        match self {
            Self::I32(_) | Self::I64(_) => false,
            Self::F32(bits) => f32::from_bits(bits).is_nan(),
            Self::F64(bits) => f64::from_bits(bits).is_nan(),
        }
    }

    /// Equal, or both NaNs of one type: Wasm leaves sign and payload of a computed NaN open.
    pub(crate) fn agrees_with(self, other: Self) -> bool {
        let same_type = std::mem::discriminant(&self) == std::mem::discriminant(&other);
        self == other || (same_type && self.is_nan() && other.is_nan())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::I32(x) => write!(f, "(i32 {x})"),
            Self::I64(x) => write!(f, "(i64 {x})"),
            Self::F32(x) => write!(f, "(f32 {:?} bits:{x:#x})", f32::from_bits(x)),
            Self::F64(x) => write!(f, "(f64 {:?} bits:{x:#x})", f64::from_bits(x)),
        }
    }
}

/// What a result must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// This value, to the bit.
    Exactly(Value),
    /// The `f32` NaN without payload, either sign.
    CanonicalNan32,
    /// The `f64` NaN without payload, either sign.
    CanonicalNan64,
    /// Any quiet `f32` NaN.
    ArithmeticNan32,
    /// Any quiet `f64` NaN.
    ArithmeticNan64,
}

impl Pattern {
    fn matches(self, value: Value) -> bool {
        match (self, value) {
            (Self::Exactly(expected), given) => expected == given,
            (Self::CanonicalNan32, Value::F32(x)) => x & 0x7fff_ffff == 0x7fc0_0000,
            (Self::CanonicalNan64, Value::F64(x)) => {
                x & 0x7fff_ffff_ffff_ffff == 0x7ff8_0000_0000_0000
            }
            (Self::ArithmeticNan32, Value::F32(x)) => x & 0x7fc0_0000 == 0x7fc0_0000,
            (Self::ArithmeticNan64, Value::F64(x)) => {
                x & 0x7ff8_0000_0000_0000 == 0x7ff8_0000_0000_0000
            }
            _ => false,
        }
    }
}

/// One thing to do with the instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Call an exported function.
    Invoke { export: String, args: Vec<Value> },
    /// Read the exported memory from an address on: so many bytes, or to its end.
    Memory {
        address: usize,
        length: Option<usize>,
    },
    /// Ask the exported memory for its size.
    Pages,
    /// Read an exported global.
    Global { export: String },
}

/// What a step must answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Values(Vec<Pattern>),
    Trap(String),
    Bytes(Vec<u8>),
    Pages(u64),
    /// Whatever the oracle answers.
    Open,
}

/// What a step answered: an invoke with values or a trap's text, a global with one value.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Values(Vec<Value>),
    /// The trap's text, without backtrace; `host error N` for the hosts's own.
    Trap(String),
    Bytes(Vec<u8>),
    Pages(u64),
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Values(values) => write!(f, "{values:?}"),
            Self::Trap(text) => write!(f, "trap {text:?}"),
            Self::Bytes(bytes) if bytes.len() > 64 => write!(f, "{} bytes", bytes.len()),
            Self::Bytes(bytes) => write!(f, "{bytes:02x?}"),
            Self::Pages(pages) => write!(f, "{pages} pages"),
        }
    }
}

impl Answer {
    /// Equal, but for the freedom Wasm leaves in NaNs.
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Values(a), Self::Values(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.agrees_with(*b))
            }
            (Self::Trap(a), Self::Trap(b)) => same_trap(a, b),
            _ => self == other,
        }
    }

    fn meets(&self, expected: &Expected) -> bool {
        match (expected, self) {
            (Expected::Open, _) => true,
            (Expected::Values(patterns), Self::Values(values)) => {
                patterns.len() == values.len()
                    && patterns.iter().zip(values).all(|(p, v)| p.matches(*v))
            }
            (Expected::Trap(expected), Self::Trap(given)) => same_trap(expected, given),
            (Expected::Bytes(expected), Self::Bytes(given)) => expected == given,
            (Expected::Pages(expected), Self::Pages(given)) => expected == given,
            _ => false,
        }
    }
}

/// Whether two texts of traps say the same. The oracle has one trap for every access outside a table.
fn same_trap(a: &str, b: &str) -> bool {
    let outside = |text: &str| TABLE_TRAPS.contains(&text);
    a == b || (outside(a) && b == TABLE_TRAP) || (outside(b) && a == TABLE_TRAP)
}

const TABLE_TRAPS: [&str; 2] = ["undefined element", "out of bounds table access"];
/// What the oracle says of either.
pub(crate) const TABLE_TRAP: &str = "undefined element: out of bounds table access";

/// One step, with the line that asked for it.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) action: Action,
    pub(crate) expected: Expected,
}

/// A program with what is expected of it.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// `loops/sum`, or `seed 17`: for messages.
    pub(crate) name: String,
    /// The source as text, where there is one.
    pub(crate) text: String,
    /// The module in binary form.
    pub(crate) wasm: Vec<u8>,
    /// The export that `memory` and `pages` read.
    pub(crate) memory_export: String,
    /// How instantiation must end.
    pub(crate) instantiation: Expected,
    /// What to do after it, in order, on one instance.
    pub(crate) steps: Vec<Step>,
    /// Everything the run must log; `None`: whatever the oracle logs.
    pub(crate) log: Option<Vec<i32>>,
    /// How many loop headers the program says it has.
    pub(crate) osr_headers: Option<usize>,
}

/// What came of a program run in some way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// No values, or the trap of the start function; after a trap there are no steps.
    pub(crate) instantiation: Answer,
    /// One answer a step.
    pub(crate) steps: Vec<Answer>,
    /// The arguments of `host.log`, in order.
    pub(crate) log: Vec<i32>,
    /// How many host calls suspended; see [`super::HOST`] for which do.
    pub(crate) awaits: u64,
}

impl Outcome {
    /// Compares with another way's outcome; the difference in words if there is one.
    pub(crate) fn agrees_with(&self, other: &Self) -> Result<(), String> {
        if !self.instantiation.agrees_with(&other.instantiation) {
            return Err(format!(
                "instantiation: {:?} against {:?}",
                self.instantiation, other.instantiation
            ));
        }
        if self.steps.len() != other.steps.len() {
            return Err(format!(
                "{} steps against {}",
                self.steps.len(),
                other.steps.len()
            ));
        }
        for (i, (a, b)) in self.steps.iter().zip(&other.steps).enumerate() {
            if let (Answer::Bytes(a), Answer::Bytes(b)) = (a, b)
                && a != b
            {
                let at = a.iter().zip(b).position(|(a, b)| a != b);
                return Err(format!(
                    "step {i}: memory differs ({} and {} bytes, first at {at:?})",
                    a.len(),
                    b.len()
                ));
            }
            if !a.agrees_with(b) {
                return Err(format!("step {i}: {a:?} against {b:?}"));
            }
        }
        if self.log != other.log {
            return Err(format!("log: {:?} against {:?}", self.log, other.log));
        }
        if self.awaits != other.awaits {
            return Err(format!("awaits: {} against {}", self.awaits, other.awaits));
        }
        Ok(())
    }
}

impl Program {
    /// Reads a program and its directives from a file.
    pub(crate) fn load(path: &Path, name: String) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{name}: {e}"))?;
        Self::parse(name, text)
    }

    /// Reads a program and its directives from text.
    pub(crate) fn parse(name: String, text: String) -> Result<Self, String> {
        let wasm = wat::parse_str(&text).map_err(|e| format!("{name}: {e}"))?;
        let mut program = Self {
            wasm,
            memory_export: "memory".to_owned(),
            instantiation: Expected::Values(Vec::new()),
            steps: Vec::new(),
            log: Some(Vec::new()),
            osr_headers: None,
            name,
            text: String::new(),
        };
        for (i, line) in text.lines().enumerate() {
            if let Some(directive) = line.trim_start().strip_prefix(";;!") {
                program
                    .directive(i + 1, directive.trim())
                    .map_err(|e| format!("{}:{}: {e}", program.name, i + 1))?;
            }
        }
        program.text = text;
        Ok(program)
    }

    fn directive(&mut self, line: usize, text: &str) -> Result<(), String> {
        if text.starts_with(|c: char| c.is_uppercase()) {
            return Ok(());
        }
        let tokens = tokenize(text)?;
        let mut cursor = Cursor {
            tokens: &tokens,
            at: 0,
        };
        let step = |action, expected| Step {
            line,
            action,
            expected,
        };
        match cursor.word()? {
            "invoke" => {
                let export = cursor.string()?;
                let mut args = Vec::new();
                while cursor.peek() == Some(&Token::Open) {
                    match cursor.pattern()? {
                        Pattern::Exactly(value) => args.push(value),
                        _ => return Err("an argument must be one value".to_owned()),
                    }
                }
                let expected = cursor.answer()?;
                self.steps
                    .push(step(Action::Invoke { export, args }, expected));
            }
            "memory" => {
                let address = cursor.number()?;
                cursor.arrow()?;
                let mut bytes = Vec::new();
                while cursor.peek().is_some() {
                    let byte = cursor.word()?;
                    let byte = u8::from_str_radix(byte, 16)
                        .map_err(|_| format!("`{byte}` is not a byte in hexadecimal"))?;
                    bytes.push(byte);
                }
                let length = Some(bytes.len());
                self.steps.push(step(
                    Action::Memory { address, length },
                    Expected::Bytes(bytes),
                ));
            }
            "pages" => {
                cursor.arrow()?;
                let pages = cursor.number()?;
                let pages = u64::try_from(pages).map_err(|e| e.to_string())?;
                self.steps.push(step(Action::Pages, Expected::Pages(pages)));
            }
            "global" => {
                let export = cursor.string()?;
                cursor.arrow()?;
                let pattern = cursor.pattern()?;
                self.steps.push(step(
                    Action::Global { export },
                    Expected::Values(vec![pattern]),
                ));
            }
            "instantiate" => self.instantiation = cursor.answer()?,
            "log" => {
                let log = self.log.get_or_insert_default();
                while cursor.peek().is_some() {
                    log.push(integer32(cursor.word()?)?);
                }
            }
            "osr" => match cursor.word()? {
                "headers:" => self.osr_headers = Some(cursor.number()?),
                word => return Err(format!("`osr` knows no `{word}`")),
            },
            word => return Err(format!("`{word}` is no directive")),
        }
        match cursor.peek() {
            None => Ok(()),
            Some(token) => Err(format!("left over: {token:?}")),
        }
    }

    /// Compares what came of a run with what the program states; the differences in words, one a line.
    pub(crate) fn check(&self, outcome: &Outcome) -> Result<(), String> {
        let mut differences = Vec::new();
        if !outcome.instantiation.meets(&self.instantiation) {
            differences.push(format!(
                "instantiation: expected {:?}, got {:?}",
                self.instantiation, outcome.instantiation
            ));
        } else if matches!(outcome.instantiation, Answer::Values(_))
            && outcome.steps.len() != self.steps.len()
        {
            differences.push(format!(
                "{} answers to {} steps",
                outcome.steps.len(),
                self.steps.len()
            ));
        }
        for (step, answer) in self.steps.iter().zip(&outcome.steps) {
            if !answer.meets(&step.expected) {
                differences.push(format!(
                    "line {}: {:?}: expected {:?}, got {answer:?}",
                    step.line, step.action, step.expected
                ));
            }
        }
        if let Some(log) = &self.log
            && *log != outcome.log
        {
            differences.push(format!("log: expected {log:?}, got {:?}", outcome.log));
        }
        if differences.is_empty() {
            Ok(())
        } else {
            Err(differences.join("\n    "))
        }
    }
}

/// All programs of the corpus, by name.
pub(crate) fn corpus() -> Result<Vec<Program>, String> {
    fn files(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                files(&path, found)?;
            } else if path.extension().is_some_and(|e| e == "wat") {
                found.push(path);
            }
        }
        Ok(())
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut paths = Vec::new();
    files(&root, &mut paths).map_err(|e| format!("{}: {e}", root.display()))?;
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap_or(path).with_extension("");
            Program::load(path, name.display().to_string())
        })
        .collect()
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Arrow,
    String(String),
    Word(String),
}

fn tokenize(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '(' => {
                tokens.push(Token::Open);
                1
            }
            ')' => {
                tokens.push(Token::Close);
                1
            }
            '"' => {
                let end = rest[1..].find('"').ok_or("a string without its end")?;
                tokens.push(Token::String(rest[1..=end].to_owned()));
                end + 2
            }
            _ => {
                let end = rest
                    .find(|c: char| c.is_whitespace() || "()\"".contains(c))
                    .unwrap_or(rest.len());
                tokens.push(match &rest[..end] {
                    "=>" => Token::Arrow,
                    word => Token::Word(word.to_owned()),
                });
                end
            }
        };
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

struct Cursor<'t> {
    tokens: &'t [Token],
    at: usize,
}

impl<'t> Cursor<'t> {
    fn peek(&self) -> Option<&'t Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self, what: &str) -> Result<&'t Token, String> {
        let token = self.peek().ok_or_else(|| format!("{what} is missing"))?;
        self.at += 1;
        Ok(token)
    }

    fn word(&mut self) -> Result<&'t str, String> {
        match self.next("a word")? {
            Token::Word(word) => Ok(word),
            other => Err(format!("a word, not {other:?}")),
        }
    }

    fn string(&mut self) -> Result<String, String> {
        match self.next("a name in quotes")? {
            Token::String(text) => Ok(text.clone()),
            other => Err(format!("a name in quotes, not {other:?}")),
        }
    }

    fn number(&mut self) -> Result<usize, String> {
        let word = self.word()?;
        word.parse().map_err(|_| format!("`{word}` is no count"))
    }

    fn expect(&mut self, token: &Token) -> Result<(), String> {
        match self.next("more")? {
            given if given == token => Ok(()),
            given => Err(format!("{token:?}, not {given:?}")),
        }
    }

    fn arrow(&mut self) -> Result<(), String> {
        self.expect(&Token::Arrow)
    }

    fn answer(&mut self) -> Result<Expected, String> {
        let mut patterns = Vec::new();
        if self.peek().is_some() {
            self.arrow()?;
            if matches!(self.peek(), Some(Token::Word(word)) if word == "trap") {
                self.at += 1;
                return self.string().map(Expected::Trap);
            }
            while self.peek().is_some() {
                patterns.push(self.pattern()?);
            }
        }
        Ok(Expected::Values(patterns))
    }

    fn pattern(&mut self) -> Result<Pattern, String> {
        self.expect(&Token::Open)?;
        let ty = self.word()?;
        let number = self.word()?;
        self.expect(&Token::Close)?;
        Ok(match (ty, number) {
            ("f32", "nan:canonical") => Pattern::CanonicalNan32,
            ("f64", "nan:canonical") => Pattern::CanonicalNan64,
            ("f32", "nan:arithmetic") => Pattern::ArithmeticNan32,
            ("f64", "nan:arithmetic") => Pattern::ArithmeticNan64,
            ("i32", text) => Pattern::Exactly(Value::I32(integer32(text)?)),
            ("i64", text) => Pattern::Exactly(Value::I64(integer64(text)?)),
            ("f32", text) => Pattern::Exactly(Value::F32(float32(text)?)),
            ("f64", text) => Pattern::Exactly(Value::F64(float64(text)?)),
            _ => return Err(format!("`{ty}` is no type")),
        })
    }
}

fn integer(text: &str) -> Result<i128, String> {
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, plain.as_str()),
    };
    let magnitude = match digits.strip_prefix("0x") {
        Some(hex) => i128::from_str_radix(hex, 16),
        None => digits.parse(),
    }
    .map_err(|_| format!("`{text}` is no integer"))?;
    Ok(if negative { -magnitude } else { magnitude })
}

fn integer32(text: &str) -> Result<i32, String> {
    let x = integer(text)?;
    i32::try_from(x)
        .or_else(|_| u32::try_from(x).map(u32::cast_signed))
        .map_err(|_| format!("`{text}` does not fit 32 bits"))
}

fn integer64(text: &str) -> Result<i64, String> {
    let x = integer(text)?;
    i64::try_from(x)
        .or_else(|_| u64::try_from(x).map(u64::cast_signed))
        .map_err(|_| format!("`{text}` does not fit 64 bits"))
}

fn float32(text: &str) -> Result<u32, String> {
    if let Some(bits) = text.strip_prefix("bits:") {
        return integer32(bits).map(i32::cast_unsigned);
    }
    match text.replace('_', "").as_str() {
        "nan" => Ok(0x7fc0_0000),
        plain => plain
            .parse::<f32>()
            .map(f32::to_bits)
            .map_err(|_| format!("`{text}` is no float")),
    }
}

fn float64(text: &str) -> Result<u64, String> {
    if let Some(bits) = text.strip_prefix("bits:") {
        return integer64(bits).map(i64::cast_unsigned);
    }
    match text.replace('_', "").as_str() {
        "nan" => Ok(0x7ff8_0000_0000_0000),
        plain => plain
            .parse::<f64>()
            .map(f64::to_bits)
            .map_err(|_| format!("`{text}` is no float")),
    }
}
