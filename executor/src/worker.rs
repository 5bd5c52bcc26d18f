//! The loop of a worker: run, sleep.

use crate::current;
use crate::resumption;
use crate::scheduler::{Kind, Pool, Shared};
use crate::sync::Arc;
use crate::sync::atomic::Ordering;

/// The life of a worker thread.
pub(crate) fn run(shared: &Arc<Shared>) {
    let Kind::Pool(pool) = &shared.kind else {
        unreachable!("workers belong to a pool");
    };
    let _entered = current::enter(Arc::as_ptr(shared));
    loop {
        let seen = *pool.sleep.lock();
        let closing = pool.closing.load(Ordering::Acquire);
        if let Some(task) = shared.injector.take(1).pop_front() {
            // SAFETY: the queue gave us the runnable, and we are entered.
            unsafe {
                if closing {
                    resumption::cancel(task);
                } else {
                    resumption::run(task);
                }
            };
            continue;
        }
        if closing {
            let closed = pool.owned.lock().close_next();
            if let Some(task) = closed {
                // SAFETY: closing it gave us the runnable, and we are entered.
                unsafe { resumption::run(task) };
                continue;
            }
            if pool.ended.load(Ordering::Acquire) {
                break;
            }
        }
        let mut epoch = pool.sleep.lock();
        if *epoch == seen {
            pool.condvar.wait(&mut epoch);
        }
    }
    let mut late = shared.injector.close();
    while let Some(task) = late.pop_front() {
        // SAFETY: the queue gave us the runnable, and we are entered.
        unsafe { resumption::cancel(task) };
    }
}

/// Begins the end: no new tasks, and the workers drop those that are there.
pub(crate) fn close(_shared: &Arc<Shared>, pool: &Pool) {
    {
        let mut owned = pool.owned.lock();
        owned.close();
        if owned.live() == 0 {
            pool.ended.store(true, Ordering::Release);
        }
    }
    pool.closing.store(true, Ordering::Release);
    pool.wake_all();
}
