//! Address space for code, and its protection.
//!
//! ```text
//!            memory file
//!           ┌──────────────────────────┐
//!   write ──┤ chunk: code code code ...├── execute
//!    (rw-)  └──────────────────────────┘   (r-x)
//! ```
//!
//! Each chunk is one anonymous memory file mapped twice: at one address it can be written, at another executed.
//!
//! **Invariant (never writable and executable).** No mapping made here has both rights, at any time.
//!
//! **Invariant (published code never moves).** A chunk stays mapped at its address until its cache is dropped, and bytes
//! that were published are not written again.

use super::faults::{Faults, Registration};
use crate::{error::CompileError, wasm::types::CodeOffset};
use parking_lot::Mutex;
use std::{io, ptr::NonNull, sync::Arc};

/// A native address of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CodeAddr(pub usize);

impl CodeAddr {
    /// That many bytes further.
    #[must_use]
    pub fn at(self, offset: CodeOffset) -> Self {
        Self(self.0 + offset.0 as usize)
    }
}

/// Code starts so many bytes or fewer behind where the last ended.
const CODE_ALIGN: usize = 32;

/// Bytes from one piece's place within [`CODE_ALIGN`] to the next one's: odd, so that all places are taken in turn.
///
/// A predictor of indirect branches tells one past from another by bits of the addresses it went through. Zen 4's wants to
/// see the lowest four differ: where all functions began at multiples of 16, a call that went to two of them in turn was
/// mispredicted each time, at five times its price.
const STAGGER: usize = 5;

/// The first chunk's size; each further one doubles, up to [`MAX_CHUNK`].
const FIRST_CHUNK: usize = 64 << 10;
const MAX_CHUNK: usize = 4 << 20;
const PAGE: usize = 4096;

/// Where code is published; one per module.
#[derive(Debug, Default)]
pub struct CodeCache {
    chunks: Mutex<Vec<Chunk>>,
}

impl CodeCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// Places `bytes` and makes them executable. `fill` gets the address and the bytes before anybody can run them.
    ///
    /// # Errors
    /// [`CompileError::Resource`] when the system refuses memory.
    pub fn publish(
        &self,
        bytes: &mut [u8],
        fill: impl FnOnce(CodeAddr, &mut [u8]),
    ) -> Result<CodeAddr, CompileError> {
        self.publish_with(bytes, &Arc::default(), fill)
    }

    /// The same, of code with instructions whose fault is a trap.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_with(
        &self,
        bytes: &mut [u8],
        faults: &Arc<Faults>,
        fill: impl FnOnce(CodeAddr, &mut [u8]),
    ) -> Result<CodeAddr, CompileError> {
        let mut chunks = self.chunks.lock();
        let needed = bytes.len() + CODE_ALIGN;
        if chunks.last().is_none_or(|chunk| chunk.room() < needed) {
            let size = chunks
                .last()
                .map_or(FIRST_CHUNK, |chunk| (chunk.size * 2).min(MAX_CHUNK));
            let size = size.max(needed.next_multiple_of(PAGE));
            let chunk = Chunk::new(size).map_err(|error| CompileError::Resource {
                what: format!("{size} bytes of code memory: {error}"),
            })?;
            chunks.push(chunk);
        }
        let chunk = chunks.last_mut().expect("pushed above");
        let start = chunk.next_start();
        let address = CodeAddr(chunk.execute.as_ptr() as usize + start);
        fill(address, bytes);
        // SAFETY: `start + len <= size`, and the range behind `start` was never published.
        let target = unsafe { chunk.write.add(start) };
        // SAFETY: a writable mapping of our own, not overlapping the caller's bytes.
        unsafe { target.copy_from_nonoverlapping(NonNull::from_ref(&bytes[0]), bytes.len()) };
        if !faults.is_empty() {
            let start = chunk.execute.as_ptr() as usize;
            chunk
                .faults
                .get_or_insert_with(|| Registration::new(start..start + chunk.size))
                .add(address.0, Arc::clone(faults));
        }
        chunk.used = start + bytes.len();
        chunk.pieces += 1;
        Ok(address)
    }

    /// Whether an address lies in this cache.
    pub fn contains(&self, address: CodeAddr) -> bool {
        self.chunks.lock().iter().any(|chunk| {
            let start = chunk.execute.as_ptr() as usize;
            (start..start + chunk.size).contains(&address.0)
        })
    }

    /// Bytes of code published so far, alignment included.
    pub fn bytes(&self) -> usize {
        self.chunks.lock().iter().map(|chunk| chunk.used).sum()
    }
}

/// One memory file with its two mappings.
#[derive(Debug)]
struct Chunk {
    write: NonNull<u8>,
    execute: NonNull<u8>,
    size: usize,
    used: usize,
    /// How many pieces of code it holds.
    pieces: usize,
    /// Dropped before the mappings are.
    faults: Option<Registration>,
}

// SAFETY: the mappings are reached through the cache's lock only, and belong to the whole process.
unsafe impl Send for Chunk {}

impl Chunk {
    fn new(size: usize) -> io::Result<Self> {
        // SAFETY: a static name and no flags that take further arguments.
        let file = unsafe { libc::memfd_create(c"midair-code".as_ptr(), libc::MFD_CLOEXEC) };
        if file < 0 {
            return Err(io::Error::last_os_error());
        }
        let length = libc::off_t::try_from(size).expect("a chunk is smaller than 2^63 bytes");
        // SAFETY: a file of our own.
        let sized = unsafe { libc::ftruncate(file, length) };
        let chunk = if sized == 0 {
            Self::map_both(file, size)
        } else {
            Err(io::Error::last_os_error())
        };
        // SAFETY: ours; the mappings keep the memory.
        unsafe { libc::close(file) };
        chunk
    }

    fn map_both(file: libc::c_int, size: usize) -> io::Result<Self> {
        let write = map(file, size, libc::PROT_READ | libc::PROT_WRITE)?;
        match map(file, size, libc::PROT_READ | libc::PROT_EXEC) {
            Ok(execute) => Ok(Self {
                write,
                execute,
                size,
                used: 0,
                pieces: 0,
                faults: None,
            }),
            Err(error) => {
                unmap(write, size);
                Err(error)
            }
        }
    }

    /// Where the next piece of code begins: the next place in turn, less than [`CODE_ALIGN`] bytes from what is used.
    fn next_start(&self) -> usize {
        let place = self.pieces * STAGGER % CODE_ALIGN;
        let behind = (place + CODE_ALIGN - self.used % CODE_ALIGN) % CODE_ALIGN;
        self.used + behind
    }

    fn room(&self) -> usize {
        self.size.saturating_sub(self.used)
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.faults = None;
        unmap(self.write, self.size);
        unmap(self.execute, self.size);
    }
}

fn map(file: libc::c_int, size: usize, protection: libc::c_int) -> io::Result<NonNull<u8>> {
    // SAFETY: a fresh mapping wherever the system likes; nothing existing is touched.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size,
            protection,
            libc::MAP_SHARED,
            file,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(NonNull::new(address.cast::<u8>()).expect("the system does not map page zero unasked"))
}

fn unmap(address: NonNull<u8>, size: usize) {
    // SAFETY: a mapping of our own, of that size; see the invariants for who may still use it: nobody.
    unsafe { libc::munmap(address.as_ptr().cast(), size) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ranges of this process that are writable and executable.
    fn writable_and_executable() -> Vec<String> {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux has it");
        maps.lines()
            .filter(|line| line.split(' ').nth(1).is_some_and(|p| p.contains("wx")))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn published_bytes_run_and_no_mapping_is_writable_and_executable() {
        let cache = CodeCache::new();
        let mut code = [0xb8, 42, 0, 0, 0, 0xc3]; // mov eax, 42; ret
        let first = cache.publish(&mut code, |_, _| ()).expect("memory");
        let mut large = vec![0x90; 200_000];
        large.push(0xc3);
        let second = cache.publish(&mut large, |_, _| ()).expect("memory");
        assert_ne!(first, second);
        // SAFETY: six bytes of code that return 42 by the C convention.
        let run = unsafe { std::mem::transmute::<usize, extern "C" fn() -> u32>(first.0) };
        assert_eq!(run(), 42);
        assert_eq!(writable_and_executable(), Vec::<String>::new());
    }

    #[test]
    fn pieces_that_follow_each_other_begin_at_different_places_of_a_line() {
        let cache = CodeCache::new();
        let places: std::collections::HashSet<usize> = (0..CODE_ALIGN)
            .map(|n| {
                let mut code = vec![0xc3; 1 + 7 * n];
                cache.publish(&mut code, |_, _| ()).expect("memory").0 % CODE_ALIGN
            })
            .collect();
        assert_eq!(places.len(), CODE_ALIGN);
    }

    #[test]
    fn the_mapping_test_catches_a_planted_fault() {
        // In a process of its own, so that the fault is not seen by the other test.
        // SAFETY: an anonymous mapping of our own.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: as above.
            unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    PAGE,
                    libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                    -1,
                    0,
                )
            };
            let caught = !writable_and_executable().is_empty();
            // SAFETY: ends the child without running the parent's destructors.
            unsafe { libc::_exit(if caught { 7 } else { 8 }) };
        }
        let mut status = 0;
        // SAFETY: our own child.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(
            libc::WEXITSTATUS(status),
            7,
            "a writable and executable page went unnoticed"
        );
    }
}
