//! The pool's segments: made here, counted here, given up here.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Notify;

use crate::failure::{Code, Error, Result};
use crate::link::HostLink;
use crate::memory::{Budget, Role, Segment, Segments, Source};

const PAGE: usize = 4096;
const HUGE_PAGE: usize = 2 << 20;
/// A segment doubles what its writer has, within these bounds, unless one batch needs more.
const SMALLEST: usize = 4 << 20;
const LARGEST: usize = 64 << 20;

/// All shared memory of a pool.
pub(super) struct Memory {
    pub(super) budget: Budget,
    pub(super) segments: Arc<Segments>,
    /// Told whenever a block comes back to the host's arena.
    pub(super) freed: Notify,
    next: AtomicU32,
    links: Mutex<Vec<Weak<HostLink>>>,
}

impl Memory {
    pub(super) fn new(limit: u64) -> Self {
        Self { budget: Budget::new(limit), segments: Arc::default(), freed: Notify::new(), next: AtomicU32::new(1), links: Mutex::default() }
    }

    /// A segment with room for `len` bytes, for a writer that has `have` bytes already.
    pub(super) fn make(&self, role: Role, len: usize, have: usize) -> Result<Arc<Segment>> {
        let too_large = || Error::new(Code::BatchTooLarge, format!("{len} bytes are more than a segment can have"));
        let least = len.checked_next_multiple_of(PAGE).ok_or_else(too_large)?;
        let usual = len.checked_next_multiple_of(HUGE_PAGE).ok_or_else(too_large)?.max(have.clamp(SMALLEST, LARGEST));
        if least as u64 > self.budget.limit() {
            let message = format!("{len} bytes are more than the pool's memory limit of {} allows at all", self.budget.limit());
            return Err(Error::new(Code::BatchTooLarge, message).with_hint("send smaller batches, or raise the pool's memory limit"));
        }
        // Near the limit a smaller segment is better than none.
        let reservation = self.budget.reserve(usual).or_else(|_| self.budget.reserve(least))?;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Segment::create(id, role, reservation)?))
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
