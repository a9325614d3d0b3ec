//! Taking in what a worker says: on the pool's thread, or on that of a caller who waits for it and so needs nobody to wake it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use super::supervise::Owner;
use crate::failure::{Code, Error, Result};
use crate::link::{HostLink, Incoming};

/// Messages that one caller takes in before the pool's thread does it.
const AT_ONCE: usize = 64;
/// How often a caller who goes looks for what came meanwhile before the pool's thread does it.
const LAST_LOOKS: usize = 8;

/// Where one worker is heard.
pub(crate) struct Hearing<O> {
    owner: Arc<O>,
    worker: usize,
    link: Arc<HostLink>,
    /// Some caller listens.
    attended: AtomicBool,
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
    /// Listens no more: the worker is to wake the pool's thread again.
    fn leave(&self);
}

impl<O: Owner> Hearing<O> {
    pub(super) fn new(owner: Arc<O>, worker: usize, link: Arc<HostLink>) -> Self {
        Self { owner, worker, link, attended: AtomicBool::new(false), desk: Mutex::default() }
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
        self.one(true)
    }

    /// Takes in one message.
    fn one(&self, thorough: bool) -> Result<Heard> {
        match self.link.receive(thorough)? {
            None => Ok(Heard::Nothing),
            Some(incoming) if incoming.is_for_supervisor() => Ok(Heard::Ours(incoming)),
            Some(incoming) => self.owner.answered(self.worker, incoming).map(|()| Heard::Answer),
        }
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
        if self.attended.swap(true, Ordering::Acquire) {
            return false;
        }
        let attends = self.link.attend();
        if !attends {
            self.attended.store(false, Ordering::Release);
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

    fn leave(&self) {
        // What is said behind an answer comes just now.
        let quiet = (0..LAST_LOOKS).any(|_| self.link.leave() || !self.hear());
        if !quiet {
            self.link.wake.notify_one();
        }
        self.attended.store(false, Ordering::Release);
    }
}
