//! Modules as bytes: the validated Wasm and what was learned of it, never machine code.
//!
//! ```text
//!   offset  field
//!    0      magic       `\0midair\0`
//!    8      version     of this format
//!   12      hot count   functions that were optimized
//!   16      wasm length
//!   24      checksum    of all other bytes, FNV-1a of 64 bits
//!   32..    wasm        the binary
//!   ..      hot         function indices, 4 bytes each
//! ```
//!
//! All numbers are little-endian. Nothing in it is believed: the checksum finds damage, not malice, so the Wasm is validated
//! again, and a hint can cost time but cannot change what a function does. Why machine code is not kept:
//! `docs/decisions/0031-serialized-modules-hold-no-machine-code.md`.

use crate::{
    engine::Engine,
    error::{DeserializeError, Result},
    module::Module,
};
use midair_jit::wasm::{module::Module as WasmModule, types::FuncIndex};
use std::path::Path;

const MAGIC: [u8; 8] = *b"\0midair\0";

/// Of the format.
const VERSION: u32 = 1;

const CHECKSUM: std::ops::Range<usize> = 24..32;

const HEADER: usize = 32;

impl Module {
    /// The module as bytes, for [`deserialize`](Self::deserialize): the Wasm, and which functions were worth optimizing so
    /// far. A module that has run a while and is serialized then starts those in tier-1 code when it comes back.
    ///
    /// # Examples
    /// ```
    /// use midair::{Engine, Linker, Module, Store};
    ///
    /// # fn main() -> midair::Result<()> {
    /// let engine = Engine::default();
    /// let module = Module::new(&engine, r#"(module (func (export "f") (result i32) (i32.const 42)))"#)?;
    /// let bytes = module.serialize();
    ///
    /// let again = Module::deserialize(&engine, &bytes)?;
    /// let mut store = Store::new(&engine, ());
    /// let instance = Linker::new(&engine).instantiate(&mut store, &again)?;
    /// let f = instance.get_typed_func::<(), i32>(&store, "f")?;
    /// assert_eq!(f.call(&mut store, ())?, 42);
    /// # Ok(()) }
    /// ```
    pub fn serialize(&self) -> Vec<u8> {
        let code = &self.inner.code;
        let wasm = &code.module.bytes;
        let hot = code.optimized_functions();
        let mut bytes = Vec::with_capacity(HEADER + wasm.len() + 4 * hot.len());
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        let count = u32::try_from(hot.len()).expect("at most the functions of a module");
        bytes.extend(count.to_le_bytes());
        bytes.extend((wasm.len() as u64).to_le_bytes());
        bytes.extend([0; CHECKSUM.end - CHECKSUM.start]);
        bytes.extend(&wasm[..]);
        for func in hot {
            bytes.extend(func.0.to_le_bytes());
        }
        let sum = checksum(&bytes);
        bytes[CHECKSUM].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// A module from what [`serialize`](Self::serialize) gave. Safe for any bytes, wherever they come from.
    ///
    /// # Errors
    /// [`DeserializeError`]; what [`Module::new`] says, if the Wasm in it is not valid.
    ///
    /// # Examples
    /// ```
    /// use midair::{DeserializeError, Engine, Module};
    ///
    /// # fn main() -> midair::Result<()> {
    /// let engine = Engine::default();
    /// let mut bytes = Module::new(&engine, "(module)")?.serialize();
    /// *bytes.last_mut().unwrap() ^= 1;
    /// let error = Module::deserialize(&engine, &bytes).unwrap_err();
    /// assert_eq!(error.downcast_ref(), Some(&DeserializeError::Checksum));
    /// # Ok(()) }
    /// ```
    pub fn deserialize(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Self> {
        let (wasm, hot) = parts(bytes.as_ref())?;
        let module = Self::from_wasm(engine, WasmModule::new(wasm)?)?;
        for index in hot {
            if !module.inner.code.expect_hot(FuncIndex(index)) {
                return Err(DeserializeError::UnknownFunction { index }.into());
            }
        }
        Ok(module)
    }

    /// A module from a file that holds what [`serialize`](Self::serialize) gave.
    ///
    /// # Errors
    /// As [`deserialize`](Self::deserialize), or the file's.
    pub fn deserialize_file(engine: &Engine, path: impl AsRef<Path>) -> Result<Self> {
        Self::deserialize(engine, std::fs::read(path)?)
    }
}

/// The Wasm, and the indices of hot functions.
fn parts(bytes: &[u8]) -> Result<(&[u8], impl Iterator<Item = u32>), DeserializeError> {
    if !bytes.starts_with(&MAGIC) {
        return Err(DeserializeError::NotAModule);
    }
    let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    let version = bytes.get(8..12).ok_or(DeserializeError::Length)?;
    let version = word(version);
    if version != VERSION {
        return Err(DeserializeError::Version {
            found: version,
            supported: VERSION,
        });
    }
    let Some((header, contents)) = bytes.split_at_checked(HEADER) else {
        return Err(DeserializeError::Length);
    };
    let hot = word(&header[12..16]);
    let wasm = u64::from_le_bytes(header[16..24].try_into().expect("eight bytes"));
    let whole = u64::from(hot)
        .checked_mul(4)
        .and_then(|hot| hot.checked_add(wasm));
    if whole != Some(contents.len() as u64) {
        return Err(DeserializeError::Length);
    }
    if header[CHECKSUM] != checksum(bytes).to_le_bytes() {
        return Err(DeserializeError::Checksum);
    }
    let (wasm, hot) = contents.split_at(usize::try_from(wasm).expect("no longer than the bytes"));
    Ok((wasm, hot.chunks_exact(4).map(word)))
}

/// FNV-1a over all but the checksum itself.
fn checksum(bytes: &[u8]) -> u64 {
    let (before, after) = (&bytes[..CHECKSUM.start], &bytes[CHECKSUM.end..]);
    before
        .iter()
        .chain(after)
        .fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}
