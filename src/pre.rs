//! A module whose imports have been looked up already.

use crate::{
    error::Result,
    instance::{Func, Instance},
    linker::{Item, start, start_async},
    module::Module,
    store::{AsContextMut, Store, StoreCore},
};
use std::{fmt, marker::PhantomData, ptr::NonNull, sync::Arc};

/// A module whose imports have been looked up in a [`Linker`](crate::Linker) and checked: makes instances without looking
/// again. Cheap to clone, and not bound to a store unless something it imports is.
///
/// # Examples
/// ```
/// use midair::{Engine, Linker, Module, Store};
///
/// # fn main() -> midair::Result<()> {
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"(module
///     (import "host" "next" (func $next (result i32)))
///     (func (export "run") (result i32) (call $next)))"#)?;
/// let mut linker = Linker::<i32>::new(&engine);
/// linker.func_wrap("host", "next", |mut caller: midair::Caller<'_, i32>| {
///     *caller.data_mut() += 1;
///     *caller.data()
/// })?;
/// let pre = linker.instantiate_pre(&module)?;
/// for request in 0..3 {
///     let mut store = Store::new(&engine, request);
///     let instance = pre.instantiate(&mut store)?;
///     let run = instance.get_typed_func::<(), i32>(&store, "run")?;
///     assert_eq!(run.call(&mut store, ())?, request + 1);
/// }
/// # Ok(()) }
/// ```
pub struct InstancePre<T: 'static> {
    pub(crate) module: Module,
    /// One per import.
    pub(crate) items: Arc<[Item]>,
    /// Invariant in `T`, as stores are.
    pub(crate) data: PhantomData<fn(T) -> T>,
}

impl<T> Clone for InstancePre<T> {
    fn clone(&self) -> Self {
        Self {
            module: self.module.clone(),
            items: Arc::clone(&self.items),
            data: PhantomData,
        }
    }
}

impl<T> fmt::Debug for InstancePre<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstancePre")
            .field("module", &self.module)
            .finish_non_exhaustive()
    }
}

impl<T: 'static> InstancePre<T> {
    /// The module.
    pub fn module(&self) -> &Module {
        &self.module
    }

    fn prepare(&self, core: NonNull<StoreCore>) -> Result<(Instance, Option<Func>)> {
        // SAFETY: callers borrow the store exclusively.
        let store = unsafe { &mut *core.as_ptr() };
        store.begin_use(store.id);
        let imports = &self.module.code().module.imports;
        let provided = imports
            .iter()
            .zip(&self.items[..])
            .map(|(import, item)| item.provide(store, &import.module, &import.name))
            .collect::<Result<_>>()?;
        StoreCore::instantiate(core, &self.module, provided)
    }

    /// Makes an instance and runs its start function: as [`Linker::instantiate`](crate::Linker::instantiate).
    ///
    /// # Errors
    /// [`LinkError`](crate::LinkError), about what lives in a store; what the start function's call says, which cannot wait
    /// here.
    ///
    /// # Panics
    /// If module and store are not of one engine.
    pub fn instantiate<C: AsContextMut<Data = T>>(&self, store: C) -> Result<Instance> {
        let made = self.prepare(store.store_ptr().0.cast())?;
        start(&store, made)
    }

    /// Makes an instance and runs its start function, which may wait.
    ///
    /// # Errors
    /// As [`instantiate`](Self::instantiate).
    ///
    /// # Panics
    /// As [`instantiate`](Self::instantiate).
    pub async fn instantiate_async(&self, store: &mut Store<T>) -> Result<Instance>
    where
        T: Send,
    {
        let made = self.prepare(store.core())?;
        start_async(store, made).await
    }
}
