//! std or loom: the only file that names atomics, locks and thread-locals.
//!
//! | build | atomics, cells, thread-locals | locks |
//! |---|---|---|
//! | ordinary | std | `parking_lot` |
//! | Miri | std | std: `parking_lot` makes pointers from integers, which strict provenance forbids |
//! | loom | loom | loom |

// nothing of ours is modelled about it; its raw pointers are needed in all builds
pub(crate) use std::sync::Arc;

#[cfg(not(loom))]
mod imp {
    pub(crate) use std::sync::atomic;
    pub(crate) use std::thread_local;

    #[cfg(not(miri))]
    pub(crate) use parking_lot::{Condvar, Mutex};

    /// A cell whose every access is said aloud.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// A pointer for reading.
        #[inline(always)]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get().cast_const())
        }

        /// A pointer for writing.
        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }
}

#[cfg(loom)]
mod imp {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::atomic;
    pub(crate) use loom::thread_local;
}

#[cfg(any(loom, miri))]
mod locks {
    use std::time::Duration;

    #[cfg(loom)]
    use loom::sync as base;
    #[cfg(not(loom))]
    use std::sync as base;

    /// A mutex behind the interface of `parking_lot`.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(base::Mutex<T>);

    type MutexGuard<'a, T> = base::MutexGuard<'a, T>;

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(base::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("no holder panics")
        }
    }

    /// A condition variable behind the interface of `parking_lot`.
    #[derive(Debug)]
    pub(crate) struct Condvar(base::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self(base::Condvar::new())
        }

        pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            replace_with(guard, |guard| self.0.wait(guard).expect("no holder panics"));
        }

        /// loom has no time: there, a timed wait never runs out.
        pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, timeout: Duration) {
            replace_with(guard, |guard| {
                let waited = self.0.wait_timeout(guard, timeout);
                waited.expect("no holder panics").0
            });
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }
    }

    fn replace_with<T>(place: &mut T, f: impl FnOnce(T) -> T) {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                std::process::abort();
            }
        }
        let bomb = Bomb;
        // SAFETY: `place` is valid, and is written again before anyone can read it: an unwinding `f` ends the process.
        let value = unsafe { std::ptr::read(place) };
        let value = f(value);
        // SAFETY: as above; the old value was moved out.
        unsafe { std::ptr::write(place, value) };
        std::mem::forget(bomb);
    }
}

pub(crate) use imp::*;
#[cfg(any(loom, miri))]
pub(crate) use locks::{Condvar, Mutex};
