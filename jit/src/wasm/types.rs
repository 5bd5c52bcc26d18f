//! Value types, function types and the small integers that name things.

use std::fmt;

/// The type of a Wasm value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValType {
    /// 32-bit integer; in a 64-bit register or slot its upper half is zero.
    I32,
    /// 64-bit integer.
    I64,
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// A function or null: the address of a `FuncRef` record, or 0.
    FuncRef,
    /// A reference of the host's or null: its index in the store's table of references plus 1, or 0.
    ExternRef,
}

impl ValType {
    /// Whether values of this type live in vector registers.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    /// Whether this is one of the 64-bit types.
    pub fn is_64(self) -> bool {
        matches!(
            self,
            Self::I64 | Self::F64 | Self::FuncRef | Self::ExternRef
        )
    }

    /// Whether this is one of the reference types.
    pub fn is_ref(self) -> bool {
        matches!(self, Self::FuncRef | Self::ExternRef)
    }
}

impl fmt::Display for ValType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::FuncRef => "funcref",
            Self::ExternRef => "externref",
        })
    }
}

/// Parameters and results of a function or block.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct FuncType {
    /// Parameter types.
    pub params: Box<[ValType]>,
    /// Result types.
    pub results: Box<[ValType]>,
}

impl FuncType {
    /// A function type.
    pub fn new(
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> Self {
        Self {
            params: params.into_iter().collect(),
            results: results.into_iter().collect(),
        }
    }
}

impl fmt::Display for FuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, types: &[ValType]| {
            write!(f, "(")?;
            for (i, ty) in types.iter().enumerate() {
                write!(f, "{}{ty}", if i == 0 { "" } else { ", " })?;
            }
            write!(f, ")")
        };
        list(f, &self.params)?;
        write!(f, " -> ")?;
        list(f, &self.results)
    }
}

macro_rules! index_type {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// As a `usize`, to index with.
            pub fn index(self) -> usize {
                self.0 as usize
            }

            /// From a `usize`.
            ///
            /// # Panics
            /// If it does not fit 32 bits; counts that come from a module are bounded far below by validation.
            pub fn new(index: usize) -> Self {
                Self(u32::try_from(index).expect("index fits 32 bits"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}
pub(crate) use index_type;

index_type!(
    /// A function of a module, imported ones first.
    FuncIndex, "func"
);
index_type!(
    /// A type of a module.
    TypeIndex, "type"
);
index_type!(
    /// A global of a module, imported ones first.
    GlobalIndex, "global"
);
index_type!(
    /// A data segment of a module.
    DataIndex, "data"
);
index_type!(
    /// A table of a module, imported ones first.
    TableIndex, "table"
);
index_type!(
    /// An element segment of a module.
    ElementIndex, "elem"
);
index_type!(
    /// A local of a function, parameters first.
    LocalIndex, "local"
);

/// Byte offset of an operator from the start of the module's binary form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WasmOffset(pub u32);

impl fmt::Debug for WasmOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{:#x}", self.0)
    }
}

impl fmt::Display for WasmOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{:#x}", self.0)
    }
}

/// Position in a piece of machine code, in bytes from its start.
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CodeOffset(pub u32);

/// Position in a frame, in bytes from the frame register; homes and spill slots are negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameOffset(pub i32);
