//! Linear memory and globals, as the embedder sees them.

use crate::{
    error::{Error, Result},
    mapping::Mapping,
    store::{AsContext, AsContextMut, CorePtr, StoreCore, expect_own},
    types::{GlobalType, MemoryType},
    values::{Val, WasmTy},
};
use midair_jit::{runtime::signal::RESERVATION, wasm::types::ValType};
use std::{fmt, ptr::NonNull};

/// Bytes per page of linear memory.
pub const PAGE: usize = 64 << 10;

/// Most pages a 32-bit memory can have.
const MAX_PAGES: u32 = 1 << 16;

/// One linear memory: bytes that may move when it grows, unless it is guarded.
pub(crate) struct MemoryData {
    mapping: Mapping,
    max: u32,
    has_max: bool,
}

impl MemoryData {
    pub(crate) fn new(min: u32, max: Option<u32>, guarded: bool) -> Result<Self> {
        let mapping = if guarded {
            Mapping::guarded().map_err(|error| crate::CompileError::Resource {
                what: format!(
                    "{} GiB of address space for a guarded memory ({error}; `Config::memory_guard(false)` needs none)",
                    RESERVATION >> 30
                ),
            })?
        } else {
            Mapping::plain()
        };
        let mut memory = Self {
            mapping,
            max: max.unwrap_or(MAX_PAGES).min(MAX_PAGES),
            has_max: max.is_some(),
        };
        if memory.grow(min).is_none() {
            return Err(crate::CompileError::Resource {
                what: format!("{min} pages of linear memory"),
            }
            .into());
        }
        Ok(memory)
    }

    pub(crate) fn pages(&self) -> u32 {
        u32::try_from(self.len() / PAGE).expect("at most 65536")
    }

    /// Grows by `pages`; the old length in pages, or `None` if the limit or the system says no.
    pub(crate) fn grow(&mut self, pages: u32) -> Option<u32> {
        let old = self.pages();
        let new = old.checked_add(pages).filter(|&new| new <= self.max)?;
        self.mapping.grow(new as usize * PAGE).ok()?;
        Some(old)
    }

    /// Most pages it may have.
    pub(crate) fn max(&self) -> u32 {
        self.max
    }

    /// Whether its type says so.
    pub(crate) fn has_max(&self) -> bool {
        self.has_max
    }

    pub(crate) fn base(&self) -> *mut u8 {
        self.mapping.base().as_ptr()
    }

    pub(crate) fn len(&self) -> usize {
        self.mapping.len()
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: initialized by the system, the guest or us; borrowed as this is.
        unsafe { std::slice::from_raw_parts(self.base(), self.len()) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.base(), self.len()) }
    }
}

/// A handle of a linear memory in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    pub(crate) store: u64,
    pub(crate) index: u32,
}

/// An access outside a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryAccessError {
    /// Where it began.
    pub offset: usize,
    /// How long it was.
    pub len: usize,
}

impl fmt::Display for MemoryAccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bytes at {} lie outside the memory",
            self.len, self.offset
        )
    }
}

impl std::error::Error for MemoryAccessError {}

impl Memory {
    /// A new memory of `min` pages that can grow to `max`.
    ///
    /// # Errors
    /// When the system refuses that much memory.
    pub fn new(store: impl AsContextMut, min: u32, max: Option<u32>) -> Result<Self> {
        let mut inner = store.store_ptr().0;
        // SAFETY: borrowed exclusively.
        let core = unsafe { &mut inner.as_mut().core };
        core.add_memory(min, max)
    }

    fn check(self, core: &StoreCore) {
        expect_own(self.store, core.id, "a memory");
    }

    /// Its bytes.
    ///
    /// # Panics
    /// If the memory is of another store, as all its methods.
    pub fn data<'a, C: AsContext>(&self, store: &'a C) -> &'a [u8] {
        // SAFETY: borrowed for 'a.
        let core = unsafe { &(*store.store_ptr().0.as_ptr()).core };
        self.check(core);
        core.memories[self.index as usize].bytes()
    }

    /// Its bytes.
    pub fn data_mut<'a, C: AsContextMut>(&self, store: &'a mut C) -> &'a mut [u8] {
        // SAFETY: borrowed exclusively for 'a.
        let core = unsafe { &mut (*store.store_ptr().0.as_ptr()).core };
        self.check(core);
        core.memories[self.index as usize].bytes_mut()
    }

    /// Copies bytes out of it.
    ///
    /// # Errors
    /// [`MemoryAccessError`] if they do not lie in it.
    pub fn read(
        &self,
        store: impl AsContext,
        offset: usize,
        buffer: &mut [u8],
    ) -> Result<(), MemoryAccessError> {
        let len = buffer.len();
        let bytes = offset
            .checked_add(len)
            .and_then(|end| self.data(&store).get(offset..end));
        buffer.copy_from_slice(bytes.ok_or(MemoryAccessError { offset, len })?);
        Ok(())
    }

    /// Copies bytes into it.
    ///
    /// # Errors
    /// [`MemoryAccessError`] if they do not lie in it.
    pub fn write(
        &self,
        mut store: impl AsContextMut,
        offset: usize,
        buffer: &[u8],
    ) -> Result<(), MemoryAccessError> {
        let len = buffer.len();
        let bytes = offset
            .checked_add(len)
            .and_then(|end| self.data_mut(&mut store).get_mut(offset..end));
        bytes
            .ok_or(MemoryAccessError { offset, len })?
            .copy_from_slice(buffer);
        Ok(())
    }

    /// Its type: the length it has now, and how many pages it may have.
    ///
    /// # Examples
    /// ```
    /// # use midair::{Engine, Memory, MemoryType, Store};
    /// # fn main() -> midair::Result<()> {
    /// let mut store = Store::new(&Engine::default(), ());
    /// let memory = Memory::new(&mut store, 1, Some(3))?;
    /// memory.grow(&mut store, 1)?;
    /// assert_eq!(memory.ty(&store), MemoryType::new(2, Some(3)));
    /// # Ok(()) }
    /// ```
    pub fn ty(&self, store: impl AsContext) -> MemoryType {
        // SAFETY: borrowed.
        let core = unsafe { &(*store.store_ptr().0.as_ptr()).core };
        self.check(core);
        self.type_in(core)
    }

    /// Its type; it is of that store.
    pub(crate) fn type_in(self, core: &StoreCore) -> MemoryType {
        let data = &core.memories[self.index as usize];
        MemoryType::new(data.pages(), data.has_max().then(|| data.max()))
    }

    /// Its length in pages.
    pub fn size(&self, store: impl AsContext) -> u32 {
        // SAFETY: borrowed.
        let core = unsafe { &(*store.store_ptr().0.as_ptr()).core };
        self.check(core);
        core.memories[self.index as usize].pages()
    }

    /// Grows it by `pages` and gives the old length in pages.
    ///
    /// # Errors
    /// If it may not be that large, or the system refuses.
    pub fn grow(&self, store: impl AsContextMut, pages: u32) -> Result<u32> {
        // SAFETY: borrowed exclusively.
        let core = unsafe { &mut (*store.store_ptr().0.as_ptr()).core };
        self.check(core);
        core.grow_memory(self.index, pages)
            .ok_or_else(|| Error::msg(format_args!("failed to grow memory by `{pages}`")))
    }
}

impl StoreCore {
    pub(crate) fn add_memory(&mut self, min: u32, max: Option<u32>) -> Result<Memory> {
        let guarded = self.engine.inner.config.compile.memory_guard;
        self.memories.push(MemoryData::new(min, max, guarded)?);
        let index = u32::try_from(self.memories.len() - 1).expect("fewer memories than bytes");
        Ok(Memory {
            store: self.id,
            index,
        })
    }

    /// Grows a memory and tells every instance that has it.
    pub(crate) fn grow_memory(&mut self, index: u32, pages: u32) -> Option<u32> {
        let memory = &mut self.memories[index as usize];
        let old = memory.grow(pages)?;
        let (base, len) = (memory.base(), memory.len() as u64);
        for &instance in &self.instances {
            // SAFETY: owned by this store. Machine code reads these words anew after every call.
            let instance = unsafe { &mut *instance.as_ptr() };
            if instance.memory == Some(index) {
                instance.context.memory_base = base;
                instance.context.memory_len = len;
            }
        }
        Some(old)
    }
}

/// A handle of a global in a store.
#[derive(Clone, Copy, Debug)]
pub struct Global {
    pub(crate) store: u64,
    pub(crate) cell: NonNull<u64>,
    pub(crate) ty: ValType,
    pub(crate) mutable: bool,
}

// SAFETY: the pointer is followed only with a borrow of the store that owns what it points to.
unsafe impl Send for Global {}
// SAFETY: the same.
unsafe impl Sync for Global {}

impl Global {
    /// A new global.
    ///
    /// # Panics
    /// If the value is a reference of another store.
    pub fn new(store: impl AsContextMut, value: impl Into<Val>, mutable: bool) -> Self {
        let value = value.into();
        // SAFETY: borrowed exclusively.
        let word = unsafe { value.to_word(CorePtr(store.store_ptr().0.cast())) };
        let word = word.unwrap_or_else(|error| panic!("{error}"));
        // SAFETY: borrowed exclusively.
        let core = unsafe { &mut (*store.store_ptr().0.as_ptr()).core };
        core.globals.push(Box::new(word));
        let cell = NonNull::from(&mut **core.globals.last_mut().expect("pushed"));
        if value.ty() == ValType::ExternRef {
            core.references.get_or_insert_default().globals.push(cell);
        }
        Self {
            store: core.id,
            cell,
            ty: value.ty(),
            mutable,
        }
    }

    fn check(&self, store: &impl AsContext) {
        // SAFETY: borrowed.
        let id = unsafe { (*store.store_ptr().0.as_ptr()).core.id };
        expect_own(self.store, id, "a global");
    }

    /// Its type.
    ///
    /// # Examples
    /// ```
    /// # use midair::{Engine, Global, Store, ValType};
    /// let mut store = Store::new(&Engine::default(), ());
    /// let global = Global::new(&mut store, 7i64, true);
    /// assert_eq!(global.ty(&store).content(), ValType::I64);
    /// assert!(global.ty(&store).is_mutable());
    /// ```
    ///
    /// # Panics
    /// If the global is of another store, as all its methods.
    pub fn ty(&self, store: impl AsContext) -> GlobalType {
        self.check(&store);
        GlobalType::new(self.ty, self.mutable)
    }

    /// Its value.
    ///
    /// # Panics
    /// If the global is of another store, as all its methods.
    pub fn get(&self, store: impl AsContext) -> Val {
        self.check(&store);
        // SAFETY: owned by the store, which is borrowed.
        let word = unsafe { self.cell.read() };
        // SAFETY: a word of that type, of this store.
        unsafe { Val::from_word(self.ty, word, CorePtr(store.store_ptr().0.cast())) }
    }

    /// Its value as a Rust type.
    ///
    /// # Errors
    /// If that is another type than the global's.
    pub fn get_as<V: WasmTy>(&self, store: impl AsContext) -> Result<V> {
        if V::TYPE != self.ty {
            return Err(Error::msg(format_args!(
                "a global of type {} was read as {}",
                self.ty,
                V::TYPE
            )));
        }
        self.check(&store);
        // SAFETY: owned by the store, which is borrowed.
        let word = unsafe { self.cell.read() };
        // SAFETY: a word of that type, of this store.
        Ok(unsafe { V::from_word(word, CorePtr(store.store_ptr().0.cast())) })
    }

    /// Changes its value.
    ///
    /// # Errors
    /// If it is immutable or the type is another, or the value a reference of another store.
    pub fn set(&self, store: impl AsContextMut, value: impl Into<Val>) -> Result<()> {
        self.check(&store);
        let value = value.into();
        if !self.mutable {
            return Err(Error::msg("an immutable global cannot be set"));
        }
        if value.ty() != self.ty {
            return Err(Error::msg(format_args!(
                "a global of type {} was set to a value of type {}",
                self.ty,
                value.ty()
            )));
        }
        // SAFETY: borrowed exclusively.
        let word = unsafe { value.to_word(CorePtr(store.store_ptr().0.cast())) }?;
        // SAFETY: owned by the store, which is borrowed exclusively.
        unsafe { self.cell.write(word) };
        Ok(())
    }
}
