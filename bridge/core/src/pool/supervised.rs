//! What the supervisors tell the pool, and ask of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::event::Event;
use super::place::{Answer, Defined, Flight, LOADING, News, Work};
use super::{Inner, closed};
use crate::failure::{Code, Error, Result};
use crate::link::{HostLink, Incoming, RawResult, RemoteError, Socket};
use crate::memory::{Role, Segment};
use crate::worker::{End, Listen, Owner, Sentence};

/// The longest pause between attempts to start a worker.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Owner for Inner {
    fn started(&self, worker: usize, pid: u32) {
        step!(only "host::started");
        let mut state = self.places.state();
        let place = &mut state.places[worker];
        place.pid = Some(pid);
        place.starts += 1;
        place.batches_before = place.batches;
        drop(state);
        self.tell(|| Event::WorkerStarted { worker, pid });
    }

    fn link(&self, socket: Socket) -> Arc<HostLink> {
        let link = HostLink::new(socket, self.memory.segments.clone(), self.arena.clone(), self.ledger.clone());
        let link = Arc::new(link);
        self.memory.add_link(&link);
        link
    }

    fn make_ring(&self) -> Result<[Arc<Segment>; 2]> {
        self.memory.make_ring()
    }

    fn ready(&self, worker: usize, link: Arc<HostLink>, ear: Arc<dyn Listen>) {
        step!(only "host::ready");
        let mut state = self.places.state();
        state.places[worker].link = Some(link);
        state.places[worker].ear = Some(ear);
        state.places[worker].failed_starts = 0;
        state.places[worker].start_error = None;
        drop(state);
        self.places.changed.send_replace(());
        self.tell(|| Event::WorkerReady { worker });
    }

    fn answered(&self, worker: usize, incoming: Incoming) -> Result<()> {
        step!("host::answered");
        match incoming {
            Incoming::Defined(function, outcome) => self.defined(worker, function, outcome),
            Incoming::Result(call, result) => self.result(worker, call, result),
            Incoming::Failed(call, error) => self.failed(worker, call, error),
            Incoming::Next(call) => self.next(worker, call),
            Incoming::Done(call) => {
                let flight = self.take_front(worker, call, |work| matches!(work, Work::Stream { .. }))?;
                if let Some(Flight { work: Work::Stream { news, .. }, .. }) = flight {
                    _ = news.send(News::Done);
                }
                Ok(())
            }
            Incoming::Ready(_) | Incoming::NeedSegment(_) | Incoming::Discarded(_) | Incoming::HungUp | Incoming::Affairs => {
                Err(Error::new(Code::Internal, "a message for the supervisor came to the pool"))
            }
        }
    }

    fn is_alone(&self, worker: usize, caller: u64) -> bool {
        self.places.is_alone(worker, caller)
    }

    fn ended(&self, worker: usize, end: End) -> Option<Duration> {
        step!(only "host::ended");
        let End { reason, was_ready, bystander } = end;
        let closing = self.is_closing();
        let mut state = self.places.state();
        let place = &mut state.places[worker];
        (place.link, place.ear) = (None, None);
        place.pid = None;
        place.defined.clear();
        place.reserved = false;
        let mut flights = std::mem::take(&mut place.flights);
        let sentenced = load_for_calls(&mut flights, place.sentenced.take());
        // Who was ended for one call has not died of the next.
        let blameless = bystander || sentenced.is_some_and(|call| flights.front().is_none_or(|front| front.call != call));
        place.idle_ends = if flights.is_empty() && !bystander { place.idle_ends + 1 } else { 0 };
        let idle_ends = place.idle_ends;
        place.failures += u64::from(!flights.is_empty());
        if !was_ready {
            place.failed_starts += 1;
            place.start_error = Some(reason.clone());
        }
        let attempts = place.failed_starts;
        place.retired = !was_ready && !closing && is_lasting(reason.code());
        let retired = place.retired;
        drop(state);
        for (position, flight) in flights.into_iter().enumerate() {
            bury(flight, position == 0 && !blameless, closing, &reason);
        }
        self.places.changed.send_replace(());
        self.tell(|| Event::WorkerEnded { worker, reason: reason.clone() });
        let pause = match (was_ready, idle_ends) {
            (true, 0) => Duration::ZERO,
            (true, ends) => Duration::from_millis(20) * 2_u32.pow(ends.min(8)),
            (false, _) => Duration::from_millis(50) * 4_u32.pow(attempts.min(4)),
        };
        (!closing && !retired).then_some(pause.min(LONGEST_PAUSE))
    }

    fn printed(&self, worker: usize, text: Vec<u8>) {
        self.tell(|| Event::Printed { worker, text });
    }

    fn due(&self, worker: usize) -> Option<Instant> {
        let mut state = self.places.state();
        let place = &mut state.places[worker];
        place.looked_after = place.due();
        place.looked_after
    }

    fn is_busy(&self, worker: usize) -> bool {
        !self.places.state().places[worker].flights.is_empty()
    }

    fn condemn(&self, worker: usize, error: Error) -> bool {
        let mut state = self.places.state();
        let place = &mut state.places[worker];
        let Some(front) = place.flights.front_mut() else { return false };
        place.sentenced = Some(front.call);
        front.doomed = Some(error);
        true
    }

    fn served(&self, worker: usize) -> u64 {
        let state = self.places.state();
        let place = &state.places[worker];
        place.batches - place.batches_before
    }

    fn judge(&self, worker: usize, stopped: Option<i32>) -> Option<Sentence> {
        if self.due(worker)? > Instant::now() {
            return None;
        }
        let mut state = self.places.state();
        let place = &mut state.places[worker];
        let front = place.flights.front_mut()?;
        place.sentenced = Some(front.call);
        if front.cancelled.is_some() {
            return Some(Sentence::AtOnce);
        }
        let limit = front.deadline.unwrap_or_default();
        if let Some(signal) = stopped {
            front.doomed = Some(crate::worker::stopped(signal, limit));
            return Some(Sentence::AtOnce);
        }
        let error = Error::new(Code::DeadlineExceeded, format!("no answer within the deadline of {} s; the worker was ended", limit.as_secs_f64()));
        front.doomed = Some(error.with_hint("the stack shows where the function was; give it a longer deadline or smaller batches"));
        Some(Sentence::WithStack)
    }

    fn make_segment(&self, len: usize, have: usize) -> Result<Arc<Segment>> {
        // The first segment comes unasked. What fits into it, or into what the worker has already, is measured when it arrives.
        if have > 0 {
            self.check_result(len as u64)?;
        }
        let made = self.memory.make(Role::Output, len, have);
        // Room in this process's own arena that nobody uses is room for results.
        let made = made.or_else(|error| match error.code() {
            Code::MemoryLimit if self.arena.discard_idle() > 0 => self.memory.make(Role::Output, len, have),
            _ => Err(error),
        });
        made.map_err(|error| self.explained(error))
    }

    fn forget(&self, segments: &[u32]) {
        self.memory.forget(segments);
        self.memory.freed.notify_waiters();
    }

    fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }
}

/// Loading a function for a call is that call's affair: takes out the loading, and gives what was said of it to the call behind.
fn load_for_calls(flights: &mut VecDeque<Flight>, mut sentenced: Option<u64>) -> Option<u64> {
    let is_load = |flight: &Flight| matches!(flight.work, Work::Define { answer: None, .. });
    if flights.front().is_some_and(is_load) {
        let doomed = flights.pop_front().and_then(|load| load.doomed);
        flights.retain(|flight| !is_load(flight));
        if let Some(front) = flights.front_mut() {
            // A sentence for a call that was answered meanwhile stays that call's.
            sentenced = sentenced.map(|call| if call == LOADING { front.call } else { call });
            front.doomed = doomed;
        }
    }
    flights.retain(|flight| !is_load(flight));
    sentenced
}

/// Reasons that will be there again at the next start.
fn is_lasting(code: Code) -> bool {
    matches!(code, Code::InterpreterMissing | Code::PyarrowMissing | Code::TransomMissing | Code::VersionMismatch | Code::WorkingDirectoryMissing)
}

/// Tells who waits for a flight that its worker is gone.
fn bury(flight: Flight, front: bool, closing: bool, reason: &Error) {
    let error = match flight.doomed {
        _ if closing => closed(),
        Some(doomed) => {
            let doomed = doomed.with_worker(reason.worker().unwrap_or_default()).with_output(reason.output().to_vec());
            doomed.with_stack(reason.stack().unwrap_or_default())
        }
        None => reason.clone(),
    };
    // A worker takes its calls in order, so only the front can be to blame; those behind it were not begun.
    let answer = if front || closing { Answer::Died(error.clone()) } else { Answer::Again };
    match flight.work {
        Work::Call { answer: waiting } => _ = waiting.send(answer),
        Work::Define { answer: Some(waiting), .. } => _ = waiting.send(Defined::Lost(answer)),
        Work::Define { answer: None, .. } => {}
        Work::Stream { news, .. } => _ = news.send(News::Died(error)),
    }
}

impl Inner {
    /// A supervisor is no more: its place is given up.
    pub(super) fn lost(&self, worker: usize, what: &str) {
        let reason = Error::new(Code::Internal, format!("the supervision of worker {worker} failed: {what}"));
        let link = self.places.state().places[worker].link.take();
        if let Some(link) = link {
            self.forget(&link.close());
        }
        self.ended(worker, End { reason: reason.clone(), was_ready: false, bystander: false });
        let mut state = self.places.state();
        state.places[worker].retired = true;
        state.places[worker].start_error = Some(reason);
        drop(state);
        self.places.changed.send_replace(());
    }

    fn defined(&self, worker: usize, number: u32, outcome: Result<crate::function::Signature, RemoteError>) -> Result<()> {
        let mut state = self.places.state();
        let Some(place) = state.heeded(worker) else { return Ok(()) };
        if !place.flights.front().is_some_and(|flight| matches!(flight.work, Work::Define { function, .. } if function == number)) {
            return Err(out_of_order("a function", u64::from(number)));
        }
        if outcome.is_err() {
            // So that the next call has it loaded anew: the user may have mended the file.
            place.defined.remove(&number);
        }
        let flight = place.pop();
        drop(state);
        self.places.changed.send_replace(());
        if let Some(Flight { work: Work::Define { answer: Some(answer), .. }, .. }) = flight {
            _ = answer.send(match outcome {
                Ok(signature) => Defined::Signature(signature),
                Err(error) => Defined::Failed(error),
            });
        }
        Ok(())
    }

    fn result(&self, worker: usize, call: u64, result: RawResult) -> Result<()> {
        let (rows, busy) = (result.rows(), result.busy);
        let mut state = self.places.state();
        let Some(place) = state.heeded(worker) else { return Ok(()) };
        let front = place.flights.front_mut().filter(|flight| flight.call == call && !matches!(flight.work, Work::Define { .. }));
        let front = front.ok_or_else(|| out_of_order("a result", call))?;
        place.batches += 1;
        place.rows += rows;
        place.busy += busy;
        // Before its caller has the result: who waited for that finds the event there.
        let tell = || self.tell(|| Event::BatchDone { worker, rows, busy });
        if let Work::Stream { news, credit, .. } = &mut front.work {
            *credit = credit.checked_sub(1).ok_or_else(|| Error::new(Code::ProtocolViolation, "a worker sent more results than it may"))?;
            place.since = Instant::now();
            let news = news.clone();
            drop(state);
            tell();
            // Out of the lock: where nobody listens any more, the result is dropped here, and its lease with it.
            _ = news.send(News::Result(result));
        } else if let Some(Flight { work: Work::Call { answer }, .. }) = place.pop() {
            drop(state);
            // Room before news: who hears the answer may send the next batch at once.
            self.places.changed.send_replace(());
            tell();
            _ = answer.send(Answer::Result(result));
        }
        Ok(())
    }

    fn failed(&self, worker: usize, call: u64, error: RemoteError) -> Result<()> {
        let Some(flight) = self.take_front(worker, call, |work| !matches!(work, Work::Define { .. }))? else { return Ok(()) };
        self.tell(|| Event::BatchFailed { worker, reason: error.clone().into_error() });
        match flight.work {
            Work::Call { answer } => _ = answer.send(Answer::Failed(error)),
            Work::Stream { news, .. } => _ = news.send(News::Failed(error)),
            Work::Define { .. } => {}
        }
        Ok(())
    }

    /// A batches function asks for an input.
    fn next(&self, worker: usize, call: u64) -> Result<()> {
        let mut state = self.places.state();
        let Some(place) = state.heeded(worker) else { return Ok(()) };
        let front = place.flights.front_mut().filter(|flight| flight.call == call).ok_or_else(|| out_of_order("a wish", call))?;
        let Work::Stream { news, asked, given, .. } = &mut front.work else { return Err(out_of_order("a wish", call)) };
        *asked += 1;
        // It may ask for one that is not given yet; more would put off its deadline for ever.
        if *asked > *given + 1 {
            return Err(out_of_order("a second wish", call));
        }
        _ = news.send(News::Next);
        place.since = Instant::now();
        Ok(())
    }

    /// Takes the front flight, which ended without a result or after its last; `None` where the worker's word does not count any more.
    fn take_front(&self, worker: usize, call: u64, fits: impl Fn(&Work) -> bool) -> Result<Option<Flight>> {
        let mut state = self.places.state();
        let Some(place) = state.heeded(worker) else { return Ok(None) };
        let front = place.flights.front().filter(|flight| flight.call == call && fits(&flight.work)).ok_or_else(|| out_of_order("an end", call))?;
        let stream = matches!(front.work, Work::Stream { .. });
        let flight = place.pop().ok_or_else(|| out_of_order("an end", call))?;
        if stream {
            place.reserved = false;
        }
        drop(state);
        self.places.changed.send_replace(());
        Ok(Some(flight))
    }
}

fn out_of_order(what: &str, number: u64) -> Error {
    Error::new(Code::ProtocolViolation, format!("a worker sent {what} for {number}, which is not its turn"))
}
