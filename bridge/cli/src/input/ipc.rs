//! Arrow IPC: files, which can be read in any order, and streams, which cannot.

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_ipc::reader::FileReader;
use arrow_schema::{ArrowError, Schema, SchemaRef};
use transom::Result;

use super::meter::Metered;
use super::stream::StreamReader;
use super::{Batches, Format, Input, Plan, Probe, Stream, claims, malformed, open, open_once, reading, unreadable};

/// How much of the beginning tells what it is.
const HEAD: u64 = 6;

/// Says which of the two a file is: they share their extensions in practice.
pub(super) fn kind(path: &Path) -> Result<Format> {
    kind_of(path, &head(path, &mut open(path)?)?)
}

fn head(path: &Path, source: &mut impl Read) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    source.take(HEAD).read_to_end(&mut head).map_err(|error| unreadable(path, error))?;
    Ok(head)
}

fn kind_of(path: &Path, head: &[u8]) -> Result<Format> {
    let no = |what: &str| Err(malformed(path, Format::Arrow, what));
    match head {
        b"ARROW1" => Ok(Format::Arrow),
        [0xFF, 0xFF, 0xFF, 0xFF, ..] => Ok(Format::Stream),
        [b'F', b'E', b'A', b'1', ..] => no("it is in version 1 of the Feather format")
            .map_err(|error| error.with_hint("write it again as version 2, which is Arrow IPC: pyarrow.feather.write_feather(table, path)")),
        [b'P', b'A', b'R', b'1', ..] => no("it is a Parquet file"),
        [] => no("it is empty"),
        _ => no("it begins neither like an Arrow file nor like an Arrow stream")
            .map_err(|error| error.with_hint(format!("--format says what it is: {}", Format::names()))),
    }
}

pub(super) fn probe_file(path: &Path) -> Result<Probe> {
    claims::check_file(path)?;
    let reader = file_reader(path, None)?;
    Ok(Probe { schema: plain(&reader.schema()), inferred: false, stream: None, extent: None })
}

pub(super) fn probe_stream(path: &Path, again: bool) -> Result<Probe> {
    let mut source = open_once(path)?;
    let head = head(path, &mut source)?;
    if kind_of(path, &head)? == Format::Arrow && !again {
        let error = malformed(path, Format::Stream, "it is an Arrow file, which cannot be read from a pipe");
        return Err(error.with_hint("send an Arrow stream, or write a file and name it"));
    }
    let reader = stream_reader(path, Box::new(Cursor::new(head).chain(source)))?;
    let schema = plain(&reader.schema());
    Ok(Probe { schema, inferred: false, stream: (!again).then(|| Stream::Arrow(Box::new(reader))), extent: None })
}

/// A schema without the remarks of the program that wrote it.
fn plain(schema: &Schema) -> SchemaRef {
    Schema::new(schema.fields().clone()).into()
}

pub(super) fn read_file(path: &Path, plan: &Plan) -> Result<Batches> {
    let columns = file_reader(path, None)?.schema();
    let wanted = plan.columns.fields().iter().filter_map(|field| columns.index_of(field.name()).ok()).collect();
    let reader = file_reader(path, Some(wanted))?;
    let (count, length) = (reader.num_batches().max(1) as u64, std::fs::metadata(path).map_err(|error| unreadable(path, error))?.len());
    let meter = plan.meter.clone();
    Ok(checked(path, Format::Arrow, reader.inspect(move |_| meter.add(length / count))))
}

pub(super) fn read_stream(input: Input, plan: &Plan) -> Result<Batches> {
    let reader = match input.stream {
        Some(Stream::Arrow(reader)) => *reader,
        Some(Stream::Bytes(_)) | None => stream_reader(&input.path, Box::new(Metered::new(open_once(&input.path)?, plan.meter.clone())))?,
    };
    Ok(checked(&input.path, Format::Stream, reader))
}

fn checked(path: &Path, format: Format, batches: impl Iterator<Item = std::result::Result<RecordBatch, ArrowError>> + Send + 'static) -> Batches {
    let path = path.to_path_buf();
    Box::new(batches.map(move |batch| batch.map_err(|error| reading(&path, format, error))))
}

fn file_reader(path: &Path, projection: Option<Vec<usize>>) -> Result<FileReader<BufReader<File>>> {
    FileReader::try_new_buffered(open(path)?, projection).map_err(|error| reading(path, Format::Arrow, error))
}

fn stream_reader(path: &Path, source: Box<dyn Read + Send>) -> Result<StreamReader> {
    StreamReader::try_new(source).map_err(|error| reading(path, Format::Stream, error))
}
