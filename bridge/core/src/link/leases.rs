//! The lease books of one link: what its worker has been lent, and since when.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::SchemaRef;

use super::keep::Keep;
use super::result::Lent;
use crate::memory::{Extent, Segment};

/// A batch ready to be sent: its descriptor, and what must live while a worker reads it. It can be sent to one worker after another.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) schema: SchemaRef,
    pub(crate) descriptor: Vec<u8>,
    pub(crate) extents: Arc<[Extent]>,
    /// The segments of the extents. They may leave the pool before the batch is sent: a batch can lie in the memory of a worker that has died since.
    pub(crate) segments: Arc<[Arc<Segment>]>,
    pub(crate) keep: Arc<Keep>,
}

/// The right of the worker to read `extents`; `keep` holds the memory meanwhile.
#[derive(Clone)]
pub(super) struct Lease {
    pub(super) extents: Arc<[Extent]>,
    pub(super) segments: Arc<[Arc<Segment>]>,
    pub(super) keep: Arc<Keep>,
}

impl Lease {
    pub(super) fn of(batch: &Outgoing) -> Self {
        Self { extents: batch.extents.clone(), segments: batch.segments.clone(), keep: batch.keep.clone() }
    }
}

/// What a worker has been lent and has not given back.
#[derive(Default)]
pub(super) struct Leases {
    held: HashMap<u64, Lease>,
    last: u64,
    strays: u64,
}

impl Leases {
    /// A number for a lease; numbers are never used twice.
    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(super) fn lend(&mut self, lease: Lease) -> u64 {
        let number = self.number();
        self.held.insert(number, lease);
        number
    }

    /// Ends leases, and gives them for their holder to drop without a lock: what they keep may be the last reader of another link's result, whose
    /// books are behind a lock too.
    pub(super) fn end(&mut self, numbers: &[u64]) -> Vec<Lease> {
        let ended: Vec<Lease> = numbers.iter().filter_map(|number| self.held.remove(number)).collect();
        // A number is never used again, so a stale or doubled release can only be dropped.
        self.strays += (numbers.len() - ended.len()) as u64;
        ended
    }

    /// Whether a lease names a segment.
    pub(super) fn name(&self, segment: u32) -> bool {
        self.held.values().any(|lease| lease.extents.iter().any(|extent| extent.segment == segment))
    }

    /// What keeps a range of memory that the worker was lent.
    pub(super) fn lent(&self, extent: Extent) -> Option<Lent> {
        let lease = self.held.values().find(|lease| lease.extents.iter().any(|lent| lent.contains(&extent)))?;
        let segment = lease.segments.iter().find(|segment| segment.id() == extent.segment)?;
        Some((extent, segment.clone(), lease.keep.clone()))
    }

    /// How many there are, and their bytes.
    pub(super) fn totals(&self) -> (usize, u64) {
        (self.held.len(), self.held.values().flat_map(|lease| lease.extents.iter()).map(|extent| extent.len).sum())
    }

    /// Releases that named no lease.
    pub(super) fn strays(&self) -> u64 {
        self.strays
    }
}
