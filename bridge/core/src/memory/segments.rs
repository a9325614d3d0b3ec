//! All segments that a process has mapped, by number and by address.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use super::{Extent, Segment};

/// The segments of a pool in its host, or those that a worker has been sent.
#[derive(Debug, Default)]
pub struct Segments {
    tables: RwLock<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    by_id: BTreeMap<u32, Arc<Segment>>,
    by_address: BTreeMap<usize, Arc<Segment>>,
}

impl Segments {
    /// Adds a segment.
    pub fn insert(&self, segment: Arc<Segment>) {
        let mut tables = self.tables.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        tables.by_address.insert(segment.as_ptr() as usize, segment.clone());
        tables.by_id.insert(segment.id(), segment);
    }

    /// Takes a segment out; it stays mapped while somebody holds it.
    pub fn remove(&self, id: u32) -> Option<Arc<Segment>> {
        let mut tables = self.tables.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let segment = tables.by_id.remove(&id)?;
        tables.by_address.remove(&(segment.as_ptr() as usize));
        Some(segment)
    }

    /// The segment with this number.
    pub fn get(&self, id: u32) -> Option<Arc<Segment>> {
        self.tables.read().unwrap_or_else(|poisoned| poisoned.into_inner()).by_id.get(&id).cloned()
    }

    /// The portable form of an address range, where it lies wholly in one segment.
    pub fn locate(&self, ptr: *const u8, len: usize) -> Option<Extent> {
        let address = ptr as usize;
        let tables = self.tables.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (base, segment) = tables.by_address.range(..=address).next_back()?;
        let offset = address - base;
        let fits = offset.checked_add(len).is_some_and(|end| end <= segment.len());
        // A range of no bytes at the very end of a segment may belong to whatever is mapped behind it.
        (fits && offset < segment.len()).then(|| Extent { segment: segment.id(), offset: offset as u64, len: len as u64 })
    }

    /// All of them, in the order of their numbers.
    pub fn all(&self) -> Vec<Arc<Segment>> {
        self.tables.read().unwrap_or_else(|poisoned| poisoned.into_inner()).by_id.values().cloned().collect()
    }

    /// The number of segments and their bytes.
    pub fn totals(&self) -> (usize, u64) {
        let tables = self.tables.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        (tables.by_id.len(), tables.by_id.values().map(|segment| segment.len() as u64).sum())
    }
}
