//! From a native address to the code it lies in; read when a trap collects its backtrace and by the old resume path.

use super::published::PublishedCode;
use parking_lot::RwLock;
use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

/// Published code by its first address.
#[derive(Debug, Default)]
pub struct PcTable {
    codes: RwLock<BTreeMap<usize, Weak<PublishedCode>>>,
}

impl PcTable {
    /// Adds code.
    pub fn insert(&self, code: &Arc<PublishedCode>) {
        self.codes
            .write()
            .insert(code.address.0, Arc::downgrade(code));
    }

    /// Removes code that is about to be freed.
    pub fn remove(&self, code: &PublishedCode) {
        self.codes.write().remove(&code.address.0);
    }

    /// The code that contains `pc`, or that `pc` is the return address right behind of.
    pub fn lookup(&self, pc: usize) -> Option<Arc<PublishedCode>> {
        let codes = self.codes.read();
        let (_, code) = codes.range(..=pc).next_back()?;
        code.upgrade()
            .filter(|code| pc <= code.address.0 + code.len)
    }
}
