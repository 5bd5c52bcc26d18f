//! A first-in first-out list of runnables, linked through their headers: no allocation, no atomics of its own.
//!
//! Plain pointers are enough: holding a runnable is the right to use its link.

use std::ptr::{self, NonNull};

use crate::sync::atomic::Ordering;
use crate::task::header::TaskHeader;

/// The list.
#[derive(Debug)]
pub(crate) struct List {
    head: *mut TaskHeader,
    tail: *mut TaskHeader,
    len: usize,
}

// SAFETY: the list owns the runnables in it, and a runnable may be held by any thread.
unsafe impl Send for List {}

impl List {
    pub(crate) const fn new() -> Self {
        Self {
            head: ptr::null_mut(),
            tail: ptr::null_mut(),
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Appends a runnable.
    ///
    /// # Safety
    ///
    /// 1. The caller holds the runnable of `task` and gives it to the list.
    #[inline]
    pub(crate) unsafe fn push_back(&mut self, task: NonNull<TaskHeader>) {
        // SAFETY: (1) the runnable keeps the task alive.
        let header = unsafe { task.as_ref() };
        header.next.store(ptr::null_mut(), Ordering::Relaxed);
        match NonNull::new(self.tail) {
            None => self.head = task.as_ptr(),
            Some(tail) => {
                // SAFETY: the list holds the runnable of its tail.
                let tail = unsafe { tail.as_ref() };
                tail.next.store(task.as_ptr(), Ordering::Relaxed);
            }
        }
        self.tail = task.as_ptr();
        self.len += 1;
    }

    /// Takes the first runnable, which the caller then holds.
    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<NonNull<TaskHeader>> {
        let task = NonNull::new(self.head)?;
        // SAFETY: the list holds the runnable of its head.
        self.head = unsafe { task.as_ref() }.next.load(Ordering::Relaxed);
        if self.head.is_null() {
            self.tail = ptr::null_mut();
        }
        self.len -= 1;
        Some(task)
    }

    /// Appends all of `other`.
    pub(crate) fn append(&mut self, other: &mut Self) {
        let Some(head) = NonNull::new(other.head) else {
            return;
        };
        match NonNull::new(self.tail) {
            None => self.head = head.as_ptr(),
            Some(tail) => {
                // SAFETY: the list holds the runnable of its tail.
                let tail = unsafe { tail.as_ref() };
                tail.next.store(head.as_ptr(), Ordering::Relaxed);
            }
        }
        self.tail = other.tail;
        self.len += other.len;
        *other = Self::new();
    }

    /// Takes the first `count` runnables, or all of them.
    pub(crate) fn split_front(&mut self, count: usize) -> Self {
        if count >= self.len {
            return std::mem::replace(self, Self::new());
        }
        let mut front = Self::new();
        for _ in 0..count {
            let Some(task) = self.pop_front() else {
                break;
            };
            // SAFETY: `pop_front` gave us the runnable.
            unsafe { front.push_back(task) };
        }
        front
    }
}
