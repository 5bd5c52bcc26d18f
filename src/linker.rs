//! Names to what a module imports.

use crate::{
    async_caller::AsyncCaller,
    dispatch::Beneath,
    engine::Engine,
    error::{LinkError, Result},
    host::{
        Awaiter, HostClosure, HostFunc, HostResult, IntoFunc, async_closure, awaiter_closure,
        dynamic_async_closure, dynamic_closure,
    },
    instance::{Extern, Func, Instance, Provided, incompatible},
    module::Module,
    pre::InstancePre,
    store::{AsContextMut, Caller, Store, StoreCore},
    types::ExternType,
    values::{Val, WasmParams},
};
use midair_jit::wasm::types::FuncType;
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
    shadowing: bool,
    /// Invariant in `T`, as stores are.
    data: PhantomData<fn(T) -> T>,
}

/// What a name stands for.
#[derive(Clone)]
pub(crate) enum Item {
    Host(Arc<HostFunc>),
    Extern(Extern),
}

impl Item {
    /// As what an import of that name is given, in that store.
    pub(crate) fn provide(&self, core: &StoreCore, module: &str, name: &str) -> Result<Provided> {
        match self {
            Self::Host(host) => Ok(Provided::Host(Arc::clone(host))),
            Self::Extern(item) => item.provide(core, module, name),
        }
    }
}

impl<T> Clone for Linker<T> {
    fn clone(&self) -> Self {
        Self {
            engine: self.engine.clone(),
            items: self.items.clone(),
            shadowing: self.shadowing,
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
            shadowing: false,
            data: PhantomData,
        }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether a name may be defined again, which hides what it stood for. At first it may not.
    ///
    /// # Examples
    /// ```
    /// # use midair::{Engine, Linker};
    /// # fn main() -> midair::Result<()> {
    /// let mut linker = Linker::<()>::new(&Engine::default());
    /// linker.func_wrap("host", "version", || 1)?;
    /// assert!(linker.func_wrap("host", "version", || 2).is_err());
    /// linker.allow_shadowing(true).func_wrap("host", "version", || 2)?;
    /// # Ok(()) }
    /// ```
    pub fn allow_shadowing(&mut self, allow: bool) -> &mut Self {
        self.shadowing = allow;
        self
    }

    fn insert(&mut self, module: &str, name: &str, item: Item) -> Result<&mut Self> {
        let key = (module.to_owned(), name.to_owned());
        if !self.shadowing && self.items.contains_key(&key) {
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

    /// Defines a host function whose type is known at run time only: it gets its parameters as values and fills in its
    /// results, which begin as zeros.
    ///
    /// # Errors
    /// If the name is defined already, or the type has more parameters or results than a module's may have. When the guest
    /// calls it: if a result is of another type.
    ///
    /// # Examples
    /// ```
    /// use midair::{Engine, FuncType, Linker, Val, ValType};
    ///
    /// # fn main() -> midair::Result<()> {
    /// let mut linker = Linker::<()>::new(&Engine::default());
    /// let ty = FuncType::new([ValType::I32, ValType::I32], [ValType::I32]);
    /// linker.func_new("host", "max", ty, |_caller, params, results| {
    ///     if let [Val::I32(a), Val::I32(b)] = params {
    ///         results[0] = Val::I32(*a.max(b));
    ///     }
    ///     Ok(())
    /// })?;
    /// # Ok(()) }
    /// ```
    pub fn func_new(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<&mut Self> {
        self.insert_closure(module, name, dynamic_closure::<T, _>(ty, func)?)
    }

    /// Defines a host function that may wait and whose type is known at run time only: its future gives the results.
    ///
    /// # Errors
    /// As [`func_new`](Self::func_new).
    ///
    /// # Examples
    /// ```
    /// use midair::{Engine, FuncType, Linker, Module, Store, Val, ValType};
    ///
    /// # fn main() -> midair::Result<()> {
    /// let engine = Engine::default();
    /// let module = Module::new(&engine, r#"(module
    ///     (import "host" "swap" (func $swap (param i32 f64) (result f64 i32)))
    ///     (func (export "run") (result f64 i32) (call $swap (i32.const 1) (f64.const 2))))"#)?;
    /// let mut linker = Linker::new(&engine);
    /// let ty = FuncType::new([ValType::I32, ValType::F64], [ValType::F64, ValType::I32]);
    /// linker.func_new_async("host", "swap", ty, |_caller, params| async move {
    ///     Ok(params.into_iter().rev().collect())
    /// })?;
    /// let mut store = Store::new(&engine, ());
    /// let run = linker.instantiate(&mut store, &module)?.get_typed_func::<(), (f64, i32)>(&store, "run")?;
    /// assert_eq!(midair::executor::block_on(run.call_async(&mut store, ()))?, (2.0, 1));
    /// # Ok(()) }
    /// ```
    pub fn func_new_async<Fut>(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        func: impl Fn(AsyncCaller<T>, Vec<Val>) -> Fut + Send + Sync + 'static,
    ) -> Result<&mut Self>
    where
        Fut: Future<Output = Result<Vec<Val>>> + Send + 'static,
    {
        self.insert_closure(module, name, dynamic_async_closure::<T, _, Fut>(ty, func)?)
    }

    /// Defines something that lives in a store. Only modules instantiated in that store can import it.
    ///
    /// # Errors
    /// If the name is defined already.
    ///
    /// # Examples
    /// ```
    /// # use midair::{Engine, Global, Linker, Store};
    /// # fn main() -> midair::Result<()> {
    /// # let engine = Engine::default();
    /// let mut store = Store::new(&engine, ());
    /// let mut linker = Linker::<()>::new(&engine);
    /// let global = Global::new(&mut store, 7, true);
    /// linker.define("host", "seven", global)?;
    /// # Ok(()) }
    /// ```
    pub fn define(
        &mut self,
        module: &str,
        name: &str,
        item: impl Into<Extern>,
    ) -> Result<&mut Self> {
        self.insert(module, name, Item::Extern(item.into()))
    }

    /// What a name stands for, in a store: a host function becomes a function of that store.
    ///
    /// # Errors
    /// [`LinkError::UnknownImport`] if it was not defined, [`LinkError::OtherStore`] if it lives in another store.
    ///
    /// # Panics
    /// If linker and store are not of one engine.
    ///
    /// # Examples
    /// ```
    /// # use midair::{Engine, Linker, Store};
    /// # fn main() -> midair::Result<()> {
    /// let engine = Engine::default();
    /// let mut linker = Linker::new(&engine);
    /// linker.func_wrap("host", "double", |x: i32| 2 * x)?;
    /// let mut store = Store::new(&engine, ());
    /// let double = linker.get(&mut store, "host", "double")?.into_func().unwrap();
    /// assert_eq!(double.typed::<i32, i32>(&store)?.call(&mut store, 21)?, 42);
    /// # Ok(()) }
    /// ```
    pub fn get<C: AsContextMut<Data = T>>(
        &self,
        store: C,
        module: &str,
        name: &str,
    ) -> Result<Extern> {
        let core: NonNull<StoreCore> = store.store_ptr().0.cast();
        // SAFETY: borrowed exclusively.
        self.assert_engine(unsafe { &(*core.as_ptr()).engine });
        match self.item(module, name)? {
            Item::Host(host) => {
                // SAFETY: borrowed exclusively; the linker is for stores of this data.
                let func = unsafe { StoreCore::host_func(core, Arc::clone(host)) }?;
                Ok(Extern::Func(func))
            }
            Item::Extern(item) => {
                // SAFETY: borrowed.
                item.provide(unsafe { core.as_ref() }, module, name)?;
                Ok(*item)
            }
        }
    }

    /// Defines a second name for what a name stands for.
    ///
    /// # Errors
    /// If the first is not defined, or the second is already.
    ///
    /// # Examples
    /// ```
    /// # use midair::{Engine, Linker};
    /// # fn main() -> midair::Result<()> {
    /// let mut linker = Linker::<()>::new(&Engine::default());
    /// linker.func_wrap("host", "log", |_: i32| ())?;
    /// linker.alias("host", "log", "env", "print")?;
    /// # Ok(()) }
    /// ```
    pub fn alias(
        &mut self,
        module: &str,
        name: &str,
        as_module: &str,
        as_name: &str,
    ) -> Result<&mut Self> {
        let item = self.item(module, name)?.clone();
        self.insert(as_module, as_name, item)
    }

    /// Defines all names of a module under a second module name too.
    ///
    /// # Errors
    /// If one of the new names is defined already.
    ///
    /// # Examples
    /// ```
    /// # use midair::{Engine, Linker};
    /// # fn main() -> midair::Result<()> {
    /// let mut linker = Linker::<()>::new(&Engine::default());
    /// linker.func_wrap("host", "log", |_: i32| ())?;
    /// linker.alias_module("host", "env")?;
    /// assert!(linker.alias("env", "log", "env", "print").is_ok());
    /// # Ok(()) }
    /// ```
    pub fn alias_module(&mut self, module: &str, as_module: &str) -> Result<()> {
        let items = self.items.iter();
        let found: Vec<_> = items
            .filter(|((known, _), _)| known == module)
            .map(|((_, name), item)| (name.clone(), item.clone()))
            .collect();
        for (name, item) in found {
            self.insert(as_module, &name, item)?;
        }
        Ok(())
    }

    /// Makes an instance of a module with what is defined so far and defines its exports under a module name.
    ///
    /// # Errors
    /// As [`instantiate`](Self::instantiate); if one of the names is defined already.
    ///
    /// # Panics
    /// As [`instantiate`](Self::instantiate).
    ///
    /// # Examples
    /// ```
    /// use midair::{Engine, Linker, Module, Store};
    ///
    /// # fn main() -> midair::Result<()> {
    /// let engine = Engine::default();
    /// let library = Module::new(&engine, r#"(module
    ///     (func (export "square") (param i32) (result i32)
    ///         (i32.mul (local.get 0) (local.get 0))))"#)?;
    /// let program = Module::new(&engine, r#"(module
    ///     (import "math" "square" (func $square (param i32) (result i32)))
    ///     (func (export "run") (result i32) (call $square (i32.const 9))))"#)?;
    /// let mut store = Store::new(&engine, ());
    /// let mut linker = Linker::new(&engine);
    /// linker.module(&mut store, "math", &library)?;
    /// let run = linker.instantiate(&mut store, &program)?.get_typed_func::<(), i32>(&store, "run")?;
    /// assert_eq!(run.call(&mut store, ())?, 81);
    /// # Ok(()) }
    /// ```
    pub fn module<C: AsContextMut<Data = T>>(
        &mut self,
        mut store: C,
        name: &str,
        module: &Module,
    ) -> Result<&mut Self> {
        let instance = self.instantiate(&mut store, module)?;
        self.instance(store, name, instance)
    }

    /// Defines each function that a module imports and that is not defined yet as one that fails with
    /// [`LinkError::UnknownImport`] when it is called.
    ///
    /// # Errors
    /// When the system refuses memory.
    ///
    /// # Examples
    /// ```
    /// use midair::{Engine, Linker, Module, Store};
    ///
    /// # fn main() -> midair::Result<()> {
    /// let engine = Engine::default();
    /// let module = Module::new(&engine, r#"(module
    ///     (import "wasi" "exit" (func $exit (param i32)))
    ///     (func (export "leave") (call $exit (i32.const 0)))
    ///     (func (export "stay") (result i32) (i32.const 1)))"#)?;
    /// let mut linker = Linker::new(&engine);
    /// linker.define_unknown_imports_as_traps(&module)?;
    /// let mut store = Store::new(&engine, ());
    /// let instance = linker.instantiate(&mut store, &module)?;
    /// assert_eq!(instance.get_typed_func::<(), i32>(&store, "stay")?.call(&mut store, ())?, 1);
    /// let leave = instance.get_typed_func::<(), ()>(&store, "leave")?;
    /// let error = leave.call(&mut store, ()).unwrap_err();
    /// assert_eq!(error.to_string(), "unknown import: `wasi::exit` has not been defined");
    /// # Ok(()) }
    /// ```
    pub fn define_unknown_imports_as_traps(&mut self, module: &Module) -> Result<()> {
        for import in module.imports() {
            let unknown = LinkError::UnknownImport {
                module: import.module().to_owned(),
                name: import.name().to_owned(),
            };
            if let Some(ty) = import.ty().func()
                && self.item(import.module(), import.name()).is_err()
            {
                self.func_new(
                    import.module(),
                    import.name(),
                    ty.clone(),
                    move |_, _, _| Err(unknown.clone().into()),
                )?;
            }
        }
        Ok(())
    }

    /// Defines all exports of an instance, under a module name.
    ///
    /// # Errors
    /// If one of the names is defined already.
    ///
    /// # Examples
    /// ```
    /// use midair::{Engine, Linker, Module, Store};
    ///
    /// # fn main() -> midair::Result<()> {
    /// let engine = Engine::default();
    /// let library = Module::new(&engine, r#"(module (memory (export "memory") 1))"#)?;
    /// let program = Module::new(&engine, r#"(module
    ///     (import "library" "memory" (memory 1))
    ///     (func (export "run") (i32.store8 (i32.const 7) (i32.const 42))))"#)?;
    /// let mut store = Store::new(&engine, ());
    /// let mut linker = Linker::new(&engine);
    /// let instance = linker.instantiate(&mut store, &library)?;
    /// linker.instance(&mut store, "library", instance)?;
    /// let run = linker.instantiate(&mut store, &program)?.get_typed_func::<(), ()>(&store, "run")?;
    /// run.call(&mut store, ())?;
    /// let memory = instance.get_memory(&store, "memory").unwrap();
    /// assert_eq!(memory.data(&store)[7], 42);
    /// # Ok(()) }
    /// ```
    pub fn instance(
        &mut self,
        store: impl AsContextMut<Data = T>,
        module: &str,
        instance: Instance,
    ) -> Result<&mut Self> {
        for export in instance.exports(&store) {
            self.define(module, export.name(), export.into_extern())?;
        }
        Ok(self)
    }

    /// The module with what this linker has for its imports, looked up and checked once.
    ///
    /// # Errors
    /// [`LinkError`]: what is missing, or a host function of another type. What lives in a store is checked when an instance
    /// is made.
    ///
    /// # Panics
    /// If linker and module are not of one engine.
    pub fn instantiate_pre(&self, module: &Module) -> Result<InstancePre<T>> {
        self.assert_engine(module.engine());
        let wasm = &module.code().module;
        let mut items = Vec::with_capacity(wasm.imports.len());
        for import in &wasm.imports {
            let item = self.item(&import.module, &import.name)?;
            if let Item::Host(host) = item
                && module.extern_type(import.item).func() != Some(&host.ty)
            {
                let found = ExternType::Func(host.ty.clone());
                return Err(incompatible(module, import, found));
            }
            items.push(item.clone());
        }
        Ok(InstancePre {
            module: module.clone(),
            items: items.into(),
            data: PhantomData,
        })
    }

    fn item(&self, module: &str, name: &str) -> Result<&Item> {
        let key = (module.to_owned(), name.to_owned());
        self.items.get(&key).ok_or_else(|| {
            let (module, name) = key;
            LinkError::UnknownImport { module, name }.into()
        })
    }

    fn assert_engine(&self, engine: &Engine) {
        assert!(
            Engine::same(&self.engine, engine),
            "a linker was used with a module or a store of another engine"
        );
    }

    fn prepare(
        &self,
        core: NonNull<StoreCore>,
        module: &Module,
    ) -> Result<(Instance, Option<Func>)> {
        // SAFETY: callers borrow the store exclusively.
        let store = unsafe { &mut *core.as_ptr() };
        self.assert_engine(&store.engine);
        store.begin_use(store.id);
        let mut provided = Vec::new();
        for import in &module.code().module.imports {
            let item = self.item(&import.module, &import.name)?;
            provided.push(item.provide(store, &import.module, &import.name)?);
        }
        StoreCore::instantiate(core, module, provided)
    }

    /// Makes an instance and runs its start function.
    ///
    /// # Errors
    /// [`LinkError`]; what the start function's call says, which cannot wait here.
    ///
    /// # Panics
    /// If module, linker and store are not of one engine.
    pub fn instantiate<C: AsContextMut<Data = T>>(
        &self,
        store: C,
        module: &Module,
    ) -> Result<Instance> {
        let made = self.prepare(store.store_ptr().0.cast(), module)?;
        start(&store, made)
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
        let made = self.prepare(store.core(), module)?;
        start_async(store, made).await
    }
}

/// Runs a new instance's start function; `store` is borrowed exclusively.
pub(crate) fn start<C: AsContextMut>(
    store: &C,
    (instance, start): (Instance, Option<Func>),
) -> Result<Instance> {
    if let Some(start) = start {
        let core: NonNull<StoreCore> = store.store_ptr().0.cast();
        let start = start.typed::<(), ()>(store)?;
        // SAFETY: borrowed exclusively by whoever made the instance.
        unsafe { start.call_beneath(core, (), Beneath::Instantiate, store.host_frame()) }?;
    }
    Ok(instance)
}

/// Runs a new instance's start function, which may wait.
pub(crate) async fn start_async<T: Send>(
    store: &mut Store<T>,
    (instance, start): (Instance, Option<Func>),
) -> Result<Instance> {
    if let Some(start) = start {
        let start = start.typed::<(), ()>(&*store)?;
        start.call_async(store, ()).await?;
    }
    Ok(instance)
}
