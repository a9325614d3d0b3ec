//! Replaying failure capsules: the function alone, over the arguments with which it failed, in a fresh worker or in this process.
//!
//! A capsule is code: a replay runs the function in it. Only capsules that nobody but their owner may write to are opened.

mod command;
mod here;

use std::env;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow_array::RecordBatch;
use serde_json::Value;

use crate::capsule::{self, Folder, RECORD, Record, STREAM, SourceRecord, unreadable};
use crate::exchange::Mode;
use crate::failure::{Code, Error, Result};
use crate::function::{Function, Language, OnError, Source};
use crate::pool::{Pool, PoolBuilder, mode_name, wait};

/// A failure that was saved: a function, and the arguments with which it failed.
///
/// ```no_run
/// use transom::Capsule;
/// let capsule = Capsule::open("capsules/ratio-b17-53b8a1f0c2d4e697")?;
/// let pool = capsule.pool(None)?.env("OMP_NUM_THREADS", "1").build()?;
/// let error = capsule.call_blocking(&pool, Some(1_114_114..1_114_115)).unwrap_err();
/// assert_eq!(Some(error.code()), capsule.code());
/// # Ok::<(), transom::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Capsule {
    path: PathBuf,
    record: Record,
    /// Nothing where the function's bytes were too large to be saved.
    function: Option<Function>,
    arguments: Vec<RecordBatch>,
}

/// Runs a capsule's function once more, with the arguments with which it failed, in a fresh worker of the same interpreter, and gives what it returns
/// if it does not fail again.
///
/// ```no_run
/// let error = transom::replay("capsules/ratio-b17-53b8a1f0c2d4e697").unwrap_err();
/// println!("{error}");
/// ```
///
/// # Errors
/// The failure itself, where it comes again; those of [`Capsule::open`] and [`Capsule::pool`].
pub fn replay(path: impl AsRef<Path>) -> Result<Vec<RecordBatch>> {
    let capsule = Capsule::open(path)?;
    let pool = capsule.pool(None)?.build()?;
    capsule.call_blocking(&pool, None)
}

impl Capsule {
    /// Reads a capsule.
    ///
    /// # Errors
    /// `CAPSULE_UNREADABLE` where it is not whole or of another format, or where anybody but its owner may write to it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let folder = Folder::open(path)?;
        let record = record(path, &folder.read(RECORD)?)?;
        let function = function(path, &folder, &record)?;
        let saved = &record.arguments;
        let bad = |what: String| unreadable(path, format!("its file `{}` {what}", saved.file));
        let arguments = capsule::batches::read(folder.file(&saved.file)?, saved.file == STREAM).map_err(|what| bad(format!("is damaged: {what}")))?;
        let rows: u64 = arguments.iter().map(|batch| batch.num_rows() as u64).sum();
        if (arguments.len() as u64, rows) != (saved.batches, saved.rows) {
            let found = format!("has {} batches of {rows} rows where {} of {} were saved", arguments.len(), saved.batches, saved.rows);
            return Err(bad(found));
        }
        if saved.first_row.checked_add(rows).is_none() || saved.first_batch.checked_add(saved.batches).is_none() {
            return Err(unreadable(path, "its rows have impossible numbers"));
        }
        Ok(Self { path: path.to_path_buf(), record, function, arguments })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The code of the failure, where this version knows it.
    pub fn code(&self) -> Option<Code> {
        Code::from_number(self.record.error.code)
    }

    /// The error as it was shown when the capsule was saved.
    pub fn error_text(&self) -> &str {
        &self.record.error.text
    }

    /// What the function is written in.
    pub fn language(&self) -> Language {
        // Opening has looked at it.
        Language::from_name(&self.record.function.language).unwrap_or(Language::Python)
    }

    /// The program that ran the function: the interpreter of Python functions.
    pub fn program(&self) -> &Path {
        Path::new(&self.record.runtime.program)
    }

    /// The working directory in which it ran.
    pub fn working_directory(&self) -> Option<&Path> {
        self.record.working_directory.as_deref().map(Path::new)
    }

    /// The arguments: one batch, or those of a stream.
    pub fn arguments(&self) -> &[RecordBatch] {
        &self.arguments
    }

    /// The rows of the stream that are here, by the numbers that errors have.
    pub fn rows(&self) -> Range<u64> {
        self.record.arguments.first_row..self.record.arguments.first_row + self.record.arguments.rows
    }

    /// What of the arguments is missing, in words, where they were too large.
    pub fn left_out(&self) -> Option<&str> {
        self.record.arguments.left_out.as_deref()
    }

    /// The environment variables that were set when the function failed, and are not now.
    pub fn missing_environment(&self) -> Vec<&str> {
        let environment = &self.record.environment;
        let names = environment.names.iter().chain(&environment.set_by_pool).map(String::as_str);
        let mut missing: Vec<&str> = names.filter(|name| env::var_os(name).is_none()).collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// Another deadline than the one that the function had; it is for one batch.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.function = self.function.map(|function| function.with_deadline(deadline));
        self
    }

    /// The settings of a pool with one worker like the one in which the function failed. `program` is for where its interpreter, or
    /// other program, is not there any more.
    ///
    /// # Errors
    /// `INTERPRETER_MISSING` or `WORKING_DIRECTORY_MISSING`.
    pub fn pool(&self, program: Option<&Path>) -> Result<PoolBuilder> {
        let (record, language) = (&self.record, self.language());
        let chosen = self.checked(program)?;
        let builder = Pool::builder().without_capsules().workers(1).window(1).prestart([language]).mode(self.mode());
        let builder = match language {
            Language::Python => builder.python(chosen),
            Language::Native => builder.native_worker(chosen),
            Language::Java => {
                builder.java(chosen).java_class_path(&record.runtime.java_class_path).java_options(record.runtime.java_options.iter().cloned())
            }
        };
        let limits = &record.policies.limits;
        let builder = limits.worker_memory.into_iter().fold(builder, PoolBuilder::worker_memory);
        let builder = limits.worker_descriptors.into_iter().fold(builder, PoolBuilder::worker_descriptors);
        let builder = limits.worker_processes.into_iter().fold(builder, PoolBuilder::worker_processes);
        let builder = limits.result_limit.into_iter().fold(builder, PoolBuilder::result_limit);
        Ok(match self.working_directory() {
            Some(directory) => builder.working_directory(directory),
            None => builder,
        })
    }

    /// The program to start, where it and its working directory are there.
    fn checked<'a>(&'a self, program: Option<&'a Path>) -> Result<&'a Path> {
        let chosen = program.unwrap_or(self.program());
        if !chosen.is_file() {
            let message = format!("the program {}, in which the function is to run, is not there", chosen.display());
            return Err(Error::new(Code::InterpreterMissing, message)
                .with_hint("put it back as it was, or name another with the same libraries, such as `transom replay --python PATH`"));
        }
        match self.working_directory() {
            Some(directory) if !directory.is_dir() => {
                let message = format!("{}, in which the function failed, is not a folder", directory.display());
                Err(Error::new(Code::WorkingDirectoryMissing, message).with_hint("make it again, with the files that the function reads there"))
            }
            _ => Ok(chosen),
        }
    }

    fn mode(&self) -> Mode {
        let known = [Mode::Guarded, Mode::Strict, Mode::Trusted].into_iter().find(|&mode| mode_name(mode) == self.record.policies.mode);
        known.unwrap_or_default()
    }

    /// Calls the function with the arguments with which it failed, or with some of their rows, and gives what it returns.
    ///
    /// # Errors
    /// The failure itself, where it comes again, with the same function, batch and rows; `BAD_OPTION` where `rows` are not in the capsule.
    pub async fn call(&self, pool: &Pool, rows: Option<Range<u64>>) -> Result<Vec<RecordBatch>> {
        let (arguments, batch, row) = self.part(rows)?;
        pool.again(self.function()?, arguments, batch, row).await
    }

    /// [`Capsule::call`] for callers that block.
    ///
    /// # Errors
    /// As there.
    pub fn call_blocking(&self, pool: &Pool, rows: Option<Range<u64>>) -> Result<Vec<RecordBatch>> {
        wait(self.call(pool, rows))
    }

    fn function(&self) -> Result<&Function> {
        let missing = || unreadable(&self.path, "the function was sent by value and is larger than a capsule may be, so it was not saved");
        self.function.as_ref().ok_or_else(missing)
    }

    /// The arguments' rows in this range, and the numbers of the first batch and row.
    fn part(&self, rows: Option<Range<u64>>) -> Result<(Vec<RecordBatch>, u64, u64)> {
        let all = self.rows();
        let wanted = rows.unwrap_or(all.clone());
        if wanted.start < all.start || wanted.end > all.end || wanted.start > wanted.end {
            let message = format!("rows {}..{} are not in the capsule, which has rows {}..{}", wanted.start, wanted.end, all.start, all.end);
            return Err(Error::new(Code::BadOption, message).with_hint("rows are numbered from the beginning of the stream, as in the error"));
        }
        let (mut parts, mut first, mut at) = (Vec::new(), self.record.arguments.first_batch, all.start);
        for batch in &self.arguments {
            let end = at + batch.num_rows() as u64;
            let (start, stop) = (wanted.start.max(at), wanted.end.min(end));
            // Batches without rows are arguments too.
            if start < stop || (batch.num_rows() == 0 && wanted.contains(&at)) || wanted == all {
                parts.push(batch.slice((start - at) as usize, (stop - start) as usize));
            } else if parts.is_empty() {
                first += 1;
            }
            at = end;
        }
        Ok((parts, first, wanted.start))
    }
}

fn record(path: &Path, json: &[u8]) -> Result<Record> {
    let bad = |what: String| unreadable(path, format!("its file `{RECORD}` {what}"));
    let value: Value = serde_json::from_slice(json).map_err(|error| bad(format!("is not JSON: {error}")))?;
    match (value.get("format").and_then(Value::as_str), value.get("version").and_then(Value::as_u64)) {
        (Some(capsule::FORMAT), Some(version)) if version == u64::from(capsule::VERSION) => {}
        (Some(capsule::FORMAT), Some(version)) => {
            let message = format!("has version {version} of the format, and this program reads version {}", capsule::VERSION);
            return Err(bad(message).with_hint("replay it with the version of Transom that wrote it"));
        }
        _ => return Err(bad("is not a capsule's".to_owned())),
    }
    let record: Record = serde_json::from_value(value).map_err(|error| bad(format!("is not a capsule's: {error}")))?;
    if Language::from_name(&record.function.language).is_none() {
        return Err(bad(format!("names the language {:?}, which is not known", record.function.language)));
    }
    Ok(record)
}

fn function(path: &Path, folder: &Folder, record: &Record) -> Result<Option<Function>> {
    let language = Language::from_name(&record.function.language).unwrap_or(Language::Python);
    let name = record.function.name.clone();
    let source = match &record.function.source {
        SourceRecord::File(path) => Source::File { path: path.into(), name },
        SourceRecord::Module(module) => Source::Module { module: module.clone(), name },
        SourceRecord::Pickle(Some(file)) => Source::Pickle { name, bytes: folder.read(file)?.into() },
        SourceRecord::Pickle(None) => return Ok(None),
    };
    let function = Function::from_source(language, source).with_import_path(record.function.import_path.clone());
    let function = function.with_on_error(OnError::from_name(&record.policies.on_error).unwrap_or_default());
    let deadline = record.policies.deadline_seconds.map(Duration::try_from_secs_f64).transpose();
    let deadline = deadline.map_err(|_| unreadable(path, "its deadline is not a number of seconds"))?;
    Ok(Some(match deadline {
        Some(deadline) => function.with_deadline(deadline),
        None => function,
    }))
}
