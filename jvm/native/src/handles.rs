//! Tables of what Java holds handles to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use transom::{Code, Error, Result};

/// What one kind of handle stands for. Handles are never used again, so a stale one is always found out.
pub(crate) struct Table<T> {
    /// What an unknown handle means for users: its code and a sentence.
    unknown: (Code, &'static str),
    last: AtomicI64,
    live: LazyLock<RwLock<HashMap<i64, Arc<T>>>>,
}

impl<T> Table<T> {
    pub(crate) const fn new(code: Code, sentence: &'static str) -> Self {
        Self { unknown: (code, sentence), last: AtomicI64::new(0), live: LazyLock::new(RwLock::default) }
    }

    /// A handle to `value`, which lives until [`Table::remove`] and the end of what is under way with it.
    pub(crate) fn insert(&self, value: Arc<T>) -> i64 {
        let handle = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.live.write().unwrap_or_else(PoisonError::into_inner).insert(handle, value);
        handle
    }

    /// What the handle stands for.
    pub(crate) fn get(&self, handle: i64) -> Result<Arc<T>> {
        let found = self.live.read().unwrap_or_else(PoisonError::into_inner).get(&handle).cloned();
        found.ok_or_else(|| Error::new(self.unknown.0, self.unknown.1))
    }

    /// Ends a handle. The value is dropped by the caller, outside of the lock; `None` where the handle was ended before.
    pub(crate) fn remove(&self, handle: i64) -> Option<Arc<T>> {
        self.live.write().unwrap_or_else(PoisonError::into_inner).remove(&handle)
    }
}
