//! Host functions whose type is known only at run time: their parameters and results are [`Val`]s.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the store is followed from its pointer: finding a part of it and using it are argued together"
)]

use crate::{
    async_caller::AsyncCaller,
    error::{CompileError, Error, Result},
    host::{
        Awaiter, Call, HostClosure, HostFunc, HostResult, IntoFunc, LeafVtable, async_closure,
        awaiter_closure, future::start_future,
    },
    instance::{Func, Provided},
    store::{AsContextMut, Caller, CorePtr, StoreCore},
    values::{Val, WasmParams, store_of, write_result},
};
use midair_continuation::header::payload;
use midair_jit::{
    frame::abi::{self, EXIT_RETURNED, HostExit},
    runtime::context::VmContext,
    wasm::types::{FuncIndex, FuncType},
};
use std::{
    future::Future,
    pin::Pin,
    ptr::NonNull,
    sync::Arc,
    task::{Context, Poll},
};

/// Most parameters, and most results, that a function type may have, as in modules.
const MOST: usize = 1000;

/// A type that modules can import too.
fn check_type(ty: &FuncType) -> Result<()> {
    if ty.params.len() > MOST || ty.results.len() > MOST {
        return Err(CompileError::Limit {
            what: format!("a host function of more than {MOST} parameters or results"),
        }
        .into());
    }
    Ok(())
}

/// How many words the stub of a host function passes.
///
/// # Safety
/// A live host function.
unsafe fn words_of(host: *const HostFunc) -> usize {
    // SAFETY: the caller's.
    let ty = unsafe { &(*host).ty };
    ty.params.len().max(ty.results.len())
}

/// The values that the words of a host stub are.
///
/// # Safety
/// 1. `words` has one word per parameter, as guests of that store passed them.
/// 2. The caller uses the store.
unsafe fn params(ty: &FuncType, words: *const u64, core: CorePtr) -> Vec<Val> {
    // SAFETY: (1).
    let words = unsafe { std::slice::from_raw_parts(words, ty.params.len()) }.iter();
    words
        .zip(&ty.params)
        // SAFETY: (1), (2).
        .map(|(&word, &ty)| unsafe { Val::from_word(ty, word, core) })
        .collect()
}

/// The words of results, if number and types are right.
///
/// # Safety
/// The caller uses the store.
unsafe fn result_words(ty: &FuncType, results: &[Val], core: CorePtr) -> Result<Vec<u64>> {
    if results.len() != ty.results.len() {
        return Err(Error::msg(format_args!(
            "a host function of type {ty} gave {} results",
            results.len()
        )));
    }
    for (n, (result, expected)) in results.iter().zip(&ty.results).enumerate() {
        if result.ty() != *expected {
            return Err(Error::msg(format_args!(
                "a host function of type {ty} gave {} as result {n}",
                result.ty()
            )));
        }
    }
    let words = results.iter();
    // SAFETY: the caller's.
    words
        .map(|result| unsafe { result.to_word(core) })
        .collect()
}

/// A synchronous closure over values as a host function.
pub(crate) fn dynamic_closure<T, F>(ty: FuncType, closure: F) -> Result<HostClosure>
where
    T: 'static,
    F: Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
{
    unsafe extern "C" fn shim<T, F>(
        context: *mut VmContext,
        host: *const HostFunc,
        words: *mut u64,
    ) -> HostExit
    where
        T: 'static,
        F: Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    {
        // SAFETY: made for this closure and store type below.
        let call = unsafe { Call::<T, F>::new(context, host, words, words_of(host)) };
        call.leave(|| {
            let ty = &call.host.ty;
            // SAFETY: a host stub's words, in a store that the call uses.
            let params = unsafe { params(ty, words, call.core_ptr()) };
            let mut results: Vec<Val> = ty.results.iter().copied().map(Val::default_of).collect();
            (call.closure)(call.caller(), &params, &mut results)?;
            // SAFETY: the same.
            let results = unsafe { result_words(ty, &results, call.core_ptr()) }?;
            // SAFETY: the same.
            unsafe { std::slice::from_raw_parts_mut(words, results.len()) }
                .copy_from_slice(&results);
            Ok(EXIT_RETURNED)
        })
    }
    check_type(&ty)?;
    Ok(HostClosure::of_type(closure, shim::<T, F>, ty))
}

/// What a host function waits for whose type is known at run time only.
struct DynamicFuture {
    future: Pin<Box<dyn Future<Output = Result<Vec<Val>>> + Send>>,
    ty: Arc<FuncType>,
}

impl Future for DynamicFuture {
    type Output = Result<Vec<Val>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.future.as_mut().poll(cx)
    }
}

/// The vtable of its leaf.
static DYNAMIC_FUTURE: LeafVtable = LeafVtable::future(
    // SAFETY: the leaf's payload is a `DynamicFuture`.
    |leaf| unsafe { payload(leaf).cast::<DynamicFuture>().drop_in_place() },
    |leaf, cx, context| {
        // SAFETY: the leaf's payload is a `DynamicFuture`, and this call's.
        let waiting = unsafe { payload(leaf).cast::<DynamicFuture>().as_mut() };
        waiting.future.as_mut().poll(cx).map(|results| {
            // SAFETY: the store of the context, which polls this.
            let words = unsafe { result_words(&waiting.ty, &results?, store_of(context)) }?;
            let places = abi::result_places(&waiting.ty);
            for (place, word) in places.iter().zip(words) {
                write_result(context, *place, word);
            }
            Ok(())
        })
    },
);

/// An asynchronous closure over values, with its type.
struct DynamicAsync<F> {
    closure: F,
    ty: Arc<FuncType>,
}

/// An asynchronous closure over values as a host function.
pub(crate) fn dynamic_async_closure<T, F, Fut>(ty: FuncType, closure: F) -> Result<HostClosure>
where
    T: 'static,
    F: Fn(AsyncCaller<T>, Vec<Val>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Vec<Val>>> + Send + 'static,
{
    unsafe extern "C" fn shim<T, F, Fut>(
        context: *mut VmContext,
        host: *const HostFunc,
        words: *mut u64,
    ) -> HostExit
    where
        T: 'static,
        F: Fn(AsyncCaller<T>, Vec<Val>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<Val>>> + Send + 'static,
    {
        // SAFETY: made for this closure and store type below.
        let call = unsafe { Call::<T, DynamicAsync<F>>::new(context, host, words, words_of(host)) };
        call.leave(|| {
            let DynamicAsync { closure, ty } = call.closure;
            // SAFETY: a host stub's words, in a store that the call uses.
            let params = unsafe { params(ty, words, call.core_ptr()) };
            let build = |caller| DynamicFuture {
                future: Box::pin(closure(caller, params)),
                ty: Arc::clone(ty),
            };
            let finish = |results: Result<Vec<Val>>| {
                // SAFETY: the call uses its store.
                let results = unsafe { result_words(ty, &results?, call.core_ptr()) }?;
                // SAFETY: a host stub's words.
                unsafe { std::slice::from_raw_parts_mut(words, results.len()) }
                    .copy_from_slice(&results);
                Ok(())
            };
            // SAFETY: the vtable of such leaves; a box and a pointer fit any.
            unsafe { start_future(&call, &DYNAMIC_FUTURE, build, finish) }
        })
    }
    check_type(&ty)?;
    let with_type = DynamicAsync {
        closure,
        ty: Arc::new(ty.clone()),
    };
    Ok(HostClosure::of_type(with_type, shim::<T, F, Fut>, ty))
}

impl Func {
    /// A host function in a store: as [`Linker::func_wrap`](crate::Linker::func_wrap), without a name.
    ///
    /// # Errors
    /// When the system refuses memory.
    ///
    /// # Examples
    /// Guests call it like a function of another guest:
    /// ```
    /// use midair::{Engine, Func, Instance, Module, Store};
    ///
    /// # fn main() -> midair::Result<()> {
    /// let engine = Engine::default();
    /// let module = Module::new(&engine, r#"(module
    ///     (import "" "add" (func $add (param i32 i32) (result i32)))
    ///     (func (export "run") (result i32) (call $add (i32.const 40) (i32.const 2))))"#)?;
    /// let mut store = Store::new(&engine, ());
    /// let add = Func::wrap(&mut store, |a: i32, b: i32| a.wrapping_add(b))?;
    /// let instance = Instance::new(&mut store, &module, &[add.into()])?;
    /// let run = instance.get_typed_func::<(), i32>(&store, "run")?;
    /// assert_eq!(run.call(&mut store, ())?, 42);
    /// # Ok(()) }
    /// ```
    pub fn wrap<C: AsContextMut, P, R>(
        store: C,
        func: impl IntoFunc<C::Data, P, R>,
    ) -> Result<Self> {
        Self::host(store, func.into_closure().0)
    }

    /// A host function in a store that may wait: as [`Linker::func_wrap_async`](crate::Linker::func_wrap_async).
    ///
    /// # Errors
    /// As [`wrap`](Self::wrap).
    ///
    /// # Examples
    /// ```
    /// # use midair::{Engine, Func, Store};
    /// # fn main() -> midair::Result<()> {
    /// let mut store = Store::new(&Engine::default(), ());
    /// let double = Func::wrap_async(&mut store, |_caller, x: i32| async move { 2 * x })?;
    /// let double = double.typed::<i32, i32>(&store)?;
    /// assert_eq!(midair::executor::block_on(double.call_async(&mut store, 21))?, 42);
    /// # Ok(()) }
    /// ```
    pub fn wrap_async<C, P, Fut, R>(
        store: C,
        func: impl Fn(AsyncCaller<C::Data>, P) -> Fut + Send + Sync + 'static,
    ) -> Result<Self>
    where
        C: AsContextMut,
        P: WasmParams,
        Fut: Future<Output = R> + Send + 'static,
        R: HostResult,
    {
        Self::host(store, async_closure::<C::Data, _, P, Fut, R>(func))
    }

    /// A host function in a store that waits by the raw protocol: as
    /// [`Linker::func_awaiter`](crate::Linker::func_awaiter).
    ///
    /// # Errors
    /// As [`wrap`](Self::wrap).
    pub fn awaiter<C, P, A>(
        store: C,
        func: impl Fn(Caller<'_, C::Data>, P) -> A + Send + Sync + 'static,
    ) -> Result<Self>
    where
        C: AsContextMut,
        P: WasmParams,
        A: Awaiter,
    {
        Self::host(store, awaiter_closure::<C::Data, _, P, A>(func))
    }

    /// A host function in a store whose type is known at run time only: as
    /// [`Linker::func_new`](crate::Linker::func_new).
    ///
    /// # Errors
    /// If the type has more parameters or results than a module's may have; when the system refuses memory.
    ///
    /// # Examples
    /// ```
    /// use midair::{Engine, Func, FuncType, Store, Val, ValType};
    ///
    /// # fn main() -> midair::Result<()> {
    /// let mut store = Store::new(&Engine::default(), 2);
    /// let ty = FuncType::new([ValType::I64], [ValType::I64]);
    /// let times = Func::new(&mut store, ty, |caller, params, results| {
    ///     let Val::I64(x) = params[0] else { unreachable!("its type says so") };
    ///     results[0] = Val::I64(x * *caller.data());
    ///     Ok(())
    /// })?;
    /// assert_eq!(times.typed::<i64, i64>(&store)?.call(&mut store, 21)?, 42);
    /// # Ok(()) }
    /// ```
    pub fn new<C: AsContextMut>(
        store: C,
        ty: FuncType,
        func: impl Fn(Caller<'_, C::Data>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::host(store, dynamic_closure::<C::Data, _>(ty, func)?)
    }

    /// A host function in a store that may wait, whose type is known at run time only: as
    /// [`Linker::func_new_async`](crate::Linker::func_new_async).
    ///
    /// # Errors
    /// As [`new`](Self::new).
    ///
    /// # Examples
    /// ```
    /// # use midair::{Engine, Func, FuncType, Store, Val, ValType};
    /// # fn main() -> midair::Result<()> {
    /// let mut store = Store::new(&Engine::default(), ());
    /// let ty = FuncType::new([ValType::I32; 2], [ValType::I32; 2]);
    /// let swap = Func::new_async(&mut store, ty, |_caller, params| async move {
    ///     Ok(params.into_iter().rev().collect())
    /// })?;
    /// let swap = swap.typed::<(i32, i32), (i32, i32)>(&store)?;
    /// assert_eq!(midair::executor::block_on(swap.call_async(&mut store, (1, 2)))?, (2, 1));
    /// # Ok(()) }
    /// ```
    pub fn new_async<C, Fut>(
        store: C,
        ty: FuncType,
        func: impl Fn(AsyncCaller<C::Data>, Vec<Val>) -> Fut + Send + Sync + 'static,
    ) -> Result<Self>
    where
        C: AsContextMut,
        Fut: Future<Output = Result<Vec<Val>>> + Send + 'static,
    {
        Self::host(store, dynamic_async_closure::<C::Data, _, Fut>(ty, func)?)
    }

    fn host<C: AsContextMut>(store: C, closure: HostClosure) -> Result<Self> {
        let core: NonNull<StoreCore> = store.store_ptr().0.cast();
        // SAFETY: borrowed exclusively.
        let engine = unsafe { (*core.as_ptr()).engine.clone() };
        let host = closure.finish(&engine, "Func", "anonymous")?;
        // SAFETY: borrowed exclusively.
        unsafe { StoreCore::host_func(core, host) }
    }
}

impl StoreCore {
    /// A host function as a function of this store: the only export of an instance that imports nothing else.
    ///
    /// # Safety
    /// The caller borrows the store exclusively, and the function is made for stores of its data.
    pub(crate) unsafe fn host_func(this: NonNull<Self>, host: Arc<HostFunc>) -> Result<Func> {
        // SAFETY: the caller's.
        let engine = unsafe { (*this.as_ptr()).engine.clone() };
        let module = engine.host_module(&host.ty)?;
        let (instance, _) = Self::instantiate(this, &module, vec![Provided::Host(host)])?;
        Ok(Func {
            store: instance.store,
            instance: instance.inner,
            index: FuncIndex(0),
        })
    }
}
