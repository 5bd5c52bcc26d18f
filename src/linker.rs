//! Names to what a module imports.

use crate::{
    async_caller::AsyncCaller,
    dispatch::Beneath,
    engine::Engine,
    error::{LinkError, Result},
    host::{Awaiter, HostClosure, HostFunc, HostResult, IntoFunc, async_closure, awaiter_closure},
    instance::{Extern, Func, Instance, Provided},
    module::Module,
    store::{AsContextMut, Caller, Store, StoreCore},
    values::WasmParams,
};
use std::{
    collections::HashMap, fmt, future::Future, marker::PhantomData, ptr::NonNull, sync::Arc,
};

/// Names to what a module imports; makes instances.
///
/// # Examples
/// A guest that awaits the host:
/// ```
/// use midair::{Engine, Linker, Module, Store};
///
/// # fn main() -> midair::Result<()> {
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"(module
///     (import "host" "double" (func $double (param i32) (result i32)))
///     (func (export "run") (param i32) (result i32) (call $double (local.get 0))))"#)?;
/// let mut linker = Linker::new(&engine);
/// linker.func_wrap_async("host", "double", |_caller, (x,): (i32,)| async move { 2 * x })?;
/// let mut store = Store::new(&engine, ());
/// let instance = linker.instantiate(&mut store, &module)?;
/// let run = instance.get_typed_func::<i32, i32>(&store, "run")?;
/// let result = midair::executor::block_on(run.call_async(&mut store, 21))?;
/// assert_eq!(result, 42);
/// # Ok(()) }
/// ```
pub struct Linker<T: 'static> {
    engine: Engine,
    items: HashMap<(String, String), Item>,
    /// Invariant in `T`, as stores are.
    data: PhantomData<fn(T) -> T>,
}

#[derive(Clone)]
enum Item {
    Host(Arc<HostFunc>),
    Extern(Extern),
}

impl<T> Clone for Linker<T> {
    fn clone(&self) -> Self {
        Self {
            engine: self.engine.clone(),
            items: self.items.clone(),
            data: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Linker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.items.keys()).finish()
    }
}

impl<T: 'static> Linker<T> {
    /// A linker without names.
    pub fn new(engine: &Engine) -> Self {
        Self {
            engine: engine.clone(),
            items: HashMap::new(),
            data: PhantomData,
        }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    fn insert(&mut self, module: &str, name: &str, item: Item) -> Result<&mut Self> {
        let key = (module.to_owned(), name.to_owned());
        if self.items.contains_key(&key) {
            let (module, name) = key;
            return Err(LinkError::Duplicate { module, name }.into());
        }
        self.items.insert(key, item);
        Ok(self)
    }

    fn insert_closure(
        &mut self,
        module: &str,
        name: &str,
        closure: HostClosure,
    ) -> Result<&mut Self> {
        let host = closure.finish(&self.engine, module, name)?;
        self.insert(module, name, Item::Host(host))
    }

    /// Defines a host function that returns at once: a closure of up to sixteen parameters, perhaps after a [`Caller`], that
    /// returns results or a `Result` of them with any error.
    ///
    /// # Errors
    /// If the name is defined already.
    ///
    /// # Examples
    /// ```
    /// # use midair::{Caller, Engine, Linker};
    /// # fn main() -> midair::Result<()> {
    /// let mut linker = Linker::<u64>::new(&Engine::default());
    /// linker.func_wrap("host", "add", |a: i32, b: i32| a.wrapping_add(b))?;
    /// linker.func_wrap("host", "count", |mut caller: Caller<'_, u64>| *caller.data_mut() += 1)?;
    /// linker.func_wrap("host", "parse", |x: i32| u8::try_from(x).map(i32::from))?;
    /// # Ok(()) }
    /// ```
    pub fn func_wrap<P, R>(
        &mut self,
        module: &str,
        name: &str,
        func: impl IntoFunc<T, P, R>,
    ) -> Result<&mut Self> {
        self.insert_closure(module, name, func.into_closure().0)
    }

    /// Defines a host function that may wait: a closure that returns a future. The guest is suspended until it is ready.
    ///
    /// The future is built in the leaf of the suspended call and polled there first; if it is ready at once, nothing is
    /// suspended and nothing allocated. It reaches the store through the [`AsyncCaller`].
    ///
    /// # Errors
    /// If the name is defined already.
    pub fn func_wrap_async<P, Fut, R>(
        &mut self,
        module: &str,
        name: &str,
        func: impl Fn(AsyncCaller<T>, P) -> Fut + Send + Sync + 'static,
    ) -> Result<&mut Self>
    where
        P: WasmParams,
        Fut: Future<Output = R> + Send + 'static,
        R: HostResult,
    {
        self.insert_closure(module, name, async_closure::<T, _, P, Fut, R>(func))
    }

    /// Defines a host function that may wait, by the raw protocol: a closure that returns an [`Awaiter`].
    ///
    /// # Errors
    /// If the name is defined already.
    pub fn func_awaiter<P, A>(
        &mut self,
        module: &str,
        name: &str,
        func: impl Fn(Caller<'_, T>, P) -> A + Send + Sync + 'static,
    ) -> Result<&mut Self>
    where
        P: WasmParams,
        A: Awaiter,
    {
        self.insert_closure(module, name, awaiter_closure::<T, _, P, A>(func))
    }

    /// Defines something that lives in a store. Only modules instantiated in that store can import it.
    ///
    /// # Errors
    /// If the name is defined already.
    pub fn define(&mut self, module: &str, name: &str, item: Extern) -> Result<&mut Self> {
        self.insert(module, name, Item::Extern(item))
    }

    /// Defines all exports of an instance, under a module name.
    ///
    /// # Errors
    /// If one of the names is defined already.
    pub fn instance(
        &mut self,
        store: impl AsContextMut<Data = T>,
        module: &str,
        instance: Instance,
    ) -> Result<&mut Self> {
        let names: Vec<String> = instance
            .module(&store)
            .exports()
            .map(|(name, _)| name.to_owned())
            .collect();
        for name in names {
            let item = instance
                .get_export(&store, &name)
                .expect("one of its exports");
            self.define(module, &name, item)?;
        }
        Ok(self)
    }

    fn prepare(
        &self,
        core: NonNull<StoreCore>,
        module: &Module,
    ) -> Result<(Instance, Option<Func>)> {
        // SAFETY: callers borrow the store exclusively.
        let store = unsafe { &mut *core.as_ptr() };
        store.begin_use(store.id);
        let mut provided = Vec::new();
        for import in &module.code().module.imports {
            let key = (import.module.clone(), import.name.clone());
            let item = match self.items.get(&key) {
                None => {
                    let (module, name) = key;
                    return Err(LinkError::UnknownImport { module, name }.into());
                }
                Some(Item::Host(host)) => Provided::Host(Arc::clone(host)),
                Some(Item::Extern(Extern::Func(func))) => {
                    assert_eq!(
                        func.store, store.id,
                        "a function was linked into another store than its own"
                    );
                    Provided::Guest(*func)
                }
                Some(Item::Extern(Extern::Memory(memory))) => {
                    assert_eq!(
                        memory.store, store.id,
                        "a memory was linked into another store than its own"
                    );
                    Provided::Memory(*memory)
                }
                Some(Item::Extern(Extern::Global(global))) => {
                    assert_eq!(
                        global.store, store.id,
                        "a global was linked into another store than its own"
                    );
                    Provided::Global(*global)
                }
                Some(Item::Extern(Extern::Table(table))) => {
                    assert_eq!(
                        table.store, store.id,
                        "a table was linked into another store than its own"
                    );
                    Provided::Table(*table)
                }
            };
            provided.push(item);
        }
        StoreCore::instantiate(core, module, provided)
    }

    /// Makes an instance and runs its start function.
    ///
    /// # Errors
    /// [`LinkError`]; what the start function's call says, which cannot wait here.
    ///
    /// # Panics
    /// If module, linker and store are not of one engine, or something defined here lives in another store.
    pub fn instantiate<C: AsContextMut<Data = T>>(
        &self,
        store: C,
        module: &Module,
    ) -> Result<Instance> {
        let core: NonNull<StoreCore> = store.store_ptr().0.cast();
        let (instance, start) = self.prepare(core, module)?;
        if let Some(start) = start {
            let start = start.typed::<(), ()>(&store)?;
            // SAFETY: borrowed exclusively until the end.
            unsafe { start.call_beneath(core, (), Beneath::Instantiate, store.host_frame()) }?;
        }
        Ok(instance)
    }

    /// Makes an instance and runs its start function, which may wait.
    ///
    /// # Errors
    /// [`LinkError`]; what the start function's call says.
    ///
    /// # Panics
    /// As [`instantiate`](Self::instantiate).
    pub async fn instantiate_async(&self, store: &mut Store<T>, module: &Module) -> Result<Instance>
    where
        T: Send,
    {
        let (instance, start) = self.prepare(store.core(), module)?;
        if let Some(start) = start {
            let start = start.typed::<(), ()>(&*store)?;
            start.call_async(store, ()).await?;
        }
        Ok(instance)
    }
}
