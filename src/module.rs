//! A guest module, validated and ready to be instantiated.

use crate::{
    engine::Engine,
    error::{CompileError, Result},
    func_ref::{FuncRecord, type_ids},
    instance::InstanceInner,
};
use midair_jit::{
    frame::abi,
    runtime::{
        context::{GlobalSlot, ImportEntry, TableDescriptor, TableSlot, VmLayout},
        functions::CompiledModule,
    },
    wasm::{
        module::{GlobalInit, Module as WasmModule},
        types::WasmOffset,
    },
};
use std::{borrow::Cow, path::Path, sync::Arc};

/// A guest module: validated, its functions compiled when they are first called. Cheap to clone.
///
/// Its machine code lives as long as the module, its instances, or calls parked in them.
#[derive(Clone, Debug)]
pub struct Module {
    pub(crate) inner: Arc<ModuleInner>,
}

#[derive(Debug)]
pub(crate) struct ModuleInner {
    pub(crate) engine: Engine,
    pub(crate) code: Arc<CompiledModule>,
    /// Words of transfer area its functions need.
    pub(crate) transfer_words: u32,
}

impl Module {
    /// Reads and validates a module, in binary or text form.
    ///
    /// # Errors
    /// [`CompileError`](crate::CompileError): what is invalid or not supported, and at which byte offset; for text that
    /// cannot be parsed, the line and column.
    pub fn new(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Self> {
        Self::from_binary(engine, &binary_of(bytes.as_ref())?)
    }

    /// Reads and validates a module in binary form.
    ///
    /// # Errors
    /// [`CompileError`](crate::CompileError): what is invalid or not supported, and at which byte offset.
    pub fn from_binary(engine: &Engine, binary: &[u8]) -> Result<Self> {
        Self::from_wasm(engine, read(binary)?)
    }

    pub(crate) fn from_wasm(engine: &Engine, module: WasmModule) -> Result<Self> {
        let transfer_words = module
            .types
            .iter()
            .map(|ty| abi::transfer_words(ty))
            .max()
            .unwrap_or(0);
        let layout = layout(engine, &module);
        let code = CompiledModule::new(module, layout, Arc::clone(&engine.inner.shared))?;
        Ok(Self::from_code(engine, code, transfer_words))
    }

    /// A module whose compiled side is there already.
    pub(crate) fn from_code(
        engine: &Engine,
        code: Arc<CompiledModule>,
        transfer_words: u32,
    ) -> Self {
        Self {
            inner: Arc::new(ModuleInner {
                engine: engine.clone(),
                code,
                transfer_words,
            }),
        }
    }

    /// Reads a module from a file.
    ///
    /// # Errors
    /// As [`Module::new`], or the file's.
    pub fn from_file(engine: &Engine, path: impl AsRef<Path>) -> Result<Self> {
        Self::new(engine, std::fs::read(path)?)
    }

    /// Whether a module would be accepted by [`Module::new`].
    ///
    /// # Errors
    /// As [`Module::new`].
    ///
    /// # Examples
    /// ```
    /// use midair::{Engine, Module};
    ///
    /// let engine = Engine::default();
    /// assert!(Module::validate(&engine, "(module)").is_ok());
    /// let error = Module::validate(&engine, "(module (func (result i32)))").unwrap_err();
    /// assert!(error.to_string().contains("type mismatch"), "{error}");
    /// ```
    pub fn validate(_engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<()> {
        read(&binary_of(bytes.as_ref())?)?;
        Ok(())
    }

    /// The engine it was made for.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// The compiled side, for tools.
    #[doc(hidden)]
    pub fn code(&self) -> &Arc<CompiledModule> {
        &self.inner.code
    }
}

/// What every binary begins with.
const MAGIC: &[u8] = b"\0asm";

/// A module's binary form, from that or from text.
fn binary_of(bytes: &[u8]) -> Result<Cow<'_, [u8]>> {
    let control = |c: &u8| *c < b' ' && !c.is_ascii_whitespace();
    if !bytes.starts_with(MAGIC) && (bytes.is_empty() || bytes.iter().any(control)) {
        return Err(CompileError::Invalid {
            offset: WasmOffset(0),
            message: "neither a binary, which begins with `\\0asm`, nor text".to_owned(),
        }
        .into());
    }
    Ok(wat::parse_bytes(bytes)?)
}

/// Reads and validates a binary.
fn read(binary: &[u8]) -> Result<WasmModule, CompileError> {
    let offset = WasmOffset(0);
    if binary.len() >= MAGIC.len() && !binary.starts_with(MAGIC) {
        let message = "magic header not detected: a binary begins with `\\0asm`".to_owned();
        return Err(CompileError::Invalid { offset, message });
    }
    if binary.get(MAGIC.len()..8) == Some(&[0x0d, 0, 1, 0]) {
        let what = "a component, not a core module".to_owned();
        return Err(CompileError::Unsupported { offset, what });
    }
    WasmModule::new(binary)
}

/// Globals, tables, functions as values and imports follow the instance's fixed part.
fn layout(engine: &Engine, module: &WasmModule) -> VmLayout {
    let offset =
        |bytes: usize| i32::try_from(bytes).expect("validation bounds globals and imports");
    let mut end = size_of::<InstanceInner>().next_multiple_of(8);
    let globals = module
        .globals
        .iter()
        .map(|global| {
            let at = offset(end);
            end += 8;
            if global.init == GlobalInit::Imported {
                GlobalSlot::Imported(at)
            } else {
                GlobalSlot::Own(at)
            }
        })
        .collect();
    let tables = module
        .tables
        .iter()
        .map(|table| {
            let at = offset(end);
            if table.imported {
                end += 8;
                TableSlot::Imported(at)
            } else {
                end += size_of::<TableDescriptor>();
                TableSlot::Own(at)
            }
        })
        .collect();
    let func_refs = module
        .functions_as_values()
        .into_iter()
        .map(|named| {
            named.then(|| {
                let at = offset(end);
                end += size_of::<FuncRecord>();
                at
            })
        })
        .collect();
    let imports = offset(end);
    end += module.imported_functions as usize * size_of::<ImportEntry>();
    VmLayout {
        globals,
        tables,
        imports,
        func_refs,
        type_ids: type_ids(engine, &module.types),
        size: u32::try_from(end).expect("validation bounds globals and imports"),
    }
}
