//! Values that cross between Rust and guests, and the traits that say how.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the store is followed from its pointer: finding a part of it and using it are argued together"
)]

use crate::{
    error::Result,
    instance::{Func, InstanceInner},
    references::ExternRef,
    store::CorePtr,
};
use midair_jit::{
    frame::abi::{Place, Places},
    runtime::context::VmContext,
    wasm::types::ValType,
};
use std::fmt;

/// A Wasm value.
#[derive(Clone, Debug)]
pub enum Val {
    /// A 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    I64(i64),
    /// A 32-bit float, by its bits.
    F32(u32),
    /// A 64-bit float, by its bits.
    F64(u64),
    /// A function or null.
    FuncRef(Option<Func>),
    /// A reference of the host's or null.
    ExternRef(Option<ExternRef>),
}

impl Val {
    /// Its type.
    pub fn ty(&self) -> ValType {
        match self {
            Self::I32(_) => ValType::I32,
            Self::I64(_) => ValType::I64,
            Self::F32(_) => ValType::F32,
            Self::F64(_) => ValType::F64,
            Self::FuncRef(_) => ValType::FuncRef,
            Self::ExternRef(_) => ValType::ExternRef,
        }
    }

    /// What locals of that type begin with: zero, or null.
    pub(crate) fn default_of(ty: ValType) -> Self {
        match ty {
            ValType::I32 => Self::I32(0),
            ValType::I64 => Self::I64(0),
            ValType::F32 => Self::F32(0),
            ValType::F64 => Self::F64(0),
            ValType::FuncRef => Self::FuncRef(None),
            ValType::ExternRef => Self::ExternRef(None),
        }
    }

    /// The word guests of a store know it by; an error if it is a reference of another store.
    ///
    /// # Safety
    /// `core` is a live store that the caller uses.
    pub(crate) unsafe fn to_word(&self, core: CorePtr) -> Result<u64> {
        match self {
            Self::I32(value) => Ok(u64::from(value.cast_unsigned())),
            Self::I64(value) => Ok(value.cast_unsigned()),
            Self::F32(bits) => Ok(u64::from(*bits)),
            Self::F64(bits) => Ok(*bits),
            // SAFETY: the caller's.
            Self::FuncRef(func) => unsafe { func.to_word(core) },
            // SAFETY: the caller's.
            Self::ExternRef(reference) => unsafe { reference.clone().to_word(core) },
        }
    }

    /// What a word of a guest's is.
    ///
    /// # Safety
    /// `core` is a live store that the caller uses, and the word one of its guests' of that type.
    pub(crate) unsafe fn from_word(ty: ValType, word: u64, core: CorePtr) -> Self {
        // SAFETY: the caller's.
        unsafe {
            match ty {
                ValType::I32 => Self::I32(Bits::from_word(word, core)),
                ValType::I64 => Self::I64(Bits::from_word(word, core)),
                ValType::F32 => Self::F32(Bits::from_word(word, core)),
                ValType::F64 => Self::F64(word),
                ValType::FuncRef => Self::FuncRef(Bits::from_word(word, core)),
                ValType::ExternRef => Self::ExternRef(Bits::from_word(word, core)),
            }
        }
    }

    /// The null reference of a type; `None` if it is no reference type.
    pub fn null(ty: ValType) -> Option<Self> {
        match ty {
            ValType::FuncRef => Some(Self::FuncRef(None)),
            ValType::ExternRef => Some(Self::ExternRef(None)),
            _ => None,
        }
    }
}

impl fmt::Display for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::I32(value) => write!(f, "{value}"),
            Self::I64(value) => write!(f, "{value}"),
            Self::F32(bits) => write!(f, "{}", f32::from_bits(*bits)),
            Self::F64(bits) => write!(f, "{}", f64::from_bits(*bits)),
            Self::FuncRef(None) | Self::ExternRef(None) => write!(f, "null"),
            Self::FuncRef(Some(_)) => write!(f, "funcref"),
            Self::ExternRef(Some(_)) => write!(f, "externref"),
        }
    }
}

macro_rules! from_native {
    ($($native:ty => $variant:ident($convert:expr);)*) => {
        $(impl From<$native> for Val {
            fn from(value: $native) -> Self {
                Self::$variant($convert(value))
            }
        })*
    };
}

from_native! {
    i32 => I32(|value| value);
    i64 => I64(|value| value);
    f32 => F32(f32::to_bits);
    f64 => F64(f64::to_bits);
    Func => FuncRef(Some);
    Option<Func> => FuncRef(|value| value);
    ExternRef => ExternRef(Some);
    Option<ExternRef> => ExternRef(|value| value);
}

/// A Rust type that is one Wasm value: `i32`, `u32`, `i64`, `u64`, `f32`, `f64`, `Option<Func>`, `Option<ExternRef>`.
///
/// Sealed: the set is WebAssembly's.
pub trait WasmTy: Bits + Send + 'static {
    /// The Wasm type.
    const TYPE: ValType;
}

mod private {
    use super::{CorePtr, Result};

    #[expect(unnameable_types, reason = "it seals `WasmTy`")]
    pub trait Bits: Sized {
        /// The word guests of a store know it by.
        ///
        /// # Safety
        /// `core` is a live store that the caller uses.
        unsafe fn to_word(self, core: CorePtr) -> Result<u64>;
        /// What a word is.
        ///
        /// # Safety
        /// `core` is a live store that the caller uses, and the word one of its guests' of that type.
        unsafe fn from_word(word: u64, core: CorePtr) -> Self;
    }
}
pub(crate) use private::Bits;

macro_rules! wasm_ty {
    ($($native:ty, $ty:ident, $to:expr, $from:expr;)*) => {
        $(
            impl Bits for $native {
                #[inline]
                unsafe fn to_word(self, _: CorePtr) -> Result<u64> {
                    Ok($to(self))
                }
                #[inline]
                #[expect(clippy::cast_possible_truncation, reason = "32-bit values are the low half of their word")]
                #[allow(clippy::allow_attributes, unfulfilled_lint_expectations, reason = "64-bit types do not narrow")]
                unsafe fn from_word(bits: u64, _: CorePtr) -> Self {
                    $from(bits)
                }
            }
            impl WasmTy for $native {
                const TYPE: ValType = ValType::$ty;
            }
        )*
    };
}

wasm_ty! {
    i32, I32, |value: i32| u64::from(value.cast_unsigned()), |bits: u64| (bits as u32).cast_signed();
    u32, I32, u64::from, |bits: u64| bits as u32;
    i64, I64, |value: i64| value.cast_unsigned(), |bits: u64| bits.cast_signed();
    u64, I64, |value: u64| value, |bits: u64| bits;
    f32, F32, |value: f32| u64::from(value.to_bits()), |bits: u64| f32::from_bits(bits as u32);
    f64, F64, |value: f64| value.to_bits(), f64::from_bits;
}

impl Bits for Option<Func> {
    unsafe fn to_word(self, core: CorePtr) -> Result<u64> {
        // SAFETY: the caller's.
        self.map_or(Ok(0), |func| unsafe { func.to_word(core.0) })
    }

    unsafe fn from_word(word: u64, core: CorePtr) -> Self {
        // SAFETY: the caller's.
        unsafe { Func::from_word(word, core.0) }
    }
}

impl WasmTy for Option<Func> {
    const TYPE: ValType = ValType::FuncRef;
}

impl Bits for Option<ExternRef> {
    unsafe fn to_word(self, core: CorePtr) -> Result<u64> {
        // SAFETY: the caller's.
        let store = unsafe { (*core.0.as_ptr()).id };
        self.map_or(Ok(0), |reference| reference.to_word(store))
    }

    unsafe fn from_word(word: u64, core: CorePtr) -> Self {
        // SAFETY: the caller's.
        unsafe { (*core.0.as_ptr()).reference(word) }
    }
}

impl WasmTy for Option<ExternRef> {
    const TYPE: ValType = ValType::ExternRef;
}

/// The store of a context.
#[inline]
pub(crate) fn store_of(context: &VmContext) -> CorePtr {
    // SAFETY: a context's `host` is its instance, which is of a live store.
    CorePtr(unsafe { (*context.host.cast::<InstanceInner>()).store })
}

/// Parameters of a guest function: `()`, one [`WasmTy`], or a tuple of up to sixteen.
pub trait WasmParams: Send + 'static {
    /// Their Wasm types.
    #[doc(hidden)]
    fn types() -> Vec<ValType>;
    /// How many they are.
    #[doc(hidden)]
    const COUNT: usize;
    /// Writes one word each.
    ///
    /// # Errors
    /// If one is a reference of another store.
    ///
    /// # Safety
    /// `core` is a live store that the caller uses.
    #[doc(hidden)]
    unsafe fn write(self, words: &mut [u64], core: CorePtr) -> Result<()>;
    /// Reads one word each.
    ///
    /// # Safety
    /// `core` is a live store that the caller uses, and the words are its guests' of these types.
    #[doc(hidden)]
    unsafe fn read(words: &[u64], core: CorePtr) -> Self;
}

/// Results of a guest function: `()`, one [`WasmTy`], or a tuple of up to sixteen.
pub trait WasmResults: WasmParams {
    /// Takes them from where the calling convention leaves them while no guest frame runs.
    #[doc(hidden)]
    fn take(context: &VmContext) -> Self;
    /// Puts them where a resume stub expects them.
    ///
    /// # Errors
    /// If one is a reference of another store.
    #[doc(hidden)]
    fn put(self, context: &mut VmContext) -> Result<()>;
}

/// Reads the word of a result from a context.
#[inline]
pub(crate) fn read_result(context: &VmContext, place: Place) -> u64 {
    match place {
        Place::Int(n) => context.results[usize::from(n)],
        Place::Float(n) => context.results[2 + usize::from(n)],
        // SAFETY: the transfer area has room for every type of the store's modules and host functions.
        Place::Transfer(n) => unsafe { context.transfer.add(n as usize).read() },
    }
}

/// Writes the word of a result to a context.
#[inline]
pub(crate) fn write_result(context: &mut VmContext, place: Place, word: u64) {
    match place {
        Place::Int(n) => context.results[usize::from(n)] = word,
        Place::Float(n) => context.results[2 + usize::from(n)] = word,
        // SAFETY: as in `read_result`.
        Place::Transfer(n) => unsafe { context.transfer.add(n as usize).write(word) },
    }
}

impl<A: WasmTy> WasmParams for A {
    const COUNT: usize = 1;

    fn types() -> Vec<ValType> {
        vec![A::TYPE]
    }

    #[inline]
    unsafe fn write(self, words: &mut [u64], core: CorePtr) -> Result<()> {
        // SAFETY: the caller's.
        words[0] = unsafe { self.to_word(core) }?;
        Ok(())
    }

    #[inline]
    unsafe fn read(words: &[u64], core: CorePtr) -> Self {
        // SAFETY: the caller's.
        unsafe { A::from_word(words[0], core) }
    }
}

impl<A: WasmTy> WasmResults for A {
    #[inline]
    fn take(context: &VmContext) -> Self {
        let word = read_result(context, Places::results().next(A::TYPE));
        // SAFETY: a result of that type, in a context of the store.
        unsafe { A::from_word(word, store_of(context)) }
    }

    #[inline]
    fn put(self, context: &mut VmContext) -> Result<()> {
        // SAFETY: the store of the context, which is used.
        let word = unsafe { self.to_word(store_of(context)) }?;
        write_result(context, Places::results().next(A::TYPE), word);
        Ok(())
    }
}

macro_rules! tuples {
    ($(($($name:ident),*);)*) => {
        $(tuples!(@one $($name)*);)*
    };
    (@one $($name:ident)*) => {
        impl<$($name: WasmTy),*> WasmParams for ($($name,)*) {
            const COUNT: usize = {
                const NAMES: &[&str] = &[$(stringify!($name)),*];
                NAMES.len()
            };

            fn types() -> Vec<ValType> {
                vec![$($name::TYPE),*]
            }

            #[inline]
            #[expect(non_snake_case, reason = "one name for a type and its value")]
            #[allow(clippy::allow_attributes, unused, unfulfilled_lint_expectations, reason = "the empty tuple uses nothing")]
            unsafe fn write(self, words: &mut [u64], core: CorePtr) -> Result<()> {
                let ($($name,)*) = self;
                let mut word = 0;
                $(
                    // SAFETY: the caller's.
                    words[word] = unsafe { $name.to_word(core) }?;
                    word += 1;
                )*
                Ok(())
            }

            #[inline]
            #[allow(clippy::allow_attributes, unused, clippy::unused_unit, reason = "the empty tuple uses nothing")]
            unsafe fn read(words: &[u64], core: CorePtr) -> Self {
                let mut words = words.iter();
                ($({
                    let word = *words.next().expect("one word per parameter");
                    // SAFETY: the caller's.
                    unsafe { $name::from_word(word, core) }
                },)*)
            }
        }

        impl<$($name: WasmTy),*> WasmResults for ($($name,)*) {
            #[inline]
            #[allow(clippy::allow_attributes, unused, clippy::unused_unit, reason = "the empty tuple uses nothing")]
            fn take(context: &VmContext) -> Self {
                let mut places = Places::results();
                ($({
                    let word = read_result(context, places.next($name::TYPE));
                    // SAFETY: a result of that type, in a context of the store.
                    unsafe { $name::from_word(word, store_of(context)) }
                },)*)
            }

            #[inline]
            #[expect(non_snake_case, reason = "one name for a type and its value")]
            #[allow(clippy::allow_attributes, unused, unfulfilled_lint_expectations, reason = "the empty tuple uses nothing")]
            fn put(self, context: &mut VmContext) -> Result<()> {
                let ($($name,)*) = self;
                let mut places = Places::results();
                $(
                    // SAFETY: the store of the context, which is used.
                    let word = unsafe { $name.to_word(store_of(context)) }?;
                    write_result(context, places.next($name::TYPE), word);
                )*
                Ok(())
            }
        }
    };
}

/// Hands a macro the names of up to sixteen types, a row for each number of them.
macro_rules! each_arity {
    ($rows:ident) => {
        $rows! {
            ();
            (A1);
            (A1, A2);
            (A1, A2, A3);
            (A1, A2, A3, A4);
            (A1, A2, A3, A4, A5);
            (A1, A2, A3, A4, A5, A6);
            (A1, A2, A3, A4, A5, A6, A7);
            (A1, A2, A3, A4, A5, A6, A7, A8);
            (A1, A2, A3, A4, A5, A6, A7, A8, A9);
            (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10);
            (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11);
            (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12);
            (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13);
            (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14);
            (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14, A15);
            (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14, A15, A16);
        }
    };
}
pub(crate) use each_arity;

each_arity!(tuples);
