//! Values that cross between Rust and guests, and the traits that say how.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the store is followed from its pointer: finding a part of it and using it are argued together"
)]

use midair_jit::{
    frame::abi::{Place, Places},
    runtime::context::VmContext,
    wasm::types::ValType,
};
use std::fmt;

/// A Wasm value.
#[derive(Clone, Copy, Debug)]
pub enum Val {
    /// A 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    I64(i64),
    /// A 32-bit float, by its bits.
    F32(u32),
    /// A 64-bit float, by its bits.
    F64(u64),
}

impl Val {
    /// Its type.
    pub fn ty(&self) -> ValType {
        match self {
            Self::I32(_) => ValType::I32,
            Self::I64(_) => ValType::I64,
            Self::F32(_) => ValType::F32,
            Self::F64(_) => ValType::F64,
        }
    }

    /// What locals of that type begin with.
    pub(crate) fn zero(ty: ValType) -> Self {
        Self::from_bits(ty, 0)
    }

    pub(crate) fn to_bits(self) -> u64 {
        match self {
            Self::I32(value) => u64::from(value.cast_unsigned()),
            Self::I64(value) => value.cast_unsigned(),
            Self::F32(bits) => u64::from(bits),
            Self::F64(bits) => bits,
        }
    }

    pub(crate) fn from_bits(ty: ValType, bits: u64) -> Self {
        match ty {
            ValType::I32 => Self::I32(<i32 as Bits>::from_bits(bits)),
            ValType::I64 => Self::I64(<i64 as Bits>::from_bits(bits)),
            ValType::F32 => Self::F32(<u32 as Bits>::from_bits(bits)),
            ValType::F64 => Self::F64(bits),
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
}

/// A Rust type that is one Wasm value: `i32`, `u32`, `i64`, `u64`, `f32`, `f64`.
///
/// Sealed: the set is WebAssembly's.
pub trait WasmTy: Bits + Copy + Send + 'static {
    /// The Wasm type.
    const TYPE: ValType;
}

mod private {
    #[expect(unnameable_types, reason = "it seals `WasmTy`")]
    pub trait Bits {
        fn to_word(self) -> u64;
        fn from_bits(bits: u64) -> Self;
    }
}
pub(crate) use private::Bits;

macro_rules! wasm_ty {
    ($($native:ty, $ty:ident, $to:expr, $from:expr;)*) => {
        $(
            impl Bits for $native {
                #[inline]
                fn to_word(self) -> u64 {
                    $to(self)
                }
                #[inline]
                #[expect(clippy::cast_possible_truncation, reason = "32-bit values are the low half of their word")]
                #[allow(clippy::allow_attributes, unfulfilled_lint_expectations, reason = "64-bit types do not narrow")]
                fn from_bits(bits: u64) -> Self {
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

/// Parameters of a guest function: `()`, one [`WasmTy`], or a tuple of up to sixteen.
pub trait WasmParams: Send + 'static {
    /// Their Wasm types.
    #[doc(hidden)]
    fn types() -> Vec<ValType>;
    /// How many they are.
    #[doc(hidden)]
    const COUNT: usize;
    /// Writes one word each.
    #[doc(hidden)]
    fn write(self, words: &mut [u64]);
    /// Reads one word each.
    #[doc(hidden)]
    fn read(words: &[u64]) -> Self;
}

/// Results of a guest function: `()`, one [`WasmTy`], or a tuple of up to sixteen.
pub trait WasmResults: WasmParams {
    /// Takes them from where the calling convention leaves them while no guest frame runs.
    #[doc(hidden)]
    fn take(context: &VmContext) -> Self;
    /// Puts them where a resume stub expects them.
    #[doc(hidden)]
    fn put(self, context: &mut VmContext);
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
    fn write(self, words: &mut [u64]) {
        words[0] = self.to_word();
    }

    #[inline]
    fn read(words: &[u64]) -> Self {
        A::from_bits(words[0])
    }
}

impl<A: WasmTy> WasmResults for A {
    #[inline]
    fn take(context: &VmContext) -> Self {
        A::from_bits(read_result(context, Places::results().next(A::TYPE)))
    }

    #[inline]
    fn put(self, context: &mut VmContext) {
        write_result(context, Places::results().next(A::TYPE), self.to_word());
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
            fn write(self, words: &mut [u64]) {
                let ($($name,)*) = self;
                let mut word = 0;
                $(words[word] = $name.to_word(); word += 1;)*
            }

            #[inline]
            #[allow(clippy::allow_attributes, unused, clippy::unused_unit, reason = "the empty tuple uses nothing")]
            fn read(words: &[u64]) -> Self {
                let mut words = words.iter();
                ($({
                    let bits = *words.next().expect("one word per parameter");
                    $name::from_bits(bits)
                },)*)
            }
        }

        impl<$($name: WasmTy),*> WasmResults for ($($name,)*) {
            #[inline]
            #[allow(clippy::allow_attributes, unused, clippy::unused_unit, reason = "the empty tuple uses nothing")]
            fn take(context: &VmContext) -> Self {
                let mut places = Places::results();
                ($($name::from_bits(read_result(context, places.next($name::TYPE))),)*)
            }

            #[inline]
            #[expect(non_snake_case, reason = "one name for a type and its value")]
            #[allow(clippy::allow_attributes, unused, unfulfilled_lint_expectations, reason = "the empty tuple uses nothing")]
            fn put(self, context: &mut VmContext) {
                let ($($name,)*) = self;
                let mut places = Places::results();
                $(write_result(context, places.next($name::TYPE), $name.to_word());)*
            }
        }
    };
}

tuples! {
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
