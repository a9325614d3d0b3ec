//! A result on its way from a worker's memory to an Arrow batch of the host's.

use std::sync::{Arc, Weak};
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::host::HostLink;
use super::keep::{Keep, bad, within};
use super::message::Copies;
use super::suppressed::Suppressed;
use crate::exchange::{self, Descriptor, Direction, Ledger, Mapped, Mode, Resolve};
use crate::failure::Result;
use crate::memory::{Extent, Role, Segment};

/// The right of this host to read a result; its last drop lets the worker use the memory again.
pub(super) struct ResultLease {
    // Weak: a result may live on in a lease of this very link, and must not keep a dead worker's socket open.
    link: Weak<HostLink>,
    result: u64,
}

impl ResultLease {
    pub(super) fn new(link: &Arc<HostLink>, result: u64) -> Self {
        Self { link: Arc::downgrade(link), result }
    }
}

impl Drop for ResultLease {
    fn drop(&mut self) {
        if let Some(link) = self.link.upgrade() {
            link.give_back(self.result);
        }
    }
}

/// A result as it came: not yet checked, not yet Arrow. It can be imported even after its worker died.
pub struct RawResult {
    pub(super) schema: SchemaRef,
    pub(super) descriptor: Result<Descriptor>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) memory: ResultMemory,
    pub(super) copies: Copies,
    /// The rows that failed, as the worker says.
    pub suppressed: Suppressed,
    /// How long the worker was busy with it.
    pub busy: Duration,
}

/// The memory that a result may name: its worker's own segments, and what that worker was lent.
pub(super) struct ResultMemory {
    pub(super) lease: Arc<ResultLease>,
    pub(super) owned: Owned,
    pub(super) lent: Vec<Lent>,
}

/// The segments that a worker writes, as they were at one moment.
pub(super) type Owned = Arc<Vec<Arc<Segment>>>;

/// A piece of memory that the worker was lent, and what keeps it.
pub(super) type Lent = (Extent, Arc<Segment>, Arc<Keep>);

impl RawResult {
    /// The schema that the worker announced.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The number of rows that the worker announced.
    pub fn rows(&self) -> u64 {
        self.descriptor.as_ref().map_or(0, Descriptor::rows)
    }

    /// Checks the descriptor and what it names, and makes a batch whose buffers hold the lease.
    ///
    /// # Errors
    /// Codes 4xxx for whatever is wrong with it.
    pub fn import(self, mode: Mode) -> Result<RecordBatch> {
        let ledger = &*self.ledger;
        // What lies in shared memory is counted by the import below, as for every reader.
        self.copies.copied.iter().for_each(|&(reason, bytes)| ledger.copied(Direction::Result, reason, bytes));
        exchange::import(&self.descriptor?, &self.schema, &self.memory, mode, ledger, Direction::Result)
    }
}

impl Resolve for ResultMemory {
    fn resolve(&self, extent: Extent) -> Result<Mapped> {
        if let Some(segment) = self.owned.iter().find(|segment| segment.id() == extent.segment) {
            return within(segment, extent, self.lease.clone(), true);
        }
        let lent = self.lent.iter().find(|(lent, ..)| lent.contains(&extent));
        let (_, segment, keep) = lent.ok_or_else(|| bad(extent, "was not lent to this worker"))?;
        // Another worker's result that was lent to this one can still be written by that other worker.
        within(segment, extent, keep.clone(), segment.role() == Role::Output)
    }
}
