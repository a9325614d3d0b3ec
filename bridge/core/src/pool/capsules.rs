//! When a failure capsule is saved, and what a pool knows for it.

use std::collections::{BTreeMap, HashMap};
use std::env;
use std::ffi::OsStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::builder::Options;
use super::registry::Known;
use super::{Inner, launches};
use crate::capsule::{Environment, Failure, Given, History, LimitsRecord, Policies, Runtime, save, versions};
use crate::exchange::Mode;
use crate::failure::{Code, Error, Result};
use crate::function::Language;
use crate::worker::Launch;

/// Names the folder for capsules, for hosts that set no option.
const VARIABLE: &str = "TRANSOM_CAPSULES";

/// What a pool was told about capsules.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) place: Place,
    /// The most bytes of arguments, and of a function sent by value, in one.
    pub(super) bytes: u64,
    /// The most that one pool saves.
    pub(super) count: usize,
}

/// Where capsules go.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// Where `TRANSOM_CAPSULES` says, if it says anything.
    Environment,
    Folder(PathBuf),
    Nowhere,
}

impl Default for Settings {
    fn default() -> Self {
        Self { place: Place::Environment, bytes: 64 << 20, count: 16 }
    }
}

/// A pool's capsules.
pub(super) struct Capsules {
    folder: Option<PathBuf>,
    bytes: u64,
    count: usize,
    saved: AtomicUsize,
    /// What each language's program said of its versions.
    versions: Mutex<HashMap<Language, BTreeMap<String, String>>>,
}

impl Capsules {
    pub(super) fn new(settings: &Settings) -> Result<Self> {
        let named = match &settings.place {
            Place::Environment => env::var_os(VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from),
            Place::Folder(folder) => Some(folder.clone()),
            Place::Nowhere => None,
        };
        // The host may change its working directory.
        let folder = named.map(std::path::absolute).transpose();
        let folder = folder.map_err(|error| Error::system(Code::BadOption, "the folder for capsules cannot be resolved", error))?;
        Ok(Self { folder, bytes: settings.bytes, count: settings.count, saved: AtomicUsize::new(0), versions: Mutex::default() })
    }

    /// Whether arguments are to be kept until their call has ended well.
    pub(super) fn is_on(&self) -> bool {
        self.folder.is_some()
    }

    fn versions(&self, launch: &Launch) -> BTreeMap<String, String> {
        let mut known = self.versions.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        known.entry(launch.language).or_insert_with(|| versions(launch)).clone()
    }
}

/// Failures of a batch, for which its arguments are worth keeping; a defect of Transom is one too. A function that is suspended did not run.
fn is_of_a_batch(code: Code) -> bool {
    match code {
        Code::StartTimeout | Code::HostGone | Code::ForkedHandle | Code::PoolClosed | Code::Cancelled | Code::FunctionSuspended => false,
        Code::ResultTooLarge => true,
        _ => matches!(code.family(), 2 | 3 | 4 | 9),
    }
}

impl Inner {
    /// What is to be kept of a stream, behind what was left out before its beginning.
    pub(super) fn history(&self, gone: (u64, u64)) -> Option<History> {
        // Inputs may lie in the pool's shared memory, of which calls must be able to get the most.
        let limit = self.capsules.bytes.min(self.memory.budget.limit() / 8);
        self.capsules.is_on().then(|| History::new(limit, gone))
    }

    /// The error, and where its input is saved. To be called on a caller's thread: it copies the batch, writes files, and may start a process.
    pub(super) fn encapsulated(&self, error: Error, known: &Known, given: Given<'_>) -> Error {
        let Some(folder) = &self.capsules.folder else { return error };
        if !is_of_a_batch(error.code()) || error.is_encapsulated() {
            return error;
        }
        let (saved, count) = (&self.capsules.saved, self.capsules.count);
        if saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| (saved < count).then_some(saved + 1)).is_err() {
            return error.without_capsule(format!("this pool has saved {count} capsules, the most that it may"));
        }
        let write = || save(folder, self.capsules.bytes, &self.failure(&error, known, given)?);
        let outcome = catch_unwind(AssertUnwindSafe(write)).unwrap_or_else(|_| Err("writing it panicked, which is a defect of Transom".to_owned()));
        match outcome {
            Ok(folder) => error.with_capsule(folder),
            // What failed first is what the caller has to hear; that it is not saved stands beside it.
            Err(reason) => {
                saved.fetch_sub(1, Ordering::Relaxed);
                error.without_capsule(reason)
            }
        }
    }

    fn failure<'a>(&self, error: &'a Error, known: &'a Known, given: Given<'a>) -> Result<Failure<'a>, String> {
        let options = &self.options;
        let launch = launches::launch(options, known.language()).map_err(|error| error.message().to_owned())?;
        let here = env::current_dir().ok();
        let directory = launch.directory.as_deref().or(here.as_deref());
        let names = |names: &mut dyn Iterator<Item = &OsStr>| -> Vec<String> {
            let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
            names.sort();
            names
        };
        let inherited: Vec<_> = env::vars_os().map(|(name, _)| name).collect();
        Ok(Failure {
            function: &known.function,
            kind: known.signature().kind,
            given,
            policies: Policies {
                deadline_seconds: known.deadline(options.deadline).map(|deadline| deadline.as_secs_f64()),
                retries: known.retries(),
                on_error: known.on_error().name().to_owned(),
                mode: mode_name(options.mode).to_owned(),
                memory_limit: self.memory.budget.limit(),
                workers: options.workers,
                window: options.window,
                limits: LimitsRecord {
                    worker_memory: options.limits.memory,
                    worker_descriptors: options.limits.descriptors,
                    worker_processes: options.limits.processes,
                    result_limit: options.result_limit,
                },
            },
            runtime: self.runtime(&launch),
            environment: Environment {
                names: names(&mut inherited.iter().map(|name| name.as_os_str())),
                set_by_pool: names(&mut options.environment.keys().map(|name| name.as_os_str())),
            },
            working_directory: directory.and_then(|directory| std::path::absolute(directory).ok()).map(|path| path.to_string_lossy().into_owned()),
            error,
        })
    }

    fn runtime(&self, launch: &Launch) -> Runtime {
        let (options, java) = (&self.options, launch.language == Language::Java);
        let class_path = if java { launches::java_class_path(options).ok() } else { None };
        Runtime {
            program: found(&launch.program, options).to_string_lossy().into_owned(),
            versions: self.capsules.versions(launch),
            java_options: if java { options.java_options.clone() } else { Vec::new() },
            java_class_path: class_path.iter().flat_map(|path| env::split_paths(path)).map(|entry| entry.to_string_lossy().into_owned()).collect(),
        }
    }
}

pub(crate) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Guarded => "guarded",
        Mode::Strict => "strict",
        Mode::Trusted => "trusted",
    }
}

/// The whole path of a program, as the system finds it. Links are kept: a virtual environment is known by the name of its interpreter.
fn found(program: &Path, options: &Options) -> PathBuf {
    if program.components().count() > 1 {
        return std::path::absolute(program).unwrap_or_else(|_| program.to_path_buf());
    }
    let path = options.environment.get(OsStr::new("PATH")).cloned().or_else(|| env::var_os("PATH")).unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file());
    found.unwrap_or_else(|| program.to_path_buf())
}
