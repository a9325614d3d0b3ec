//! The life of one worker, from its hello to its end.

mod ends;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::hearing::{Heard, Hearing};
use super::limits::{self, MemoryWatch};
use super::output::Drain;
use super::process::Process;
use super::stacks;
use super::supervise::{End, Owner, Supervisor};
use super::watched::watched;
use crate::exchange;
use crate::failure::{Code, Error, Result};
use crate::function::Language;
use crate::link::{Hello, HostLink, Incoming, PROTOCOL, Ready, RemoteError, ToWorker};
use crate::memory::{Segment, out_of_memory_kills};

/// How long a worker may take to write its stack before it is killed.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long a worker may take to end by itself when the pool closes.
const GOODBYE: Duration = Duration::from_millis(1500);
/// How long a link must be quiet before releases are sent without a packet to go with.
const QUIET: Duration = Duration::from_millis(5);
/// How often a quiet link is looked at again, each time after twice as long: a worker may say behind its answer, without waking anybody, what it has let
/// go of, and be held up before it does.
const LOOKS: u32 = 6;
/// Messages that are still taken in from a worker that has died: a child of it may hold the link and never stop.
const LAST_MESSAGES: usize = 100_000;
/// The size of the first segment for results, given before it is asked for.
const FIRST_SEGMENT: usize = 4 << 20;

/// What the workers of one process share.
pub(super) struct Shared {
    pub(super) process: Process,
    born: Instant,
    /// How often the kernel had killed for want of memory when the process began.
    kills_before: Option<u64>,
    /// The worker for which this side ended the process, where it did; the first is the one.
    culprit: OnceLock<usize>,
}

impl Shared {
    pub(super) fn new(process: Process) -> Self {
        Self { process, born: Instant::now(), kills_before: out_of_memory_kills(), culprit: OnceLock::new() }
    }
}

/// The life of one worker: the process, or the one of its threads that serves this link.
pub(super) struct Life<'a, O> {
    place: &'a Supervisor<O>,
    shared: &'a Shared,
    worker: usize,
    /// A second descriptor of the process, since each life watches its own.
    pidfd: AsyncFd<OwnedFd>,
    link: AsyncFd<Arc<HostLink>>,
    hearing: Arc<Hearing<O>>,
    output: Option<&'a mut [Drain; 3]>,
    ready: bool,
    /// Why this side ended the worker, where it did.
    breach: Option<Error>,
    /// More messages may be there than were taken in at once.
    more: bool,
    /// The worker's end of the link is closed.
    deaf: bool,
    /// It was closed while the worker should have gone on.
    hung_up: bool,
    killed_at: Option<Instant>,
    /// When it is told to end, where it was asked for its stack first.
    term_at: Option<Instant>,
    memory: Option<MemoryWatch>,
    quiet_at: Option<Instant>,
    /// How often it was looked since anything happened.
    looks: u32,
    /// What the worker waits for, and the size of what is in the making: the first segment comes unasked, and may be more than there is room for.
    wanted: Option<usize>,
    making: usize,
    /// Segments in the making.
    segments: JoinSet<Result<Arc<Segment>>>,
}

enum Turn {
    Messages,
    Died,
    Woken,
    Printed(Vec<u8>),
    Stack,
    Room,
    Time,
    Segment(Result<Arc<Segment>>),
    Closing,
}

impl<'a, O: Owner> Life<'a, O> {
    /// Lives until the process is gone. The life that is given the process's output reads it.
    pub(super) async fn lead(
        place: &'a Supervisor<O>,
        shared: &'a Shared,
        worker: usize,
        link: &Arc<HostLink>,
        output: Option<&'a mut [Drain; 3]>,
    ) -> End {
        place.owner.started(worker, shared.process.pid());
        match Self::assemble(place, shared, worker, link.clone(), output) {
            Ok(mut life) => life.live().await,
            Err(error) => {
                // Unwatched it must not stay, and who shares the process must hear of its end.
                shared.process.kill_group();
                End { reason: Error::io("cannot watch over a worker", &error), was_ready: false, bystander: false }
            }
        }
    }

    fn assemble(
        place: &'a Supervisor<O>,
        shared: &'a Shared,
        worker: usize,
        link: Arc<HostLink>,
        output: Option<&'a mut [Drain; 3]>,
    ) -> std::io::Result<Self> {
        let hearing = Arc::new(Hearing::new(place.owner.clone(), worker, link.clone()));
        Ok(Self {
            place,
            hearing,
            shared,
            worker,
            pidfd: watched(shared.process.as_fd().try_clone_to_owned()?, Interest::READABLE)?,
            link: watched(link, Interest::READABLE | Interest::WRITABLE)?,
            output,
            ready: false,
            breach: None,
            more: false,
            deaf: false,
            hung_up: false,
            killed_at: None,
            term_at: None,
            memory: place.launch.limits.memory.map(|limit| MemoryWatch::new(shared.process.pid(), limit)),
            quiet_at: None,
            looks: 0,
            wanted: None,
            making: 0,
            segments: JoinSet::new(),
        })
    }

    fn link(&self) -> &Arc<HostLink> {
        self.link.get_ref()
    }

    async fn live(&mut self) -> End {
        let hello = Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sizes: exchange::Descriptor::SIZES,
            worker: self.worker as u32,
        };
        if let Err(error) = self.link().send(&ToWorker::Hello(hello)) {
            self.end_for(error);
        }
        let mut closing = false;
        loop {
            match self.turn(closing).await {
                Turn::Messages => self.take_messages(),
                Turn::Died => {
                    if let Some(end) = self.died() {
                        return end;
                    }
                    // A debugger hears of the end first; until it lets go, the others of this thread need their turn.
                    tokio::time::sleep(QUIET).await;
                }
                Turn::Woken => self.woken(),
                Turn::Printed(text) => self.place.owner.printed(self.worker, text),
                Turn::Stack => self.terminate(),
                Turn::Room => _ = self.link().flush(),
                Turn::Time => self.time(),
                Turn::Segment(made) => self.hand_over(made),
                Turn::Closing => {
                    closing = true;
                    _ = self.link().send(&ToWorker::Bye);
                    self.killed_at = Some(Instant::now() + GOODBYE);
                }
            }
        }
    }

    async fn turn(&mut self, closing: bool) -> Turn {
        let wants_room = self.link().wants_room();
        if wants_room {
            // What the kernel refused for want of its own memory makes no event when there is some again.
            self.quiet_at.get_or_insert(Instant::now() + QUIET);
        }
        let timer = self.next_time();
        let mut closed = self.place.closing.clone();
        // Behind a breach nothing is believed any more.
        let deaf = self.deaf || self.breach.is_some();
        let more = self.more && !deaf;
        let link = &self.link;
        tokio::select! {
            () = tokio::task::yield_now(), if more => Turn::Messages,
            // A socket whose other end is closed is readable for ever.
            ready = link.readable(), if !deaf => {
                // Taken back before the socket is read until it is empty, so that what comes meanwhile is a new event.
                ready.map(|mut guard| guard.clear_ready()).map_or(Turn::Died, |()| Turn::Messages)
            }
            _ = self.pidfd.readable() => Turn::Died,
            () = link.get_ref().wake.notified() => Turn::Woken,
            room = link.writable(), if wants_room => {
                room.map(|mut guard| guard.clear_ready()).map_or(Turn::Died, |()| Turn::Room)
            }
            () = sleep_until(timer.unwrap_or_else(Instant::now).into()), if timer.is_some() => Turn::Time,
            Some(made) = self.segments.join_next(), if !self.segments.is_empty() => {
                Turn::Segment(made.unwrap_or_else(|error| Err(Error::system(Code::Internal, "making a segment failed", error))))
            }
            turn = said(&mut self.output) => turn,
            _ = closed.wait_for(|closing| *closing), if !closing => Turn::Closing,
        }
    }

    /// The next moment at which something is to be done without anybody's asking.
    fn next_time(&self) -> Option<Instant> {
        let due = match (self.killed_at, self.ready) {
            (Some(at), _) => Some(at),
            (None, false) => self.shared.born.checked_add(self.place.launch.start_limit),
            (None, true) => self.place.owner.due(self.worker),
        };
        due.into_iter().chain(self.quiet_at).chain(self.term_at).chain(self.memory_due()).min()
    }

    fn time(&mut self) {
        let now = Instant::now();
        if self.quiet_at.is_some_and(|at| at <= now) {
            self.quiet_at = (self.looks < LOOKS).then(|| now + QUIET * 2_u32.pow(self.looks));
            self.looks = (self.looks + 1).min(LOOKS);
            self.hearing.expire();
            self.link().settle();
            self.link().flush();
        }
        self.watch_memory();
        if self.term_at.is_some_and(|at| at <= now) {
            self.terminate();
        }
        match self.killed_at {
            Some(at) if at <= now => {
                if self.hung_up {
                    let what = "the worker closed its link to the host and went on living";
                    self.breach.get_or_insert(Error::new(Code::ProtocolViolation, what));
                }
                self.kill();
            }
            Some(_) => {}
            None if !self.ready => {
                let limit = self.place.launch.start_limit;
                if self.shared.born.elapsed() >= limit {
                    let error = Error::new(Code::StartTimeout, format!("the worker was not ready after {} s", limit.as_secs_f64()));
                    self.end_for(error.with_hint("start its program by hand, `PYTHON -c \"import pyarrow, transom\"`, and see what it waits for"));
                }
            }
            None => {
                // An answer that is there already comes before the judgement.
                self.take_messages();
                self.judge();
            }
        }
    }

    fn woken(&mut self) {
        self.link().flush();
        if let Some(error) = self.link().take_failure() {
            self.end_for(error);
        }
        // What callers heard that is not theirs, or had no time for.
        self.take_messages();
        self.look_soon();
    }

    /// Something happened, and the link will be quiet again in a while.
    fn look_soon(&mut self) {
        let soon = Instant::now() + QUIET;
        self.quiet_at = Some(self.quiet_at.map_or(soon, |at| at.min(soon)));
        self.looks = 0;
    }

    /// Takes in what has arrived, a bounded number at a time so that a chatty worker cannot keep the others waiting.
    fn take_messages(&mut self) {
        for _ in 0..64 {
            match self.heard() {
                Ok(true) => self.look_soon(),
                Ok(false) => {
                    self.more = false;
                    return;
                }
                Err(error) => return self.end_for(error),
            }
        }
        self.more = true;
    }

    /// Takes in one message; says whether there was one.
    fn heard(&mut self) -> Result<bool> {
        match self.hearing.next()? {
            Heard::Nothing => Ok(false),
            Heard::Answer | Heard::Affairs => Ok(true),
            Heard::Ours(incoming) => self.take_in(incoming).map(|()| true),
        }
    }

    fn take_in(&mut self, incoming: Incoming) -> Result<()> {
        match incoming {
            Incoming::Ready(ready) => self.welcome(&ready),
            Incoming::NeedSegment(len) => {
                if self.link().send_releases() {
                    return self.link().send(&ToWorker::TryAgain);
                }
                self.wanted = Some(len);
                // One at a time: what is on its way already is the answer, and if it is too small the worker asks again.
                if self.segments.is_empty() && !self.link().has_granted() {
                    self.make_segment(len);
                }
                Ok(())
            }
            Incoming::HungUp => {
                self.deaf = true;
                // Most likely it is about to die, and its death will say more.
                self.hung_up = self.killed_at.is_none();
                self.killed_at.get_or_insert(Instant::now() + LAST_WORDS);
                Ok(())
            }
            Incoming::Discarded(segment) => {
                self.place.owner.forget(&[segment]);
                Ok(())
            }
            _ => Err(Error::new(Code::Internal, "a message for the pool came to the supervisor")),
        }
    }

    fn welcome(&mut self, ready: &Ready) -> Result<()> {
        let ours = env!("CARGO_PKG_VERSION");
        if ready.protocol != PROTOCOL || ready.sizes != exchange::Descriptor::SIZES || ready.version != ours {
            let (what, place) = match self.place.launch.language {
                Language::Python => ("the worker's interpreter", "in the worker's interpreter"),
                Language::Native => ("the native worker", "with its `transom-native-worker`"),
                Language::Java => ("the worker's class path", "on the worker's class path"),
            };
            return Err(Error::new(
                Code::VersionMismatch,
                format!("this host is transom {ours} (protocol {PROTOCOL}), {what} has transom {} (protocol {})", ready.version, ready.protocol),
            )
            .with_hint(format!("install transom {ours} {place}")));
        }
        if self.ready {
            return Err(Error::new(Code::ProtocolViolation, "a worker was ready twice"));
        }
        step!("host::welcome");
        self.ready = true;
        self.place.nursery.heard_of_ready(self.shared.process.pid());
        limits::when_ready(&self.shared.process, &self.place.launch);
        self.make_segment(FIRST_SEGMENT);
        // Without room for rings all goes by the socket.
        if ready.rings
            && let Ok(segments) = self.place.owner.make_ring()
        {
            self.link().offer_ring(segments);
        }
        self.place.owner.ready(self.worker, self.link().clone(), self.hearing.clone());
        Ok(())
    }

    fn make_segment(&mut self, len: usize) {
        let owner = self.place.owner.clone();
        let have = self.link().owned_bytes();
        self.making = len;
        self.segments.spawn_blocking(move || owner.make_segment(len, have));
    }

    fn hand_over(&mut self, made: Result<Arc<Segment>>) {
        let said = match made {
            Ok(segment) => {
                self.wanted = None;
                self.link().grant(segment);
                Ok(())
            }
            Err(error) => match self.wanted {
                // Nobody waits for it.
                None => Ok(()),
                Some(len) if len < self.making => {
                    self.make_segment(len);
                    Ok(())
                }
                Some(_) => {
                    self.wanted = None;
                    self.link().send(&ToWorker::NoSegment { error: RemoteError::from(error) })
                }
            },
        };
        if let Err(error) = said {
            self.end_for(error);
        }
    }
}

/// What a worker prints, or that it has written its stack, where this life is the one that reads it.
async fn said(output: &mut Option<&mut [Drain; 3]>) -> Turn {
    match output {
        Some([stdout, stderr, faults]) => loop {
            tokio::select! {
                text = stdout.take() => return Turn::Printed(text),
                text = stderr.take() => return Turn::Printed(text),
                text = faults.take() => {
                    if stacks::is_complete(&text) {
                        return Turn::Stack;
                    }
                }
            }
        },
        None => std::future::pending().await,
    }
}
