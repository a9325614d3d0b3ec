//! The settings of a pool, and its beginning.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};

use super::attach;
use super::capsules::{self, Capsules};
use super::idle;
use super::launches::{self, Crew};
use super::memory::{Inputs, Memory};
use super::places::Places;
use super::registry::Registry;
use super::{DeadLetters, Inner, Pool, tidy, trace};
use crate::exchange::Mode;
use crate::failure::{Code, Error, Result};
use crate::function::Language;
use crate::memory::{Arena, Budget, process_id};
use crate::worker::{Limits, START_LIMIT, Spawner, Supervisor, nursery};

/// The most batches that may be under way.
const MOST_BATCHES: usize = 1 << 20;

/// Settings for a new [`Pool`]. Each has a sensible default.
#[derive(Clone, Debug)]
#[must_use]
pub struct PoolBuilder {
    options: Options,
}

#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) workers: usize,
    pub(super) python: PathBuf,
    pub(super) native_worker: Option<PathBuf>,
    pub(super) java: Option<PathBuf>,
    pub(super) java_class_path: Vec<PathBuf>,
    pub(super) java_options: Vec<String>,
    pub(super) prestart: Vec<Language>,
    pub(super) environment: BTreeMap<OsString, OsString>,
    pub(super) directory: Option<PathBuf>,
    pub(super) memory_limit: Option<u64>,
    pub(super) mode: Mode,
    pub(super) window: usize,
    pub(super) deadline: Option<Duration>,
    pub(super) limits: Limits,
    pub(super) result_limit: Option<u64>,
    pub(super) start_limit: Duration,
    pub(super) capsules: capsules::Settings,
    pub(super) trace_leases: bool,
}

impl Default for PoolBuilder {
    fn default() -> Self {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        Self {
            options: Options {
                workers,
                python: "python3".into(),
                native_worker: None,
                java: None,
                java_class_path: Vec::new(),
                java_options: Vec::new(),
                prestart: vec![Language::Python],
                environment: BTreeMap::new(),
                directory: None,
                memory_limit: None,
                mode: Mode::Guarded,
                window: 3,
                deadline: None,
                limits: Limits::default(),
                result_limit: None,
                start_limit: START_LIMIT,
                capsules: capsules::Settings::default(),
                trace_leases: trace::wanted(),
            },
        }
    }
}

impl PoolBuilder {
    /// How many workers there are for each language that is used; by default one for each core. Python and native workers are processes, JVM workers
    /// are threads of one.
    pub fn workers(mut self, workers: usize) -> Self {
        self.options.workers = workers;
        self
    }

    /// The Python interpreter of the workers, such as a virtual environment's `bin/python`; by default `python3` of the path.
    pub fn python(mut self, interpreter: impl Into<PathBuf>) -> Self {
        self.options.python = interpreter.into();
        self
    }

    /// The program that runs functions of shared libraries; by default `TRANSOM_NATIVE_WORKER`, or else `transom-native-worker` beside the running
    /// program or on the path.
    pub fn native_worker(mut self, program: impl Into<PathBuf>) -> Self {
        self.options.native_worker = Some(program.into());
        self
    }

    /// The `java` of JVM workers; by default that of `JAVA_HOME`, or else of the path.
    pub fn java(mut self, program: impl Into<PathBuf>) -> Self {
        self.options.java = Some(program.into());
        self
    }

    /// The class path of JVM workers, with transom-java and arrow-java on it; by default `TRANSOM_JAVA_CLASS_PATH`. Functions bring their own jars.
    pub fn java_class_path(mut self, entries: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        self.options.java_class_path = entries.into_iter().map(Into::into).collect();
        self
    }

    /// Options of the JVM, such as `-Xmx1g`.
    pub fn java_options(mut self, options: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.options.java_options = options.into_iter().map(Into::into).collect();
        self
    }

    /// The languages whose workers start with the pool, so that the first call need not wait as long; by default Python. Those of other languages
    /// start with the first function of theirs.
    pub fn prestart(mut self, languages: impl IntoIterator<Item = Language>) -> Self {
        self.options.prestart = languages.into_iter().collect();
        self
    }

    /// An environment variable for the workers, besides those of this process.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.options.environment.insert(name.into(), value.into());
        self
    }

    /// The working directory of the workers; by default that of this process.
    pub fn working_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.options.directory = Some(directory.into());
        self
    }

    /// The most bytes of shared memory, arguments and results together; by default half of what the machine or the control group has left.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.options.memory_limit = Some(bytes);
        self
    }

    /// How far workers are believed; [`Mode::Guarded`] by default.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.options.mode = mode;
        self
    }

    /// How many batches a worker may have at a time: one that it works on, the others ready; 3 by default.
    pub fn window(mut self, batches: usize) -> Self {
        self.options.window = batches;
        self
    }

    /// The longest that a function may take for one batch before its worker is ended; none by default. A function's own deadline comes first.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = Some(deadline);
        self
    }

    /// The most bytes of memory that a worker may have of its own, with what it starts; no limit by default. The pool's shared memory does not count. A
    /// worker that has more is ended, and its call fails with `WORKER_OUT_OF_MEMORY`; in Python a single allocation that is far too large is a
    /// `MemoryError`. `docs/architecture.md` says how it is measured.
    pub fn worker_memory(mut self, bytes: u64) -> Self {
        self.options.limits.memory = Some(bytes);
        self
    }

    /// The most descriptors that a worker may have open (`RLIMIT_NOFILE`), the seven that it starts with included; by default as many as this process. A
    /// function that opens more is told so by the system.
    pub fn worker_descriptors(mut self, descriptors: u64) -> Self {
        self.options.limits.descriptors = Some(descriptors);
        self
    }

    /// The most processes and threads that functions may start in a worker, besides those that it has when it becomes ready; no limit by default.
    ///
    /// Held to by a control group, where this process may make some. Elsewhere by `RLIMIT_NPROC`, which counts all that the user has; for root, whom
    /// the kernel exempts from that, the pool is refused.
    pub fn worker_processes(mut self, processes: u64) -> Self {
        self.options.limits.processes = Some(processes);
        self
    }

    /// The most bytes of one batch of a result; what is larger is `RESULT_TOO_LARGE`. By default the pool's memory is the limit.
    pub fn result_limit(mut self, bytes: u64) -> Self {
        self.options.result_limit = Some(bytes);
        self
    }

    /// How long a worker may take to become ready before it is ended with `START_TIMEOUT`; 60 s by default.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// let pool = transom::Pool::builder().python(".venv/bin/python").start_limit(Duration::from_secs(300)).build()?;
    /// # Ok::<(), transom::Error>(())
    /// ```
    pub fn start_limit(mut self, limit: Duration) -> Self {
        self.options.start_limit = limit;
        self
    }

    /// Saves a failure capsule in this folder for each batch that fails: its arguments, the function, and what is needed to see the failure again with
    /// [`crate::replay()`]. By default the folder that `TRANSOM_CAPSULES` names, and none where it is not set, since capsules hold the data itself.
    /// `docs/capsules.md` says what is in them.
    pub fn capsules(mut self, folder: impl Into<PathBuf>) -> Self {
        self.options.capsules.place = capsules::Place::Folder(folder.into());
        self
    }

    /// The most bytes of arguments in one capsule; 64 MiB by default. Of a larger batch the rows around the failing one are saved.
    pub fn capsule_bytes(mut self, bytes: u64) -> Self {
        self.options.capsules.bytes = bytes;
        self
    }

    /// The most capsules that the pool saves; 16 by default.
    pub fn capsule_count(mut self, capsules: usize) -> Self {
        self.options.capsules.count = capsules;
        self
    }

    /// Whether workers say which line keeps an argument that a function has answered and not let go of: [`Pool::leases`] asks them then, and so does a
    /// shortage of memory for its report. For finding a leak: a worker that is asked looks through all of its objects, and
    /// [`Pool::leases`] waits for that. Off by default, where `TRANSOM_TRACE_LEASES` does not switch it on; then it costs nothing. Python's workers can
    /// tell.
    ///
    /// ```no_run
    /// let pool = transom::Pool::builder().python(".venv/bin/python").trace_leases(true).build()?;
    /// for lease in pool.leases().iter().filter(|lease| lease.answered) {
    ///     println!("{} bytes of `{}`: {:?}", lease.bytes, lease.function, lease.kept_by);
    /// }
    /// # Ok::<(), transom::Error>(())
    /// ```
    pub fn trace_leases(mut self, wanted: bool) -> Self {
        self.options.trace_leases = wanted;
        self
    }

    /// No capsules, whatever the environment says.
    pub(crate) fn without_capsules(mut self) -> Self {
        self.options.capsules.place = capsules::Place::Nowhere;
        self
    }

    #[cfg(test)]
    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    /// Makes the pool. Its workers start in the background; the first call waits for one.
    ///
    /// # Errors
    /// `BAD_OPTION`, `INTERPRETER_MISSING` where a program given is not there, or what the system says.
    pub fn build(self) -> Result<Pool> {
        let options = self.options;
        check(&options)?;
        let spawner = Spawner::new()?;
        // What makes a segment is a thread of its own, which need not wait long for the next.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().thread_keep_alive(Duration::from_secs(1)).build();
        let runtime = runtime.map_err(|error| Error::io("cannot make an event loop", &error))?;
        let memory = Arc::new(Memory::new(options.memory_limit.unwrap_or_else(Budget::default_limit)));
        let (closing, closed) = watch::channel(false);
        let (crews, orders) = mpsc::unbounded_channel();
        let inner = Arc::new(Inner {
            arena: Arena::new(Inputs { memory: memory.clone(), have: 0.into() }),
            memory,
            ledger: Arc::default(),
            registry: Registry::default(),
            letters: DeadLetters::default(),
            places: Places::new(options.window, options.limits.memory.is_some()),
            capsules: Capsules::new(&options.capsules)?,
            events: broadcast::Sender::new(1024),
            closing,
            crews,
            timers: Mutex::new(Some(runtime.handle().clone())),
            next_call: AtomicU64::new(1),
            process: process_id(),
            options,
        });
        for &language in &inner.options.prestart {
            inner.staff(language)?;
        }
        let home = Home { owner: inner.clone(), spawner, orders, closed, supervisors: JoinSet::new(), places: HashMap::new() };
        let run = move || {
            runtime.block_on(home.keep());
            // Something that still makes a segment must not hold up the end.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("transom-pool".to_owned()).spawn(run);
        let thread = thread.map_err(|error| Error::system(Code::System, "cannot start a thread", error))?;
        Ok(Pool { inner, home: Mutex::new(Some(thread)) })
    }
}

/// What the pool's own thread does: keeps every worker supervised until the pool closes.
struct Home {
    owner: Arc<Inner>,
    spawner: Spawner,
    orders: mpsc::UnboundedReceiver<Crew>,
    closed: watch::Receiver<bool>,
    supervisors: JoinSet<()>,
    /// Which places a supervisor has.
    places: HashMap<Id, Range<usize>>,
}

impl Home {
    async fn keep(mut self) {
        let mut closed = self.closed.clone();
        let mut attached = std::pin::pin!(attach::answer_all(self.owner.clone()));
        let mut idle = std::pin::pin!(idle::give_back(self.owner.clone()));
        let mut tidied = std::pin::pin!(tidy::keep(self.owner.memory.clone()));
        loop {
            tokio::select! {
                Some(crew) = self.orders.recv() => self.supervise(crew),
                Some(ended) = self.supervisors.join_next_with_id() => self.look_at(ended),
                () = &mut attached => {}
                () = &mut idle => {}
                () = &mut tidied => {}
                _ = closed.wait_for(|closing| *closing) => break,
            }
        }
        while let Some(ended) = self.supervisors.join_next_with_id().await {
            self.look_at(ended);
        }
    }

    fn supervise(&mut self, crew: Crew) {
        let (nursery, keeper) = nursery(&crew.launch, &self.spawner, crew.processes().count(), self.owner.options.mode != Mode::Strict);
        self.supervisors.spawn(keeper.keep(self.closed.clone()));
        for workers in crew.processes() {
            let (owner, launch) = (self.owner.clone(), crew.launch.clone());
            let place = Supervisor { owner, workers: workers.clone(), launch, nursery: nursery.clone(), closing: self.closed.clone() };
            self.places.insert(self.supervisors.spawn(place.run()).id(), workers);
        }
    }

    /// A supervisor that failed is a defect of Transom: who waits for its places must not wait for ever.
    fn look_at(&self, ended: std::result::Result<(Id, ()), JoinError>) {
        if let Err(error) = ended {
            for worker in self.places.get(&error.id()).cloned().into_iter().flatten() {
                self.owner.lost(worker, &error.to_string());
            }
        }
    }
}

fn check(options: &Options) -> Result<()> {
    let bad = |message: &str| Err(Error::new(Code::BadOption, message.to_owned()));
    if options.workers == 0 {
        return bad("a pool has at least one worker");
    }
    if options.window == 0 {
        return bad("a worker's window has at least one batch");
    }
    if options.workers.checked_mul(options.window).is_none_or(|batches| batches > MOST_BATCHES) {
        return bad("workers times window is more than a million batches");
    }
    if options.memory_limit == Some(0) {
        return bad("the memory limit is at least one byte");
    }
    if options.result_limit == Some(0) {
        return bad("the limit on results is at least one byte");
    }
    options.limits.check()?;
    // The first use of another language's program says whether it is there.
    launches::present(&options.python, "interpreter", launches::PYTHON_HINT)
}
