//! Taking in what a worker says: on the pool's thread, or on that of a caller who waits for it and so needs nobody to wake it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use super::supervise::Owner;
use crate::failure::{Code, Error, Result};
use crate::link::{Doze, HostLink, Incoming};

/// Messages that one caller takes in before the pool's thread does it.
const AT_ONCE: usize = 64;
/// How often a caller who goes looks for what came meanwhile before the pool's thread does it.
const LAST_LOOKS: usize = 8;

/// Nobody but the pool's thread takes in what the worker says, and is woken for it.
const FREE: u8 = 0;
/// A caller listens.
const ATTENDED: u8 = 1;
/// A caller will listen again soon: what the worker says meanwhile stays in the ring and wakes nobody.
const KEPT: u8 = 2;

/// Where one worker is heard.
pub(crate) struct Hearing<O> {
    owner: Arc<O>,
    worker: usize,
    link: Arc<HostLink>,
    /// One of the three above.
    state: AtomicU8,
    /// For which caller it is kept.
    keeper: AtomicU64,
    /// How often a caller came to listen, and how often one had when the supervisor last looked.
    visits: AtomicU64,
    seen: AtomicU64,
    /// Held from when a message is taken until it is dealt with, which keeps their order.
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    /// Nothing more is taken in: what comes behind a breach does not count.
    closed: bool,
    /// What callers heard that is the supervisor's to deal with.
    left: VecDeque<Result<Incoming>>,
}

/// What was heard.
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is made")]
pub(super) enum Heard {
    /// There is nothing now.
    Nothing,
    /// Nothing that concerns anybody but the link, and there may be more.
    Affairs,
    /// The owner was told.
    Answer,
    /// A message for the supervisor.
    Ours(Incoming),
}

/// What a caller who waits for a worker does meanwhile.
pub(crate) trait Listen: Send + Sync {
    /// Begins to listen; `false` where it makes no sense: somebody does it already, or the worker has no ring.
    fn attend(&self) -> bool;
    /// Takes in what is there; says whether to go on.
    fn hear(&self) -> bool;
    /// Listens in its sleep: there is where to sleep until the worker says something, unless it has. Ends by [`Listen::rouse`].
    fn doze(&self) -> Option<Doze>;
    /// Listens awake again.
    fn rouse(&self);
    /// Listens no more, but will again soon, where nobody else waits for this worker.
    fn keep(&self, caller: u64);
    /// Listens no more: the worker is to wake the pool's thread again.
    fn leave(&self);
    /// Ends what another caller than this keeps.
    fn make_way(&self, caller: u64);
}

impl<O: Owner> Hearing<O> {
    pub(super) fn new(owner: Arc<O>, worker: usize, link: Arc<HostLink>) -> Self {
        Self {
            owner,
            worker,
            link,
            state: AtomicU8::new(FREE),
            keeper: AtomicU64::default(),
            visits: AtomicU64::default(),
            seen: AtomicU64::default(),
            desk: Mutex::default(),
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The supervisor takes in one message, or what callers have left it.
    ///
    /// # Errors
    /// A breach of the protocol, and the worker's end.
    pub(super) fn next(&self) -> Result<Heard> {
        let mut desk = self.desk();
        if let Some(left) = desk.left.pop_front() {
            return left.map(Heard::Ours);
        }
        if desk.closed {
            return Ok(Heard::Nothing);
        }
        // Should this panic, or be a breach, it stays closed: a message that was half taken in may have said what those behind it are about.
        desk.closed = true;
        let heard = self.one(true);
        desk.closed = heard.is_err();
        heard
    }

    /// Takes in one message.
    fn one(&self, thorough: bool) -> Result<Heard> {
        match self.link.receive(thorough)? {
            None => Ok(Heard::Nothing),
            Some(Incoming::Affairs) => Ok(Heard::Affairs),
            Some(incoming) if incoming.is_for_supervisor() => Ok(Heard::Ours(incoming)),
            Some(incoming) => self.owner.answered(self.worker, incoming).map(|()| Heard::Answer),
        }
    }

    /// Who has kept this place since the supervisor last looked, and has not come back, is not waited for any longer.
    pub(super) fn expire(&self) {
        let visits = self.visits.load(Ordering::Relaxed);
        if self.seen.swap(visits, Ordering::Relaxed) == visits {
            self.end_keeping();
        }
    }

    fn end_keeping(&self) {
        // In a forked child it is the parent's thread that keeps it.
        if !self.link.is_forked() && self.change(KEPT, ATTENDED) {
            self.leave();
        }
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Nothing more is taken in.
    pub(super) fn close(&self) {
        self.desk().closed = true;
    }

    /// One message on a caller's thread; `None` where there is none.
    fn overhear(&self, desk: &mut Desk) -> Option<()> {
        // A panic is a defect of this host, but not the caller's: it ends the worker, of which nobody knows any more what it has said.
        let heard = catch_unwind(AssertUnwindSafe(|| self.one(false)));
        let left = match heard.unwrap_or_else(|_| Err(Error::new(Code::Internal, "taking in a message of the worker panicked"))) {
            Ok(Heard::Nothing) => return None,
            Ok(Heard::Affairs) => return Some(()),
            Ok(Heard::Answer) => {
                // What stands behind the answer, and whose time begins with it, is the supervisor's to see.
                self.link.unsettle();
                return Some(());
            }
            Ok(Heard::Ours(incoming)) => Ok(incoming),
            Err(error) => Err(error),
        };
        desk.closed |= left.is_err();
        desk.left.push_back(left);
        self.link.wake.notify_one();
        Some(())
    }
}

impl<O: Owner> Listen for Hearing<O> {
    fn attend(&self) -> bool {
        if self.link.is_forked() {
            return false;
        }
        let kept = self.change(KEPT, ATTENDED);
        if !kept && !self.change(FREE, ATTENDED) {
            return false;
        }
        let attends = kept || self.link.attend();
        if attends {
            self.visits.fetch_add(1, Ordering::Relaxed);
        } else {
            self.state.store(FREE, Ordering::Release);
        }
        attends
    }

    fn hear(&self) -> bool {
        let mut desk = match self.desk.try_lock() {
            Ok(desk) => desk,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // The pool's thread takes something in.
            Err(TryLockError::WouldBlock) => return true,
        };
        for _ in 0..AT_ONCE {
            if desk.closed {
                return false;
            }
            if self.overhear(&mut desk).is_none() {
                break;
            }
        }
        true
    }

    fn doze(&self) -> Option<Doze> {
        self.link.doze()
    }

    fn rouse(&self) {
        self.link.attend();
    }

    fn keep(&self, caller: u64) {
        // The supervisor looks after a while whether the caller has come back.
        self.link.unsettle();
        self.keeper.store(caller, Ordering::Relaxed);
        self.state.store(KEPT, Ordering::Release);
        // Behind that: who begins to wait now sees it, and whoever did so before is seen.
        if !self.owner.is_alone(self.worker, caller) {
            self.end_keeping();
        }
    }

    fn leave(&self) {
        // What is said behind an answer comes just now.
        let quiet = (0..LAST_LOOKS).any(|_| self.link.leave() || !self.hear());
        if !quiet {
            self.link.wake.notify_one();
        }
        self.state.store(FREE, Ordering::Release);
    }

    fn make_way(&self, caller: u64) {
        if self.keeper.load(Ordering::Relaxed) != caller {
            self.end_keeping();
        }
    }
}
