//! Watching over one worker: its messages, its output, its deadlines, its death, and the next worker in its place.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::exit;
use super::output::Drain;
use super::process::{Launch, Process};
use super::watched::watched;
use crate::exchange;
use crate::failure::{Code, Error, Result};
use crate::link::{Hello, HostLink, Incoming, PROTOCOL, Ready, RemoteError, ToWorker};
use crate::memory::{Segment, out_of_memory_kills};

/// What a supervisor needs of whoever has the workers. Called on the supervisors' thread, so nothing here may wait.
pub(crate) trait Owner: Send + Sync + 'static {
    /// A process was started for this place.
    fn started(&self, worker: usize, pid: u32);
    /// A link for a process.
    fn link(&self, process: &mut Process) -> Arc<HostLink>;
    /// The worker can take calls.
    fn ready(&self, worker: usize, link: Arc<HostLink>);
    /// The worker answered. An error is a breach of the protocol, and the worker's end.
    fn answered(&self, worker: usize, incoming: Incoming) -> Result<()>;
    /// The worker is gone, for this reason; it had become ready or not. The answer says how long to wait before the next is started, or not at all.
    fn ended(&self, worker: usize, reason: Error, was_ready: bool) -> Option<Duration>;
    /// The worker printed something.
    fn printed(&self, worker: usize, text: Vec<u8>);
    /// When the worker's time is up, as things stand.
    fn due(&self, worker: usize) -> Option<Instant>;
    /// The worker's time is up: how it is to end, if things still stand so.
    fn judge(&self, worker: usize) -> Option<Sentence>;
    /// A new segment of at least `len` bytes for the results of a worker that has `have` bytes. May take a while; called on a thread of its own.
    fn make_segment(&self, len: usize, have: usize) -> Result<Arc<Segment>>;
    /// Segments that are no more.
    fn forget(&self, segments: &[u32]);
    /// Whether the pool is closing.
    fn is_closing(&self) -> bool;
}

/// How a worker is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sentence {
    /// It may write its stack first.
    WithStack,
    /// At once.
    AtOnce,
}

/// How long a worker may take to become ready: a cold interpreter with a cold disk, and then some.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a worker may take to write its stack before it is killed.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long a worker may take to end by itself when the pool closes.
const GOODBYE: Duration = Duration::from_millis(1500);
/// How long a link must be quiet before releases are sent without a packet to go with.
const QUIET: Duration = Duration::from_millis(5);
/// Messages that are still taken in from a worker that has died: a child of it may hold the link and never stop.
const LAST_MESSAGES: usize = 100_000;
/// The size of the first segment for results, given before it is asked for.
const FIRST_SEGMENT: usize = 4 << 20;

/// The thread that starts processes. It lives as long as the pool, since the kernel ends workers when the thread that started them ends.
#[derive(Clone)]
pub(crate) struct Spawner {
    orders: mpsc::Sender<(Launch, oneshot::Sender<Result<Process>>)>,
}

impl Spawner {
    pub(crate) fn new() -> Result<Self> {
        let (orders, inbox) = mpsc::channel::<(Launch, oneshot::Sender<Result<Process>>)>();
        let run = move || {
            for (launch, answer) in inbox {
                // Who asked may be gone; then the process is dropped with the answer, and its link with it, which ends it.
                _ = answer.send(Process::start(&launch));
            }
        };
        std::thread::Builder::new()
            .name("transom-spawner".to_owned())
            .spawn(run)
            .map_err(|error| Error::system(Code::System, "cannot start a thread", error))?;
        Ok(Self { orders })
    }

    async fn start(&self, launch: Launch) -> Result<Process> {
        let (answer, process) = oneshot::channel();
        let gone = || Error::new(Code::Internal, "the thread that starts workers is gone");
        self.orders.send((launch, answer)).map_err(|_| gone())?;
        process.await.map_err(|_| gone())?
    }
}

/// One place of a pool: a worker, and after it the next.
pub(crate) struct Supervisor<O> {
    pub(crate) owner: Arc<O>,
    pub(crate) worker: usize,
    pub(crate) launch: Launch,
    pub(crate) spawner: Spawner,
    pub(crate) closing: tokio::sync::watch::Receiver<bool>,
}

impl<O: Owner> Supervisor<O> {
    /// Keeps a worker in this place until the pool closes or says that it is no use.
    pub(crate) async fn run(mut self) {
        while !self.owner.is_closing() {
            let (reason, was_ready, link) = match self.spawner.start(self.launch.clone()).await {
                Ok(process) => Life::lead(&self, process).await,
                Err(error) => (error, false, None),
            };
            let pause = self.owner.ended(self.worker, reason, was_ready);
            // After the owner knows: what is still posted until then is told of the end with the rest.
            if let Some(link) = link {
                self.owner.forget(&link.close());
            }
            let Some(pause) = pause else { return };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = self.closing.wait_for(|closing| *closing) => {}
            }
        }
    }
}

/// The life of one process.
struct Life<'a, O> {
    place: &'a Supervisor<O>,
    process: AsyncFd<Process>,
    link: AsyncFd<Arc<HostLink>>,
    output: [Drain; 3],
    born: Instant,
    /// How often the kernel had killed for want of memory when the worker began.
    kills_before: Option<u64>,
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
    quiet_at: Option<Instant>,
    /// Segments in the making.
    segments: JoinSet<Result<Arc<Segment>>>,
}

enum Turn {
    Messages,
    Died,
    Woken,
    Printed(Vec<u8>),
    Room,
    Time,
    Segment(Result<Arc<Segment>>),
    Closing,
}

impl<'a, O: Owner> Life<'a, O> {
    /// Lives until the process is gone; says why it went, whether it had become ready, and what link is to be closed.
    async fn lead(place: &'a Supervisor<O>, mut process: Process) -> (Error, bool, Option<Arc<HostLink>>) {
        place.owner.started(place.worker, process.pid());
        let output = [process.stdout.take(), process.stderr.take(), process.faults.take()];
        let link = place.owner.link(&mut process);
        let (reason, was_ready) = match Self::assemble(place, process, link.clone(), output) {
            Ok(mut life) => life.live().await,
            Err(error) => (Error::system(Code::System, "cannot watch over a worker", error), false),
        };
        (reason, was_ready, Some(link))
    }

    fn assemble(place: &'a Supervisor<O>, process: Process, link: Arc<HostLink>, output: [Option<std::os::fd::OwnedFd>; 3]) -> std::io::Result<Self> {
        let [stdout, stderr, faults] = output.map(|pipe| Drain::new(pipe.expect("a process is started with its pipes")));
        Ok(Self {
            place,
            process: watched(process, Interest::READABLE)?,
            link: watched(link, Interest::READABLE | Interest::WRITABLE)?,
            output: [stdout?, stderr?, faults?],
            born: Instant::now(),
            kills_before: out_of_memory_kills(),
            ready: false,
            breach: None,
            more: false,
            deaf: false,
            hung_up: false,
            killed_at: None,
            quiet_at: None,
            segments: JoinSet::new(),
        })
    }

    fn link(&self) -> &Arc<HostLink> {
        self.link.get_ref()
    }

    async fn live(&mut self) -> (Error, bool) {
        let hello = Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sizes: exchange::Descriptor::SIZES,
            worker: self.place.worker as u32,
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
                }
                Turn::Woken => self.woken(),
                Turn::Printed(text) => self.place.owner.printed(self.place.worker, text),
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
        let timer = self.next_time();
        let mut closed = self.place.closing.clone();
        let wants_room = self.link().wants_room();
        let (more, deaf) = (self.more, self.deaf);
        let link = &self.link;
        let [stdout, stderr, faults] = &mut self.output;
        tokio::select! {
            () = tokio::task::yield_now(), if more => Turn::Messages,
            // A socket whose other end is closed is readable for ever.
            ready = link.readable(), if !deaf => {
                // Taken back before the socket is read until it is empty, so that what comes meanwhile is a new event.
                ready.map(|mut guard| guard.clear_ready()).map_or(Turn::Died, |()| Turn::Messages)
            }
            _ = self.process.readable() => Turn::Died,
            () = link.get_ref().wake.notified() => Turn::Woken,
            room = link.writable(), if wants_room => {
                room.map(|mut guard| guard.clear_ready()).map_or(Turn::Died, |()| Turn::Room)
            }
            () = sleep_until(timer.unwrap_or_else(Instant::now).into()), if timer.is_some() => Turn::Time,
            Some(made) = self.segments.join_next(), if !self.segments.is_empty() => {
                Turn::Segment(made.unwrap_or_else(|error| Err(Error::system(Code::Internal, "making a segment failed", error))))
            }
            text = stdout.take() => Turn::Printed(text),
            text = stderr.take() => Turn::Printed(text),
            _ = faults.take() => Turn::Woken,
            _ = closed.wait_for(|closing| *closing), if !closing => Turn::Closing,
        }
    }

    /// The next moment at which something is to be done without anybody's asking.
    fn next_time(&self) -> Option<Instant> {
        let due = match (self.killed_at, self.ready) {
            (Some(at), _) => Some(at),
            (None, false) => Some(self.born + START_LIMIT),
            (None, true) => self.place.owner.due(self.place.worker),
        };
        due.into_iter().chain(self.quiet_at).min()
    }

    fn time(&mut self) {
        let now = Instant::now();
        if self.quiet_at.is_some_and(|at| at <= now) {
            self.quiet_at = None;
            self.link().settle();
            // What the kernel refused for want of its own memory makes no event when there is some again.
            if !self.link().flush() {
                self.quiet_at = Some(now + QUIET);
            }
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
                if self.born + START_LIMIT <= now {
                    self.end_for(Error::new(Code::StartTimeout, format!("the worker was not ready after {} s", START_LIMIT.as_secs())));
                }
            }
            None => {
                // An answer that is there already comes before the judgement.
                self.take_messages();
                self.judge();
            }
        }
    }

    fn judge(&mut self) {
        match self.place.owner.judge(self.place.worker) {
            // The fault handler of a Python worker answers SIGABRT with the stacks of all threads, whoever holds the interpreter's lock.
            Some(Sentence::WithStack) => {
                self.process.get_ref().signal(Signal::ABORT);
                self.killed_at = Some(Instant::now() + LAST_WORDS);
            }
            Some(Sentence::AtOnce) => self.kill(),
            None => {}
        }
    }

    fn kill(&mut self) {
        self.process.get_ref().kill_group();
        // Again, should the process be in a state in which it takes no signals; its pidfd ends this.
        self.killed_at = Some(Instant::now() + Duration::from_secs(1));
    }

    fn end_for(&mut self, error: Error) {
        // The first cause is the cause.
        self.breach.get_or_insert(error);
        self.kill();
    }

    fn woken(&mut self) {
        self.link().flush();
        if let Some(error) = self.link().take_failure() {
            self.end_for(error);
        }
        self.quiet_at.get_or_insert(Instant::now() + QUIET);
    }

    /// Takes in what has arrived, a bounded number at a time so that a chatty worker cannot keep the others waiting.
    fn take_messages(&mut self) {
        for _ in 0..64 {
            match self.link().receive() {
                Ok(Some(incoming)) => {
                    if let Err(error) = self.take_in(incoming) {
                        return self.end_for(error);
                    }
                }
                Ok(None) => {
                    self.more = false;
                    self.quiet_at.get_or_insert(Instant::now() + QUIET);
                    return;
                }
                Err(error) => return self.end_for(error),
            }
        }
        self.more = true;
    }

    fn take_in(&mut self, incoming: Incoming) -> Result<()> {
        match incoming {
            Incoming::Ready(ready) => self.welcome(&ready),
            Incoming::NeedSegment(len) => {
                if self.link().send_releases() {
                    return self.link().send(&ToWorker::TryAgain);
                }
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
            other => self.place.owner.answered(self.place.worker, other),
        }
    }

    fn welcome(&mut self, ready: &Ready) -> Result<()> {
        let ours = env!("CARGO_PKG_VERSION");
        if ready.protocol != PROTOCOL || ready.sizes != exchange::Descriptor::SIZES || ready.version != ours {
            return Err(Error::new(
                Code::VersionMismatch,
                format!(
                    "this host is transom {ours} (protocol {PROTOCOL}), the worker's interpreter has transom {} (protocol {})",
                    ready.version, ready.protocol
                ),
            )
            .with_hint(format!("install transom {ours} in the worker's interpreter")));
        }
        if self.ready {
            return Err(Error::new(Code::ProtocolViolation, "a worker was ready twice"));
        }
        self.ready = true;
        self.make_segment(FIRST_SEGMENT);
        self.place.owner.ready(self.place.worker, self.link().clone());
        Ok(())
    }

    fn make_segment(&mut self, len: usize) {
        let owner = self.place.owner.clone();
        let have = self.link().owned_bytes();
        self.segments.spawn_blocking(move || owner.make_segment(len, have));
    }

    fn hand_over(&mut self, made: Result<Arc<Segment>>) {
        let said = match made {
            Ok(segment) => {
                self.link().grant(segment);
                Ok(())
            }
            Err(error) => self.link().send(&ToWorker::NoSegment { error: RemoteError::from(error) }),
        };
        if let Err(error) = said {
            self.end_for(error);
        }
    }

    /// The process is gone, or nearly: takes in its last messages and output, and tells the owner.
    fn died(&mut self) -> Option<(Error, bool)> {
        // Before it is reaped, while the group's number cannot mean another group; and so that nothing of it goes on sending.
        self.process.get_ref().kill_group();
        // What was sent before the end counts.
        for _ in 0..LAST_MESSAGES {
            match self.link().receive().and_then(|incoming| incoming.map(|incoming| self.take_in(incoming)).transpose()) {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(error) => {
                    self.breach.get_or_insert(error);
                    break;
                }
            }
        }
        let ending = self.process.get_ref().try_wait()?;
        self.output.iter_mut().for_each(Drain::take_rest);
        let killed_by_kernel = ending == exit::Ending::Killed(libc::SIGKILL) && self.killed_at.is_none() && out_of_memory_kills() > self.kills_before;
        let reason = self.breach.take().unwrap_or_else(|| match killed_by_kernel {
            true => exit::out_of_memory(self.born.elapsed()),
            false => exit::decode(ending, self.ready, self.born.elapsed()),
        });
        Some((self.with_last_words(reason), self.ready))
    }

    fn with_last_words(&self, error: Error) -> Error {
        let [stdout, stderr, faults] = self.output.each_ref().map(|drain| drain.tail.clone());
        let lock =
            |tail: &std::sync::Mutex<super::output::Tail>, count| tail.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).last_lines(count);
        let mut lines = lock(&stdout, 5);
        lines.extend(lock(&stderr, 10));
        let stack = faults.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).text();
        let pid = self.process.get_ref().pid();
        error.with_worker(format!("worker {} (process {pid})", self.place.worker)).with_output(lines).with_stack(exit::users_stack(&stack))
    }
}
