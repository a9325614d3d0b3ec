//! The settings of a pool, and its beginning.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;

use super::memory::{Inputs, Memory};
use super::places::Places;
use super::registry::Registry;
use super::{Inner, Pool};
use crate::exchange::Mode;
use crate::failure::{Code, Error, Result};
use crate::memory::{Arena, available_memory};
use crate::worker::{Launch, Spawner, Supervisor};

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
    pub(super) environment: BTreeMap<OsString, OsString>,
    pub(super) directory: Option<PathBuf>,
    pub(super) memory_limit: Option<u64>,
    pub(super) mode: Mode,
    pub(super) window: usize,
    pub(super) deadline: Option<Duration>,
}

impl Default for PoolBuilder {
    fn default() -> Self {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        Self {
            options: Options {
                workers,
                python: "python3".into(),
                environment: BTreeMap::new(),
                directory: None,
                memory_limit: None,
                mode: Mode::Guarded,
                window: 2,
                deadline: None,
            },
        }
    }
}

impl PoolBuilder {
    /// How many workers there are; by default one for each core.
    pub fn workers(mut self, workers: usize) -> Self {
        self.options.workers = workers;
        self
    }

    /// The Python interpreter of the workers, such as a virtual environment's `bin/python`; by default `python3` of the path.
    pub fn python(mut self, interpreter: impl Into<PathBuf>) -> Self {
        self.options.python = interpreter.into();
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

    /// How many batches a worker may have at a time: one that it works on, the others ready; 2 by default.
    pub fn window(mut self, batches: usize) -> Self {
        self.options.window = batches;
        self
    }

    /// The longest that a function may take for one batch before its worker is ended; none by default. A function's own deadline comes first.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = Some(deadline);
        self
    }

    /// Makes the pool. Its workers start in the background; the first call waits for one.
    ///
    /// # Errors
    /// `BAD_OPTION`, `INTERPRETER_MISSING` where the path given is not there, or what the system says.
    pub fn build(self) -> Result<Pool> {
        let options = self.options;
        check(&options)?;
        let spawner = Spawner::new()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::system(Code::System, "cannot make an event loop", error))?;
        let memory = Arc::new(Memory::new(options.memory_limit.unwrap_or_else(default_limit)));
        let (closing, closed) = watch::channel(false);
        let workers = options.workers;
        let launch = Launch { environment: options.environment.clone(), directory: options.directory.clone(), ..Launch::python(&options.python) };
        let inner = Arc::new(Inner {
            arena: Arena::new(Inputs { memory: memory.clone(), have: 0.into() }),
            memory,
            ledger: Arc::default(),
            registry: Registry::default(),
            places: Places::new(workers, options.window),
            events: broadcast::Sender::new(1024),
            closing,
            timers: Mutex::new(Some(runtime.handle().clone())),
            next_call: AtomicU64::new(1),
            process: std::process::id(),
            options,
        });
        let owner = inner.clone();
        let run = move || {
            runtime.block_on(async {
                let mut supervisors = JoinSet::new();
                let mut places = HashMap::new();
                for worker in 0..workers {
                    let place =
                        Supervisor { owner: owner.clone(), worker, launch: launch.clone(), spawner: spawner.clone(), closing: closed.clone() };
                    places.insert(supervisors.spawn(place.run()).id(), worker);
                }
                drop(spawner);
                while let Some(ended) = supervisors.join_next_with_id().await {
                    if let Err(error) = ended {
                        // A defect of Transom: who waits for this place must not wait for ever.
                        let worker = places.get(&error.id()).copied().unwrap_or_default();
                        owner.lost(worker, &error.to_string());
                    }
                }
                // Without workers there is still a pool: its timers run here.
                _ = closed.clone().wait_for(|closing| *closing).await;
            });
            // Something that still makes a segment must not hold up the end.
            runtime.shutdown_background();
        };
        let home = thread::Builder::new().name("transom-pool".to_owned()).spawn(run);
        let home = home.map_err(|error| Error::system(Code::System, "cannot start a thread", error))?;
        Ok(Pool { inner, home: Mutex::new(Some(home)) })
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
    // A name without a slash is looked for on the path when the worker starts.
    if options.python.components().count() > 1 && !options.python.is_file() {
        return Err(Error::new(Code::InterpreterMissing, format!("the interpreter {} is not there", options.python.display()))
            .with_hint("give the path of a Python that has transom and pyarrow, such as `.venv/bin/python`"));
    }
    Ok(())
}

fn default_limit() -> u64 {
    available_memory().map_or(1 << 30, |bytes| bytes / 2).max(64 << 20)
}
