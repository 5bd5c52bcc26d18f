//! A JSON parser and printer. Rust with its standard library: strings, vectors, maps, formatting, boxed trait objects.

use std::{collections::BTreeMap, fmt, fmt::Write as _};

#[cfg(target_arch = "wasm32")]
mod host {
    #[link(wasm_import_module = "host")]
    unsafe extern "C" {
        pub(crate) safe fn next(x: u32) -> u32;
    }
}
#[cfg(not(target_arch = "wasm32"))]
use super::host;

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Self>),
    Map(BTreeMap<String, Self>),
}

#[derive(Debug)]
enum Error {
    End,
    Unexpected(char, usize),
    Number(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End => write!(f, "unexpected end"),
            Self::Unexpected(c, at) => write!(f, "unexpected {c:?} at {at}"),
            Self::Number(text) => write!(f, "not a number: {text}"),
        }
    }
}

impl std::error::Error for Error {}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn take(&mut self) -> Result<char> {
        let c = self.peek().ok_or(Error::End)?;
        self.at += c.len_utf8();
        Ok(c)
    }

    fn space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        for expected in word.chars() {
            let at = self.at;
            let c = self.take()?;
            if c != expected {
                return Err(Error::Unexpected(c, at).into());
            }
        }
        Ok(())
    }

    fn value(&mut self) -> Result<Value> {
        self.space();
        let value = match self.peek().ok_or(Error::End)? {
            'n' => self.expect("null").map(|()| Value::Null)?,
            't' => self.expect("true").map(|()| Value::Bool(true))?,
            'f' => self.expect("false").map(|()| Value::Bool(false))?,
            '"' => Value::Text(self.text()?),
            '[' => {
                let mut items = Vec::new();
                self.list(']', |parser| {
                    items.push(parser.value()?);
                    Ok(())
                })?;
                Value::List(items)
            }
            '{' => {
                let mut entries = BTreeMap::new();
                self.list('}', |parser| {
                    parser.space();
                    let key = parser.text()?;
                    parser.space();
                    parser.expect(":")?;
                    entries.insert(key, parser.value()?);
                    Ok(())
                })?;
                Value::Map(entries)
            }
            _ => Value::Number(self.number()?),
        };
        self.space();
        Ok(value)
    }

    fn list(&mut self, end: char, mut item: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.take()?;
        self.space();
        if self.peek() == Some(end) {
            self.take()?;
            return Ok(());
        }
        loop {
            item(self)?;
            let at = self.at;
            match self.take()? {
                ',' => (),
                c if c == end => return Ok(()),
                c => return Err(Error::Unexpected(c, at).into()),
            }
        }
    }

    fn text(&mut self) -> Result<String> {
        self.expect("\"")?;
        let mut text = String::new();
        loop {
            match self.take()? {
                '"' => return Ok(text),
                '\\' => {
                    let at = self.at;
                    text.push(match self.take()? {
                        'n' => '\n',
                        't' => '\t',
                        'u' => {
                            let digits = self.text.get(self.at..self.at + 4).ok_or(Error::End)?;
                            self.at += 4;
                            char::from_u32(u32::from_str_radix(digits, 16)?)
                                .ok_or(Error::Unexpected('u', at))?
                        }
                        c @ ('"' | '\\' | '/') => c,
                        c => return Err(Error::Unexpected(c, at).into()),
                    });
                }
                c => text.push(c),
            }
        }
    }

    fn number(&mut self) -> Result<f64> {
        let from = self.at;
        while self
            .peek()
            .is_some_and(|c| c.is_ascii_digit() || "+-.eE".contains(c))
        {
            self.at += 1;
        }
        let text = &self.text[from..self.at];
        if text.is_empty() {
            return Err(Error::Unexpected(self.take()?, from).into());
        }
        text.parse()
            .map_err(|_| Error::Number(text.to_owned()).into())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::List(items) => {
                f.write_char('[')?;
                for (n, item) in items.iter().enumerate() {
                    let comma = if n == 0 { "" } else { "," };
                    write!(f, "{comma}{item}")?;
                }
                f.write_char(']')
            }
            Self::Map(entries) => {
                f.write_char('{')?;
                for (n, (key, value)) in entries.iter().enumerate() {
                    let comma = if n == 0 { "" } else { "," };
                    write!(f, "{comma}{key:?}:{value}")?;
                }
                f.write_char('}')
            }
        }
    }
}

fn parse(text: &str) -> Result<Value> {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value()?;
    match parser.peek() {
        None => Ok(value),
        Some(c) => Err(Error::Unexpected(c, parser.at).into()),
    }
}

fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A document of about `n` values, made of numbers that the host is asked for one by one.
fn document(n: u32) -> String {
    let mut text = String::from("{");
    for item in 0..n {
        let random = host::next(item);
        let comma = if item == 0 { "" } else { " ,\n" };
        let _ = write!(text, "{comma}\"key {}\": ", random % 97);
        let _ = match random >> 8 & 7 {
            0 => write!(text, "null"),
            1 => write!(text, "[true, false, [], {{}}]"),
            2 => write!(text, "{}", f64::from(random) / 1024.0),
            3 => write!(text, "-{}e-{}", random % 1000, random % 30),
            4 => write!(text, "\"tab\\t quote \\\" \\u00e4 {}\"", random),
            5 => write!(
                text,
                "{{\"a\": [1, 2, {{\"b\": {}}}], \"c\": \"\"}}",
                random % 11
            ),
            6 => write!(text, "[{}]", vec!["0.5"; (random % 5) as usize].join(" , ")),
            _ => write!(text, "{random}"),
        };
    }
    text.push('}');
    text
}

/// Makes a document, parses it, prints it, parses that, and says what it is.
#[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
pub(crate) extern "C" fn round_trip(n: u32) -> u64 {
    let value = parse(&document(n)).expect("a document");
    let printed = value.to_string();
    let again = parse(&printed).expect("what was printed");
    assert_eq!(again, value, "printing loses nothing");
    hash(&printed)
}

/// What is wrong with documents that were cut off.
#[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
pub(crate) extern "C" fn errors(n: u32) -> u64 {
    let mut text = document(n);
    let mut sum = 0u64;
    while text.pop().is_some() && text.len() % 7 != 3 {
        let message = parse(&text).expect_err("cut off").to_string();
        sum = sum.rotate_left(9) ^ hash(&message);
    }
    sum
}
