//! The host's side: having the first worker leave a zygote, keeping it, and asking it for workers. Whatever goes wrong with it, workers start as they
//! did without it.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::future::pending;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep_until, timeout};

use super::super::outfit::Outfit;
use super::super::process::{self, Launch, Process, Started};
use super::super::supervise::Spawner;
use super::super::watched::watched;
use super::Word;
use crate::failure::{Code, Error, Result};
use crate::function::Language;
use crate::link::{Packet, Socket};

/// How long the start of a worker waits for a zygote that is on its way: longer than an interpreter takes for its libraries, unless it hangs.
const ON_ITS_WAY: Duration = Duration::from_secs(10);
/// How long a fork may take. It takes milliseconds, unless the zygote is stopped or the machine has no time.
const FORK: Duration = Duration::from_secs(2);
/// How many zygotes may come to nothing before none is tried any more.
const ATTEMPTS: u32 = 3;

/// A way to start the workers of one kind in one pool.
#[derive(Clone)]
pub(crate) struct Nursery {
    launch: Launch,
    spawner: Spawner,
    orders: mpsc::UnboundedSender<Order>,
}

enum Order {
    /// A worker is to be started; `again` where its place had one before.
    Start { again: bool, answer: oneshot::Sender<Way> },
    /// This process is the worker that is to leave a zygote.
    Bears(u32),
    /// This process has become ready: if it was to leave a zygote it has done so by now, or does not.
    Ready(u32),
    /// A worker has ended before it was ready.
    Stillborn,
}

/// How a worker comes to be.
enum Way {
    /// It was forked.
    Forked(Started),
    /// It is to be started as a program; with the zygote's end of the socket where it is to leave one.
    Program(Option<Socket>),
}

/// What the nursery does beside its workers' supervisors, to be run on the pool's thread until the pool closes.
pub(crate) struct Keeper {
    launch: Launch,
    places: usize,
    /// Whether there may be a zygote.
    may: bool,
    orders: mpsc::UnboundedReceiver<Order>,
    state: State,
    /// Starts that wait for a zygote that is on its way.
    waiting: Vec<oneshot::Sender<Way>>,
    /// Zygotes that came to nothing.
    failures: u32,
}

enum State {
    None,
    OnItsWay { control: AsyncFd<Socket>, around: Surroundings, until: Instant, bearer: Option<u32> },
    Here(Zygote),
}

/// A nursery for the workers of so many places, and its keeper. Where nothing of what a worker says is to be `believed` there are no zygotes.
pub(crate) fn nursery(launch: &Launch, spawner: &Spawner, places: usize, believed: bool) -> (Nursery, Keeper) {
    let (orders, inbox) = mpsc::unbounded_channel();
    let may = believed && launch.language == Language::Python;
    let keeper = Keeper { launch: launch.clone(), places, may, orders: inbox, state: State::None, waiting: Vec::new(), failures: 0 };
    (Nursery { launch: launch.clone(), spawner: spawner.clone(), orders }, keeper)
}

impl Nursery {
    /// Starts a worker.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub(crate) async fn start(&self, again: bool) -> Result<Started> {
        let (answer, way) = oneshot::channel();
        // The keeper is gone where the pool closes.
        let gone = || Error::new(Code::Internal, "nobody starts workers any more");
        self.orders.send(Order::Start { again, answer }).map_err(|_| gone())?;
        let zygote = match way.await.map_err(|_| gone())? {
            Way::Forked(started) => return Ok(started),
            Way::Program(zygote) => zygote,
        };
        let bears = zygote.is_some();
        let started = self.spawner.start(self.launch.clone(), zygote.map(OwnedFd::from)).await?;
        if bears {
            _ = self.orders.send(Order::Bears(started.process.pid()));
        }
        Ok(started)
    }

    /// A worker of this nursery has become ready.
    pub(crate) fn heard_of_ready(&self, process: u32) {
        _ = self.orders.send(Order::Ready(process));
    }

    /// A worker of this nursery has ended before it was ready.
    pub(crate) fn heard_of_stillborn(&self) {
        _ = self.orders.send(Order::Stillborn);
    }
}

enum Turn {
    Order(Order),
    Control,
    Late,
    Died,
    Closing,
}

impl Keeper {
    /// Keeps the zygote until the pool closes. What is not answered then is started by nobody.
    pub(crate) async fn keep(mut self, mut closing: watch::Receiver<bool>) {
        loop {
            match self.turn(&mut closing).await {
                Turn::Order(Order::Start { again, answer }) => self.start(again, answer).await,
                Turn::Order(Order::Bears(process)) => self.bears(process),
                Turn::Order(Order::Ready(process)) => self.look(Some(process)).await,
                // Whatever ails the zygote, the next worker need not have it.
                Turn::Order(Order::Stillborn) => self.lose(),
                Turn::Control => self.look(None).await,
                Turn::Late => self.let_go(),
                Turn::Died => self.lose(),
                Turn::Closing => return self.close().await,
            }
        }
    }

    async fn turn(&mut self, closing: &mut watch::Receiver<bool>) -> Turn {
        let waits = !self.waiting.is_empty();
        let of_zygote = async {
            match &self.state {
                State::None => pending().await,
                State::OnItsWay { control, until, .. } => tokio::select! {
                    ready = control.readable() => {
                        _ = ready.map(|mut guard| guard.clear_ready());
                        Turn::Control
                    }
                    () = sleep_until((*until).into()), if waits => Turn::Late,
                },
                State::Here(zygote) => {
                    _ = zygote.pidfd.readable().await;
                    Turn::Died
                }
            }
        };
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => Turn::Closing,
            turn = of_zygote => turn,
            Some(order) = self.orders.recv() => Turn::Order(order),
        }
    }

    async fn start(&mut self, again: bool, answer: oneshot::Sender<Way>) {
        match &self.state {
            State::OnItsWay { until, .. } if Instant::now() < *until => return self.waiting.push(answer),
            State::Here(_) => {
                if let Some(started) = self.fork().await {
                    _ = answer.send(Way::Forked(started));
                    return;
                }
            }
            _ => {}
        }
        // For one worker that never dies a zygote would only cost.
        let wanted = self.may && (again || self.places > 1);
        let hopeful = self.failures == 0 || (again && self.failures < ATTEMPTS);
        let zygote = if wanted && hopeful && matches!(self.state, State::None) { self.expect() } else { None };
        _ = answer.send(Way::Program(zygote));
    }

    /// From now on a zygote is on its way, from a worker that is given the other end of the socket.
    fn expect(&mut self) -> Option<Socket> {
        let (control, end) = Socket::pair().ok()?;
        let control = watched(control, Interest::READABLE).ok()?;
        self.state = State::OnItsWay { control, around: Surroundings::now(), until: Instant::now() + ON_ITS_WAY, bearer: None };
        Some(end)
    }

    fn bears(&mut self, process: u32) {
        if let State::OnItsWay { bearer, .. } = &mut self.state {
            *bearer = Some(process);
        }
    }

    /// What the first worker said of the zygote. Where it became ready and said nothing there will be none.
    async fn look(&mut self, ready: Option<u32>) {
        let State::OnItsWay { control, bearer, .. } = &self.state else { return };
        if ready.is_some() && ready != *bearer {
            return;
        }
        let word = match control.get_ref().try_receive() {
            Ok(Packet::Data(bytes, None)) => Word::decode(&bytes),
            Ok(Packet::Empty) if ready.is_none() => return,
            _ => None,
        };
        let State::OnItsWay { control, around, .. } = std::mem::replace(&mut self.state, State::None) else { return };
        match word {
            Some(Word::Born(pid)) => match Zygote::adopt(pid, control, around) {
                Ok(zygote) => self.state = State::Here(zygote),
                Err(_) => self.failures += 1,
            },
            // It would refuse again.
            Some(Word::Refused(_)) => self.failures = ATTEMPTS,
            _ => self.failures += 1,
        }
        for answer in std::mem::take(&mut self.waiting) {
            self.start(false, answer).await;
        }
    }

    /// A zygote that is late keeps nobody waiting; it may be of use to the next.
    fn let_go(&mut self) {
        for answer in self.waiting.drain(..) {
            _ = answer.send(Way::Program(None));
        }
    }

    fn lose(&mut self) {
        if let State::Here(_) = self.state {
            self.state = State::None;
            self.failures += 1;
        }
    }

    /// A worker forked from the zygote. One that does not fork is no more, and neither is what it forked and did not tell.
    async fn fork(&mut self) -> Option<Started> {
        let State::Here(zygote) = &self.state else { return None };
        if zygote.around != Surroundings::now() {
            // A worker has the environment and the folder that its host has when it starts.
            self.state = State::None;
            return None;
        }
        match zygote.fork(&self.launch).await {
            Ok(started) => Some(started),
            Err(_) => {
                self.lose();
                None
            }
        }
    }

    async fn close(self) {
        if let State::Here(zygote) = &self.state {
            zygote.process.kill_group();
            _ = zygote.pidfd.readable().await;
        }
    }
}

/// What a process has from its host besides what its pool says: a zygote has it as it was.
#[derive(PartialEq, Eq)]
struct Surroundings {
    folder: Option<PathBuf>,
    environment: BTreeMap<OsString, OsString>,
}

impl Surroundings {
    fn now() -> Self {
        Self { folder: env::current_dir().ok(), environment: env::vars_os().collect() }
    }
}

/// A zygote that is there. Dropped, it is killed.
struct Zygote {
    control: AsyncFd<Socket>,
    process: Process,
    pidfd: AsyncFd<OwnedFd>,
    around: Surroundings,
}

impl Zygote {
    fn adopt(pid: Pid, control: AsyncFd<Socket>, around: Surroundings) -> Result<Self> {
        let failed = |error: std::io::Error| Error::system(Code::System, "cannot watch over a zygote", error);
        let process = Process::adopt(pid, None, None)?;
        let pidfd = watched(process.as_fd().try_clone_to_owned().map_err(failed)?, Interest::READABLE).map_err(failed)?;
        Ok(Self { control, process, pidfd, around })
    }

    async fn fork(&self, launch: &Launch) -> Result<Started> {
        process::check(launch)?;
        let outfit = Outfit::make(launch)?;
        step!("host::zygote");
        let given = outfit.links.iter().chain(&outfit.ends).chain([&outfit.line]).chain(&outfit.entrances);
        let control = self.control.get_ref();
        let refused = |what: &str| Error::new(Code::StartFailed, what.to_owned());
        for descriptor in given {
            if !control.try_send(&Word::Given.encode(), Some(descriptor.as_fd()))? {
                return Err(refused("the zygote takes nothing"));
            }
        }
        if !control.try_send(&Word::Fork.encode(), None)? {
            return Err(refused("the zygote takes no order"));
        }
        let answer = timeout(FORK, self.hear()).await.map_err(|_| refused("the zygote does not answer"))??;
        let Some(Word::Forked(pid)) = answer else { return Err(refused("the zygote does not fork")) };
        let process = Process::adopt(pid, outfit.group, Some(outfit.lifeline))?;
        Ok(Started { process, sockets: outfit.sockets, pipes: outfit.pipes })
    }

    async fn hear(&self) -> Result<Option<Word>> {
        loop {
            let mut ready = self.control.readable().await.map_err(|error| Error::io("cannot hear a zygote", &error))?;
            // Taken back before the socket is read, so that what comes meanwhile is a new event.
            ready.clear_ready();
            match self.control.get_ref().try_receive()? {
                Packet::Data(bytes, None) => return Ok(Word::decode(&bytes)),
                Packet::Empty => {}
                _ => return Ok(None),
            }
        }
    }
}
