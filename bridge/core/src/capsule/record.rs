//! `capsule.json`: everything about a failure but the arguments and a pickled function. `docs/capsules.md` describes each field.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::failure::Error;

/// What every record says that it is.
pub(crate) const FORMAT: &str = "transom-capsule";
/// The version of the format. It grows when a reader of the version before would misunderstand; fields may be added without.
pub(crate) const VERSION: u32 = 1;

pub(crate) const RECORD: &str = "capsule.json";
pub(crate) const BATCH: &str = "batch.arrow";
pub(crate) const STREAM: &str = "batches.arrows";
pub(crate) const PICKLE: &str = "function.pickle";
pub(crate) const ERROR: &str = "error.txt";
pub(crate) const README: &str = "README.md";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) format: String,
    pub(crate) version: u32,
    /// The version of Transom.
    pub(crate) transom: String,
    /// Seconds since 1970.
    pub(crate) written: u64,
    pub(crate) function: FunctionRecord,
    pub(crate) policies: Policies,
    pub(crate) runtime: Runtime,
    pub(crate) environment: Environment,
    pub(crate) working_directory: Option<String>,
    pub(crate) arguments: Arguments,
    pub(crate) error: ErrorRecord,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FunctionRecord {
    pub(crate) language: String,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) source: SourceRecord,
    pub(crate) import_path: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SourceRecord {
    /// A source file or a shared library.
    File(String),
    /// A module, or the class of a Java function.
    Module(String),
    /// The file in the capsule with the function's bytes; nothing where they were larger than a capsule may be.
    Pickle(Option<String>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Policies {
    pub(crate) deadline_seconds: Option<f64>,
    pub(crate) retries: u32,
    pub(crate) on_error: String,
    pub(crate) mode: String,
    pub(crate) memory_limit: u64,
    pub(crate) workers: usize,
    pub(crate) window: usize,
    #[serde(default)]
    pub(crate) limits: LimitsRecord,
}

/// What a worker, and one result of it, might use at most.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct LimitsRecord {
    pub(crate) worker_memory: Option<u64>,
    pub(crate) worker_descriptors: Option<u64>,
    pub(crate) worker_processes: Option<u64>,
    pub(crate) result_limit: Option<u64>,
}

/// What ran the function.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Runtime {
    pub(crate) program: String,
    pub(crate) versions: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) java_options: Vec<String>,
    #[serde(default)]
    pub(crate) java_class_path: Vec<String>,
}

/// The environment's names. Values may be secrets, so they stay where they are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Environment {
    pub(crate) names: Vec<String>,
    pub(crate) set_by_pool: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Arguments {
    pub(crate) file: String,
    /// The number of the first batch in the file, and of its first row, in the stream that the function was called over.
    pub(crate) first_batch: u64,
    pub(crate) first_row: u64,
    pub(crate) batches: u64,
    pub(crate) rows: u64,
    /// Whether the file has all that the function was given.
    pub(crate) whole: bool,
    /// What is missing, in words.
    pub(crate) left_out: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ErrorRecord {
    pub(crate) code: u16,
    pub(crate) name: String,
    pub(crate) message: String,
    pub(crate) function: Option<String>,
    pub(crate) batch: Option<u64>,
    pub(crate) rows: Option<[u64; 2]>,
    pub(crate) worker: Option<String>,
    pub(crate) remote: Option<RemoteRecord>,
    pub(crate) stack: Option<String>,
    pub(crate) output: Vec<String>,
    pub(crate) hint: Option<String>,
    /// The whole error as it was shown.
    pub(crate) text: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RemoteRecord {
    pub(crate) kind: String,
    pub(crate) message: String,
    pub(crate) traceback: String,
}

impl ErrorRecord {
    pub(crate) fn of(error: &Error) -> Self {
        let remote = |remote: &crate::failure::Remote| RemoteRecord {
            kind: remote.kind.clone(),
            message: remote.message.clone(),
            traceback: remote.traceback.clone(),
        };
        Self {
            code: error.code().number(),
            name: error.code().name().to_owned(),
            message: error.message().to_owned(),
            function: error.function().map(str::to_owned),
            batch: error.batch(),
            rows: error.rows().map(|rows| [rows.start, rows.end]),
            worker: error.worker().map(str::to_owned),
            remote: error.remote().map(remote),
            stack: error.stack().map(str::to_owned),
            output: error.output().to_vec(),
            hint: error.hint().map(str::to_owned),
            text: error.to_string(),
        }
    }
}
