//! Instances: a module with its context, and what it exports.

use crate::engine::Engine;
use crate::{
    call::TypedFunc,
    error::{Error, LinkError, Result, Trap},
    func_ref::{Origin, write_records},
    host::HostFunc,
    linker::{start, start_async},
    memory::{Global, Memory},
    module::Module,
    store::{AsContext, AsContextMut, Store, StoreCore, expect_own},
    table::Table,
    types::{ExternType, GlobalType},
    values::{Val, WasmParams, WasmResults},
};
use midair_continuation::{header::nobody, recycle::FreeLists};
use midair_jit::arch::x86_64::cross_instance::{CrossCall, cross_call};
use midair_jit::{
    runtime::context::{FuncRef, GlobalSlot, ImportEntry, TableSlot, VmContext},
    wasm::{
        module::{Extern as WasmExtern, GlobalInit, Import},
        types::{FuncIndex, FuncType},
    },
};
use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    marker::PhantomData,
    ptr::NonNull,
    sync::Arc,
};

/// An instance in its store: the context, what Rust needs to know, then globals and imports.
#[repr(C)]
pub(crate) struct InstanceInner {
    pub(crate) context: VmContext,
    pub(crate) store: NonNull<StoreCore>,
    pub(crate) module: Module,
    pub(crate) memory: Option<u32>,
    /// Whether each data segment is empty by now: dropped, or active and written.
    pub(crate) dropped_data: Box<[bool]>,
    /// Numbers of its tables in the store.
    pub(crate) tables: Box<[u32]>,
    /// Element segments that are empty by now.
    pub(crate) dropped_elements: Box<[bool]>,
    /// Host functions it imports, kept alive.
    imports: Box<[Arc<HostFunc>]>,
}

impl InstanceInner {
    fn layout(module: &Module) -> Layout {
        Layout::from_size_align(module.inner.code.layout.size as usize, align_of::<Self>())
            .expect("bounded by validation")
    }

    /// # Safety
    /// Nothing uses the instance any more.
    pub(crate) unsafe fn free(this: NonNull<Self>) {
        // SAFETY: the caller's.
        let layout = Self::layout(unsafe { &this.as_ref().module });
        // SAFETY: the caller's; initialized in `StoreCore::instantiate`.
        unsafe { this.drop_in_place() };
        // SAFETY: allocated with this layout.
        unsafe { dealloc(this.cast().as_ptr(), layout) };
    }

    /// The bits of a constant expression, whose globals are initialized.
    pub(crate) fn constant(&self, this: NonNull<Self>, init: GlobalInit) -> u64 {
        self.module.inner.code.module.constant_value(
            init,
            // SAFETY: within the store.
            |global| unsafe { self.global(this, global.index()).read() },
            |func| {
                let record = self.record(this, func).expect("it is named as a value");
                record.as_ptr().expose_provenance() as u64
            },
        )
    }

    /// The word of a global, wherever it lies.
    pub(crate) fn global(&self, this: NonNull<Self>, index: usize) -> NonNull<u64> {
        match self.module.inner.code.layout.globals[index] {
            GlobalSlot::Own(offset) => word_at(this, offset),
            // SAFETY: the word holds a pointer to a global of this store.
            GlobalSlot::Imported(offset) => unsafe {
                word_at(this, offset).cast::<NonNull<u64>>().read()
            },
        }
    }
}

pub(crate) fn word_at(instance: NonNull<InstanceInner>, offset: i32) -> NonNull<u64> {
    let offset = usize::try_from(offset).expect("behind the fixed part");
    // SAFETY: the layout keeps offsets within the allocation.
    unsafe { instance.cast::<u8>().add(offset) }.cast()
}

/// A handle of an instance in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance {
    pub(crate) store: u64,
    pub(crate) inner: NonNull<InstanceInner>,
}

// SAFETY: the pointer is followed only with a borrow of the store that owns what it points to.
unsafe impl Send for Instance {}
// SAFETY: the same.
unsafe impl Sync for Instance {}

/// Something an instance exports.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Extern {
    /// A function.
    Func(Func),
    /// A memory.
    Memory(Memory),
    /// A global.
    Global(Global),
    /// A table.
    Table(Table),
}

impl From<Func> for Extern {
    fn from(func: Func) -> Self {
        Self::Func(func)
    }
}

impl From<Memory> for Extern {
    fn from(memory: Memory) -> Self {
        Self::Memory(memory)
    }
}

impl From<Global> for Extern {
    fn from(global: Global) -> Self {
        Self::Global(global)
    }
}

impl From<Table> for Extern {
    fn from(table: Table) -> Self {
        Self::Table(table)
    }
}

/// An export of an instance: see [`Instance::exports`].
#[derive(Clone, Copy, Debug)]
pub struct Export<'instance> {
    name: &'instance str,
    item: Extern,
}

impl<'instance> Export<'instance> {
    /// Its name.
    pub fn name(&self) -> &'instance str {
        self.name
    }

    /// What it is.
    pub fn into_extern(self) -> Extern {
        self.item
    }
}

impl Extern {
    /// Its type.
    ///
    /// # Panics
    /// If it is of another store.
    ///
    /// # Examples
    /// ```
    /// # use midair::{Engine, Extern, Memory, Store};
    /// # fn main() -> midair::Result<()> {
    /// let mut store = Store::new(&Engine::default(), ());
    /// let item = Extern::from(Memory::new(&mut store, 1, None)?);
    /// assert_eq!(item.ty(&store).to_string(), "a memory of at least 1 pages");
    /// # Ok(()) }
    /// ```
    pub fn ty(&self, store: impl AsContext) -> ExternType {
        match self {
            Self::Func(func) => ExternType::Func(func.ty(store)),
            Self::Memory(memory) => ExternType::Memory(memory.ty(store)),
            Self::Global(global) => ExternType::Global(global.ty(store)),
            Self::Table(table) => ExternType::Table(table.ty(store)),
        }
    }

    /// Which store it lives in.
    fn store(&self) -> u64 {
        match self {
            Self::Func(func) => func.store,
            Self::Memory(memory) => memory.store,
            Self::Global(global) => global.store,
            Self::Table(table) => table.store,
        }
    }

    /// As what an import is given, in that store.
    pub(crate) fn provide(self, core: &StoreCore, module: &str, name: &str) -> Result<Provided> {
        let found = match self {
            Self::Func(_) => "a function",
            Self::Memory(_) => "a memory",
            Self::Global(_) => "a global",
            Self::Table(_) => "a table",
        };
        if self.store() != core.id {
            return Err(LinkError::OtherStore {
                module: module.to_owned(),
                name: name.to_owned(),
                found: found.to_owned(),
            }
            .into());
        }
        Ok(match self {
            Self::Func(func) => Provided::Guest(func),
            Self::Memory(memory) => Provided::Memory(memory),
            Self::Global(global) => Provided::Global(global),
            Self::Table(table) => Provided::Table(table),
        })
    }

    /// The function, if it is one.
    pub fn into_func(self) -> Option<Func> {
        if let Self::Func(func) = self {
            Some(func)
        } else {
            None
        }
    }

    /// The memory, if it is one.
    pub fn into_memory(self) -> Option<Memory> {
        if let Self::Memory(memory) = self {
            Some(memory)
        } else {
            None
        }
    }

    /// The table, if it is one.
    pub fn into_table(self) -> Option<Table> {
        if let Self::Table(table) = self {
            Some(table)
        } else {
            None
        }
    }

    /// The global, if it is one.
    pub fn into_global(self) -> Option<Global> {
        if let Self::Global(global) = self {
            Some(global)
        } else {
            None
        }
    }
}

/// A handle of a guest function in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Func {
    pub(crate) store: u64,
    pub(crate) instance: NonNull<InstanceInner>,
    pub(crate) index: FuncIndex,
}

// SAFETY: the pointer is followed only with a borrow of the store that owns what it points to.
unsafe impl Send for Func {}
// SAFETY: the same.
unsafe impl Sync for Func {}

impl Func {
    /// Its type.
    ///
    /// # Panics
    /// If the function is of another store.
    pub fn ty(&self, store: impl AsContext) -> FuncType {
        self.check(&store);
        // SAFETY: owned by the store, which is borrowed.
        FuncType::clone(unsafe { self.type_ref() })
    }

    /// # Safety
    /// The caller borrows its store for as long.
    unsafe fn type_ref<'a>(&self) -> &'a FuncType {
        // SAFETY: the caller's; a module keeps its types as long as the store keeps the instance.
        let module = unsafe { &(*self.instance.as_ptr()).module };
        module.inner.code.module.func_type(self.index)
    }

    /// The word guests know it by: the address of its record.
    ///
    /// # Errors
    /// If it is of another store.
    ///
    /// # Safety
    /// `core` is a live store that the caller uses.
    pub(crate) unsafe fn to_word(self, core: NonNull<StoreCore>) -> Result<u64> {
        // SAFETY: the caller's.
        if self.store != unsafe { (*core.as_ptr()).id } {
            return Err(Error::msg(
                "a function was used with another store than its own",
            ));
        }
        let record = self
            .record()
            .ok_or_else(|| Error::msg("a function that is not exported cannot be passed on"))?;
        Ok(record.as_ptr().expose_provenance() as u64)
    }

    /// The function that a word of a guest's stands for.
    ///
    /// # Safety
    /// `core` is a live store that the caller uses, and the word null or the address of a record of that store.
    pub(crate) unsafe fn from_word(word: u64, core: NonNull<StoreCore>) -> Option<Self> {
        let address = usize::try_from(word).expect("an address");
        let record = NonNull::new(std::ptr::with_exposed_provenance_mut::<FuncRef>(address))?;
        // SAFETY: the caller's.
        let record = unsafe { record.as_ref() };
        let instance = NonNull::new(record.home.cast_mut())?.cast();
        Some(Self {
            // SAFETY: the caller's.
            store: unsafe { (*core.as_ptr()).id },
            instance,
            index: FuncIndex(record.index),
        })
    }

    fn check(&self, store: &impl AsContext) {
        // SAFETY: borrowed.
        let id = unsafe { (*store.store_ptr().0.as_ptr()).core.id };
        expect_own(self.store, id, "a function");
    }

    /// The same function, with its parameters and results as Rust types.
    ///
    /// # Errors
    /// If they are others than the function's.
    ///
    /// # Panics
    /// If the function is of another store.
    pub fn typed<P: WasmParams, R: WasmResults>(
        &self,
        store: impl AsContext,
    ) -> Result<TypedFunc<P, R>> {
        self.check(&store);
        // SAFETY: owned by the store, which is borrowed.
        let instance = unsafe { self.instance.as_ref() };
        let ty = instance.module.inner.code.module.func_type(self.index);
        let asked = FuncType {
            params: P::types().into(),
            results: R::types().into(),
        };
        if **ty != asked {
            return Err(Error::msg(format_args!(
                "type mismatch: the function is {ty}, asked for was {asked}"
            )));
        }
        let stubs = instance.module.engine().stubs(ty)?;
        Ok(TypedFunc {
            func: *self,
            entry_stub: stubs.entry,
            types: PhantomData,
        })
    }
}

impl Instance {
    /// Makes an instance from things of its store, one per import in the module's order, and runs its start function.
    /// [`Linker::instantiate`](crate::Linker::instantiate) finds them by their names instead.
    ///
    /// # Errors
    /// [`LinkError`]; what the start function's call says, which cannot wait here.
    ///
    /// # Panics
    /// If module and store are not of one engine.
    ///
    /// # Examples
    /// ```
    /// use midair::{Engine, Func, Instance, LinkError, Memory, Module, Store};
    ///
    /// # fn main() -> midair::Result<()> {
    /// let engine = Engine::default();
    /// let module = Module::new(&engine, r#"(module
    ///     (import "host" "memory" (memory 1))
    ///     (import "host" "at" (func $at (result i32)))
    ///     (func (export "load") (result i32) (i32.load8_u (call $at))))"#)?;
    /// let mut store = Store::new(&engine, ());
    /// let memory = Memory::new(&mut store, 1, None)?;
    /// memory.write(&mut store, 7, &[42])?;
    /// let at = Func::wrap(&mut store, || 7)?;
    /// let instance = Instance::new(&mut store, &module, &[memory.into(), at.into()])?;
    /// let load = instance.get_typed_func::<(), i32>(&store, "load")?;
    /// assert_eq!(load.call(&mut store, ())?, 42);
    ///
    /// let error = Instance::new(&mut store, &module, &[at.into(), memory.into()]).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "incompatible import type for `host::memory`: expected a memory of at least 1 pages, \
    ///      found a function () -> (i32)"
    /// );
    /// # Ok(()) }
    /// ```
    pub fn new(store: impl AsContextMut, module: &Module, imports: &[Extern]) -> Result<Self> {
        let made = Self::prepare(store.store_ptr().0.cast(), module, imports)?;
        start(&store, made)
    }

    /// As [`Instance::new`], but the start function may wait.
    ///
    /// # Errors
    /// As [`Instance::new`].
    ///
    /// # Panics
    /// As [`Instance::new`].
    ///
    /// # Examples
    /// ```
    /// use midair::{Engine, Func, Instance, Module, Store};
    ///
    /// # fn main() -> midair::Result<()> {
    /// let engine = Engine::default();
    /// let module = Module::new(&engine, r#"(module
    ///     (import "host" "ready" (func $ready))
    ///     (start $ready))"#)?;
    /// let mut store = Store::new(&engine, ());
    /// let ready = Func::wrap_async(&mut store, |_caller, ()| async {})?;
    /// let imports = [ready.into()];
    /// midair::executor::block_on(Instance::new_async(&mut store, &module, &imports))?;
    /// # Ok(()) }
    /// ```
    pub async fn new_async<T: Send>(
        store: &mut Store<T>,
        module: &Module,
        imports: &[Extern],
    ) -> Result<Self> {
        let made = Self::prepare(store.core(), module, imports)?;
        start_async(store, made).await
    }

    fn prepare(
        core: NonNull<StoreCore>,
        module: &Module,
        imports: &[Extern],
    ) -> Result<(Self, Option<Func>)> {
        // SAFETY: callers borrow the store exclusively.
        let store = unsafe { &mut *core.as_ptr() };
        store.begin_use(store.id);
        let wanted = &module.inner.code.module.imports;
        if wanted.len() != imports.len() {
            return Err(LinkError::WrongNumberOfImports {
                expected: wanted.len(),
                found: imports.len(),
            }
            .into());
        }
        let provided = wanted
            .iter()
            .zip(imports)
            .map(|(import, item)| item.provide(store, &import.module, &import.name))
            .collect::<Result<_>>()?;
        StoreCore::instantiate(core, module, provided)
    }

    fn check(&self, store: &impl AsContext) {
        // SAFETY: borrowed.
        let id = unsafe { (*store.store_ptr().0.as_ptr()).core.id };
        expect_own(self.store, id, "an instance");
    }

    /// An export by name.
    ///
    /// # Panics
    /// If the instance is of another store, as all its methods.
    pub fn get_export(&self, store: impl AsContext, name: &str) -> Option<Extern> {
        self.check(&store);
        let module = &self.module(&store).inner.code.module;
        let (_, item) = module.exports.iter().find(|(export, _)| export == name)?;
        Some(self.item(*item))
    }

    /// Everything it exports, in order.
    ///
    /// # Examples
    /// ```
    /// use midair::{Engine, Instance, Module, Store};
    ///
    /// # fn main() -> midair::Result<()> {
    /// let engine = Engine::default();
    /// let module = Module::new(&engine, r#"(module
    ///     (memory (export "memory") 1)
    ///     (func (export "run")))"#)?;
    /// let mut store = Store::new(&engine, ());
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let names: Vec<_> = instance.exports(&store).map(|export| export.name()).collect();
    /// assert_eq!(names, ["memory", "run"]);
    /// # Ok(()) }
    /// ```
    pub fn exports<'a, C: AsContext>(
        &self,
        store: &'a C,
    ) -> impl ExactSizeIterator<Item = Export<'a>> + use<'a, C> {
        let this = *self;
        let exports = self.module(store).inner.code.module.exports.iter();
        exports.map(move |(name, item)| Export {
            name,
            item: this.item(*item),
        })
    }

    /// Something of this instance by its index; callers borrow the store.
    fn item(&self, item: WasmExtern) -> Extern {
        // SAFETY: owned by the store, which is borrowed.
        let instance = unsafe { self.inner.as_ref() };
        match item {
            WasmExtern::Func(index) => Extern::Func(Func {
                store: self.store,
                instance: self.inner,
                index,
            }),
            WasmExtern::Memory => Extern::Memory(Memory {
                store: self.store,
                index: instance.memory.expect("validated"),
            }),
            WasmExtern::Table(index) => Extern::Table(Table {
                store: self.store,
                index: instance.tables[index.index()],
            }),
            WasmExtern::Global(index) => {
                let global = &instance.module.inner.code.module.globals[index.index()];
                Extern::Global(Global {
                    store: self.store,
                    cell: instance.global(self.inner, index.index()),
                    ty: global.ty,
                    mutable: global.mutable,
                })
            }
        }
    }

    /// An exported function.
    pub fn get_func(&self, store: impl AsContext, name: &str) -> Option<Func> {
        self.get_export(store, name)?.into_func()
    }

    /// An exported function, with its parameters and results as Rust types.
    ///
    /// # Errors
    /// If there is none of that name, or its type is another.
    pub fn get_typed_func<P: WasmParams, R: WasmResults>(
        &self,
        store: impl AsContext,
        name: &str,
    ) -> Result<TypedFunc<P, R>> {
        let func = match self.get_export(&store, name) {
            Some(Extern::Func(func)) => func,
            Some(other) => {
                let what = other.ty(&store);
                return Err(Error::msg(format_args!(
                    "no function is exported as `{name}`, but {what}"
                )));
            }
            None => {
                return Err(Error::msg(format_args!(
                    "no function is exported as `{name}`"
                )));
            }
        };
        func.typed(store)
    }

    /// An exported memory.
    pub fn get_memory(&self, store: impl AsContext, name: &str) -> Option<Memory> {
        self.get_export(store, name)?.into_memory()
    }

    /// An exported table.
    pub fn get_table(&self, store: impl AsContext, name: &str) -> Option<Table> {
        self.get_export(store, name)?.into_table()
    }

    /// An exported global.
    pub fn get_global(&self, store: impl AsContext, name: &str) -> Option<Global> {
        self.get_export(store, name)?.into_global()
    }

    /// The module it was made from.
    pub fn module<'a, C: AsContext>(&self, store: &'a C) -> &'a Module {
        self.check(store);
        // SAFETY: owned by the store, which is borrowed for 'a.
        unsafe { &(*self.inner.as_ptr()).module }
    }
}

/// What an import is given.
pub(crate) enum Provided {
    Host(Arc<HostFunc>),
    Guest(Func),
    Memory(Memory),
    Global(Global),
    Table(Table),
}

impl Provided {
    /// Its type; it is of that store.
    fn ty(&self, core: &StoreCore) -> ExternType {
        match self {
            Self::Host(host) => ExternType::Func(host.ty.clone()),
            // SAFETY: owned by the store, which is borrowed.
            Self::Guest(func) => ExternType::Func(FuncType::clone(unsafe { func.type_ref() })),
            Self::Memory(memory) => ExternType::Memory(memory.type_in(core)),
            Self::Global(global) => ExternType::Global(GlobalType::new(global.ty, global.mutable)),
            Self::Table(table) => ExternType::Table(core.tables[table.index as usize].current_ty()),
        }
    }
}

impl StoreCore {
    /// Makes an instance whose imports are provided in order. Its start function is still to be called.
    pub(crate) fn instantiate(
        this: NonNull<Self>,
        module: &Module,
        provided: Vec<Provided>,
    ) -> Result<(Instance, Option<Func>)> {
        // SAFETY: the caller borrows the store exclusively.
        let core = unsafe { &mut *this.as_ptr() };
        assert!(
            Engine::same(module.engine(), &core.engine),
            "a module was used with a store of another engine"
        );
        let wasm = &module.inner.code.module;
        check_imports(module, &provided, core)?;

        let mut memory = None;
        for item in &provided {
            if let Provided::Memory(imported) = item {
                memory = Some(imported.index);
            }
        }
        if let Some(ty) = wasm.memory
            && !ty.imported
        {
            memory = Some(core.add_memory(ty.min, ty.max)?.index);
        }
        let mut tables: Vec<u32> = Vec::with_capacity(wasm.tables.len());
        tables.extend(provided.iter().filter_map(|item| match item {
            Provided::Table(table) => Some(table.index),
            _ => None,
        }));
        for table in &wasm.tables[tables.len()..] {
            tables.push(core.add_table(table.ty)?);
        }
        core.reserve_transfer(module.inner.transfer_words);
        let hosts: Vec<Arc<HostFunc>> = provided
            .iter()
            .filter_map(|item| {
                if let Provided::Host(host) = item {
                    Some(Arc::clone(host))
                } else {
                    None
                }
            })
            .collect();
        for host in &hosts {
            core.reserve_transfer(midair_jit::frame::abi::transfer_words(&host.ty));
        }

        let layout = InstanceInner::layout(module);
        // SAFETY: not empty.
        let memory_block = unsafe { alloc_zeroed(layout) };
        let Some(inner) = NonNull::new(memory_block.cast::<InstanceInner>()) else {
            return Err(crate::CompileError::Resource {
                what: format!("an instance of {} bytes", layout.size()),
            }
            .into());
        };
        let (base, len) = memory.map_or((std::ptr::null_mut(), 0), |index| {
            let memory = &core.memories[index as usize];
            (memory.base(), memory.len() as u64)
        });
        let code = &module.inner.code;
        let value = InstanceInner {
            context: VmContext {
                checkpoint: 0.into(),
                helper_calls: 0,
                stack_limit: usize::MAX,
                resume_floor: usize::MAX,
                memory_base: base,
                memory_len: len,
                entries: code.entries().as_ptr(),
                helpers: &raw const crate::helpers::HELPERS,
                transfer: core.transfer.as_mut_ptr(),
                chain_head: std::ptr::null_mut(),
                chain_tail: std::ptr::null_mut(),
                kept: nobody(),
                results: [0; 4],
                free_lists: FreeLists::default(),
                module: Arc::as_ptr(code),
                host: std::ptr::null_mut(),
            },
            store: this,
            module: module.clone(),
            memory,
            dropped_data: wasm
                .data
                .iter()
                .map(|segment| segment.offset.is_some())
                .collect(),
            tables: tables.into(),
            dropped_elements: vec![false; wasm.elements.len()].into(),
            imports: hosts.into(),
        };
        // SAFETY: fresh memory with room for it.
        unsafe { inner.write(value) };
        // the context points to its instance by its own address
        // SAFETY: just written.
        unsafe { (*inner.as_ptr()).context.host = inner.as_ptr().cast() };

        let mut function = 0;
        let mut global = 0;
        let mut origins = Vec::new();
        for item in provided {
            match item {
                Provided::Host(host) => {
                    let entry = word_at(inner, code.layout.import(function)).cast::<ImportEntry>();
                    let environment = Arc::as_ptr(&host).addr();
                    // SAFETY: within the instance; the instance keeps the function alive.
                    unsafe {
                        entry.write(ImportEntry {
                            code: host.stub,
                            environment,
                        });
                    };
                    origins.push(Origin::HOST);
                    function += 1;
                }
                Provided::Guest(func) => {
                    let entry = word_at(inner, code.layout.import(function)).cast::<ImportEntry>();
                    let value = core.cross_instance_import(func);
                    origins.push(func.origin());
                    // SAFETY: within the instance.
                    unsafe { entry.write(value) };
                    function += 1;
                }
                Provided::Global(imported) => {
                    let GlobalSlot::Imported(offset) = code.layout.globals[global] else {
                        unreachable!("imported globals come first")
                    };
                    // SAFETY: within the instance.
                    unsafe {
                        word_at(inner, offset)
                            .cast::<NonNull<u64>>()
                            .write(imported.cell);
                    };
                    global += 1;
                }
                Provided::Memory(_) | Provided::Table(_) => (),
            }
        }
        // SAFETY: it is fresh, and its import entries were just written.
        unsafe { write_records(inner, module, &origins) };
        // SAFETY: owned by the store.
        let tables = unsafe { &(*inner.as_ptr()).tables };
        for (&slot, &table) in code.layout.tables.iter().zip(tables) {
            let table = &mut core.tables[table as usize];
            match slot {
                // SAFETY: within the instance, which lives as long as the store.
                TableSlot::Own(offset) => unsafe {
                    table.describe_at(word_at(inner, offset).cast());
                },
                // SAFETY: within the instance.
                TableSlot::Imported(offset) => unsafe {
                    word_at(inner, offset).cast().write(table.descriptor());
                },
            }
        }
        core.instances.push(inner);
        core.reset_checkpoint(inner);
        if core.has_deadline {
            core.engine.add_context(core.id, inner.cast());
        }

        // SAFETY: in the store now.
        let instance = unsafe { inner.as_ref() };
        for (index, global) in wasm.globals.iter().enumerate() {
            if global.init == GlobalInit::Imported {
                continue;
            }
            let bits = instance.constant(inner, global.init);
            // SAFETY: within the instance.
            unsafe { instance.global(inner, index).write(bits) };
        }
        // what was written before a segment that does not fit stays written
        if core.init_tables(inner).is_none() {
            return Err(Error::new(Trap::TableOutOfBounds));
        }
        for data in &wasm.data {
            let Some(offset) = data.offset else {
                continue;
            };
            let offset = instance.constant(inner, offset);
            let bytes = &wasm.bytes[data.bytes.clone()];
            let memory = memory.expect("validated");
            let handle = Memory {
                store: core.id,
                index: memory,
            };
            let offset = usize::try_from(offset & u64::from(u32::MAX)).expect("32 bits");
            if !core.write_memory(handle, offset, bytes) {
                return Err(Error::new(Trap::MemoryOutOfBounds));
            }
        }
        let start = wasm.start.map(|index| Func {
            store: core.id,
            instance: inner,
            index,
        });
        Ok((
            Instance {
                store: core.id,
                inner,
            },
            start,
        ))
    }

    fn write_memory(&mut self, memory: Memory, offset: usize, bytes: &[u8]) -> bool {
        let data = &mut self.memories[memory.index as usize];
        let Some(end) = offset
            .checked_add(bytes.len())
            .filter(|&end| end <= data.len())
        else {
            return false;
        };
        data.bytes_mut()[offset..end].copy_from_slice(bytes);
        true
    }
}

fn check_imports(module: &Module, provided: &[Provided], core: &StoreCore) -> Result<()> {
    let wasm = &module.inner.code.module;
    for (import, item) in wasm.imports.iter().zip(provided) {
        let fits = match (import.item, item) {
            (WasmExtern::Func(index), Provided::Host(host)) => host.ty == **wasm.func_type(index),
            (WasmExtern::Func(index), Provided::Guest(func)) => {
                // SAFETY: owned by the store, which is borrowed.
                *unsafe { func.type_ref() } == **wasm.func_type(index)
            }
            (WasmExtern::Memory, Provided::Memory(memory)) => {
                let ty = wasm.memory.expect("imported");
                let data = &core.memories[memory.index as usize];
                data.pages() >= ty.min
                    && ty.max.is_none_or(|max| data.max() <= max && data.has_max())
            }
            (WasmExtern::Table(index), Provided::Table(table)) => {
                let ty = wasm.tables[index.index()].ty;
                let table = &core.tables[table.index as usize];
                let found = table.ty();
                found.element == ty.element
                    && table.len() >= ty.min
                    && ty
                        .max
                        .is_none_or(|max| found.max.is_some_and(|found| found <= max))
            }
            (WasmExtern::Global(index), Provided::Global(global)) => {
                let ty = &wasm.globals[index.index()];
                global.ty == ty.ty && global.mutable == ty.mutable
            }
            _ => false,
        };
        if !fits {
            return Err(incompatible(module, import, item.ty(core)));
        }
    }
    Ok(())
}

/// An import was given something else.
pub(crate) fn incompatible(module: &Module, import: &Import, found: ExternType) -> Error {
    LinkError::IncompatibleImport {
        module: import.module.clone(),
        name: import.name.clone(),
        expected: module.extern_type(import.item).to_string(),
        found: found.to_string(),
    }
    .into()
}

impl Func {
    /// Calls it with values checked at run time.
    ///
    /// # Errors
    /// If number or types of the parameters are not the function's; what [`TypedFunc::call`] says.
    ///
    /// # Panics
    /// If the function is of another store.
    pub fn call(&self, store: impl AsContextMut, params: &[Val]) -> Result<Vec<Val>> {
        self.check(&store);
        self.call_dynamic(store, params)
    }
}

impl StoreCore {
    /// What an import of another instance's function is given: the import it stands for, or a way across.
    fn cross_instance_import(&mut self, func: Func) -> ImportEntry {
        // SAFETY: owned by this store.
        let instance = unsafe { func.instance.as_ref() };
        let code = &instance.module.inner.code;
        if code.module.is_imported(func.index) {
            let entry =
                word_at(func.instance, code.layout.import(func.index.0)).cast::<ImportEntry>();
            // SAFETY: within the instance, written when it was made.
            let ImportEntry { code, environment } = *unsafe { entry.as_ref() };
            return ImportEntry { code, environment };
        }
        let cross = Box::new(CrossCall {
            context: func.instance.cast().as_ptr(),
            entry: &raw const code.entries()[func.index.index()],
        });
        let environment = (&raw const *cross).expose_provenance();
        self.crossings.push(cross);
        let code: unsafe extern "C" fn() = cross_call;
        #[expect(
            clippy::fn_to_numeric_cast_any,
            reason = "machine code is called by address"
        )]
        ImportEntry {
            code: code as usize,
            environment,
        }
    }
}
