//! The workers' places: who is there, and whose turn it is.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use arrow_schema::SchemaRef;
use tokio::sync::{mpsc, oneshot, watch};

use super::blocking;
use super::event::WorkerStats;
use super::keeping::make_way;
use super::place::{Answer, Defined, Flight, News, Place, Work};
use super::registry::Known;
use crate::failure::{Code, Error, Result};
use crate::function::Language;
use crate::link::{HostLink, Outgoing, ToWorker};
use crate::worker::Listen;

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
    /// The call that it was for has it.
    used: bool,
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
        if self.used {
            return;
        }
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
            Ok(Room { places: self, worker, quiet: false, used: false })
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
        if matches!(posted, Ok(Some(_))) {
            place.promised -= 1;
            room.used = true;
        }
        drop(state);
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
