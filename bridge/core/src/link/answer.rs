//! What of a result may go where it lies: memory that the worker was lent, and pieces of its own heap that nobody else has any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::keep::Keep;
use super::worker::InputLease;
use crate::exchange::{Export, Ledger, Reason};
use crate::failure::Result;
use crate::memory::{Arena, Block, Claim, Extent, Segments, Space};

/// The inputs that a worker has, by the number of their lease, and where they lie.
#[derive(Default)]
pub(super) struct Borrowed {
    inputs: BTreeMap<u64, (Weak<InputLease>, Vec<Extent>)>,
}

impl Borrowed {
    pub(super) fn insert(&mut self, lease: u64, input: &Arc<InputLease>, extents: Vec<Extent>) {
        self.inputs.insert(lease, (Arc::downgrade(input), extents));
    }

    pub(super) fn remove(&mut self, lease: u64) {
        self.inputs.remove(&lease);
    }

    /// The right to read an extent. The newest comes first: a function mostly gives back what it was just given.
    fn covering(&self, extent: &Extent) -> Option<Arc<InputLease>> {
        let inputs = self.inputs.values().rev();
        inputs.filter(|(_, extents)| extents.iter().any(|lent| lent.contains(extent))).find_map(|(input, _)| input.upgrade())
    }
}

/// The space of one result. It notes what has to be kept for what it says can be named.
pub(super) struct Answer<'a> {
    segments: &'a Segments,
    arena: &'a Arena,
    borrowed: &'a Mutex<Borrowed>,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    claims: Vec<Claim>,
    inputs: Vec<Arc<InputLease>>,
}

impl<'a> Answer<'a> {
    pub(super) fn new(segments: &'a Segments, arena: &'a Arena, borrowed: &'a Mutex<Borrowed>) -> Self {
        Self { segments, arena, borrowed, found: Mutex::default() }
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called when the worker has let go of the result: copies what lies in pieces that somebody else still has, and so could still write, and
    /// gives what must be kept for the rest.
    pub(super) fn settle(self, export: &mut Export, ledger: &Ledger) -> Result<Keep> {
        let Found { claims, inputs } = self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (last, held): (Vec<Claim>, Vec<Claim>) = claims.into_iter().partition(Claim::is_last);
        if !held.is_empty() {
            let bytes = |extent: &Extent| held.iter().find_map(|claim| claim.bytes(extent));
            export.move_out(self.arena, ledger, Reason::StillHeld, bytes)?;
        }
        Ok(Keep::of_answer(std::mem::take(&mut export.blocks), last, inputs))
    }
}

impl Space for Answer<'_> {
    fn allocate(&self, len: usize) -> Result<Block> {
        self.arena.allocate(len)
    }

    fn locate(&self, ptr: *const u8, len: usize) -> Option<Extent> {
        let extent = self.segments.locate(ptr, len)?;
        let mut found = self.found();
        if found.claims.iter().any(|claim| claim.extent().contains(&extent)) {
            return Some(extent);
        }
        if let Some(claim) = Claim::of(ptr, len) {
            found.claims.push(claim);
        } else {
            let borrowed = self.borrowed.lock().unwrap_or_else(PoisonError::into_inner);
            found.inputs.push(borrowed.covering(&extent)?);
        }
        Some(extent)
    }
}
