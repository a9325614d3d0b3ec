//! The heap behind [`super::SharedAlloc`]: one for the process, an arena like any other.
//!
//! It must never call itself: while a thread is at work in here, whatever that thread allocates comes from the other allocator, and goes back to it.
//! No lock of the heap is held while anything of the rest of the program runs, and it takes none of theirs, so a block can be freed under any lock.

use std::cell::Cell;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use super::super::{Arena, Budget, Extent, Role, Segment, Segments, Source};
use super::{LARGE, forked};
use crate::failure::Result;

/// How long a segment is kept in which nothing is in use.
const IDLE: Duration = Duration::from_secs(5);

struct Heap {
    arena: Arena,
    segments: Arc<Segments>,
    budget: Budget,
}

static HEAP: OnceLock<Heap> = OnceLock::new();
/// Somebody has asked for a large block, so the allocator is installed.
static ASKED: AtomicBool = AtomicBool::new(false);
/// There was no room for a new segment, and nothing has changed since.
static FULL: AtomicBool = AtomicBool::new(false);
/// Keepers know that a segment is idle.
static TOLD: AtomicBool = AtomicBool::new(false);
/// Those who are woken when a segment becomes idle.
static KEEPERS: Mutex<Vec<Ear>> = Mutex::new(Vec::new());

/// What a keeper hears of.
struct Ear {
    keeper: u64,
    told: UnixStream,
    /// Segments that are gone and that its workers may still have.
    departed: Vec<u32>,
}

impl Ear {
    fn wake(&mut self) {
        // Where the socket is full the keeper is awake already.
        _ = self.told.write(&[0]);
    }
}

thread_local! {
    /// Whether this thread is in here.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// Does the heap's own work; `None` where this thread is at it already, or this process is a forked child, whose heap is the parent's.
fn apart<T>(work: impl FnOnce() -> T) -> Option<T> {
    if forked::is_child() || BUSY.replace(true) {
        return None;
    }
    let done = work();
    BUSY.set(false);
    Some(done)
}

/// A block of `len` bytes. The first one decides the `limit` of the process.
pub(super) fn take(len: usize, limit: Option<u64>) -> Option<NonNull<u8>> {
    ASKED.store(true, Ordering::Relaxed);
    let taken = apart(|| {
        let may_grow = !FULL.load(Ordering::Relaxed);
        let block = HEAP.get_or_init(|| Heap::new(limit)).arena.take(len, may_grow);
        if block.is_none() && may_grow {
            FULL.store(true, Ordering::Relaxed);
        }
        block
    });
    taken.flatten()
}

/// Takes a block back; `false` where it is none of the heap's.
pub(super) fn give(block: NonNull<u8>, len: usize) -> bool {
    // In a child the block is a private copy that goes with the process.
    apart(|| HEAP.get().is_some_and(|heap| heap.arena.give(block, len))).unwrap_or_else(|| forked::is_child() && forked::holds(block))
}

/// Whether a block is the heap's.
pub(super) fn holds(block: NonNull<u8>) -> bool {
    forked::holds(block)
}

/// Makes a block longer or shorter where it lies, if that can be done.
pub(super) fn resize(block: NonNull<u8>, len: usize, new_len: usize) -> bool {
    apart(|| HEAP.get().is_some_and(|heap| heap.arena.resize(block, len, new_len))).unwrap_or(false)
}

/// The bytes of all segments.
pub(super) fn bytes() -> u64 {
    HEAP.get().map_or(0, |heap| heap.budget.used())
}

/// Where an address range is in the heap, if it lies there. In a forked child nothing does: what it has there is its own copy.
pub(crate) fn locate(ptr: *const u8, len: usize) -> Option<Extent> {
    HEAP.get().filter(|_| !forked::is_child())?.segments.locate(ptr, len)
}

/// A segment of the heap.
pub(crate) fn segment(id: u32) -> Option<Arc<Segment>> {
    HEAP.get()?.segments.get(id)
}

impl Heap {
    fn new(limit: Option<u64>) -> Self {
        forked::watch();
        let budget = Budget::new(limit.unwrap_or_else(Budget::default_limit));
        let segments: Arc<Segments> = Arc::default();
        let source = Growth { budget: budget.clone(), segments: segments.clone(), have: AtomicUsize::new(0) };
        Self { arena: Arena::new(source), segments, budget }
    }
}

struct Growth {
    budget: Budget,
    segments: Arc<Segments>,
    have: AtomicUsize,
}

impl Source for Growth {
    fn segment(&self, len: usize) -> Result<Option<Arc<Segment>>> {
        let reservation = self.budget.reserve_segment(len, self.have.load(Ordering::Relaxed))?;
        let segment = Arc::new(Segment::create(Segment::new_id(), Role::Input, reservation)?);
        segment.hide_from_children();
        forked::add(&segment)?;
        self.have.fetch_add(segment.len(), Ordering::Relaxed);
        self.segments.insert(segment.clone());
        Ok(Some(segment))
    }

    fn discard(&self, segment: Arc<Segment>) {
        forked::remove(&segment);
        self.have.fetch_sub(segment.len(), Ordering::Relaxed);
        self.segments.remove(segment.id());
        FULL.store(false, Ordering::Relaxed);
        for ear in keepers().iter_mut() {
            ear.departed.push(segment.id());
            ear.wake();
        }
    }

    fn idle(&self) {
        FULL.store(false, Ordering::Relaxed);
        if TOLD.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut ears = keepers();
        ears.iter_mut().for_each(Ear::wake);
        if ears.is_empty() {
            drop(ears);
            TOLD.store(false, Ordering::Release);
            _ = HEAP.get().map(|heap| heap.arena.discard_idle_for(IDLE));
        }
    }
}

fn keepers() -> MutexGuard<'static, Vec<Ear>> {
    KEEPERS.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Gives memory back to the system once nothing of it has been in use for a while: one for each pool, since nothing of that is done where blocks are
/// freed, under whatever locks.
pub(crate) struct Keeper {
    number: u64,
}

impl Keeper {
    /// How long to wait, after a wake-up and from look to look.
    pub(crate) const PAUSE: Duration = IDLE;

    /// A keeper, and the end of a socket that can be read once a segment is idle. `None` where the allocator is not installed.
    pub(crate) fn new() -> Option<(Self, UnixStream)> {
        if !is_installed() {
            return None;
        }
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let (told, wake) = UnixStream::pair().ok()?;
        told.set_nonblocking(true).ok()?;
        wake.set_nonblocking(true).ok()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        apart(|| keepers().push(Ear { keeper: number, told, departed: Vec::new() }))?;
        Some((Self { number }, wake))
    }

    /// Gives back what has been idle long enough. Says which segments are gone, for workers to let go of, and whether others may soon follow.
    pub(crate) fn look(&self, rest: Duration) -> (Vec<u32>, bool) {
        let looked = apart(|| {
            TOLD.store(false, Ordering::Release);
            let (_, waiting) = HEAP.get().map_or((0, 0), |heap| heap.arena.discard_idle_for(rest));
            let mut ears = keepers();
            let mine = ears.iter_mut().find(|ear| ear.keeper == self.number);
            (mine.map(|ear| std::mem::take(&mut ear.departed)).unwrap_or_default(), waiting > 0)
        });
        looked.unwrap_or_default()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        apart(|| {
            let mut ears = keepers();
            ears.retain(|ear| ear.keeper != self.number);
            let last = ears.is_empty();
            drop(ears);
            // Nobody looks after what is idle from here on, so it goes at once.
            if last && let Some(heap) = HEAP.get() {
                TOLD.store(false, Ordering::Release);
                heap.arena.discard_idle();
            }
        });
    }
}

/// Whether [`super::SharedAlloc`] is the program's allocator: a large block is asked for, and it is looked who hears it.
fn is_installed() -> bool {
    // In here, so that the block itself is not shared.
    apart(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE))));
    ASKED.load(Ordering::Relaxed)
}
