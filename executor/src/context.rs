//! Task-locals: values that follow a task across threads and suspensions.
//!
//! The values that are set at one moment form an immutable *context*, shared by reference. A task has one; spawning
//! hands the spawner's on. Setting a value makes a new context for the setter alone, so a child never changes its
//! parent's values, nor a callee, once it has been [suspended](Context::swap), its caller's.
//!
//! An embedder that suspends calls of its own captures the context where a call suspends and brings it back where it
//! resumes:
//!
//! ```
//! use midair_executor::context::Context;
//! use midair_executor::task_local;
//!
//! task_local! {
//!     static USER: &'static str;
//! }
//!
//! let mut parked = Context::empty();
//! // a call begins
//! let caller = Context::capture();
//! USER.set("guest");
//! // it suspends: its context goes with it, the caller's comes back
//! parked = Context::swap(caller);
//! assert_eq!(USER.get(), None);
//! // it is resumed, perhaps on another thread
//! let caller = Context::swap(parked);
//! assert_eq!(USER.get(), Some("guest"));
//! // it returns
//! Context::swap(caller);
//! assert_eq!(USER.get(), None);
//! ```

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr;
// contexts are no part of any model: std's `Arc`, which gives raw pointers, in all builds
use std::sync::Arc;
use std::task::Poll;

use pin_project::pin_project;

use crate::current;

/// All task-locals as they are at one moment. One word; a clone is a count; empty ones cost nothing.
#[derive(Clone, Default)]
pub struct Context(Option<Arc<Node>>);

struct Node {
    key: usize,
    value: Arc<dyn Any + Send + Sync>,
    rest: Context,
}

impl Context {
    /// The one without any value.
    pub const fn empty() -> Self {
        Self(None)
    }

    /// The current one.
    #[inline]
    pub fn capture() -> Self {
        current::context_clone()
    }

    /// Is the current one without any value? The cheapest question there is, for an embedder's fast path: one load.
    #[inline(always)]
    pub fn current_is_empty() -> bool {
        current::context_is_empty()
    }

    /// Makes `next` current and answers what was.
    #[inline]
    pub fn swap(next: Self) -> Self {
        current::swap_context(next)
    }

    /// Makes `self` current for the time of a call.
    pub fn run<R>(self, f: impl FnOnce() -> R) -> R {
        let _restore = Restore::new(self);
        f()
    }

    /// Is there no value at all?
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Are they one and the same?
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// As one word, for a slot of an embedder's structure. Null if empty.
    pub fn into_raw(self) -> *mut () {
        self.0.map_or(ptr::null_mut(), |node| {
            Arc::into_raw(node).cast_mut().cast()
        })
    }

    /// # Safety
    ///
    /// 1. `raw` came from [`into_raw`](Self::into_raw), and is used once.
    pub unsafe fn from_raw(raw: *mut ()) -> Self {
        if raw.is_null() {
            return Self(None);
        }
        // SAFETY: (1).
        Self(Some(unsafe { Arc::from_raw(raw.cast_const().cast()) }))
    }

    fn find(&self, key: usize) -> Option<&Node> {
        let mut here = self;
        while let Some(node) = &here.0 {
            if node.key == key {
                return Some(node);
            }
            here = &node.rest;
        }
        None
    }

    fn without(&self, key: usize) -> Self {
        if self.find(key).is_none() {
            return self.clone();
        }
        match &self.0 {
            None => Self(None),
            Some(node) if node.key == key => node.rest.clone(),
            Some(node) => Self(Some(Arc::new(Node {
                key: node.key,
                value: Arc::clone(&node.value),
                rest: node.rest.without(key),
            }))),
        }
    }

    fn with(&self, key: usize, value: Arc<dyn Any + Send + Sync>) -> Self {
        Self(Some(Arc::new(Node {
            key,
            value,
            rest: self.without(key),
        })))
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut values = 0;
        let mut here = self;
        while let Some(node) = &here.0 {
            values += 1;
            here = &node.rest;
        }
        f.debug_struct("Context").field("values", &values).finish()
    }
}

/// Puts the former context back, on panics too.
struct Restore(Context);

impl Restore {
    fn new(context: Context) -> Self {
        Self(Context::swap(context))
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        drop(Context::swap(std::mem::take(&mut self.0)));
    }
}

/// Declares task-locals.
///
/// ```
/// use midair_executor::{LocalExecutor, spawn_local, task_local, yield_now};
///
/// task_local! {
///     /// Who asked.
///     static USER: String;
/// }
///
/// let executor = LocalExecutor::new();
/// executor.block_on(USER.scope("ada".to_owned(), async {
///     let child = spawn_local(async {
///         yield_now().await;
///         USER.set("bob".to_owned());
///         USER.get()
///     });
///     assert_eq!(child.await.unwrap().as_deref(), Some("bob"));
///     assert_eq!(USER.get().as_deref(), Some("ada"), "the child had a context of its own");
/// }));
/// assert_eq!(USER.get(), None);
/// ```
#[macro_export]
macro_rules! task_local {
    ($($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty;)*) => {
        $($(#[$attribute])* $visibility static $name: $crate::context::TaskLocal<$type> =
            $crate::context::TaskLocal::new();)*
    };
}

/// A value that every task has for itself. Made by [`task_local!`](crate::task_local).
pub struct TaskLocal<T: 'static> {
    /// So that two of them have two addresses.
    _place: u8,
    value: PhantomData<fn() -> T>,
}

impl<T: Send + Sync + 'static> TaskLocal<T> {
    /// To be put into a `static`.
    #[doc(hidden)]
    pub const fn new() -> Self {
        Self {
            _place: 0,
            value: PhantomData,
        }
    }

    fn key(&'static self) -> usize {
        ptr::from_ref(self).addr()
    }

    /// Uses the value, if it is set.
    pub fn with<R>(&'static self, f: impl FnOnce(Option<&T>) -> R) -> R {
        let context = Context::capture();
        f(context
            .find(self.key())
            .and_then(|node| node.value.downcast_ref()))
    }

    /// The value, if it is set.
    pub fn get(&'static self) -> Option<T>
    where
        T: Clone,
    {
        self.with(|value| value.cloned())
    }

    /// Sets the value for the rest of the task, and for what it spawns from now on.
    ///
    /// Outside of a task: for the thread.
    pub fn set(&'static self, value: T) {
        current::clear_context_at_thread_end();
        let next = Context::capture().with(self.key(), Arc::new(value));
        drop(Context::swap(next));
    }

    /// A future that runs with the value set. What it sets itself ends with it.
    pub fn scope<F: Future>(&'static self, value: T, future: F) -> Scope<F> {
        Scope {
            context: Context::capture().with(self.key(), Arc::new(value)),
            future,
        }
    }

    /// Calls a function with the value set.
    pub fn sync_scope<R>(&'static self, value: T, f: impl FnOnce() -> R) -> R {
        Context::capture().with(self.key(), Arc::new(value)).run(f)
    }
}

impl<T> fmt::Debug for TaskLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskLocal").finish_non_exhaustive()
    }
}

/// The future of [`TaskLocal::scope`].
#[pin_project]
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Scope<F> {
    context: Context,
    #[pin]
    future: F,
}

impl<F: Future> Future for Scope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<F::Output> {
        struct Leave<'a> {
            inner: &'a mut Context,
            outer: Context,
        }
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                *self.inner = Context::swap(std::mem::take(&mut self.outer));
            }
        }
        let this = self.project();
        let outer = Context::swap(std::mem::take(this.context));
        let _leave = Leave {
            inner: this.context,
            outer,
        };
        this.future.poll(context)
    }
}
