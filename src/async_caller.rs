//! What an asynchronous host function gets: a handle that reaches the store *between* awaits.

use crate::{
    call::{TypedFunc, failed, unsafe_context},
    dispatch::{
        self, Mode, ModeGuard, Outcome, Parked, Progress, current, current_store, with_current,
    },
    error::{NotCurrent, Result},
    instance::{Extern, Instance, InstanceInner},
    store::{Caller, StoreCore},
    task_context::Outside,
    values::{WasmParams, WasmResults},
};
use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    ptr::NonNull,
    task::{Context, Poll},
};

/// A handle of the store that called an asynchronous host function.
///
/// It is `'static` and `Send`, so the future may keep it across awaits, and gives the store out for as long as a closure
/// runs. It works only while its own call is being polled; anywhere else, at any time, it gives an error.
pub struct AsyncCaller<T: 'static> {
    store: u64,
    number: u64,
    instance: Instance,
    /// Invariant in `T`, as stores are.
    data: PhantomData<fn(T) -> T>,
}

impl<T> Clone for AsyncCaller<T> {
    fn clone(&self) -> Self {
        Self {
            store: self.store,
            number: self.number,
            instance: self.instance,
            data: PhantomData,
        }
    }
}

impl<T> fmt::Debug for AsyncCaller<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncCaller")
            .field("store", &self.store)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl<T> AsyncCaller<T> {
    pub(crate) fn new(store: u64, number: u64, instance: NonNull<InstanceInner>) -> Self {
        Self {
            store,
            number,
            instance: Instance {
                store,
                inner: instance,
            },
            data: PhantomData,
        }
    }

    /// Reaches the store.
    ///
    /// # Errors
    /// [`NotCurrent`] unless called from within the `poll` of this call's own future, and not within another `with`.
    pub fn with<R>(&self, body: impl FnOnce(Caller<'_, T>) -> R) -> Result<R, NotCurrent> {
        let core = current(self.store, self.number)?;
        Ok(with_current(core, 0, || {
            // The store of that number has this data type, and it is being polled on this very thread, by whoever holds it
            // exclusively; no other caller of it exists while it is not current.
            body(Caller {
                store: core.cast(),
                borrow: PhantomData,
                instance: self.instance.inner,
                host: None,
                frame: 0,
            })
        }))
    }

    /// The instance that called.
    pub fn instance(&self) -> Instance {
        self.instance
    }

    /// An export of the instance that called.
    ///
    /// # Errors
    /// As [`with`](Self::with).
    pub fn get_export(&self, name: &str) -> Result<Option<Extern>, NotCurrent> {
        self.with(|caller| caller.get_export(name))
    }

    /// Calls a guest function of the same store and waits for it. The chain of that call is owned by the future.
    ///
    /// # Errors
    /// The future's: [`NotCurrent`] when it is polled elsewhere than by this host function's own future; what
    /// [`TypedFunc::call_async`] says.
    ///
    /// # Panics
    /// The future, if the function is of another store; with the panic of a host function.
    pub fn call_async<P: WasmParams, R: WasmResults>(
        &self,
        func: &TypedFunc<P, R>,
        params: P,
    ) -> NestedCall<P, R> {
        func.func.check_store(self.store);
        NestedCall {
            store: self.store,
            number: self.number,
            func: *func,
            state: State::Unstarted(params),
        }
    }
}

/// A call of a guest by a host future: see [`AsyncCaller::call_async`].
#[must_use = "futures do nothing unless they are polled"]
pub struct NestedCall<P, R> {
    store: u64,
    number: u64,
    func: TypedFunc<P, R>,
    state: State<P>,
}

enum State<P> {
    Unstarted(P),
    /// Its chain is in the store, under that key.
    Parked(u64),
    Finished,
}

impl<P, R> Unpin for NestedCall<P, R> {}

impl<P, R> fmt::Debug for NestedCall<P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NestedCall")
            .field("func", &self.func)
            .finish_non_exhaustive()
    }
}

impl<P: WasmParams, R: WasmResults> Future for NestedCall<P, R> {
    type Output = Result<R>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<R>> {
        let core = current(self.store, self.number)?;
        with_current(core, 0, || {
            // SAFETY: the store is being polled on this thread, by whoever holds it; nobody else uses it meanwhile.
            let _mode = unsafe { ModeGuard::new(core, Mode::Poll(NonNull::from(&mut *cx).cast())) };
            let _outside = Outside::share();
            let (parked, fresh) = match std::mem::replace(&mut self.state, State::Finished) {
                // SAFETY: as above.
                State::Unstarted(params) => match unsafe { self.func.begin(core, params) } {
                    Outcome::Returned(context) => {
                        return Poll::Ready(Ok(R::take(unsafe_context(context))));
                    }
                    Outcome::Trapped => return Poll::Ready(Err(failed(core))),
                    Outcome::Suspended(leaf) => (Parked { leaf, ticket: None }, true),
                },
                // SAFETY: as above.
                State::Parked(key) => match unsafe { &mut *core.as_ptr() }.take_nested(key) {
                    Some(parked) => (parked, false),
                    None => return Poll::Ready(Err(NotCurrent::Cancelled.into())),
                },
                State::Finished => return Poll::Ready(Err(NotCurrent::Cancelled.into())),
            };
            // SAFETY: as above; the chain is this call's.
            match unsafe { dispatch::poll(core, cx, parked, fresh) } {
                Progress::Done(context) => Poll::Ready(Ok(R::take(unsafe_context(context)))),
                Progress::Trapped => Poll::Ready(Err(failed(core))),
                Progress::Pending(parked) => {
                    // SAFETY: as above.
                    let activations = unsafe { &mut (*core.as_ptr()).activations };
                    let key = activations.next_number();
                    activations.nested.push((key, Some(parked)));
                    self.state = State::Parked(key);
                    Poll::Pending
                }
            }
        })
    }
}

impl StoreCore {
    fn take_nested(&mut self, key: u64) -> Option<Parked> {
        let at = self
            .activations
            .nested
            .iter()
            .position(|(known, _)| *known == key)?;
        self.activations.nested.swap_remove(at).1
    }
}

impl<P, R> Drop for NestedCall<P, R> {
    fn drop(&mut self) {
        let State::Parked(key) = self.state else {
            return;
        };
        // Elsewhere than in its store's use it can only be left there: the store cancels it at its next use or end.
        if let Some(core) = current_store(self.store) {
            // SAFETY: the store is being used on this thread, by whoever drops this.
            let core = unsafe { &mut *core.as_ptr() };
            if let Some(parked) = core.take_nested(key) {
                if let Some(ticket) = &parked.ticket {
                    ticket.cancel();
                }
                core.release(parked.leaf);
            }
        }
    }
}
