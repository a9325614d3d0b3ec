//! The workers' places: who is there, what each has in hand, and whose turn it is.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use arrow_schema::SchemaRef;
use tokio::sync::{mpsc, oneshot, watch};

use super::blocking;
use super::event::WorkerStats;
use super::keeping::make_way;
use super::registry::Known;
use crate::failure::{Code, Error, Result};
use crate::function::{Language, Signature};
use crate::link::{HostLink, Outgoing, RawResult, RemoteError, ToWorker};
use crate::worker::Listen;

/// How long a worker may go on with a call that nobody waits for any more, once it is the worker's turn with it.
pub(super) const CANCEL_GRACE: Duration = Duration::from_millis(500);
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
    fn new(language: Language) -> Self {
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

    fn push(&mut self, flight: Flight) {
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
    fn introduce(&mut self, link: &HostLink, known: &Known) -> Result<()> {
        if self.defined.contains(&known.number) { Ok(()) } else { self.define(link, known, None) }
    }

    fn define(&mut self, link: &HostLink, known: &Known, answer: Option<oneshot::Sender<Defined>>) -> Result<()> {
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

    fn call(&mut self, link: &HostLink, known: &Known, call: u64, batch: &Outgoing, deadline: Option<Duration>) -> Result<oneshot::Receiver<Answer>> {
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
    fn mind_deadline(&self, link: &HostLink) {
        if self.due().is_some_and(|due| self.looked_after.is_none_or(|at| at > due)) {
            link.wake.notify_one();
        }
    }

    /// What the worker has in hand, and what it was promised to.
    fn load(&self) -> usize {
        self.flights.len() + self.promised
    }

    fn stalled(&self) -> bool {
        // Reserved and empty: whoever wanted it is asked for nothing any more.
        self.reserved && self.flights.front().is_none_or(|flight| !flight.is_running()) && self.since.elapsed() >= STALLED
    }
}

/// All places, and the way to wait for a change in them.
pub(super) struct Places {
    state: Mutex<State>,
    pub(super) changed: watch::Sender<()>,
    window: usize,
    /// Whether supervisors look at what workers take while they have work.
    watched: bool,
}

pub(super) struct State {
    pub(super) places: Vec<Place>,
    /// How many wait for a place to change.
    pub(super) waiting: usize,
}

/// How often a place may fail to start in a row before callers are told. It is tried again all the same: shortages pass.
const START_ATTEMPTS: u32 = 3;

impl State {
    /// The place of a worker whose word counts. When its time is over, what it says may come of how it was told: a system call that the request for its
    /// stack broke off.
    pub(super) fn heeded(&mut self, worker: usize) -> Option<&mut Place> {
        Some(&mut self.places[worker]).filter(|place| place.sentenced.is_none())
    }

    /// The places for functions of one language.
    pub(super) fn of(&self, language: Language) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(move |place| place.language == language)
    }

    /// Whether there is, or will most likely be, any worker for functions of a language.
    fn check_hope(&self, language: Language) -> Result<()> {
        // A start that took all the time there is would take as long again.
        let timed_out = |place: &Place| place.start_error.as_ref().is_some_and(|error| error.code() == Code::StartTimeout);
        let failing = |place: &Place| place.retired || place.failed_starts >= START_ATTEMPTS || timed_out(place);
        let hopeless = |place: &Place| place.link.is_none() && failing(place);
        if !self.of(language).all(hopeless) {
            return Ok(());
        }
        let reason = self.of(language).find_map(|place| place.start_error.clone());
        Err(reason.unwrap_or_else(|| Error::new(Code::StartFailed, "no worker could be started")))
    }
}

/// Room for one call in a worker, to be used or given back at once.
pub(super) struct Room<'a> {
    places: &'a Places,
    worker: usize,
    /// Nobody need hear that it is given back.
    quiet: bool,
}

impl Room<'_> {
    /// Gives it back without a word, for want of memory: those who wait for memory too would each wake all the others in turn, for ever. Who waits
    /// for room alone looks by itself soon.
    pub(super) fn give_back_quietly(mut self) {
        self.quiet = true;
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut state = self.places.state();
        state.places[self.worker].promised -= 1;
        drop(state);
        if !self.quiet {
            self.places.changed.send_replace(());
        }
    }
}

/// Where a call was sent.
pub(super) struct Posted {
    pub(super) worker: usize,
    pub(super) answer: oneshot::Receiver<Answer>,
    pub(super) ear: Option<Arc<dyn Listen>>,
}

/// Where a stream was opened.
pub(super) struct Opened {
    pub(super) worker: usize,
    pub(super) link: Arc<HostLink>,
    pub(super) ear: Option<Arc<dyn Listen>>,
    pub(super) news: mpsc::UnboundedReceiver<News>,
}

impl Places {
    pub(super) fn new(window: usize, watched: bool) -> Self {
        Self { state: Mutex::new(State { places: Vec::new(), waiting: 0 }), changed: watch::Sender::new(()), window, watched }
    }

    /// Makes places for the functions of a language, unless there are some. `start` is told which, and has workers started for them.
    pub(super) fn staff(&self, language: Language, workers: usize, start: impl FnOnce(Range<usize>) -> Result<()>) -> Result<()> {
        let mut state = self.state();
        if state.of(language).next().is_some() {
            return Ok(());
        }
        let first = state.places.len();
        start(first..first + workers)?;
        state.places.extend((0..workers).map(|_| Place::new(language)));
        Ok(())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The least busy worker that has room; `None` when none has any now.
    fn with_room<T>(&self, language: Language, post: impl FnOnce(usize, &mut Place, &Arc<HostLink>) -> Result<T>) -> Result<Option<T>> {
        let mut state = self.state();
        state.check_hope(language)?;
        let has_room = |place: &Place| place.language == language && place.link.is_some() && !place.reserved && place.load() < self.window;
        let open = state.places.iter_mut().enumerate().filter(|(_, place)| has_room(place));
        let Some((worker, place)) = open.min_by_key(|(_, place)| place.load()) else { return Ok(None) };
        let link = place.link.clone().expect("a place without a link was filtered out");
        let (posted, ear) = (post(worker, place, &link), place.ear.clone());
        drop(state);
        make_way(ear);
        posted.map(Some)
    }

    pub(super) fn try_define(&self, known: &Known) -> Result<Option<oneshot::Receiver<Defined>>> {
        self.with_room(known.language(), |_, place, link| {
            let (answer, receiver) = oneshot::channel();
            place.define(link, known, Some(answer))?;
            Ok(receiver)
        })
    }

    /// Takes room for one call in the least busy worker.
    pub(super) fn take_room(&self, language: Language) -> Result<Option<Room<'_>>> {
        self.with_room(language, |worker, place, _| {
            place.promised += 1;
            Ok(Room { places: self, worker, quiet: false })
        })
    }

    /// Sends one batch to the worker in which room was taken. Says where it went; `None` when the worker has gone meanwhile.
    pub(super) fn try_call(
        &self,
        mut room: Room<'_>,
        known: &Known,
        call: u64,
        batch: &Outgoing,
        deadline: Option<Duration>,
    ) -> Result<Option<Posted>> {
        let worker = room.worker;
        let mut state = self.state();
        let place = &mut state.places[worker];
        let posted = match place.link.clone().filter(|_| !place.reserved) {
            Some(link) => {
                let called = place.call(&link, known, call, batch, deadline).map(|answer| Some(Posted { worker, answer, ear: place.ear.clone() }));
                if self.watched {
                    link.wake.notify_one();
                }
                called
            }
            None => Ok(None),
        };
        let ear = place.ear.clone();
        drop(state);
        // What the room was for has it now: there is none for anybody else.
        room.quiet |= matches!(posted, Ok(Some(_)));
        drop(room);
        make_way(ear);
        posted
    }

    /// Opens a stream in a worker that has nothing else in hand; one is kept from taking more until then.
    pub(super) fn try_open(
        &self,
        known: &Known,
        call: u64,
        schema: &SchemaRef,
        credit: u32,
        deadline: Option<Duration>,
        reserved: &mut Option<(usize, u64)>,
    ) -> Result<Option<Opened>> {
        let mut state = self.state();
        let language = known.language();
        state.check_hope(language)?;
        // A worker that was restarted is no longer reserved.
        let still = reserved.filter(|&(worker, starts)| state.places[worker].starts == starts && state.places[worker].reserved);
        let chosen = still.map(|(worker, _)| worker).or_else(|| {
            let open = state.places.iter().enumerate().filter(|(_, place)| place.language == language && place.link.is_some() && !place.reserved);
            open.min_by_key(|(_, place)| place.load()).map(|(worker, _)| worker)
        });
        let Some(worker) = chosen else {
            *reserved = None;
            return Ok(None);
        };
        let place = &mut state.places[worker];
        place.reserved = true;
        *reserved = Some((worker, place.starts));
        if place.load() > 0 {
            return Ok(None);
        }
        let Some(link) = place.link.clone() else { return Ok(None) };
        place.introduce(&link, known)?;
        step!("host::open");
        link.open(call, known.number, schema, credit)?;
        let (news, receiver) = mpsc::unbounded_channel();
        let work = Work::Stream { news, asked: 0, given: 0, credit };
        place.push(Flight { call, work, deadline, cancelled: None, doomed: None, caller: blocking::caller() });
        link.wake.notify_one();
        let ear = place.ear.clone();
        drop(state);
        make_way(ear.clone());
        Ok(Some(Opened { worker, link, ear, news: receiver }))
    }

    /// Gives a reserved worker back that was not used.
    pub(super) fn unreserve(&self, reserved: Option<(usize, u64)>) {
        if let Some((worker, starts)) = reserved {
            let mut state = self.state();
            let place = &mut state.places[worker];
            let idle = !place.flights.iter().any(|flight| matches!(flight.work, Work::Stream { .. }));
            if place.starts == starts && idle {
                place.reserved = false;
                drop(state);
                self.changed.send_replace(());
            }
        }
    }

    /// Notes what the host gave to a stream: an input, or room for results.
    pub(super) fn gave(&self, worker: usize, call: u64, input: bool, results: u32) {
        let mut state = self.state();
        let place = &mut state.places[worker];
        let Some(flight) = place.flights.iter_mut().find(|flight| flight.call == call) else { return };
        let was_running = flight.is_running();
        if let Work::Stream { given, credit, .. } = &mut flight.work {
            *given += u64::from(input);
            *credit += results;
        }
        if !was_running {
            place.since = Instant::now();
            if let Some(link) = &place.link {
                place.mind_deadline(link);
            }
        }
    }

    /// Nobody waits for this call any more.
    pub(super) fn cancel(&self, worker: usize, call: u64) {
        let mut state = self.state();
        let place = &mut state.places[worker];
        let Some(flight) = place.flights.iter_mut().find(|flight| flight.call == call) else { return };
        flight.cancelled = Some(Instant::now());
        let stream = matches!(flight.work, Work::Stream { .. });
        if let Some(link) = &place.link {
            if stream {
                // What cannot be sent need not be: the grace ends it then.
                _ = link.send(&ToWorker::Cancel { call });
            }
            link.wake.notify_one();
        }
    }

    /// Whether every worker for a language is held by a stream from which nobody takes.
    pub(super) fn all_stalled(&self, language: Language) -> bool {
        self.state().of(language).all(|place| place.retired || place.stalled())
    }

    /// Whether no worker has anything in hand.
    pub(super) fn is_idle(&self) -> bool {
        self.state().places.iter().all(|place| place.flights.is_empty())
    }

    pub(super) fn stats(&self) -> Vec<WorkerStats> {
        let state = self.state();
        let one = |place: &Place| WorkerStats {
            language: place.language,
            pid: place.pid,
            state: match (&place.link, place.flights.is_empty()) {
                _ if place.retired => "gone",
                (None, _) => "starting",
                (Some(_), true) => "idle",
                (Some(_), false) => "busy",
            },
            batches: place.batches,
            rows: place.rows,
            failures: place.failures,
            restarts: place.starts.saturating_sub(1),
            busy: place.busy,
            leases: place.link.as_ref().map_or(0, |link| link.leased().0),
        };
        state.places.iter().map(one).collect()
    }
}

/// The error for a caller who would wait for ever.
pub(super) fn all_busy() -> Error {
    Error::new(Code::PoolBusy, "every worker is held by an open stream of a batches function, and nothing is taken from it")
        .with_hint("take the stream's results, close it, or give the pool more workers")
}
