//! One worker's place: what it has in hand, in its order, and what is known of it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::blocking;
use super::registry::Known;
use crate::failure::{Error, Result};
use crate::function::{Language, Signature};
use crate::link::{HostLink, Outgoing, RawResult, RemoteError};
use crate::worker::Listen;

/// How long a worker may go on with a call that nobody waits for any more, once it is the worker's turn with it.
const CANCEL_GRACE: Duration = Duration::from_millis(500);
/// How long a function may take to be loaded: some libraries take their time.
const LOAD_LIMIT: Duration = Duration::from_secs(300);
/// The number of what is no call but the loading of a function; calls have numbers from 1.
pub(super) const LOADING: u64 = 0;
/// How long a stream may stand still before it counts as abandoned for those who wait for its worker.
const STALLED: Duration = Duration::from_secs(10);

/// What becomes of a call.
pub(super) enum Answer {
    /// A result, to be checked.
    Result(RawResult),
    /// The function failed.
    Failed(RemoteError),
    /// The worker died of it.
    Died(Error),
    /// The worker died before its turn: to be sent again.
    Again,
}

/// What becomes of loading a function.
pub(super) enum Defined {
    Signature(Signature),
    Failed(RemoteError),
    Lost(Answer),
}

/// What a stream hears.
pub(super) enum News {
    Result(RawResult),
    /// The function took an input: there is room for one more.
    Next,
    Done,
    Failed(RemoteError),
    Died(Error),
}

/// Something that a worker has in hand; the front of its queue is what it works on.
pub(super) struct Flight {
    pub(super) call: u64,
    pub(super) work: Work,
    pub(super) deadline: Option<Duration>,
    pub(super) cancelled: Option<Instant>,
    pub(super) doomed: Option<Error>,
    /// Who waits for it; 0 where that is nobody who could listen himself.
    pub(super) caller: u64,
}

pub(super) enum Work {
    Define {
        function: u32,
        answer: Option<oneshot::Sender<Defined>>,
    },
    Call {
        answer: oneshot::Sender<Answer>,
    },
    /// The function has asked for an input `asked` times and was given one, or the end, `given` times.
    Stream {
        news: mpsc::UnboundedSender<News>,
        asked: u64,
        given: u64,
        credit: u32,
    },
}

impl Flight {
    /// Whether the worker could be working on it: a stream that waits for the host does not use up its deadline.
    pub(super) fn is_running(&self) -> bool {
        match &self.work {
            Work::Stream { asked, given, credit, .. } => asked <= given && *credit > 0,
            _ => true,
        }
    }
}

/// One place.
pub(super) struct Place {
    pub(super) language: Language,
    pub(super) link: Option<Arc<HostLink>>,
    /// Where callers hear it.
    pub(super) ear: Option<Arc<dyn Listen>>,
    pub(super) flights: VecDeque<Flight>,
    /// Since when the front has been the front, or was last heard of.
    pub(super) since: Instant,
    /// When the supervisor looks next whether its time is up, if ever.
    pub(super) looked_after: Option<Instant>,
    pub(super) reserved: bool,
    /// Calls that are about to be posted.
    pub(super) promised: usize,
    /// Why it could not be started, the last time.
    pub(super) start_error: Option<Error>,
    pub(super) defined: HashSet<u32>,
    pub(super) pid: Option<u32>,
    pub(super) starts: u64,
    pub(super) failed_starts: u32,
    /// Ends without any work done, in a row.
    pub(super) idle_ends: u32,
    /// The call for which this side ends the worker.
    pub(super) sentenced: Option<u64>,
    pub(super) retired: bool,
    pub(super) batches: u64,
    /// Those of the processes before the one that is there.
    pub(super) batches_before: u64,
    pub(super) rows: u64,
    pub(super) failures: u64,
    pub(super) busy: Duration,
}

impl Place {
    pub(super) fn new(language: Language) -> Self {
        Self {
            language,
            link: None,
            ear: None,
            flights: VecDeque::new(),
            since: Instant::now(),
            looked_after: None,
            reserved: false,
            promised: 0,
            start_error: None,
            defined: HashSet::new(),
            pid: None,
            starts: 0,
            failed_starts: 0,
            idle_ends: 0,
            sentenced: None,
            retired: false,
            batches: 0,
            batches_before: 0,
            rows: 0,
            failures: 0,
            busy: Duration::ZERO,
        }
    }

    pub(super) fn push(&mut self, flight: Flight) {
        if self.flights.is_empty() {
            self.since = Instant::now();
        }
        self.flights.push_back(flight);
    }

    /// Takes the front, which was answered.
    pub(super) fn pop(&mut self) -> Option<Flight> {
        self.idle_ends = 0;
        self.since = Instant::now();
        self.flights.pop_front()
    }

    /// Makes sure that the worker knows the function.
    pub(super) fn introduce(&mut self, link: &HostLink, known: &Known) -> Result<()> {
        if self.defined.contains(&known.number) { Ok(()) } else { self.define(link, known, None) }
    }

    pub(super) fn define(&mut self, link: &HostLink, known: &Known, answer: Option<oneshot::Sender<Defined>>) -> Result<()> {
        step!("host::define");
        link.define(known.number, &known.function)?;
        self.defined.insert(known.number);
        // Loading has a time limit, of which the supervisor must hear.
        link.wake.notify_one();
        self.push(Flight {
            call: LOADING,
            work: Work::Define { function: known.number, answer },
            deadline: Some(LOAD_LIMIT),
            cancelled: None,
            doomed: None,
            caller: blocking::caller(),
        });
        Ok(())
    }

    pub(super) fn call(
        &mut self,
        link: &HostLink,
        known: &Known,
        call: u64,
        batch: &Outgoing,
        deadline: Option<Duration>,
    ) -> Result<oneshot::Receiver<Answer>> {
        self.introduce(link, known)?;
        step!("host::post");
        link.call(call, known.number, known.suppresses(), batch)?;
        let (answer, receiver) = oneshot::channel();
        self.push(Flight { call, work: Work::Call { answer }, deadline, cancelled: None, doomed: None, caller: blocking::caller() });
        self.mind_deadline(link);
        Ok(receiver)
    }

    /// When the time of what the worker has in hand is up.
    pub(super) fn due(&self) -> Option<Instant> {
        let front = self.flights.front()?;
        let deadline = front.deadline.filter(|_| front.is_running()).and_then(|deadline| self.since.checked_add(deadline));
        let cancelled = front.cancelled.map(|at| at.max(self.since) + CANCEL_GRACE);
        [deadline, cancelled].into_iter().flatten().min()
    }

    /// Has the supervisor hear of a deadline before which it would not look.
    pub(super) fn mind_deadline(&self, link: &HostLink) {
        if self.due().is_some_and(|due| self.looked_after.is_none_or(|at| at > due)) {
            link.wake.notify_one();
        }
    }

    /// What the worker has in hand, and what it was promised to.
    pub(super) fn load(&self) -> usize {
        self.flights.len() + self.promised
    }

    pub(super) fn stalled(&self) -> bool {
        // Reserved and empty: whoever wanted it is asked for nothing any more.
        self.reserved && self.flights.front().is_none_or(|flight| !flight.is_running()) && self.since.elapsed() >= STALLED
    }
}
