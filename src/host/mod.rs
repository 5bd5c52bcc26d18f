//! Host functions: how a Rust closure becomes something a guest can call, and what it leaves behind when it must wait.
//!
//! ```text
//!   guest ─▶ host stub ─▶ shim (one per closure type, below) ─▶ the closure
//!                          │ words to parameters, results to words
//!                          │ panics caught, errors recorded
//!                          └ pending: a leaf in the chain, EXIT_SUSPENDED
//! ```
//!
//! A leaf is a continuation block whose payload is the future or awaiter itself:
//!
//! ```text
//!   Header { next, resume = the context to go on in, resume_address = the leaf's number, site = its LeafVtable, .. }
//!   payload: F
//! ```
//!
//! **Invariant (a leaf's payload never moves).** It is built in its block, polled there and dropped there.

mod shim;

mod into_func;

mod leaf;

mod future;

mod awaiter;

mod dynamic;

use crate::{
    error::Error,
    values::{WasmParams, WasmResults},
};
use midair_jit::wasm::types::FuncType;
use std::{any::Any, fmt, ptr::NonNull, sync::Arc};

pub(crate) use awaiter::awaiter_closure;
pub(crate) use dynamic::{dynamic_async_closure, dynamic_closure};
pub(crate) use future::async_closure;
pub(crate) use leaf::{LeafKind, LeafVtable, YIELD, context_of, new_leaf, vtable_of};
use shim::Shim;
pub(crate) use shim::{Call, cannot_suspend};

pub use awaiter::Awaiter;
pub use into_func::IntoFunc;

/// A function of the host. Guests call it through its stub.
#[repr(C)]
#[expect(unnameable_types, reason = "in the signature of a sealed trait")]
pub struct HostFunc {
    shim: Shim,
    closure: NonNull<()>,
    drop_closure: unsafe fn(NonNull<()>),
    pub(crate) stub: usize,
    pub(crate) ty: FuncType,
    pub(crate) module: String,
    pub(crate) name: String,
    /// The engine that owns the stub's code.
    _engine: crate::Engine,
}

// SAFETY: the closure is `Send + Sync`; the rest is plain data.
unsafe impl Send for HostFunc {}
// SAFETY: the same.
unsafe impl Sync for HostFunc {}

impl fmt::Debug for HostFunc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{} {}", self.module, self.name, self.ty)
    }
}

impl Drop for HostFunc {
    fn drop(&mut self) {
        // SAFETY: made together with the closure, dropped once.
        unsafe { (self.drop_closure)(self.closure) };
    }
}

/// A closure with the shim that fits it.
pub(crate) struct HostClosure {
    shim: Shim,
    closure: NonNull<()>,
    drop_closure: unsafe fn(NonNull<()>),
    ty: FuncType,
}

impl HostClosure {
    /// A closure of that type; `shim` must take it for an `F`.
    pub(crate) fn of_type<F: Send + Sync + 'static>(closure: F, shim: Shim, ty: FuncType) -> Self {
        Self {
            shim,
            closure: NonNull::from(Box::leak(Box::new(closure))).cast(),
            drop_closure: |closure| {
                // SAFETY: leaked above.
                drop(unsafe { Box::from_raw(closure.cast::<F>().as_ptr()) });
            },
            ty,
        }
    }

    fn new<F: Send + Sync + 'static, P: WasmParams, R: WasmResults>(
        closure: F,
        shim: Shim,
    ) -> Self {
        Self::of_type(closure, shim, FuncType::new(P::types(), R::types()))
    }

    pub(crate) fn finish(
        self,
        engine: &crate::Engine,
        module: &str,
        name: &str,
    ) -> crate::Result<Arc<HostFunc>> {
        let stubs = engine.stubs(&self.ty);
        let host = Arc::new(HostFunc {
            shim: self.shim,
            closure: self.closure,
            drop_closure: self.drop_closure,
            stub: stubs.as_ref().map_or(0, |stubs| stubs.host),
            ty: self.ty,
            module: module.to_owned(),
            name: name.to_owned(),
            _engine: engine.clone(),
        });
        stubs?;
        Ok(host)
    }
}

/// What a host function may return: results, or a `Result` of them with any error.
pub trait HostResult {
    /// The results.
    type Results: WasmResults;
    /// Results or error.
    ///
    /// # Errors
    /// What the function returned.
    fn into_result(self) -> Result<Self::Results, Error>;
}

impl<R: WasmResults> HostResult for R {
    type Results = R;
    #[inline]
    fn into_result(self) -> Result<R, Error> {
        Ok(self)
    }
}

impl<R: WasmResults, E: Into<Error>> HostResult for Result<R, E> {
    type Results = R;
    #[inline]
    fn into_result(self) -> Result<R, Error> {
        self.map_err(Into::into)
    }
}

/// A panic payload.
pub(crate) type Panic = Box<dyn Any + Send>;
