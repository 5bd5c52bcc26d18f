//! What listeners are told of running chains, and what stress does to them.

use crate::store::StoreCore;
use midair_continuation::{
    Chain, Header,
    header::{FLAG_HOST_LEAF, FLAG_SWITCH},
};
use midair_jit::{observe::events::Event, runtime::migrate};
use std::ptr::NonNull;

/// Under stress, so many of the innermost links may be normalized: those farther out had their turn when they were new, and a
/// deep recursion that suspends at every level takes no time squared.
const STRESSED: usize = 64;

impl StoreCore {
    /// Tells of an event, if anybody listens.
    #[inline]
    pub(super) fn observe(&self, event: impl FnOnce() -> Event) {
        if self.watched {
            self.engine.inner.shared.observer.record(event);
        }
    }

    /// A call was suspended: what stress and observers want.
    #[cold]
    pub(super) fn suspended(&mut self, leaf: NonNull<Header>) {
        self.record_suspend(leaf);
        if let Some(n) = self.engine.inner.config.stress_normalize {
            // SAFETY: the chain was just parked, and is owned by the dispatch loop.
            let normalized = unsafe {
                self.normalize_first(STRESSED, leaf, |core, _| {
                    core.random().is_multiple_of(u64::from(n.get()))
                })
            };
            // stress goes on without what could not be normalized
            drop(normalized);
        }
    }

    #[cold]
    fn record_suspend(&self, leaf: NonNull<Header>) {
        // SAFETY: a parked chain.
        let chain = unsafe { Chain::from_leaf(leaf) };
        for link in chain.links() {
            // SAFETY: a link of a parked chain.
            let header = unsafe { link.as_ref() };
            if header.flags & (FLAG_HOST_LEAF | FLAG_SWITCH) == 0 {
                // SAFETY: a guest continuation.
                let site = unsafe { migrate::site_of(link) };
                self.observe(|| Event::Suspend {
                    func: site.layout.func,
                    offset: site.layout.offset,
                    kind: site.kind,
                    live: site.image_words,
                });
                break;
            }
        }
        let _ = chain.into_leaf();
    }
}

/// # Safety
/// `link` is live.
#[cold]
pub(super) unsafe fn record_resume(core: &StoreCore, link: NonNull<Header>) {
    // SAFETY: the caller's.
    let header = unsafe { link.as_ref() };
    if header.flags & FLAG_SWITCH != 0 {
        return;
    }
    // SAFETY: a guest continuation.
    let site = unsafe { migrate::site_of(link) };
    let (func, offset) = (site.layout.func, site.layout.offset);
    core.observe(|| match header.resume_address {
        Some(_) => Event::Jump {
            func,
            offset,
            kind: site.kind,
        },
        None => Event::Resume { func, offset },
    });
}
