//! References of the host's in a store: the table behind `externref`, and the exact tracing that releases what no guest and
//! no handle can reach.
//!
//! [essay: references]
//!
//! To guest code a reference is a word: 0 for null, else its index in the store's table plus 1. It copies such words freely;
//! nothing is counted. The host holds [`ExternRef`] handles, which share a counted cell with the table's slot.
//!
//! A collection marks what guests can reach and sweeps the rest. Its roots:
//!
//! | where a word may lie | what tells where |
//! |---|---|
//! | globals, tables | their types |
//! | a suspended frame | the site of its continuation: `references` |
//! | a running frame | the site its callee returns to: `references`, as slots of the frame |
//! | a frame that waits for a resumed one | as a suspended frame: the dispatch loop says which (`rest`) |
//! | a handle of the host's | its cell is shared |
//! | registers, transfer area | nothing: no collection happens while words are on their way |
//!
//! **Invariant (collections).** They happen in [`ExternRef::new`] and `gc` only, which the host calls: so every guest frame
//! of the store that is not suspended waits in a call, beneath a host function, and a call is a suspension point.
//!
//! **Invariant (a handle keeps its slot).** A slot whose cell is shared is not swept, so an index in a handle is never stale.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "finding a place and the one access to it are argued together"
)]

use crate::{
    dispatch::Waiting,
    error::{Error, Result},
    host::Panic,
    store::{AsContext, AsContextMut, StoreCore},
};
use midair_continuation::{
    Header,
    header::{FLAG_HOST_LEAF, FLAG_SWITCH, payload},
};
use midair_jit::{
    runtime::{migrate, trap},
    wasm::types::ValType,
};
use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    ptr::NonNull,
    sync::Arc,
};

/// A reference of the host's, as guests pass it around: a handle of something in a store, which keeps it alive.
///
/// Clones are handles of the same thing. It is released some time after the last handle is gone and no guest can reach it
/// any more, at the latest with its store; [`Store::gc`](crate::Store::gc) does so now.
///
/// Something that holds handles itself keeps what they stand for alive; if that leads back to itself, until the store ends.
///
/// # Examples
/// ```
/// use midair::{Engine, ExternRef, Linker, Module, Store};
///
/// # fn main() -> midair::Result<()> {
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"(module
///     (func (export "either") (param externref externref i32) (result externref)
///         (select (result externref) (local.get 0) (local.get 1) (local.get 2))))"#)?;
/// let mut store = Store::new(&engine, ());
/// let instance = Linker::new(&engine).instantiate(&mut store, &module)?;
/// let either = instance
///     .get_typed_func::<(Option<ExternRef>, Option<ExternRef>, i32), Option<ExternRef>>(&store, "either")?;
///
/// let text = ExternRef::new(&mut store, "text".to_owned());
/// let number = ExternRef::new(&mut store, 7_u64);
/// let chosen = either.call(&mut store, (Some(text), Some(number), 0))?.expect("not null");
/// assert_eq!(chosen.data(&store)?.downcast_ref(), Some(&7_u64));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ExternRef {
    cell: Arc<Anchor>,
}

/// What handles and their slot share.
#[derive(Debug)]
struct Anchor {
    store: u64,
    index: u32,
}

/// What a reference stands for.
pub(crate) type Payload = Box<dyn Any + Send + Sync>;

enum Slot {
    /// Next vacant slot, if there is one.
    Vacant(Option<u32>),
    Taken {
        payload: Payload,
        cell: Arc<Anchor>,
    },
}

/// The references of a store.
pub(crate) struct References {
    slots: Vec<Slot>,
    vacant: Option<u32>,
    taken: usize,
    /// With that many taken, a collection is due.
    enough: usize,
    /// Globals of the host's that hold one.
    pub(crate) globals: Vec<NonNull<u64>>,
}

/// Fewer references than these are not worth a collection.
const FEW: usize = 64;

impl Default for References {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            vacant: None,
            taken: 0,
            enough: FEW,
            globals: Vec::new(),
        }
    }
}

impl fmt::Debug for References {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("References")
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

impl References {
    fn insert(&mut self, store: u64, payload: Payload) -> ExternRef {
        let index = self.vacant.unwrap_or_else(|| {
            u32::try_from(self.slots.len()).expect("fewer references than bytes of memory")
        });
        let cell = Arc::new(Anchor { store, index });
        let slot = Slot::Taken {
            payload,
            cell: Arc::clone(&cell),
        };
        match self.slots.get_mut(index as usize) {
            Some(place) => {
                let Slot::Vacant(next) = std::mem::replace(place, slot) else {
                    unreachable!("the list of vacant slots has only such")
                };
                self.vacant = next;
            }
            None => self.slots.push(slot),
        }
        self.taken += 1;
        ExternRef { cell }
    }

    fn payload(&self, index: u32) -> &Payload {
        let Slot::Taken { payload, .. } = &self.slots[index as usize] else {
            unreachable!("a handle keeps its slot")
        };
        payload
    }

    fn payload_mut(&mut self, index: u32) -> &mut Payload {
        let Slot::Taken { payload, .. } = &mut self.slots[index as usize] else {
            unreachable!("a handle keeps its slot")
        };
        payload
    }

    /// A handle of what a guest's word, which is not null, stands for.
    ///
    /// # Panics
    /// If it stands for nothing: the tracing has missed it.
    fn handle(&self, word: u64) -> ExternRef {
        let slot = usize::try_from(word - 1).map(|index| self.slots.get(index));
        let Ok(Some(Slot::Taken { cell, .. })) = slot else {
            panic!("a guest holds a reference that was released");
        };
        ExternRef {
            cell: Arc::clone(cell),
        }
    }

    /// Takes out what is neither marked nor held.
    fn sweep(&mut self, marks: &Marks) -> Vec<Payload> {
        let mut garbage = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let Slot::Taken { cell, .. } = slot else {
                continue;
            };
            // only the slot has it: nobody else can make another
            if marks.contains(index) || Arc::strong_count(cell) > 1 {
                continue;
            }
            let vacant = Slot::Vacant(self.vacant);
            self.vacant = Some(cell.index);
            if let Slot::Taken { payload, .. } = std::mem::replace(slot, vacant) {
                garbage.push(payload);
            }
        }
        self.taken -= garbage.len();
        // twice as many; and where stacks are deep, enough to pay for following them
        self.enough = (2 * self.taken)
            .max(self.taken + marks.visited / 4)
            .max(FEW);
        garbage
    }

    /// Everything, at the store's end.
    pub(crate) fn into_payloads(self) -> Vec<Payload> {
        self.slots
            .into_iter()
            .filter_map(|slot| match slot {
                Slot::Taken { payload, .. } => Some(payload),
                Slot::Vacant(_) => None,
            })
            .collect()
    }
}

/// Drops payloads one by one; the first panic, if one of them panics.
pub(crate) fn drop_payloads(garbage: Vec<Payload>) -> Result<(), Panic> {
    let mut result = Ok(());
    for payload in garbage {
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        if result.is_ok() {
            result = dropped;
        }
    }
    result
}

/// One bit per slot.
struct Marks {
    bits: Vec<u64>,
    slots: usize,
    /// Frames, globals and elements looked at.
    visited: usize,
}

impl Marks {
    fn new(slots: usize) -> Self {
        Self {
            bits: vec![0; slots.div_ceil(64)],
            slots,
            visited: 0,
        }
    }

    /// Marks what a word stands for.
    fn word(&mut self, word: u64) {
        let index = word
            .checked_sub(1)
            .and_then(|index| usize::try_from(index).ok())
            .filter(|&index| index < self.slots);
        if let Some(index) = index {
            self.bits[index / 64] |= 1 << (index % 64);
        }
    }

    fn contains(&self, index: usize) -> bool {
        self.bits[index / 64] & (1 << (index % 64)) != 0
    }
}

impl StoreCore {
    /// A handle of what a guest's word stands for; `None` for null.
    pub(crate) fn reference(&self, word: u64) -> Option<ExternRef> {
        if word == 0 {
            return None;
        }
        let references = self.references.as_ref().expect("there is one");
        Some(references.handle(word))
    }

    /// Takes out what nobody can reach. `frame` is that of the host function that asks, or 0.
    ///
    /// # Safety
    /// No guest word is on its way: the host asks, with the store borrowed exclusively.
    unsafe fn collect(&mut self, frame: usize) -> Vec<Payload> {
        let Some(references) = &self.references else {
            return Vec::new();
        };
        let mut marks = Marks::new(references.slots.len());
        for &instance in &self.instances {
            // SAFETY: owned by this store.
            let inner = unsafe { instance.as_ref() };
            let globals = &inner.module.inner.code.module.globals;
            for (index, global) in globals.iter().enumerate() {
                if global.ty == ValType::ExternRef {
                    // SAFETY: of this store, as those it imports.
                    marks.word(unsafe { inner.global(instance, index).read() });
                }
            }
            marks.visited += globals.len();
        }
        for table in &self.tables {
            if table.ty().element == ValType::ExternRef {
                marks.visited += table.elements().len();
                for &word in table.elements() {
                    marks.word(word);
                }
            }
        }
        for global in &references.globals {
            // SAFETY: of this store.
            marks.word(unsafe { global.read() });
        }
        let parked = self.activations.root.iter();
        let nested = self.activations.nested.iter();
        for parked in parked.chain(nested.filter_map(|(_, parked)| parked.as_ref())) {
            // SAFETY: a parked chain of this store.
            unsafe { mark_chain(&mut marks, parked.leaf) };
        }
        if frame != 0 {
            // SAFETY: the caller's: guest code runs, and what waits for it is there.
            unsafe { self.mark_frames(&mut marks, frame, self.activations.rest()) };
        }
        for waiting in &self.activations.waiting {
            match *waiting {
                // SAFETY: a chain whose leaf is being polled.
                Waiting::Chain(leaf) => unsafe { mark_chain(&mut marks, leaf) },
                // SAFETY: frames above a host function that has not returned, and what waits for them.
                Waiting::Frames(frame, _, kept) => unsafe {
                    self.mark_frames(&mut marks, frame, (*kept).next);
                },
            }
        }
        self.references
            .as_mut()
            .map_or_else(Vec::new, |references| references.sweep(&marks))
    }

    /// Marks what the guest frames above a host function hold, and the continuations that wait for them.
    ///
    /// # Safety
    /// `frame` is the frame register of a live host stub of this thread, `rest` a live chain or null.
    unsafe fn mark_frames(&self, marks: &mut Marks, frame: usize, rest: *mut Header) {
        if let Some(rest) = NonNull::new(rest) {
            // SAFETY: the caller's.
            unsafe { mark_chain(marks, rest) };
        }
        let table = &self.engine.inner.shared.pc_table;
        // SAFETY: the caller's.
        unsafe {
            trap::walk_frames(frame, |pc, frame| {
                marks.visited += 1;
                let Some(code) = table.lookup(pc) else { return };
                let site = code.site_returning_to(pc);
                debug_assert!(site.is_some(), "a guest frame waits in a call");
                for &(_, slot) in site.iter().flat_map(|site| &site.references) {
                    let slot = frame.wrapping_add_signed(slot.0 as isize);
                    marks.word(std::ptr::with_exposed_provenance::<u64>(slot).read());
                }
            });
        }
    }
}

/// Marks what the guest frames of a suspended chain hold.
///
/// # Safety
/// `first` begins a live chain that nobody changes meanwhile.
unsafe fn mark_chain(marks: &mut Marks, first: NonNull<Header>) {
    let mut next = Some(first);
    while let Some(link) = next {
        // SAFETY: the caller's.
        let header = unsafe { link.as_ref() };
        marks.visited += 1;
        if header.flags & (FLAG_HOST_LEAF | FLAG_SWITCH) == 0 {
            // SAFETY: a guest continuation.
            let site = unsafe { migrate::site_of(link) };
            let image = payload(link).cast::<u64>();
            for &(word, _) in &site.references {
                // SAFETY: within the image.
                marks.word(unsafe { image.add(word as usize).read() });
            }
        }
        next = NonNull::new(header.next);
    }
}

/// Releases what nobody can reach, until nothing more is found.
pub(crate) fn collect_all(store: &impl AsContextMut) {
    let core: NonNull<StoreCore> = store.store_ptr().0.cast();
    let frame = store.host_frame();
    loop {
        // SAFETY: the store is borrowed exclusively, by the host.
        let garbage = unsafe { (*core.as_ptr()).collect(frame) };
        if garbage.is_empty() {
            return;
        }
        // the store is not touched meanwhile: a payload's destructor may do what the host may
        if let Err(panic) = drop_payloads(garbage) {
            resume_unwind(panic);
        }
    }
}

impl ExternRef {
    /// Puts something into a store, for guests to refer to. What nobody can reach any more may be released first.
    ///
    /// # Panics
    /// With the panic of a destructor of something released.
    pub fn new<D: Any + Send + Sync>(store: impl AsContextMut, data: D) -> Self {
        let core: NonNull<StoreCore> = store.store_ptr().0.cast();
        let (made, garbage) = {
            // SAFETY: the store is borrowed exclusively.
            let core = unsafe { &mut *core.as_ptr() };
            let references = core.references.get_or_insert_default();
            let garbage = if references.taken >= references.enough {
                // SAFETY: the same, by the host.
                unsafe { core.collect(store.host_frame()) }
            } else {
                Vec::new()
            };
            let references = core.references.get_or_insert_default();
            (references.insert(core.id, Box::new(data)), garbage)
        };
        if let Err(panic) = drop_payloads(garbage) {
            resume_unwind(panic);
        }
        made
    }

    /// What it stands for.
    ///
    /// # Errors
    /// If it is of another store.
    pub fn data<'a, C: AsContext>(&self, store: &'a C) -> Result<&'a (dyn Any + Send + Sync)> {
        // SAFETY: the store is borrowed for 'a.
        let core = unsafe { &(*store.store_ptr().0.as_ptr()).core };
        self.check(core.id)?;
        let references = core.references.as_ref().expect("a handle keeps its slot");
        Ok(&**references.payload(self.cell.index))
    }

    /// What it stands for, to change it.
    ///
    /// # Errors
    /// If it is of another store.
    pub fn data_mut<'a, C: AsContextMut>(
        &self,
        store: &'a mut C,
    ) -> Result<&'a mut (dyn Any + Send + Sync)> {
        // SAFETY: the store is borrowed exclusively for 'a.
        let core = unsafe { &mut (*store.store_ptr().0.as_ptr()).core };
        self.check(core.id)?;
        let references = core.references.as_mut().expect("a handle keeps its slot");
        Ok(&mut **references.payload_mut(self.cell.index))
    }

    /// Whether both stand for the same thing: made by the same [`new`](Self::new).
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.cell, &other.cell)
    }

    fn check(&self, store: u64) -> Result<()> {
        if self.cell.store == store {
            Ok(())
        } else {
            Err(Error::msg(
                "a reference was used with another store than its own",
            ))
        }
    }

    /// The word guests know it by.
    pub(crate) fn to_word(&self, store: u64) -> Result<u64> {
        self.check(store)?;
        Ok(u64::from(self.cell.index) + 1)
    }
}

impl fmt::Debug for ExternRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternRef")
            .field("store", &self.cell.store)
            .field("index", &self.cell.index)
            .finish()
    }
}
