//! Keeping processes in the places of a pool: starting one, watching over it until it is gone, and starting the next.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::sync::oneshot;

use super::address::{self, Fault};
use super::exit;
use super::hearing::Listen;
use super::life::{Life, Shared};
use super::output::Drain;
use super::process::{Launch, Process, Started};
use super::stacks;
use super::zygote::Nursery;
use crate::failure::{Code, Error, Result};
use crate::link::{HostLink, Incoming, Socket};
use crate::memory::Segment;

/// What a supervisor needs of whoever has the workers. Called on the supervisors' thread, so nothing here may wait.
pub(crate) trait Owner: Send + Sync + 'static {
    /// A process was started for this place.
    fn started(&self, worker: usize, pid: u32);
    /// The link at the other end of which a worker is.
    fn link(&self, socket: Socket) -> Arc<HostLink>;
    /// The worker can take calls.
    fn ready(&self, worker: usize, link: Arc<HostLink>, ear: Arc<dyn Listen>);
    /// Two segments for a worker's rings: the host's, and the worker's.
    fn make_ring(&self) -> Result<[Arc<Segment>; 2]>;
    /// The worker answered; called by whoever heard it. An error is a breach of the protocol, and the worker's end.
    fn answered(&self, worker: usize, incoming: Incoming) -> Result<()>;
    /// Whether this caller alone waits for what the worker has in hand, and nobody for a place in it.
    fn is_alone(&self, worker: usize, caller: u64) -> bool;
    /// The worker is gone. The answer says how long to wait before the next is started, or not at all.
    fn ended(&self, worker: usize, end: End) -> Option<Duration>;
    /// The worker printed something.
    fn printed(&self, worker: usize, text: Vec<u8>);
    /// When the worker's time is up, as things stand.
    fn due(&self, worker: usize) -> Option<Instant>;
    /// The worker's time is up: how it is to end, if things still stand so.
    /// A worker that is `stopped` by a signal is not to blame for it.
    fn judge(&self, worker: usize, stopped: Option<i32>) -> Option<Sentence>;
    /// Whether the worker has anything in hand.
    fn is_busy(&self, worker: usize) -> bool;
    /// Blames what the worker has in hand for its end, which is near; says whether there was anything.
    fn condemn(&self, worker: usize, error: Error) -> bool;
    /// Results that the worker's process has given.
    fn served(&self, worker: usize) -> u64;
    /// A new segment of at least `len` bytes for the results of a worker that has `have` bytes. May take a while; called on a thread of its own.
    fn make_segment(&self, len: usize, have: usize) -> Result<Arc<Segment>>;
    /// Segments that are no more.
    fn forget(&self, segments: &[u32]);
    /// Whether the pool is closing.
    fn is_closing(&self) -> bool;
}

/// How a worker ended.
#[derive(Clone, Debug)]
pub(crate) struct End {
    /// Why.
    pub(crate) reason: Error,
    /// Whether it had become ready.
    pub(crate) was_ready: bool,
    /// Whether the host ended its process for what another worker in the same process did.
    pub(crate) bystander: bool,
}

/// How a worker is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sentence {
    /// It may write its stack first.
    WithStack,
    /// At once.
    AtOnce,
}

/// The thread that starts processes. It lives as long as the pool, since the kernel ends workers when the thread that started them ends.
#[derive(Clone)]
pub(crate) struct Spawner {
    orders: mpsc::Sender<Order>,
}

/// What is to be started, with a zygote's end of its socket where it is to leave one, and who wants it.
type Order = (Launch, Option<OwnedFd>, oneshot::Sender<Result<Started>>);

impl Spawner {
    pub(crate) fn new() -> Result<Self> {
        let (orders, inbox) = mpsc::channel::<Order>();
        let run = move || {
            for (launch, zygote, answer) in inbox {
                // Who asked may be gone; then the process is dropped with the answer, and its link with it, which ends it.
                _ = answer.send(Process::start(&launch, zygote));
            }
        };
        std::thread::Builder::new().name("transom-spawner".to_owned()).spawn(run).map_err(|error| {
            Error::system(Code::System, "cannot start a thread", error)
                .with_hint("raise the limit on processes and threads (`ulimit -u`, or that of the container)")
        })?;
        Ok(Self { orders })
    }

    pub(super) async fn start(&self, launch: Launch, zygote: Option<OwnedFd>) -> Result<Started> {
        let (answer, process) = oneshot::channel();
        let gone = || Error::new(Code::Internal, "the thread that starts workers is gone");
        self.orders.send((launch, zygote, answer)).map_err(|_| gone())?;
        process.await.map_err(|_| gone())?
    }
}

/// The places of a pool that one process serves, one for each of its links; and after it the next process.
pub(crate) struct Supervisor<O> {
    pub(crate) owner: Arc<O>,
    pub(crate) workers: Range<usize>,
    pub(crate) launch: Launch,
    pub(crate) nursery: Nursery,
    pub(crate) closing: tokio::sync::watch::Receiver<bool>,
}

impl<O: Owner> Supervisor<O> {
    /// Keeps a process in these places until the pool closes or says that it is no use.
    pub(crate) async fn run(mut self) {
        let mut again = false;
        while !self.owner.is_closing() {
            let pauses = match self.nursery.start(std::mem::replace(&mut again, true)).await {
                Ok(started) => self.watch_over(started).await,
                Err(reason) => {
                    let end = End { reason, was_ready: false, bystander: false };
                    self.workers.clone().map(|worker| self.owner.ended(worker, end.clone())).collect()
                }
            };
            let pauses: Option<Vec<Duration>> = pauses.into_iter().collect();
            let Some(pause) = pauses.and_then(|pauses| pauses.into_iter().max()) else { return };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = self.closing.wait_for(|closing| *closing) => {}
            }
        }
    }

    /// Watches over a process until it is gone; gives the owner's answers for its places.
    async fn watch_over(&self, started: Started) -> Vec<Option<Duration>> {
        let Started { process, sockets, pipes } = started;
        let links: Vec<Arc<HostLink>> = sockets.into_iter().map(|socket| self.owner.link(socket)).collect();
        let shared = Shared::new(process);
        let mut output = Drain::all(pipes);
        if output.is_err() {
            // Nobody would read what it prints: it must not stay.
            shared.process.kill_group();
        }
        // The first reads the output of them all.
        let mut reader = output.as_mut().ok();
        let lives: Vec<_> = self.workers.clone().zip(&links).map(|(worker, link)| Life::lead(self, &shared, worker, link, reader.take())).collect();
        let ends = join_all(lives).await;
        if ends.iter().any(|end| !end.was_ready) {
            self.nursery.heard_of_stillborn();
        }
        let words = output.map(|output| LastWords::new(output, |text| self.owner.printed(self.workers.start, text)));
        let mut answers = Vec::with_capacity(ends.len());
        for ((worker, link), mut end) in self.workers.clone().zip(&links).zip(ends) {
            end.reason = exit::explained(end.reason);
            end.reason = match &words {
                Ok(words) => words.complete(end.reason, link),
                Err(error) => Error::system(Code::DescriptorLimit, "cannot read what a worker prints", error),
            };
            answers.push(self.owner.ended(worker, end));
            // After the owner knows: what is still posted until then is told of the end with the rest.
            self.owner.forget(&link.close());
        }
        answers
    }
}

/// What a process printed before its end.
struct LastWords {
    lines: Vec<String>,
    stack: String,
    fault: Option<Fault>,
}

impl LastWords {
    fn new(mut output: [Drain; 3], tell: impl Fn(Vec<u8>)) -> Self {
        let [stdout, stderr, faults] = &mut output;
        // Said right before the end, it is told as if it had been said before.
        for text in [stdout.take_rest(), stderr.take_rest()].into_iter().filter(|text| !text.is_empty()) {
            tell(text);
        }
        faults.take_rest();
        let mut lines = stdout.tail.last_lines(5);
        lines.extend(stderr.tail.last_lines(10));
        let (fault, stacks) = address::split(&faults.tail.text());
        Self { lines, stack: stacks::for_users(&stacks), fault }
    }

    /// The reason of the end, with what the process said of it.
    fn complete(&self, reason: Error, link: &HostLink) -> Error {
        let reason = match &self.fault {
            Some(fault) if reason.code() == Code::WorkerSignalled => fault.explain(reason, link, &self.stack),
            _ => reason,
        };
        reason.with_output(self.lines.clone()).with_stack(self.stack.clone())
    }
}
