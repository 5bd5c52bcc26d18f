//! Tables: references that machine code finds by their index, and the embedder's handle of them.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the store is followed from its pointer: finding a part of it and using it are argued together"
)]

use crate::{
    error::{Error, Result},
    instance::InstanceInner,
    store::{AsContext, AsContextMut, CorePtr, StoreCore, expect_own},
    values::Val,
};
use midair_jit::{
    runtime::context::TableDescriptor,
    wasm::{
        module::{ElementMode, GlobalInit, TableType},
        types::ValType,
    },
};
use std::{
    alloc::{Layout, alloc_zeroed, dealloc, realloc},
    ops::Range,
    ptr::NonNull,
};

/// One table: words that may move when it grows.
pub(crate) struct TableData {
    ty: TableType,
    elements: NonNull<u64>,
    len: u32,
    capacity: u32,
    /// What machine code reads: in the context of the instance that defines the table, or `own`.
    descriptor: Option<NonNull<TableDescriptor>>,
    /// The descriptor of a table that no instance defines.
    own: Option<Box<TableDescriptor>>,
}

impl TableData {
    /// A table of no elements yet.
    fn new(ty: TableType) -> Self {
        Self {
            ty,
            elements: NonNull::dangling(),
            len: 0,
            capacity: 0,
            descriptor: None,
            own: None,
        }
    }

    fn layout(capacity: u32) -> Option<Layout> {
        Layout::array::<u64>(capacity as usize).ok()
    }

    pub(crate) fn ty(&self) -> TableType {
        self.ty
    }

    /// Its type, with the length it has now as its minimum.
    pub(crate) fn current_ty(&self) -> TableType {
        TableType {
            min: self.len,
            ..self.ty
        }
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Makes room for so many elements; what is new is null. Whether the system gave it.
    fn reserve(&mut self, capacity: u32) -> bool {
        if capacity <= self.capacity {
            return true;
        }
        let (Some(layout), Some(old)) = (Self::layout(capacity), Self::layout(self.capacity))
        else {
            return false;
        };
        let elements = if self.capacity == 0 {
            // SAFETY: not empty.
            unsafe { alloc_zeroed(layout) }
        } else {
            // SAFETY: allocated with the old layout; the new size is not zero and does not overflow.
            unsafe { realloc(self.elements.as_ptr().cast(), old, layout.size()) }
        };
        let Some(elements) = NonNull::new(elements.cast::<u64>()) else {
            return false;
        };
        if self.capacity != 0 {
            let fresh = (capacity - self.capacity) as usize;
            // SAFETY: the part behind the old end, which is ours and not initialized.
            unsafe {
                elements.add(self.capacity as usize).write_bytes(0, fresh);
            };
        }
        self.elements = elements;
        self.capacity = capacity;
        true
    }

    /// Tells machine code.
    fn update(&mut self) {
        if let Some(descriptor) = self.descriptor {
            // SAFETY: it lives as long as the store; machine code reads it anew whenever a table may have changed.
            unsafe {
                descriptor.write(TableDescriptor {
                    elements: self.elements.as_ptr(),
                    len: u64::from(self.len),
                });
            };
        }
    }

    /// Has machine code read a descriptor of its instance.
    ///
    /// # Safety
    /// The descriptor lives as long as the store.
    pub(crate) unsafe fn describe_at(&mut self, descriptor: NonNull<TableDescriptor>) {
        self.descriptor = Some(descriptor);
        self.update();
    }

    /// What machine code reads.
    pub(crate) fn descriptor(&mut self) -> NonNull<TableDescriptor> {
        if let Some(descriptor) = self.descriptor {
            return descriptor;
        }
        let own = self.own.insert(Box::new(TableDescriptor {
            elements: std::ptr::null_mut(),
            len: 0,
        }));
        let descriptor = NonNull::from(&mut **own);
        self.descriptor = Some(descriptor);
        self.update();
        descriptor
    }

    /// Its elements, as machine code has them.
    pub(crate) fn elements(&self) -> &[u64] {
        // SAFETY: initialized by the allocator, the guest or us; borrowed as this is.
        unsafe { std::slice::from_raw_parts(self.elements.as_ptr(), self.len as usize) }
    }

    fn elements_mut(&mut self) -> &mut [u64] {
        // SAFETY: as above, exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.elements.as_ptr(), self.len as usize) }
    }
}

impl Drop for TableData {
    fn drop(&mut self) {
        if self.capacity != 0
            && let Some(layout) = Self::layout(self.capacity)
        {
            // SAFETY: allocated with this layout.
            unsafe { dealloc(self.elements.as_ptr().cast(), layout) };
        }
    }
}

/// The elements `start..start + count` of `len`, if there are so many.
fn range(start: u32, count: u32, len: usize) -> Option<Range<usize>> {
    let start = start as usize;
    let end = start.checked_add(count as usize)?;
    (end <= len).then_some(start..end)
}

impl StoreCore {
    /// A new table whose elements are null; its number in the store.
    pub(crate) fn add_table(&mut self, ty: TableType) -> Result<u32> {
        let index = u32::try_from(self.tables.len()).expect("fewer tables than bytes");
        self.tables.push(TableData::new(ty));
        if self.grow_table(index, ty.min, 0).is_none() {
            self.tables.pop();
            return Err(crate::CompileError::Resource {
                what: format!("a table of {} elements", ty.min),
            }
            .into());
        }
        Ok(index)
    }

    /// Grows a table: the old length, or `None` if its type, the limit or the system says no.
    pub(crate) fn grow_table(&mut self, index: u32, count: u32, element: u64) -> Option<u32> {
        let all: u64 = self.tables.iter().map(|table| u64::from(table.len)).sum();
        if all + u64::from(count) > self.engine.inner.config.max_table_elements as u64 {
            return None;
        }
        let table = &mut self.tables[index as usize];
        let old = table.len;
        let new = old
            .checked_add(count)
            .filter(|&new| table.ty.max.is_none_or(|max| new <= max))?;
        if new > table.capacity {
            // growing by one, again and again, takes linear time
            let most = table.ty.max.unwrap_or(u32::MAX);
            let roomy = if old == 0 {
                new
            } else {
                old.saturating_mul(2).clamp(new, most)
            };
            if !table.reserve(roomy) && !table.reserve(new) {
                return None;
            }
        }
        table.len = new;
        if element != 0 {
            table.elements_mut()[old as usize..].fill(element);
        }
        table.update();
        Some(old)
    }

    /// Fills elements of a table; `None` if they lie outside.
    pub(crate) fn fill_table(
        &mut self,
        index: u32,
        start: u32,
        element: u64,
        count: u32,
    ) -> Option<()> {
        let elements = self.tables[index as usize].elements_mut();
        let range = range(start, count, elements.len())?;
        elements[range].fill(element);
        Some(())
    }

    /// Copies elements between tables, or within one; `None` if some lie outside.
    pub(crate) fn copy_table(
        &mut self,
        (to, to_start): (u32, u32),
        (from, from_start): (u32, u32),
        count: u32,
    ) -> Option<()> {
        let read = range(
            from_start,
            count,
            self.tables[from as usize].elements().len(),
        )?;
        let write = range(to_start, count, self.tables[to as usize].elements().len())?;
        if to == from {
            let elements = self.tables[to as usize].elements_mut();
            elements.copy_within(read, write.start);
        } else {
            let [to, from] = self
                .tables
                .get_disjoint_mut([to as usize, from as usize])
                .expect("two tables of the store");
            to.elements_mut()[write].copy_from_slice(&from.elements()[read]);
        }
        Some(())
    }

    /// Copies elements of a segment to a table; `None` if some lie outside.
    pub(crate) fn init_table(
        &mut self,
        instance: NonNull<InstanceInner>,
        table: u32,
        segment: u32,
        (to, from): (u32, u32),
        count: u32,
    ) -> Option<()> {
        // SAFETY: of this store.
        let inner = unsafe { &*instance.as_ptr() };
        let segment = segment as usize;
        let items: &[GlobalInit] = if inner.dropped_elements[segment] {
            &[]
        } else {
            &inner.module.inner.code.module.elements[segment].items
        };
        let items = &items[range(from, count, items.len())?];
        let table = inner.tables[table as usize];
        let elements = self.tables[table as usize].elements_mut();
        let write = range(to, count, elements.len())?;
        for (element, &item) in elements[write].iter_mut().zip(items) {
            *element = inner.constant(instance, item);
        }
        Some(())
    }

    /// Copies the active segments of a new instance, in order; `None` if one does not fit.
    pub(crate) fn init_tables(&mut self, instance: NonNull<InstanceInner>) -> Option<()> {
        // SAFETY: of this store.
        let module = unsafe { (*instance.as_ptr()).module.clone() };
        for (segment, number) in module.inner.code.module.elements.iter().zip(0..) {
            if let ElementMode::Active { table, offset } = segment.mode {
                let count = u32::try_from(segment.items.len()).expect("below 4 GiB of them");
                // SAFETY: of this store.
                let offset = unsafe { (*instance.as_ptr()).constant(instance, offset) };
                let offset = u32::try_from(offset & u64::from(u32::MAX)).expect("32 bits");
                self.init_table(instance, table.0, number, (offset, 0), count)?;
            }
            if segment.mode != ElementMode::Passive {
                // SAFETY: of this store.
                unsafe { (*instance.as_ptr()).dropped_elements[number as usize] = true };
            }
        }
        Some(())
    }
}

/// A handle of a table in a store.
///
/// # Examples
/// Functions that a guest calls by their index:
/// ```
/// use midair::{Engine, Linker, Module, Store, Val};
///
/// # fn main() -> midair::Result<()> {
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"(module
///     (type $number (func (result i32)))
///     (table (export "table") 2 funcref)
///     (elem (i32.const 0) $one)
///     (func $one (result i32) i32.const 1)
///     (func (export "run") (param i32) (result i32)
///         (call_indirect (type $number) (local.get 0))))"#)?;
/// let mut store = Store::new(&engine, ());
/// let instance = Linker::new(&engine).instantiate(&mut store, &module)?;
/// let run = instance.get_typed_func::<i32, i32>(&store, "run")?;
/// let table = instance.get_table(&store, "table").expect("it is exported");
/// assert!(run.call(&mut store, 1).is_err());
/// let one = table.get(&store, 0).expect("there is one");
/// table.set(&mut store, 1, one)?;
/// assert_eq!(run.call(&mut store, 1)?, 1);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    pub(crate) store: u64,
    pub(crate) index: u32,
}

impl Table {
    /// A new table whose elements are all `init`.
    ///
    /// # Errors
    /// If `init` is not of the table's type, the limit of a store is reached, or the system refuses the memory.
    pub fn new(store: impl AsContextMut, ty: TableType, init: impl Into<Val>) -> Result<Self> {
        if !ty.element.is_ref() {
            return Err(Error::msg(format_args!(
                "{} is not a type of references",
                ty.element
            )));
        }
        let word = element(&store, ty.element, &init.into())?;
        if ty.max.is_some_and(|max| max < ty.min) {
            return Err(Error::msg("a table's minimum is above its maximum"));
        }
        // SAFETY: borrowed exclusively.
        let core = unsafe { &mut (*store.store_ptr().0.as_ptr()).core };
        let index = core.add_table(ty)?;
        core.fill_table(index, 0, word, ty.min);
        Ok(Self {
            store: core.id,
            index,
        })
    }

    fn check(self, core: &StoreCore) {
        expect_own(self.store, core.id, "a table");
    }

    /// Its type, with the length it has at the moment as its minimum.
    ///
    /// # Panics
    /// If the table is of another store, as all its methods.
    pub fn ty(&self, store: impl AsContext) -> TableType {
        // SAFETY: borrowed.
        let core = unsafe { &(*store.store_ptr().0.as_ptr()).core };
        self.check(core);
        core.tables[self.index as usize].current_ty()
    }

    /// How many elements it has.
    pub fn size(&self, store: impl AsContext) -> u32 {
        // SAFETY: borrowed.
        let core = unsafe { &(*store.store_ptr().0.as_ptr()).core };
        self.check(core);
        core.tables[self.index as usize].len()
    }

    /// An element; `None` if there are not so many.
    pub fn get(&self, store: impl AsContext, index: u32) -> Option<Val> {
        // SAFETY: borrowed.
        let core = unsafe { &(*store.store_ptr().0.as_ptr()).core };
        self.check(core);
        let table = &core.tables[self.index as usize];
        let &word = table.elements().get(index as usize)?;
        // SAFETY: an element of that type, in a table of the store.
        Some(unsafe {
            Val::from_word(
                table.ty().element,
                word,
                CorePtr(store.store_ptr().0.cast()),
            )
        })
    }

    /// Changes an element.
    ///
    /// # Errors
    /// If there is none of that index, or the value is not of the table's type.
    pub fn set(&self, store: impl AsContextMut, index: u32, value: impl Into<Val>) -> Result<()> {
        let word = element(&store, self.ty(&store).element, &value.into())?;
        // SAFETY: borrowed exclusively.
        let core = unsafe { &mut (*store.store_ptr().0.as_ptr()).core };
        core.fill_table(self.index, index, word, 1)
            .ok_or_else(outside)
    }

    /// Grows it by `count` elements, which are all `init`, and gives the old length.
    ///
    /// # Errors
    /// If it may not be that large, the system refuses, or `init` is not of the table's type.
    pub fn grow(&self, store: impl AsContextMut, count: u32, init: impl Into<Val>) -> Result<u32> {
        let word = element(&store, self.ty(&store).element, &init.into())?;
        // SAFETY: borrowed exclusively.
        let core = unsafe { &mut (*store.store_ptr().0.as_ptr()).core };
        core.grow_table(self.index, count, word)
            .ok_or_else(|| Error::msg(format_args!("failed to grow table by `{count}`")))
    }

    /// Fills `count` elements from `start` on.
    ///
    /// # Errors
    /// If some lie outside (then none is changed), or the value is not of the table's type.
    pub fn fill(
        &self,
        store: impl AsContextMut,
        start: u32,
        value: impl Into<Val>,
        count: u32,
    ) -> Result<()> {
        let word = element(&store, self.ty(&store).element, &value.into())?;
        // SAFETY: borrowed exclusively.
        let core = unsafe { &mut (*store.store_ptr().0.as_ptr()).core };
        core.fill_table(self.index, start, word, count)
            .ok_or_else(outside)
    }

    /// Copies `count` elements of `from` to `to`, which may be the same table.
    ///
    /// # Errors
    /// If some lie outside (then none is changed), or the tables are of different types.
    pub fn copy(
        store: impl AsContextMut,
        to: &Self,
        to_index: u32,
        from: &Self,
        from_index: u32,
        count: u32,
    ) -> Result<()> {
        // SAFETY: borrowed exclusively.
        let core = unsafe { &mut (*store.store_ptr().0.as_ptr()).core };
        to.check(core);
        from.check(core);
        let element = |table: &Self| core.tables[table.index as usize].ty().element;
        if element(to) != element(from) {
            return Err(Error::msg(format_args!(
                "elements of a table of {} were copied to a table of {}",
                element(from),
                element(to)
            )));
        }
        core.copy_table((to.index, to_index), (from.index, from_index), count)
            .ok_or_else(outside)
    }
}

/// An element's word, if the value is of the table's type.
fn element(store: &impl AsContextMut, ty: ValType, value: &Val) -> Result<u64> {
    if value.ty() != ty {
        return Err(Error::msg(format_args!(
            "a table of {ty} was given an element of type {}",
            value.ty()
        )));
    }
    // SAFETY: the store is borrowed exclusively.
    unsafe { value.to_word(CorePtr(store.store_ptr().0.cast())) }
}

fn outside() -> Error {
    Error::new(crate::Trap::TableOutOfBounds)
}
