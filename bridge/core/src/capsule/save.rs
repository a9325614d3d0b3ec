//! Writing a capsule.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;

use super::batches::{packed, write_file, write_stream};
use super::folder::Draft;
use super::history::{History, bytes};
use super::readme::readme;
use super::record::{
    Arguments, BATCH, ERROR, Environment, ErrorRecord, FORMAT, FunctionRecord, PICKLE, Policies, README, RECORD, Record, Runtime, STREAM,
    SourceRecord, VERSION,
};
use crate::failure::Error;
use crate::function::{Function, Kind, Source};

/// A failure, with all that is known of it.
pub(crate) struct Failure<'a> {
    pub(crate) function: &'a Function,
    pub(crate) kind: Kind,
    pub(crate) given: Given<'a>,
    pub(crate) policies: Policies,
    pub(crate) runtime: Runtime,
    pub(crate) environment: Environment,
    pub(crate) working_directory: Option<String>,
    pub(crate) error: &'a Error,
}

/// What the function was given.
pub(crate) enum Given<'a> {
    /// One batch, and where it stands in its stream.
    Batch { batch: &'a RecordBatch, number: u64, rows: Range<u64> },
    /// A stream.
    Stream(&'a History),
}

/// Writes a capsule of at most about `limit` bytes into a folder.
///
/// # Errors
/// Why there is none, in words.
pub(crate) fn save(folder: &Path, limit: u64, failure: &Failure<'_>) -> Result<PathBuf, String> {
    let system = |error: io::Error| format!("{}: {error}", folder.display());
    let draft = Draft::begin(folder, &label(failure)).map_err(system)?;
    let pickle = pickle(failure.function, limit);
    let left = limit - pickle.map_or(0, |bytes| bytes.len() as u64);
    let arguments = write_arguments(&draft, left, failure)?;
    if let Some(bytes) = pickle {
        draft.write(PICKLE, bytes).map_err(system)?;
    }
    let record = record(failure, arguments, pickle.is_some());
    let json = serde_json::to_vec_pretty(&record).map_err(|error| error.to_string())?;
    draft.write(RECORD, &json).map_err(system)?;
    draft.write(ERROR, format!("{}\n", failure.error).as_bytes()).map_err(system)?;
    draft.write(README, readme(&record, draft.path()).as_bytes()).map_err(system)?;
    draft.finish().map_err(system)
}

/// The beginning of the capsule's name.
fn label(failure: &Failure<'_>) -> String {
    let batch = failure.error.batch().map_or_else(String::new, |batch| format!("-b{batch}"));
    format!("{}{batch}", failure.function.name())
}

/// The function's own bytes, where it was sent by value and they fit.
fn pickle(function: &Function, limit: u64) -> Option<&[u8]> {
    match function.source() {
        Source::Pickle { bytes, .. } => Some(&bytes[..]).filter(|bytes| bytes.len() as u64 <= limit),
        Source::File { .. } | Source::Module { .. } => None,
    }
}

fn write_arguments(draft: &Draft, limit: u64, failure: &Failure<'_>) -> Result<Arguments, String> {
    match &failure.given {
        Given::Batch { batch, number, rows } => {
            let blamed = failure.error.rows().filter(|blamed| blamed.end == blamed.start + 1 && rows.contains(&blamed.start));
            let focus = blamed.map_or(0, |blamed| (blamed.start - rows.start) as usize);
            let (part, kept) = packed(batch, limit, focus).map_err(|error| format!("the batch cannot be copied: {}", error.message()))?;
            written(draft.create(BATCH).map_err(ArrowError::from).and_then(|file: File| write_file(file, &part)))?;
            let all = batch.num_rows();
            let left_out = (kept.len() < all)
                .then(|| format!("of the {all} rows of the batch {} are here: a capsule has at most {limit} bytes of arguments", kept.len()));
            Ok(Arguments {
                file: BATCH.to_owned(),
                first_batch: *number,
                first_row: rows.start + kept.start as u64,
                batches: 1,
                rows: kept.len() as u64,
                whole: left_out.is_none(),
                left_out,
            })
        }
        Given::Stream(history) => write_history(draft, limit, history),
    }
}

/// The last inputs of a stream, as many as fit.
fn write_history(draft: &Draft, limit: u64, history: &History) -> Result<Arguments, String> {
    let (mut kept, mut left, mut cut, mut full) = (Vec::new(), limit, 0, false);
    let (mut gone_batches, mut gone_rows) = history.gone;
    for batch in history.newest_first() {
        let last = kept.is_empty();
        if last || (!full && bytes(batch) <= left) {
            let (part, rows) = packed(batch, left, 0).map_err(|error| format!("the input cannot be copied: {}", error.message()))?;
            full = rows.len() < batch.num_rows();
            // Rows may be missing behind the last ones that are here, and before the first, but not in between.
            if last || !full {
                cut += batch.num_rows() - rows.len();
                left = left.saturating_sub(bytes(&part));
                kept.push(part);
                continue;
            }
        }
        full = true;
        gone_batches += 1;
        gone_rows += batch.num_rows() as u64;
    }
    kept.reverse();
    written(draft.create(STREAM).map_err(ArrowError::from).and_then(|file: File| write_stream(file, &kept)))?;
    let left_out = (gone_batches > 0 || cut > 0).then(|| {
        let late =
            (gone_batches > 0).then(|| format!("the first {gone_batches} batches ({gone_rows} rows) that the function was given are not here"));
        let short = (cut > 0).then(|| format!("of the last batch that it was given {cut} rows are not here"));
        let what = [late, short].into_iter().flatten().collect::<Vec<_>>().join(", and ");
        format!("{what}: a capsule has at most {limit} bytes of arguments; a replay sees less than the function did")
    });
    Ok(Arguments {
        file: STREAM.to_owned(),
        first_batch: gone_batches,
        first_row: gone_rows,
        batches: kept.len() as u64,
        rows: kept.iter().map(|batch| batch.num_rows() as u64).sum(),
        whole: left_out.is_none(),
        left_out,
    })
}

fn written(outcome: Result<(), ArrowError>) -> Result<(), String> {
    outcome.map_err(|error| format!("the arguments cannot be written: {error}"))
}

fn record(failure: &Failure<'_>, arguments: Arguments, pickled: bool) -> Record {
    let function = failure.function;
    let source = match function.source() {
        Source::File { path, .. } => SourceRecord::File(path.to_string_lossy().into_owned()),
        Source::Module { module, .. } => SourceRecord::Module(module.clone()),
        Source::Pickle { .. } => SourceRecord::Pickle(pickled.then(|| PICKLE.to_owned())),
    };
    Record {
        format: FORMAT.to_owned(),
        version: VERSION,
        transom: env!("CARGO_PKG_VERSION").to_owned(),
        written: SystemTime::UNIX_EPOCH.elapsed().map_or(0, |age| age.as_secs()),
        function: FunctionRecord {
            language: function.language().name().to_owned(),
            name: function.name().to_owned(),
            kind: match failure.kind {
                Kind::Scalar => "scalar",
                Kind::Row => "row",
                Kind::Batches => "batches",
            }
            .to_owned(),
            source,
            import_path: function.import_path().to_vec(),
        },
        policies: failure.policies.clone(),
        runtime: failure.runtime.clone(),
        environment: failure.environment.clone(),
        working_directory: failure.working_directory.clone(),
        arguments,
        error: ErrorRecord::of(failure.error),
    }
}
