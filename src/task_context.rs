//! What a guest call takes with it when it is suspended: the task-locals, and the executor it was on.
//!
//! [essay: task-locals of a call]
//!
//! | what runs | task-locals |
//! |---|---|
//! | a call that begins | its caller's |
//! | a host function, an awaiter's result | the call's: what they set, the rest of the call sees |
//! | `on_completed` | the call's; what it sets is nobody's |
//! | an asynchronous host function | the call's as they are when it begins, from then on its own |
//! | whoever began, polled or resumed the call, afterwards | its own, whatever the call did, and however it left |
//!
//! While a call is suspended its task-locals lie in the `context` of its leaf, or, if the leaf is a future, which has some of
//! its own, in that of the frame behind it. They are moved there and back: no value is cloned, and no count touched but for
//! `on_completed`, which runs with them while another thread may have the call already. Null: there are none, and all there
//! is to pay is the test.
//!
//! An owned call remembers the executor whose thread it was suspended on: [`Resumption::schedule`](crate::Resumption::schedule)
//! brings it back there, whatever thread it is called on; `resume` does not.

use crate::host::{LeafKind, vtable_of};
use midair_continuation::Header;
use midair_executor::context::Context;
use std::ptr::{self, NonNull};

/// The task-locals of whoever runs guest code; they come back when it is dropped.
#[derive(Debug)]
pub(crate) struct Outside(Context);

impl Outside {
    /// Guest code begins, with the same ones.
    #[inline(always)]
    pub(crate) fn share() -> Self {
        if Context::current_is_empty() {
            return Self(Context::empty());
        }
        Self(Context::capture())
    }

    /// Guest code goes on with its own. What is current is put aside.
    ///
    /// # Safety
    /// The caller owns the chain that begins at `leaf`.
    #[cold]
    pub(crate) unsafe fn replace(leaf: NonNull<Header>) -> Self {
        let aside = Self(Context::capture());
        // SAFETY: the caller's.
        unsafe { unpark(leaf) };
        aside
    }
}

impl Drop for Outside {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.0.is_empty() || !Context::current_is_empty() {
            restore(std::mem::take(&mut self.0));
        }
    }
}

#[cold]
fn restore(context: Context) {
    drop(Context::swap(context));
}

/// No task-locals are set, and none wait in this leaf: a turn that begins here needs no [`Outside`]. (What is set during the
/// turn is taken along when it ends, so that nothing is left.)
///
/// # Safety
/// `leaf` is live, and the caller owns it.
#[inline(always)]
pub(crate) unsafe fn is_plain(leaf: NonNull<Header>) -> bool {
    // SAFETY: the caller's.
    unsafe { leaf.as_ref() }.context.is_null() & Context::current_is_empty()
}

/// Where the task-locals of the guest are that waits for this leaf; `None` if no guest does.
///
/// # Safety
/// The caller owns the chain that begins at `leaf`.
unsafe fn place(mut leaf: NonNull<Header>) -> Option<NonNull<*mut ()>> {
    // SAFETY: the caller's.
    let header = unsafe { leaf.as_mut() };
    // SAFETY: a host leaf.
    match unsafe { vtable_of(leaf) }.kind {
        LeafKind::Awaiter | LeafKind::Yield => Some(NonNull::from(&mut header.context)),
        LeafKind::Future => NonNull::new(header.next).map(|mut frame| {
            // SAFETY: a link of the caller's chain.
            NonNull::from(&mut unsafe { frame.as_mut() }.context)
        }),
    }
}

/// Takes what lies in a place.
///
/// # Safety
/// The caller owns it.
unsafe fn take(mut place: NonNull<*mut ()>) -> Context {
    // SAFETY: the caller's.
    let raw = std::mem::replace(unsafe { place.as_mut() }, ptr::null_mut());
    // SAFETY: what lies there came from `into_raw`, and nothing is left.
    unsafe { Context::from_raw(raw) }
}

/// Puts something into an empty place.
///
/// # Safety
/// The caller owns it.
unsafe fn put(mut place: NonNull<*mut ()>, context: Context) {
    // SAFETY: the caller's.
    unsafe { *place.as_mut() = context.into_raw() };
}

/// A guest was suspended: its task-locals go with it, none are left.
///
/// # Safety
/// The caller owns the chain that begins at `leaf`, which holds none yet.
#[inline(always)]
pub(crate) unsafe fn park(leaf: NonNull<Header>) {
    if !Context::current_is_empty() {
        // SAFETY: the caller's.
        unsafe { park_some(leaf) };
    }
}

#[cold]
unsafe fn park_some(leaf: NonNull<Header>) {
    let context = Context::swap(Context::empty());
    // SAFETY: the caller's.
    if let Some(place) = unsafe { place(leaf) } {
        // SAFETY: the caller's.
        unsafe { put(place, context) };
    }
}

/// A guest was suspended, and what is told of it runs with its task-locals: they go with it, and are still current.
///
/// # Safety
/// As for [`park`].
pub(crate) unsafe fn park_shared(leaf: NonNull<Header>) {
    // SAFETY: the caller's.
    if let Some(place) = unsafe { place(leaf) } {
        // SAFETY: the caller's.
        unsafe { put(place, Context::capture()) };
    }
}

/// A guest goes on: its task-locals are current, what was so is gone.
///
/// # Safety
/// The caller owns the chain that begins at `leaf`.
pub(crate) unsafe fn unpark(leaf: NonNull<Header>) {
    // SAFETY: the caller's.
    let context = unsafe { place(leaf) }.map_or_else(Context::empty, |place| {
        // SAFETY: the caller's.
        unsafe { take(place) }
    });
    drop(Context::swap(context));
}

/// Whoever waits for this leaf will not go on: drops the task-locals of guest and future.
///
/// # Safety
/// The caller owns the chain that begins at `leaf`.
pub(crate) unsafe fn release(leaf: NonNull<Header>) {
    for mut link in [
        Some(leaf),
        NonNull::new({
            // SAFETY: the caller's.
            unsafe { leaf.as_ref() }.next
        }),
    ]
    .into_iter()
    .flatten()
    {
        // SAFETY: a link of the caller's chain.
        let header = unsafe { link.as_mut() };
        if !header.context.is_null() {
            // SAFETY: the caller's.
            drop(unsafe { take(NonNull::from(&mut header.context)) });
        }
    }
}

/// The task-locals of a host future while its leaf is polled. The guest's, or the poller's, come back when it is dropped.
#[derive(Debug)]
pub(crate) struct Inside(Outside);

impl Inside {
    /// A host future begins, with the guest's.
    #[inline]
    pub(crate) fn begin() -> Self {
        Self(Outside::share())
    }

    /// A parked one is polled again.
    ///
    /// # Safety
    /// `leaf` is a future's, and the caller owns it.
    #[inline]
    pub(crate) unsafe fn again(mut leaf: NonNull<Header>) -> Self {
        let outside = Outside::share();
        // SAFETY: the caller's.
        if !unsafe { is_plain(leaf) } {
            // SAFETY: the caller's.
            let place = NonNull::from(&mut unsafe { leaf.as_mut() }.context);
            // SAFETY: the caller's.
            drop(Context::swap(unsafe { take(place) }));
        }
        Self(outside)
    }

    /// It is pending: what is current is its own and stays in the leaf.
    ///
    /// # Safety
    /// As for `again`.
    #[inline]
    pub(crate) unsafe fn pending(self, mut leaf: NonNull<Header>) {
        if !Context::current_is_empty() {
            let context = Context::swap(Context::empty());
            // SAFETY: the caller's.
            unsafe { leaf.as_mut() }.context = context.into_raw();
        }
        drop(self.0);
    }
}
