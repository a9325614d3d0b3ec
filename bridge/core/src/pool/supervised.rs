//! What the supervisors tell the pool, and ask of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::event::Event;
use super::places::{Answer, CANCEL_GRACE, Defined, Flight, News, Work};
use super::{Inner, closed};
use crate::failure::{Code, Error, Result};
use crate::link::{HostLink, Incoming, RawResult, RemoteError};
use crate::memory::{Role, Segment};
use crate::worker::{Owner, Process, Sentence};

/// How often a worker may fail to start in a row before its place is given up.
const START_ATTEMPTS: u32 = 3;

impl Owner for Inner {
    fn started(&self, worker: usize, pid: u32) {
        let mut state = self.places.state();
        let place = &mut state.places[worker];
        place.pid = Some(pid);
        place.starts += 1;
        drop(state);
        self.tell(|| Event::WorkerStarted { worker, pid });
    }

    fn link(&self, process: &mut Process) -> Arc<HostLink> {
        let socket = process.socket.take().expect("a process is started with its link");
        let link = HostLink::new(socket, self.memory.segments.clone(), self.arena.clone(), self.ledger.clone());
        let link = Arc::new(link);
        self.memory.add_link(&link);
        link
    }

    fn ready(&self, worker: usize, link: Arc<HostLink>) {
        let mut state = self.places.state();
        state.places[worker].link = Some(link);
        state.places[worker].failed_starts = 0;
        drop(state);
        self.places.changed.send_replace(());
        self.tell(|| Event::WorkerReady { worker });
    }

    fn answered(&self, worker: usize, incoming: Incoming) -> Result<()> {
        match incoming {
            Incoming::Defined(function, outcome) => self.defined(worker, function, outcome),
            Incoming::Result(call, result) => self.result(worker, call, result),
            Incoming::Failed(call, error) => self.failed(worker, call, error),
            Incoming::Next(call, waits) => self.stream_news(worker, call, |work| {
                if let Work::Stream { news, waiting, .. } = work {
                    *waiting = waits;
                    _ = news.send(News::Next);
                }
            }),
            Incoming::Done(call) => {
                let flight = self.take_front(worker, call)?;
                if let Work::Stream { news, .. } = flight.work {
                    _ = news.send(News::Done);
                }
                Ok(())
            }
            Incoming::Ready(_) | Incoming::NeedSegment(_) | Incoming::Discarded(_) | Incoming::HungUp => {
                Err(Error::new(Code::Internal, "a message for the supervisor came to the pool"))
            }
        }
    }

    fn ended(&self, worker: usize, reason: Error, was_ready: bool) -> Option<Duration> {
        let closing = self.is_closing();
        let mut state = self.places.state();
        let place = &mut state.places[worker];
        place.link = None;
        place.pid = None;
        place.defined.clear();
        place.reserved = false;
        let flights = std::mem::take(&mut place.flights);
        place.failures += u64::from(!flights.is_empty());
        if !was_ready {
            place.failed_starts += 1;
        }
        let attempts = place.failed_starts;
        let hopeless = !was_ready && (is_lasting(reason.code()) || attempts >= START_ATTEMPTS);
        if hopeless && !closing {
            place.retired = true;
            if state.places.iter().all(|place| place.retired) {
                state.broken = Some(reason.clone());
            }
        }
        drop(state);
        for (position, flight) in flights.into_iter().enumerate() {
            bury(flight, position == 0, closing, &reason);
        }
        self.places.changed.send_replace(());
        self.tell(|| Event::WorkerEnded { worker, reason: reason.clone() });
        match (closing || hopeless, was_ready) {
            (true, _) => None,
            (false, true) => Some(Duration::ZERO),
            (false, false) => Some(Duration::from_millis(50) * 4_u32.pow(attempts.min(4))),
        }
    }

    fn due(&self, worker: usize) -> Option<Instant> {
        let state = self.places.state();
        let place = &state.places[worker];
        let front = place.flights.front()?;
        let deadline = front.deadline.filter(|_| front.is_running()).and_then(|deadline| place.since.checked_add(deadline));
        let cancelled = front.cancelled.map(|at| at.max(place.since) + CANCEL_GRACE);
        [deadline, cancelled].into_iter().flatten().min()
    }

    fn judge(&self, worker: usize) -> Option<Sentence> {
        if self.due(worker)? > Instant::now() {
            return None;
        }
        let mut state = self.places.state();
        let front = state.places[worker].flights.front_mut()?;
        if front.cancelled.is_some() {
            return Some(Sentence::AtOnce);
        }
        let limit = front.deadline.unwrap_or_default();
        let error = Error::new(Code::DeadlineExceeded, format!("no answer within the deadline of {} s; the worker was ended", limit.as_secs_f64()));
        front.doomed = Some(error.with_hint("the stack below shows where the function was; give it a longer deadline or smaller batches"));
        Some(Sentence::WithStack)
    }

    fn make_segment(&self, len: usize, have: usize) -> Result<Arc<Segment>> {
        self.memory.make(Role::Output, len, have).map_err(|error| match error.code() {
            Code::MemoryLimit => error.with_hint(self.memory.holders()),
            _ => error,
        })
    }

    fn forget(&self, segments: &[u32]) {
        self.memory.forget(segments);
    }

    fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }
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
    fn defined(&self, worker: usize, number: u32, outcome: Result<crate::function::Signature, RemoteError>) -> Result<()> {
        let mut state = self.places.state();
        let place = &mut state.places[worker];
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
        let place = &mut state.places[worker];
        let front = place.flights.front_mut().filter(|flight| flight.call == call).ok_or_else(|| out_of_order("a result", call))?;
        place.batches += 1;
        place.rows += rows;
        place.busy += busy;
        if let Work::Stream { news, credit, .. } = &mut front.work {
            *credit = credit.checked_sub(1).ok_or_else(|| Error::new(Code::ProtocolViolation, "a worker sent more results than it may"))?;
            _ = news.send(News::Result(result));
            place.since = Instant::now();
        } else if let Some(Flight { work: Work::Call { answer }, .. }) = place.pop() {
            drop(state);
            // Room before news: who hears the answer may send the next batch at once.
            self.places.changed.send_replace(());
            _ = answer.send(Answer::Result(result));
        } else {
            return Err(out_of_order("a result", call));
        }
        self.tell(|| Event::BatchDone { worker, rows, busy });
        Ok(())
    }

    fn failed(&self, worker: usize, call: u64, error: RemoteError) -> Result<()> {
        let flight = self.take_front(worker, call)?;
        self.tell(|| Event::BatchFailed { worker, reason: error.clone().into_error() });
        match flight.work {
            Work::Call { answer } => _ = answer.send(Answer::Failed(error)),
            Work::Stream { news, .. } => _ = news.send(News::Failed(error)),
            Work::Define { .. } => {}
        }
        Ok(())
    }

    fn stream_news(&self, worker: usize, call: u64, note: impl FnOnce(&mut Work)) -> Result<()> {
        let mut state = self.places.state();
        let place = &mut state.places[worker];
        let front = place.flights.front_mut().filter(|flight| flight.call == call).ok_or_else(|| out_of_order("news", call))?;
        note(&mut front.work);
        place.since = Instant::now();
        Ok(())
    }

    /// Takes the front flight, which ended without a result or after its last.
    fn take_front(&self, worker: usize, call: u64) -> Result<Flight> {
        let mut state = self.places.state();
        let place = &mut state.places[worker];
        let front = place.flights.front().filter(|flight| flight.call == call && flight.call != 0).ok_or_else(|| out_of_order("an end", call))?;
        let stream = matches!(front.work, Work::Stream { .. });
        let flight = place.pop().ok_or_else(|| out_of_order("an end", call))?;
        if stream {
            place.reserved = false;
        }
        drop(state);
        self.places.changed.send_replace(());
        Ok(flight)
    }
}

fn out_of_order(what: &str, number: u64) -> Error {
    Error::new(Code::ProtocolViolation, format!("a worker sent {what} for {number}, which is not its turn"))
}
