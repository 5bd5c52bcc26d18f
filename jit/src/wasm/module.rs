//! A module as the compilers see it: types, functions, memory, globals; bodies stay bytes.

use super::types::{FuncIndex, FuncType, GlobalIndex, TypeIndex, ValType};
use std::{ops::Range, sync::Arc};

/// Where a global's first value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalInit {
    /// It is imported.
    Imported,
    /// These bits.
    Const(u64),
    /// The value of an (imported, immutable) global.
    Global(GlobalIndex),
}

/// A global of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global {
    /// Type of its value.
    pub ty: ValType,
    /// Whether it can be written.
    pub mutable: bool,
    /// Where its first value comes from.
    pub init: GlobalInit,
}

/// The linear memory of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryType {
    /// Pages at the start.
    pub min: u32,
    /// Pages at the most.
    pub max: Option<u32>,
    /// Whether it is imported.
    pub imported: bool,
}

/// What is exported or imported, by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extern {
    /// A function.
    Func(FuncIndex),
    /// The memory.
    Memory,
    /// A global.
    Global(GlobalIndex),
}

/// An import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Its module name.
    pub module: String,
    /// Its field name.
    pub name: String,
    /// What it becomes here.
    pub item: Extern,
}

/// An active data segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSegment {
    /// Where it goes: constant bits or an imported global.
    pub offset: GlobalInit,
    /// Its bytes, as a range of the binary.
    pub bytes: Range<usize>,
}

/// A module as the compilers see it.
#[derive(Clone, Debug)]
pub struct Module {
    /// The binary.
    pub bytes: Arc<[u8]>,
    /// Function types.
    pub types: Vec<Arc<FuncType>>,
    /// Type of every function, imported ones first.
    pub functions: Vec<TypeIndex>,
    /// How many functions are imported.
    pub imported_functions: u32,
    /// Bodies of the functions defined here, as ranges of the binary (locals included).
    pub bodies: Vec<Range<usize>>,
    /// Every global, imported ones first.
    pub globals: Vec<Global>,
    /// The memory.
    pub memory: Option<MemoryType>,
    /// Imports in order.
    pub imports: Vec<Import>,
    /// Exports in order.
    pub exports: Vec<(String, Extern)>,
    /// The start function.
    pub start: Option<FuncIndex>,
    /// Active data segments in order.
    pub data: Vec<DataSegment>,
    /// Names of functions, from the name section or the exports.
    pub names: Vec<Option<String>>,
}

impl Module {
    /// Type of a function.
    pub fn func_type(&self, func: FuncIndex) -> &Arc<FuncType> {
        &self.types[self.functions[func.index()].index()]
    }

    /// Whether a function is imported.
    pub fn is_imported(&self, func: FuncIndex) -> bool {
        func.0 < self.imported_functions
    }

    /// The body of a function defined here, as wasmparser reads it; offsets are offsets in the binary.
    ///
    /// # Panics
    /// If the function is imported.
    pub fn body(&self, func: FuncIndex) -> wasmparser::FunctionBody<'_> {
        let range = self.bodies[func.index() - self.imported_functions as usize].clone();
        wasmparser::FunctionBody::new(wasmparser::BinaryReader::new(
            &self.bytes[range.clone()],
            range.start as u64,
        ))
    }

    /// A function's name for people: from the name section, its export, or `func N`.
    pub fn name(&self, func: FuncIndex) -> String {
        self.names
            .get(func.index())
            .cloned()
            .flatten()
            .unwrap_or_else(|| format!("func {}", func.0))
    }
}
