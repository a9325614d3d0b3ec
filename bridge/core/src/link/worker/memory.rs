//! Memory of both sides: inputs, which this worker may read until it releases them, and segments, which only the host makes.

use std::sync::{Arc, MutexGuard, Weak};

use arrow_array::RecordBatch;

use super::super::MAX_PACKET;
use super::super::answer::Borrowed;
use super::super::keep::{bad, within};
use super::super::message::{ToHost, ToWorker};
use super::WorkerLink;
use crate::exchange::{self, Descriptor, Direction, Ledger, Mapped, Mode, Resolve};
use crate::failure::{Code, Error, Result};
use crate::memory::{Extent, Segment, Source, process_id};

impl WorkerLink {
    /// The batch that a descriptor of the host describes; its buffers hold the lease.
    ///
    /// # Errors
    /// What is wrong with the descriptor.
    pub fn import(self: &Arc<Self>, schema: u32, lease: u64, descriptor: &[u8]) -> Result<RecordBatch> {
        let schema = self.schema(schema)?;
        let memory = InputMemory { link: self, lease: Arc::new(InputLease { link: self.clone(), lease }) };
        let descriptor = Descriptor::decode(descriptor)?;
        self.borrowed().insert(lease, &memory.lease, descriptor.extents().collect());
        // The host is believed: it could do to this process whatever it likes.
        exchange::import(&descriptor, &schema, &memory, Mode::Trusted, &Ledger::default(), Direction::Input)
    }

    pub(super) fn borrowed(&self) -> MutexGuard<'_, Borrowed> {
        self.borrowed.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn resolve_segment<O: Send + Sync + 'static>(&self, extent: Extent, owner: O) -> Result<Mapped> {
        let segment = self.segments.get(extent.segment).ok_or_else(|| bad(extent, "is in no segment that this worker was sent"))?;
        within(&segment, extent, owner, false)
    }

    /// Tells the host that an input is no longer read. Never waits, and needs no interpreter: the last drop may happen anywhere.
    pub(crate) fn release(&self, lease: u64) {
        if process_id() != self.process {
            return;
        }
        self.borrowed().remove(lease);
        let mut state = self.state();
        state.releases.push(lease);
        step!(only "worker::release");
        if state.answering || state.awake || state.releases.len() > MAX_PACKET / 16 {
            return;
        }
        // No room now, or somebody else who sends: they stay, and go with the next answer.
        let Ok(mut outward) = self.outward.try_lock() else { return };
        if let Ok(bytes) = (ToHost::Release { leases: state.releases.clone() }).encode()
            && let Ok(true) = self.try_send(&mut outward, &bytes)
        {
            state.releases.clear();
        }
    }
}

/// A worker's source of segments: the host.
pub(super) struct HostMemory {
    link: Weak<WorkerLink>,
}

impl HostMemory {
    pub(super) fn new(link: Weak<WorkerLink>) -> Self {
        Self { link }
    }
}

impl Source for HostMemory {
    fn segment(&self, len: usize) -> Result<Option<Arc<Segment>>> {
        let link = self.link.upgrade().ok_or_else(|| Error::new(Code::Internal, "the link is gone"))?;
        // What the host has released since may be here already.
        if link.take_in_waiting()? {
            return Ok(None);
        }
        let answers = |message: &ToWorker| matches!(message, ToWorker::TryAgain | ToWorker::NoSegment { .. });
        // A segment that came unasked left an answer that would be taken for this wish's.
        link.state().inbox.retain(|message| !answers(message));
        step!("worker::wish");
        link.ask_pool(&ToHost::NeedSegment { len: len as u64 })?;
        // What the host gives is in the arena when the answer is here.
        match link.wait_for(answers)? {
            ToWorker::NoSegment { error } => Err(error.into_error()),
            _ => Ok(None),
        }
    }

    fn discard(&self, segment: Arc<Segment>) {
        if let Some(link) = self.link.upgrade() {
            link.segments.remove(segment.id());
            // A host that is gone needs no telling.
            _ = link.send(&ToHost::Discard { segment: segment.id() });
        }
    }
}

/// The right of this worker to read an input; its last drop is the release.
pub(in crate::link) struct InputLease {
    link: Arc<WorkerLink>,
    lease: u64,
}

impl Drop for InputLease {
    fn drop(&mut self) {
        self.link.release(self.lease);
    }
}

struct InputMemory<'a> {
    link: &'a WorkerLink,
    lease: Arc<InputLease>,
}

impl Resolve for InputMemory<'_> {
    fn resolve(&self, extent: Extent) -> Result<Mapped> {
        self.link.resolve_segment(extent, self.lease.clone())
    }
}
