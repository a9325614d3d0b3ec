//! Reading: files of several formats as one stream of record batches, one file after the other, never a whole file in memory.

mod ahead;
mod claims;
mod csv;
mod damage;
mod find;
mod format;
mod ipc;
mod json;
mod meter;
mod parquet;
mod rechunk;
mod schema;
mod stream;
mod text;

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};
use transom::{Code, Error, Result};

pub(crate) use ahead::ahead;
pub(crate) use format::Format;
pub(crate) use meter::{Counter, Meter};
pub(crate) use rechunk::bytes;

/// A stream of batches.
pub(crate) type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// All inputs, opened far enough to know that they belong together.
pub(crate) struct Inputs {
    inputs: Vec<Input>,
    /// The one schema of all of them.
    pub(crate) schema: SchemaRef,
    /// Counts what is read.
    pub(crate) meter: Arc<Meter>,
    infer_rows: Option<usize>,
    /// How much there is at most, of each input.
    extents: Vec<Option<Extent>>,
}

/// How many rows there are at most, and how many of them a batch can have.
#[derive(Clone, Copy)]
struct Extent {
    rows: u64,
    batch_rows: usize,
}

/// One input.
struct Input {
    path: PathBuf,
    format: Format,
    /// Its own schema: the columns in its own order.
    schema: SchemaRef,
    /// What can be opened only once: standard input, a pipe.
    stream: Option<Stream>,
}

/// An input that is read from beginning to end, once.
enum Stream {
    /// An Arrow stream whose schema was read.
    Arrow(Box<stream::StreamReader>),
    /// Anything else: what was read to find the types, and the rest.
    Bytes(Box<dyn Read + Send>),
}

/// What is known of a format's data before any row is wanted.
struct Probe {
    schema: SchemaRef,
    /// Whether the types were guessed from text, so that another file's may widen them.
    inferred: bool,
    stream: Option<Stream>,
    extent: Option<Extent>,
}

/// What to read, the same for each input.
#[derive(Clone)]
struct Plan {
    /// The columns wanted, with the types and in the order wanted.
    columns: SchemaRef,
    batch_rows: usize,
    meter: Arc<Meter>,
    infer_rows: Option<usize>,
}

/// Text that stands for standard input.
const STANDARD_INPUT: &str = "-";

impl Inputs {
    /// Finds the files, reads their schemas and unites them.
    pub(crate) fn open(words: &[String], format: Option<Format>, infer_rows: usize) -> Result<Self> {
        let infer_rows = (infer_rows > 0).then_some(infer_rows);
        let mut inputs = Vec::new();
        let mut parts = Vec::new();
        let mut total = Some(0);
        let mut extents = Vec::new();
        for path in find::find(words)? {
            let (format, length) = identify(&path, format)?;
            total = total.zip(length).map(|(sum, length)| sum + length);
            let probe = damage::caught(&path, format, || probe(&path, format, length.is_some(), infer_rows))?;
            schema::check_names(&path, format, &probe.schema)?;
            extents.push(probe.extent.or_else(|| length.filter(|_| format.is_text()).map(Extent::of_text)));
            parts.push(schema::Part { place: path.clone(), schema: probe.schema.clone(), inferred: probe.inferred, open: format == Format::Json });
            inputs.push(Input { path, format, schema: probe.schema, stream: probe.stream });
        }
        Ok(Self { schema: schema::unite(&parts)?, inputs, meter: Arc::new(Meter::new(total)), infer_rows, extents })
    }

    /// How many batches these are at most, where that is known before they are read.
    pub(crate) fn most_batches(&self, batch_rows: usize, limit: Option<u64>) -> Option<u64> {
        let batches = |extent: Extent| extent.rows.min(limit.unwrap_or(u64::MAX)).div_ceil(extent.batch_rows.min(batch_rows).max(1) as u64);
        self.extents.iter().map(|extent| extent.map(batches)).sum()
    }

    /// The files read, for those who must not write to them.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.inputs.iter().map(|input| input.path.as_path())
    }

    /// The rows: only `columns` of them, at most `batch_rows` in a batch, at most `limit` in all.
    ///
    /// There is always at least one batch, so that a function of unknown type gets the chance to show it on no rows.
    pub(crate) fn read(self, columns: SchemaRef, batch_rows: usize, limit: Option<u64>) -> Batches {
        let plan = Plan { columns: columns.clone(), batch_rows, meter: self.meter, infer_rows: self.infer_rows };
        let all = self.inputs.into_iter().flat_map(move |input| {
            let columns = plan.columns.clone();
            let path = input.path.clone();
            damage::guarded(input, &plan).map(move |batch| batch.and_then(|batch| schema::conform(&path, batch, &columns)))
        });
        Box::new(rechunk::rechunk(all, columns, batch_rows, limit))
    }
}

impl Extent {
    /// Of a text of this length: a row has at least the end of its line, and batches end early where rows are long.
    fn of_text(length: u64) -> Self {
        Self { rows: length, batch_rows: 1 << 16 }
    }
}

/// Says what a path holds, and its length where it is a file that can be opened again.
fn identify(path: &Path, format: Option<Format>) -> Result<(Format, Option<u64>)> {
    if is_standard_input(path) {
        return Ok((format.unwrap_or(Format::Stream), None));
    }
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, error))?;
    if !metadata.is_file() {
        return Ok((format.or_else(|| Format::of(path)).unwrap_or(Format::Stream), None));
    }
    let format = match format.or_else(|| Format::of(path)) {
        Some(Format::Arrow | Format::Stream) => ipc::kind(path)?,
        Some(format) => format,
        None => return Err(unknown_format(path)),
    };
    Ok((format, Some(metadata.len())))
}

fn probe(path: &Path, format: Format, again: bool, infer_rows: Option<usize>) -> Result<Probe> {
    match format {
        Format::Parquet if again => parquet::probe(path),
        Format::Arrow if again => ipc::probe_file(path),
        Format::Parquet | Format::Arrow => {
            Err(Error::new(Code::InputFormat, format!("{} cannot be read from a pipe: {format} needs a file", shown(path)))
                .with_hint("write it to a file first, or send an Arrow stream"))
        }
        Format::Stream => ipc::probe_stream(path, again),
        Format::Csv | Format::Tsv => csv::probe(path, format, again, infer_rows),
        Format::Json => json::probe(path, again, infer_rows),
        Format::Text => text::probe(path, again),
    }
}

fn read(input: Input, plan: &Plan) -> Result<Batches> {
    match input.format {
        Format::Parquet => parquet::read(&input.path, plan),
        Format::Arrow => ipc::read_file(&input.path, plan),
        Format::Stream => ipc::read_stream(input, plan),
        Format::Csv | Format::Tsv => csv::read(input, plan),
        Format::Json => json::read(input, plan),
        Format::Text => text::read(input, plan),
    }
}

/// The text of an input from its beginning, without the mark that some programs put there.
fn text_of(path: &Path, stream: Option<Stream>, meter: &Arc<Meter>) -> Result<Box<dyn Read + Send>> {
    let source: Box<dyn Read + Send> = match stream {
        Some(Stream::Bytes(source)) => source,
        Some(Stream::Arrow(_)) | None => open_once(path)?,
    };
    Ok(Box::new(without_mark(meter::Metered::new(source, meter.clone())).map_err(|error| unreadable(path, error))?))
}

/// Opens a file or standard input for reading from beginning to end.
fn open_once(path: &Path) -> Result<Box<dyn Read + Send>> {
    if !is_standard_input(path) {
        return Ok(Box::new(open(path)?));
    }
    let input = io::stdin();
    if input.is_terminal() {
        return Err(Error::new(Code::BadOption, "standard input is a terminal")
            .with_hint("`-` reads what another program sends: PROGRAM | transom run FUNCTION -"));
    }
    Ok(Box::new(input))
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| unreadable(path, error))
}

/// Skips the byte order mark of UTF-8, which would otherwise become part of the first column's name.
fn without_mark(mut source: impl Read + Send) -> io::Result<impl Read + Send> {
    let mut head = Vec::new();
    source.by_ref().take(3).read_to_end(&mut head)?;
    if head == [0xEF, 0xBB, 0xBF] {
        head.clear();
    }
    Ok(io::Cursor::new(head).chain(source))
}

fn is_standard_input(path: &Path) -> bool {
    path == Path::new(STANDARD_INPUT)
}

/// A path as messages name it.
fn shown(path: &Path) -> String {
    if is_standard_input(path) { "standard input".to_owned() } else { path.display().to_string() }
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    let code = if error.kind() == io::ErrorKind::NotFound { Code::InputNotFound } else { Code::InputUnreadable };
    Error::new(code, format!("cannot read {}: {}", shown(path), cause(&error)))
}

fn malformed(path: &Path, format: Format, what: impl std::fmt::Display) -> Error {
    Error::new(
        Code::InputFormat,
        format!("{} cannot be read as {format}: {}", shown(path), short(what.to_string().lines().next().unwrap_or_default())),
    )
}

fn unknown_format(path: &Path) -> Error {
    Error::new(Code::InputFormat, format!("{} has a name that does not tell what it holds", shown(path)))
        .with_hint(format!("say it with --format: {}", Format::names()))
}

/// Turns an Arrow reader's error into the one that says which: the file could not be read, or what it holds is wrong.
fn reading(path: &Path, format: Format, error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(what, error) => match error.kind() {
            io::ErrorKind::UnexpectedEof => malformed(path, format, "it ends too early; it is truncated"),
            // A place outside the file, as a damaged footer names it.
            io::ErrorKind::InvalidInput => malformed(path, format, "its content is damaged"),
            _ if error.raw_os_error().is_some() => unreadable(path, error),
            _ => malformed(path, format, what),
        },
        // What follows the brace is the reader's inside, not the file's.
        ArrowError::ParseError(what) | ArrowError::IpcError(what) if format.is_arrow() => {
            malformed(path, format, what.split(" {").next().unwrap_or(&what))
        }
        ArrowError::CsvError(what) | ArrowError::JsonError(what) | ArrowError::ParseError(what) => malformed(path, format, what),
        other => malformed(path, format, other),
    }
}

/// The operating system's words without its number.
pub(crate) fn cause(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// Readers quote whole rows; a message does not need more than their beginning.
fn short(text: &str) -> String {
    const MOST: usize = 400;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod mutations;
#[cfg(test)]
mod tests;
