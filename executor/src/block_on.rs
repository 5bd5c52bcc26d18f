//! Waiting for one future on this thread, without an executor.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::park::Parker;

struct ThreadWake(Parker);

impl Wake for ThreadWake {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

struct Sleeper {
    parker: Arc<ThreadWake>,
    waker: Waker,
}

impl Sleeper {
    fn new() -> Self {
        let parker = Arc::new(ThreadWake(Parker::new()));
        let waker = Waker::from(Arc::clone(&parker));
        Self { parker, waker }
    }
}

std::thread_local! {
    /// Kept between calls; a nested call makes one of its own.
    static SLEEPER: RefCell<Sleeper> = RefCell::new(Sleeper::new());
}

/// Runs `future` on this thread until it is ready, asleep in between.
///
/// It needs no executor and drives no tasks but the future itself; tasks that it [spawns](crate::spawn) run on the
/// [global executor](crate::global). It may be called from anywhere, also within a task (whose thread it blocks)
/// and within another `block_on`.
///
/// ```
/// assert_eq!(midair_executor::block_on(async { 1 + 1 }), 2);
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    SLEEPER.with(|cached| match cached.try_borrow_mut() {
        Ok(sleeper) => drive(future.as_mut(), &sleeper),
        Err(_nested) => drive(future.as_mut(), &Sleeper::new()),
    })
}

fn drive<F: Future>(mut future: std::pin::Pin<&mut F>, sleeper: &Sleeper) -> F::Output {
    let mut context = Context::from_waker(&sleeper.waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        sleeper.parker.0.park(None);
    }
}
