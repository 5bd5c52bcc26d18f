//! Synchronous host functions.

#![expect(
    non_snake_case,
    reason = "macros use one name for a type and its value"
)]
#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the store is followed from its pointer: finding a part of it and using it are argued together"
)]

use super::{
    HostClosure, HostFunc, HostResult,
    shim::{Call, words_of},
};
use crate::{
    error::Error,
    store::Caller,
    values::{WasmParams, WasmResults, WasmTy},
};
use midair_jit::{
    frame::abi::{EXIT_RETURNED, HostExit},
    runtime::context::VmContext,
};
use std::fmt;

/// A closure that can be a synchronous host function: of up to sixteen [`WasmTy`] parameters, perhaps after a
/// [`Caller`].
pub trait IntoFunc<T, Params, Results>: Send + Sync + 'static {
    #[doc(hidden)]
    fn into_closure(self) -> IntoClosure;
}

/// A closure with its shim.
#[doc(hidden)]
#[expect(unnameable_types, reason = "in the signature of a sealed trait")]
pub struct IntoClosure(pub(crate) HostClosure);

impl fmt::Debug for IntoClosure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.ty)
    }
}

macro_rules! into_func {
    ($(($($param:ident),*);)*) => {
        $(into_func!(@one $($param)*);)*
    };
    (@one $($param:ident)*) => {
        impl<T: 'static, F, $($param: WasmTy,)* R: HostResult> IntoFunc<T, ($($param,)*), R> for F
        where
            F: Fn($($param),*) -> R + Send + Sync + 'static,
        {
            fn into_closure(self) -> IntoClosure {
                unsafe extern "C" fn shim<T: 'static, F, $($param: WasmTy,)* R: HostResult>(
                    context: *mut VmContext,
                    host: *const HostFunc,
                    words: *mut u64,
                ) -> HostExit
                where
                    F: Fn($($param),*) -> R + Send + Sync + 'static,
                {
                    // SAFETY: made for this closure and store type below.
                    let call = unsafe { Call::<T, F>::new(context, host, words, words_of::<($($param,)*), R::Results>()) };
                    // SAFETY: a host stub's words: one per parameter or result.
                    unsafe {
                        run_sync::<T, F, ($($param,)*), R::Results>(&call, words, |($($param,)*)| {
                            (call.closure)($($param),*).into_result()
                        })
                    }
                }
                IntoClosure(HostClosure::new::<F, ($($param,)*), R::Results>(self, shim::<T, F, $($param,)* R>))
            }
        }

        impl<T: 'static, F, $($param: WasmTy,)* R: HostResult> IntoFunc<T, (Caller<'_, T>, $($param,)*), R> for F
        where
            F: Fn(Caller<'_, T>, $($param),*) -> R + Send + Sync + 'static,
        {
            fn into_closure(self) -> IntoClosure {
                unsafe extern "C" fn shim<T: 'static, F, $($param: WasmTy,)* R: HostResult>(
                    context: *mut VmContext,
                    host: *const HostFunc,
                    words: *mut u64,
                ) -> HostExit
                where
                    F: Fn(Caller<'_, T>, $($param),*) -> R + Send + Sync + 'static,
                {
                    // SAFETY: made for this closure and store type below.
                    let call = unsafe { Call::<T, F>::new(context, host, words, words_of::<($($param,)*), R::Results>()) };
                    // SAFETY: a host stub's words: one per parameter or result.
                    unsafe {
                        run_sync::<T, F, ($($param,)*), R::Results>(&call, words, |($($param,)*)| {
                            (call.closure)(call.caller(), $($param),*).into_result()
                        })
                    }
                }
                IntoClosure(HostClosure::new::<F, ($($param,)*), R::Results>(self, shim::<T, F, $($param,)* R>))
            }
        }
    };
}

crate::values::each_arity!(into_func);

/// # Safety
/// `words` has one word per parameter and per result.
#[inline]
unsafe fn run_sync<T, F, P: WasmParams, R: WasmResults>(
    call: &Call<'_, T, F>,
    words: *mut u64,
    body: impl FnOnce(P) -> Result<R, Error>,
) -> HostExit {
    call.leave(|| {
        // SAFETY: the caller's.
        let params =
            unsafe { P::read(std::slice::from_raw_parts(words, P::COUNT), call.core_ptr()) };
        let results = body(params)?;
        // SAFETY: the caller's.
        unsafe {
            results.write(
                std::slice::from_raw_parts_mut(words, R::COUNT),
                call.core_ptr(),
            )
        }?;
        Ok(EXIT_RETURNED)
    })
}
