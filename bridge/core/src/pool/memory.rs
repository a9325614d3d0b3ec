//! The pool's segments: made here, counted here, given up here.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Notify;

use crate::failure::Result;
use crate::link::{HostLink, RING_BYTES};
use crate::memory::{self, Budget, Extent, Role, SMALLEST, Segment, Segments, Source};

/// All shared memory of a pool.
pub(super) struct Memory {
    pub(super) budget: Budget,
    pub(super) segments: Arc<Segments>,
    /// Told whenever a block comes back to the host's arena.
    pub(super) freed: Notify,
    links: Mutex<Vec<Weak<HostLink>>>,
}

impl Memory {
    pub(super) fn new(limit: u64) -> Self {
        Self { budget: Budget::new(limit), segments: Arc::default(), freed: Notify::new(), links: Mutex::default() }
    }

    /// A segment with room for `len` bytes, for a writer that has `have` bytes already.
    pub(super) fn make(&self, role: Role, len: usize, have: usize) -> Result<Arc<Segment>> {
        // First, so that a wish that is refused uses up no number.
        let room = self.budget.reserve_segment(len, have)?;
        Ok(Arc::new(Segment::create(Segment::new_id(), role, room)?))
    }

    /// Where these bytes are in memory that a worker of this pool can be sent: the pool's own, or this process's heap where that is shared.
    pub(super) fn locate(&self, ptr: *const u8, len: usize) -> Option<Extent> {
        self.segments.locate(ptr, len).or_else(|| memory::heap_locate(ptr, len))
    }

    /// The segment with this number, of the pool or of the heap.
    pub(super) fn segment(&self, id: u32) -> Option<Arc<Segment>> {
        self.segments.get(id).or_else(|| memory::heap_segment(id))
    }

    /// The segments of a worker's rings, the host's first. They are small and of one size, so they do not count.
    pub(super) fn make_ring(&self) -> Result<[Arc<Segment>; 2]> {
        let budget = Budget::new(2 * RING_BYTES as u64);
        let make = |role| Segment::create(0, role, budget.reserve(RING_BYTES)?).map(Arc::new);
        Ok([make(Role::Input)?, make(Role::Output)?])
    }

    pub(super) fn add_link(&self, link: &Arc<HostLink>) {
        let mut links = self.links();
        links.retain(|link| link.strong_count() > 0);
        links.push(Arc::downgrade(link));
    }

    /// Lets every worker know that segments are no more.
    pub(super) fn forget(&self, segments: &[u32]) {
        let links: Vec<Arc<HostLink>> = self.links().iter().filter_map(Weak::upgrade).collect();
        for link in links {
            segments.iter().for_each(|&segment| link.forget(segment));
        }
    }

    /// Asks every worker to give up what it does not use.
    pub(super) fn trim(&self) {
        let links: Vec<Arc<HostLink>> = self.links().iter().filter_map(Weak::upgrade).collect();
        links.iter().for_each(|link| link.trim());
    }

    /// Asks the workers that have more than every worker has.
    pub(super) fn trim_large(&self) {
        let links: Vec<Arc<HostLink>> = self.links().iter().filter_map(Weak::upgrade).collect();
        links.iter().filter(|link| link.owned_bytes() > SMALLEST).for_each(|link| link.trim());
    }

    fn links(&self) -> std::sync::MutexGuard<'_, Vec<Weak<HostLink>>> {
        self.links.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The source of the host's own arena, for inputs.
pub(super) struct Inputs {
    pub(super) memory: Arc<Memory>,
    pub(super) have: std::sync::atomic::AtomicUsize,
}

impl Source for Inputs {
    fn segment(&self, len: usize) -> Result<Option<Arc<Segment>>> {
        let segment = self.memory.make(Role::Input, len, self.have.load(Ordering::Relaxed))?;
        self.have.fetch_add(segment.len(), Ordering::Relaxed);
        self.memory.segments.insert(segment.clone());
        Ok(Some(segment))
    }

    fn discard(&self, segment: Arc<Segment>) {
        self.have.fetch_sub(segment.len(), Ordering::Relaxed);
        self.memory.segments.remove(segment.id());
        self.memory.forget(&[segment.id()]);
    }

    fn freed(&self) {
        self.memory.freed.notify_waiters();
    }
}
