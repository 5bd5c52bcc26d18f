//! Types of what modules import and export.

use crate::module::Module;
use midair_jit::wasm::{
    module::{Extern as WasmExtern, TableType},
    types::{FuncType, ValType},
};
use std::fmt;

/// The type of something that a module imports or exports.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExternType {
    /// A function's.
    Func(FuncType),
    /// A memory's.
    Memory(MemoryType),
    /// A global's.
    Global(GlobalType),
    /// A table's.
    Table(TableType),
}

impl ExternType {
    /// The type of the function, if it is one.
    pub fn func(&self) -> Option<&FuncType> {
        if let Self::Func(ty) = self {
            Some(ty)
        } else {
            None
        }
    }

    /// The type of the memory, if it is one.
    pub fn memory(&self) -> Option<&MemoryType> {
        if let Self::Memory(ty) = self {
            Some(ty)
        } else {
            None
        }
    }

    /// The type of the table, if it is one.
    pub fn table(&self) -> Option<&TableType> {
        if let Self::Table(ty) = self {
            Some(ty)
        } else {
            None
        }
    }

    /// The type of the global, if it is one.
    pub fn global(&self) -> Option<&GlobalType> {
        if let Self::Global(ty) = self {
            Some(ty)
        } else {
            None
        }
    }
}

impl fmt::Display for ExternType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Func(ty) => write!(f, "a function {ty}"),
            Self::Memory(ty) => write!(f, "{ty}"),
            Self::Global(ty) => write!(f, "{ty}"),
            Self::Table(ty) => {
                write!(f, "a table of at least {}", ty.min)?;
                if let Some(max) = ty.max {
                    write!(f, " and at most {max}")?;
                }
                write!(f, " elements of type {}", ty.element)
            }
        }
    }
}

/// How many pages a memory has and may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemoryType {
    minimum: u32,
    maximum: Option<u32>,
}

impl MemoryType {
    /// At least `minimum` pages, and no more than `maximum`, if there is such a limit.
    pub fn new(minimum: u32, maximum: Option<u32>) -> Self {
        Self { minimum, maximum }
    }

    /// Pages at least: what a memory begins with.
    pub fn minimum(&self) -> u32 {
        self.minimum
    }

    /// Pages at most, if its type says so.
    pub fn maximum(&self) -> Option<u32> {
        self.maximum
    }
}

impl fmt::Display for MemoryType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a memory of at least {}", self.minimum)?;
        if let Some(maximum) = self.maximum {
            write!(f, " and at most {maximum}")?;
        }
        write!(f, " pages")
    }
}

/// A global's value type and whether it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GlobalType {
    content: ValType,
    mutable: bool,
}

impl GlobalType {
    /// A global of that type.
    pub fn new(content: ValType, mutable: bool) -> Self {
        Self { content, mutable }
    }

    /// The type of its value.
    pub fn content(&self) -> ValType {
        self.content
    }

    /// Whether it can be set.
    pub fn is_mutable(&self) -> bool {
        self.mutable
    }
}

impl fmt::Display for GlobalType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mutable = if self.mutable { "mut " } else { "" };
        write!(f, "a global of type {mutable}{}", self.content)
    }
}

/// Something a module imports: see [`Module::imports`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportType<'module> {
    module: &'module str,
    name: &'module str,
    ty: ExternType,
}

impl<'module> ImportType<'module> {
    /// The name of the module it is asked of.
    pub fn module(&self) -> &'module str {
        self.module
    }

    /// Its name in that module.
    pub fn name(&self) -> &'module str {
        self.name
    }

    /// What has to be given.
    pub fn ty(&self) -> &ExternType {
        &self.ty
    }
}

/// Something a module exports: see [`Module::exports`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportType<'module> {
    name: &'module str,
    ty: ExternType,
}

impl<'module> ExportType<'module> {
    /// Its name.
    pub fn name(&self) -> &'module str {
        self.name
    }

    /// What is exported.
    pub fn ty(&self) -> &ExternType {
        &self.ty
    }
}

impl Module {
    /// The type of something by its index.
    pub(crate) fn extern_type(&self, item: WasmExtern) -> ExternType {
        let wasm = &self.inner.code.module;
        match item {
            WasmExtern::Func(func) => ExternType::Func(FuncType::clone(wasm.func_type(func))),
            WasmExtern::Memory => {
                let ty = wasm.memory.expect("validated");
                ExternType::Memory(MemoryType::new(ty.min, ty.max))
            }
            WasmExtern::Table(table) => ExternType::Table(wasm.tables[table.index()].ty),
            WasmExtern::Global(global) => {
                let ty = &wasm.globals[global.index()];
                ExternType::Global(GlobalType::new(ty.ty, ty.mutable))
            }
        }
    }

    /// What it imports, in order.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> midair::Result<()> {
    /// # let engine = midair::Engine::default();
    /// let module = midair::Module::new(&engine, r#"(module
    ///     (import "host" "next" (func (param i32) (result i64)))
    ///     (import "host" "memory" (memory 1 2)))"#)?;
    /// let imports: Vec<_> = module.imports().collect();
    /// assert_eq!((imports[0].module(), imports[0].name()), ("host", "next"));
    /// assert_eq!(imports[0].ty().to_string(), "a function (i32) -> (i64)");
    /// assert_eq!(imports[1].ty().memory().unwrap().maximum(), Some(2));
    /// # Ok(()) }
    /// ```
    pub fn imports(&self) -> impl ExactSizeIterator<Item = ImportType<'_>> {
        let imports = self.inner.code.module.imports.iter();
        imports.map(|import| ImportType {
            module: &import.module,
            name: &import.name,
            ty: self.extern_type(import.item),
        })
    }

    /// What it exports, in order.
    ///
    /// # Examples
    /// ```
    /// use midair::{ExternType, GlobalType, Module, ValType};
    ///
    /// # fn main() -> midair::Result<()> {
    /// # let engine = midair::Engine::default();
    /// let module = Module::new(&engine, r#"(module
    ///     (func (export "run") (result f64) (f64.const 1))
    ///     (global (export "count") (mut i32) (i32.const 0)))"#)?;
    /// let exports: Vec<_> = module.exports().collect();
    /// assert_eq!(exports[0].name(), "run");
    /// assert_eq!(*exports[0].ty().func().unwrap().results, [ValType::F64]);
    /// assert_eq!(*exports[1].ty(), ExternType::Global(GlobalType::new(ValType::I32, true)));
    /// # Ok(()) }
    /// ```
    pub fn exports(&self) -> impl ExactSizeIterator<Item = ExportType<'_>> {
        let exports = self.inner.code.module.exports.iter();
        exports.map(|(name, item)| ExportType {
            name,
            ty: self.extern_type(*item),
        })
    }

    /// The type of an export, if there is one of that name.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> midair::Result<()> {
    /// # let engine = midair::Engine::default();
    /// let module = midair::Module::new(&engine, r#"(module (func (export "run")))"#)?;
    /// assert!(module.get_export("run").is_some_and(|ty| ty.func().is_some()));
    /// assert!(module.get_export("walk").is_none());
    /// # Ok(()) }
    /// ```
    pub fn get_export(&self, name: &str) -> Option<ExternType> {
        let mut exports = self.inner.code.module.exports.iter();
        let (_, item) = exports.find(|(export, _)| export == name)?;
        Some(self.extern_type(*item))
    }
}
