//! Memory from the system: zeroed when it is touched first, growing, with or without address space reserved around it.
//!
//! ```text
//!   guarded   base ├── readable and writable ──┤── no access, reserved once and for all ── ... ──┤  never moves
//!   plain     base ├── readable and writable ──┤                                                    may move
//! ```

use midair_jit::runtime::signal::{self, RESERVATION};
use std::{io, ptr, ptr::NonNull};

/// A mapping of our own.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    /// Bytes that can be read and written, from `base` on.
    len: usize,
    /// Bytes mapped.
    mapped: usize,
}

// SAFETY: it owns its mapping, which belongs to the whole process.
unsafe impl Send for Mapping {}
// SAFETY: shared, it gives out addresses only.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// No bytes yet, and none reserved.
    pub(crate) const fn plain() -> Self {
        Self {
            base: NonNull::dangling(),
            len: 0,
            mapped: 0,
        }
    }

    /// No bytes yet, but address space for all that an access can reach, and the handler that makes a trap of reaching too far.
    pub(crate) fn guarded() -> io::Result<Self> {
        signal::install()?;
        let base = map(RESERVATION, libc::PROT_NONE, libc::MAP_NORESERVE)?;
        Ok(Self {
            base,
            len: 0,
            mapped: RESERVATION,
        })
    }

    fn is_guarded(&self) -> bool {
        self.mapped == RESERVATION
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Grows to `len` bytes, a multiple of the page size and at most 4 GiB; new ones are zero.
    pub(crate) fn grow(&mut self, len: usize) -> io::Result<()> {
        if len <= self.len {
            return Ok(());
        }
        if self.is_guarded() {
            // SAFETY: within the mapping.
            let behind = unsafe { self.base.add(self.len) };
            // SAFETY: a part of our own mapping that nobody could use until now.
            let done = unsafe {
                libc::mprotect(
                    behind.as_ptr().cast(),
                    len - self.len,
                    libc::PROT_READ | libc::PROT_WRITE,
                )
            };
            if done != 0 {
                return Err(io::Error::last_os_error());
            }
        } else {
            self.base = if self.mapped == 0 {
                map(len, libc::PROT_READ | libc::PROT_WRITE, 0)?
            } else {
                // SAFETY: a mapping of our own of that size, whose address nobody keeps who is not told of the new one.
                let moved = unsafe {
                    libc::mremap(
                        self.base.as_ptr().cast(),
                        self.mapped,
                        len,
                        libc::MREMAP_MAYMOVE,
                    )
                };
                found(moved)?
            };
            self.mapped = len;
        }
        self.len = len;
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.mapped != 0 {
            // SAFETY: a mapping of our own, used no longer.
            unsafe { libc::munmap(self.base.as_ptr().cast(), self.mapped) };
        }
    }
}

fn map(len: usize, protection: libc::c_int, flags: libc::c_int) -> io::Result<NonNull<u8>> {
    // SAFETY: a fresh mapping wherever the system likes; nothing existing is touched.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            len,
            protection,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags,
            -1,
            0,
        )
    };
    found(address)
}

fn found(address: *mut libc::c_void) -> io::Result<NonNull<u8>> {
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(NonNull::new(address.cast()).expect("the system does not map page zero unasked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 64 << 10;

    fn bytes(mapping: &mut Mapping) -> &mut [u8] {
        // SAFETY: readable, writable, zeroed by the system; borrowed as the mapping is.
        unsafe { std::slice::from_raw_parts_mut(mapping.base().as_ptr(), mapping.len()) }
    }

    fn grows(mut mapping: Mapping) -> Mapping {
        mapping.grow(PAGE).expect("memory");
        bytes(&mut mapping)[PAGE - 1] = 7;
        mapping.grow(3 * PAGE).expect("memory");
        assert_eq!(bytes(&mut mapping)[PAGE - 1], 7);
        assert!(bytes(&mut mapping)[PAGE..].iter().all(|&byte| byte == 0));
        mapping
    }

    #[test]
    fn what_was_written_is_there_after_growing_and_the_rest_is_zero() {
        grows(Mapping::plain());
        grows(Mapping::guarded().expect("address space"));
    }

    #[test]
    fn a_guarded_mapping_never_moves() {
        let mapping = Mapping::guarded().expect("address space");
        let base = mapping.base();
        assert_eq!(grows(mapping).base(), base);
    }
}
