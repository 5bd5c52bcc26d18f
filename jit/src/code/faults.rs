//! Instructions whose fault is a trap, found by their address from a signal handler.
//!
//! ```text
//!   CHUNKS: start..end of each chunk of code ─▶ its codes, by rising address ─▶ (instruction, operator), by rising address
//! ```
//!
//! A handler may interrupt its thread anywhere, so reading takes no lock and allocates nothing: both lists grow by segments
//! that never move, and are as long as their length says. Chunks come and go while others read; the version of an entry
//! tells a reader that it changed under its hands. The chunk that a reader looks for cannot be the one that changes: its
//! code is being run by that very thread.

use crate::wasm::types::{CodeOffset, WasmOffset};
use parking_lot::Mutex;
use std::{
    fmt,
    ops::Range,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering, fence},
    },
};

/// Instructions of one code whose fault is a trap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Where the thread goes on, with the operator's offset in the register of the trap helper's third argument.
    pub landing: CodeOffset,
    /// The instructions by rising offset, with their operators.
    pub at: Vec<(CodeOffset, WasmOffset)>,
}

impl Faults {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }
}

/// What a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where the thread goes on.
    pub landing: usize,
    /// The operator that traps.
    pub offset: WasmOffset,
}

/// Segment `n` holds `FIRST << n` entries.
const FIRST: usize = 16;
const SEGMENTS: usize = 28;

/// One segment; each of its entries is set once.
type Segment<T> = OnceLock<Box<[OnceLock<T>]>>;

/// A list that grows while others read it, without a lock.
struct Growing<T> {
    len: AtomicUsize,
    segments: [Segment<T>; SEGMENTS],
}

impl<T> fmt::Debug for Growing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Growing")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl<T> Growing<T> {
    const fn new() -> Self {
        Self {
            len: AtomicUsize::new(0),
            segments: [const { OnceLock::new() }; SEGMENTS],
        }
    }

    /// The segment of an entry, and where it lies there.
    fn place(index: usize) -> (usize, usize) {
        let n = (index / FIRST + 1).ilog2() as usize;
        (n, index - FIRST * ((1 << n) - 1))
    }

    fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    fn get(&self, index: usize) -> Option<&T> {
        let (n, at) = Self::place(index);
        self.segments.get(n)?.get()?.get(at)?.get()
    }

    /// Adds an entry. One thread at a time may.
    fn push(&self, value: T) -> usize {
        let index = self.len();
        let (n, at) = Self::place(index);
        let segment =
            self.segments[n].get_or_init(|| (0..FIRST << n).map(|_| OnceLock::new()).collect());
        assert!(segment[at].set(value).is_ok(), "two threads added at once");
        self.len.store(index + 1, Ordering::Release);
        index
    }
}

/// Codes of one chunk of code memory, by rising address.
#[derive(Debug)]
struct Codes(Growing<Code>);

#[derive(Debug)]
struct Code {
    start: usize,
    faults: Arc<Faults>,
}

impl Codes {
    fn find(&self, pc: usize) -> Option<Fault> {
        let (mut low, mut high) = (0, self.0.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.0.get(middle)?.start <= pc {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let code = self.0.get(low.checked_sub(1)?)?;
        let offset = CodeOffset(u32::try_from(pc - code.start).ok()?);
        let faults = &code.faults;
        let at = faults
            .at
            .binary_search_by_key(&offset, |&(at, _)| at)
            .ok()?;
        Some(Fault {
            landing: code.start + faults.landing.0 as usize,
            offset: faults.at[at].1,
        })
    }
}

/// A chunk of code, or room for one (then it is empty). While its version is odd it is being changed.
#[derive(Debug)]
struct Chunk {
    version: AtomicU32,
    start: AtomicUsize,
    end: AtomicUsize,
    codes: AtomicPtr<Codes>,
}

impl Chunk {
    /// One thread at a time.
    fn set(&self, range: Range<usize>, codes: *mut Codes) {
        let version = self.version.load(Ordering::Relaxed);
        self.version
            .store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.start.store(range.start, Ordering::Relaxed);
        self.end.store(range.end, Ordering::Relaxed);
        self.codes.store(codes, Ordering::Relaxed);
        self.version
            .store(version.wrapping_add(2), Ordering::Release);
    }

    /// Its codes, if `pc` lies in it and it is not being changed.
    fn codes_at(&self, pc: usize) -> Option<*const Codes> {
        let before = self.version.load(Ordering::Acquire);
        let start = self.start.load(Ordering::Relaxed);
        let end = self.end.load(Ordering::Relaxed);
        let codes = self.codes.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let after = self.version.load(Ordering::Relaxed);
        (before == after && before.is_multiple_of(2) && (start..end).contains(&pc)).then_some(codes)
    }
}

/// All chunks of this process that have such instructions.
static CHUNKS: Growing<Chunk> = Growing::new();

/// Which of them are free; held while the list is changed.
static FREE: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// What a chunk of code memory keeps: its entry among all of them, while it lives.
#[derive(Debug)]
pub(super) struct Registration {
    codes: Arc<Codes>,
    entry: usize,
}

impl Registration {
    /// Makes the chunk known; it has no such instruction yet.
    pub(super) fn new(range: Range<usize>) -> Self {
        let codes = Arc::new(Codes(Growing::new()));
        let pointer = Arc::as_ptr(&codes).cast_mut();
        let mut free = FREE.lock();
        let entry = free.pop().unwrap_or_else(|| {
            CHUNKS.push(Chunk {
                version: AtomicU32::new(0),
                start: AtomicUsize::new(0),
                end: AtomicUsize::new(0),
                codes: AtomicPtr::default(),
            })
        });
        CHUNKS
            .get(entry)
            .expect("pushed, now or before")
            .set(range, pointer);
        Self { codes, entry }
    }

    /// Makes the instructions of the code at `start` known, before it can run. It lies behind the codes added before; one
    /// thread at a time.
    pub(super) fn add(&mut self, start: usize, faults: Arc<Faults>) {
        self.codes.0.push(Code { start, faults });
    }
}

impl Drop for Registration {
    /// The chunk's code runs no longer.
    fn drop(&mut self) {
        let mut free = FREE.lock();
        CHUNKS
            .get(self.entry)
            .expect("pushed before")
            .set(0..0, std::ptr::null_mut());
        free.push(self.entry);
    }
}

/// What a fault of the instruction at `pc` is, if it is a trap. Takes no lock and allocates nothing.
///
/// # Safety
/// 1. The calling thread was interrupted at `pc`.
pub unsafe fn find(pc: usize) -> Option<Fault> {
    for n in 0..CHUNKS.len() {
        if let Some(codes) = CHUNKS.get(n).and_then(|chunk| chunk.codes_at(pc)) {
            // SAFETY: (1): the thread is in code of this chunk, so the chunk lives, and so does what it keeps.
            return unsafe { (*codes).find(pc) };
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(at: &[u32]) -> Arc<Faults> {
        Arc::new(Faults {
            landing: CodeOffset(90),
            at: at
                .iter()
                .map(|&at| (CodeOffset(at), WasmOffset(at + 1000)))
                .collect(),
        })
    }

    fn offset(pc: usize) -> Option<u32> {
        // SAFETY: the chunks of these tests live while they are asked about.
        unsafe { find(pc) }.map(|fault| fault.offset.0)
    }

    #[test]
    fn an_instruction_is_found_in_its_code_and_no_other_is() {
        let base = 0x10_0000;
        let mut chunk = Registration::new(base..base + 0x1000);
        assert_eq!(offset(base + 3), None);
        for n in 0..100 {
            chunk.add(base + 32 * n, faults(&[3, 17]));
        }
        for n in 0..100 {
            assert_eq!(offset(base + 32 * n + 3), Some(1003));
            assert_eq!(offset(base + 32 * n + 17), Some(1017));
            assert_eq!(offset(base + 32 * n + 4), None);
        }
        // SAFETY: as above.
        let found = unsafe { find(base + 67) }.expect("the third code");
        assert_eq!(found.landing, base + 64 + 90);
        drop(chunk);
        assert_eq!(offset(base + 3), None);
    }

    #[test]
    fn a_chunk_is_found_while_others_come_and_go() {
        let base = 0x20_0000;
        let mut kept = Registration::new(base..base + 0x1000);
        kept.add(base, faults(&[8]));
        std::thread::scope(|scope| {
            for thread in 0..2 {
                scope.spawn(move || {
                    for n in 0..2000 {
                        let start = (0x1000 + thread * 4000 + n) << 16;
                        let mut chunk = Registration::new(start..start + 0x1000);
                        chunk.add(start, faults(&[8]));
                        assert_eq!(offset(start + 8), Some(1008));
                    }
                });
            }
            for _ in 0..20_000 {
                assert_eq!(offset(base + 8), Some(1008));
            }
        });
    }

    #[test]
    fn entries_of_a_growing_list_fill_its_segments_in_order() {
        let mut last = (0, 0);
        for index in 1..10_000 {
            let (n, at) = Growing::<u8>::place(index);
            let next = if last.1 + 1 < FIRST << last.0 {
                (last.0, last.1 + 1)
            } else {
                (last.0 + 1, 0)
            };
            assert_eq!((n, at), next);
            last = next;
        }
    }
}
