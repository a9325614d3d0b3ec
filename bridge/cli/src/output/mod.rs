//! Writing: a file that appears whole or not at all, standard output, or a table of the first rows.

mod encode;
mod file;
mod place;
mod sink;
mod table;

use std::fmt;
use std::io::{self, BufWriter, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use clap::ValueEnum;
use transom::{Code, Error, Result};

use encode::Encoder;
use file::Destination;
pub(crate) use place::Place;
use sink::{Fault, Sink};

/// The formats that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC, as a file.
    Arrow,
    /// Arrow IPC, as a stream.
    #[value(name = "arrow-stream")]
    Stream,
    /// Comma-separated values with a header line.
    Csv,
    /// Tab-separated values with a header line.
    Tsv,
    /// JSON, one object a line.
    #[value(name = "jsonl")]
    Json,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parquet => "Parquet",
            Self::Arrow => "an Arrow file",
            Self::Stream => "an Arrow stream",
            Self::Csv => "CSV",
            Self::Tsv => "TSV",
            Self::Json => "JSON lines",
        })
    }
}

/// Where the result is to go.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    /// A table of the first rows on standard output.
    Table,
    /// Standard output.
    Standard(Format),
    /// A file.
    File(PathBuf, Format),
}

impl Target {
    /// What the options say.
    pub(crate) fn choose(output: Option<&str>, format: Option<Format>) -> Result<Self> {
        match output {
            None => Ok(Self::Table),
            Some("-") => {
                let format = format.unwrap_or(Format::Stream);
                let binary = matches!(format, Format::Parquet | Format::Arrow | Format::Stream);
                if binary && io::stdout().is_terminal() {
                    return Err(Error::new(Code::BadOption, format!("{format} is nothing for a terminal")).with_hint(
                        "leave --output out for a table, send standard output to a file or a program, or say --output-format csv or jsonl",
                    ));
                }
                Ok(Self::Standard(format))
            }
            Some(name) => {
                let path = PathBuf::from(name);
                let format = format.map_or_else(|| format_of(&path), Ok)?;
                Ok(Self::File(path, format))
            }
        }
    }
}

fn format_of(path: &Path) -> Result<Format> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_ascii_lowercase();
    Ok(match extension.as_str() {
        "parquet" | "pq" => Format::Parquet,
        "arrow" | "feather" | "ipc" => Format::Arrow,
        "arrows" => Format::Stream,
        "csv" => Format::Csv,
        "tsv" => Format::Tsv,
        "jsonl" | "ndjson" | "json" => Format::Json,
        _ => {
            return Err(Error::new(Code::BadOption, format!("the name {} does not tell what to write", path.display()))
                .with_hint("end it in .parquet, .arrow, .arrows, .csv, .tsv or .jsonl, or say --output-format"));
        }
    })
}

/// The output before anything is known of the result: the place is made sure of first, so that no work is done for nothing.
pub(crate) struct Prepared {
    target: Target,
    destination: Option<Destination>,
}

/// The output while rows come.
pub(crate) enum Output {
    /// A table.
    Table(table::Table),
    /// Anything that is encoded.
    Encoded(Box<Encoded>),
}

/// An encoder, and where its bytes go.
pub(crate) struct Encoded {
    encoder: Encoder,
    format: Format,
    destination: Option<Destination>,
    fault: Fault,
}

/// Makes sure that the target can be written, and is none of the inputs.
pub(crate) fn prepare<'a>(target: Target, inputs: impl Iterator<Item = &'a Path>) -> Result<Prepared> {
    let destination = match &target {
        Target::File(path, _) => Some(Destination::open(path, inputs)?),
        Target::Table | Target::Standard(_) => None,
    };
    Ok(Prepared { target, destination })
}

impl Prepared {
    /// Begins with the schema of the result.
    pub(crate) fn begin(self, schema: &SchemaRef) -> Result<Output> {
        let format = match self.target {
            Target::Table => return Ok(Output::Table(table::Table::new(schema.clone()))),
            Target::Standard(format) | Target::File(_, format) => format,
        };
        let fault = Fault::default();
        let sink = match &self.destination {
            Some(destination) => Sink::new(Box::new(destination.writer()?), fault.clone()),
            None => Sink::new(Box::new(io::stdout()), fault.clone()),
        };
        let encoder = match Encoder::new(format, schema, BufWriter::with_capacity(1 << 20, sink)) {
            Ok(encoder) => encoder,
            Err(error) => return Err(failed(format, self.destination.as_ref(), &fault, &error)),
        };
        Ok(Output::Encoded(Box::new(Encoded { encoder, format, destination: self.destination, fault })))
    }
}

impl Prepared {
    /// Ends the output where there are neither rows nor columns: the function gave nothing and does not say what it would give.
    pub(crate) fn without_rows(self, function: &str) -> Result<Wanted> {
        match self.target {
            // Without rows these are empty, whatever the columns.
            Target::Table => Ok(Wanted::More),
            Target::Standard(Format::Json) | Target::File(_, Format::Json) => self.begin(&Arc::new(Schema::empty()))?.finish(),
            Target::Standard(_) | Target::File(..) => {
                Err(Error::new(Code::BadSchema, "there are no rows, and the columns that they would have are not known")
                    .with_function(function)
                    .with_hint("let the function declare what it returns"))
            }
        }
    }
}

/// Whether more rows are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// They are.
    More,
    /// Who reads standard output has gone, as `head` does.
    Nothing,
}

impl Output {
    /// Writes a batch.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<Wanted> {
        match self {
            Self::Table(table) => {
                table.add(batch);
                Ok(Wanted::More)
            }
            Self::Encoded(encoded) => {
                let result = encoded.encoder.write(batch);
                encoded.outcome(result)
            }
        }
    }

    /// Ends the output; a file gets its name now.
    pub(crate) fn finish(self) -> Result<Wanted> {
        let mut encoded = match self {
            Self::Table(table) => return table.print(),
            Self::Encoded(encoded) => encoded,
        };
        let result = encoded.encoder.finish();
        let wanted = encoded.outcome(result)?;
        if let Some(destination) = encoded.destination {
            destination.complete()?;
        }
        Ok(wanted)
    }
}

impl Encoded {
    fn outcome(&self, result: std::result::Result<(), encode::Failure>) -> Result<Wanted> {
        match result {
            Ok(()) => Ok(Wanted::More),
            Err(_) if self.destination.is_none() && self.fault.is_broken_pipe() => Ok(Wanted::Nothing),
            Err(error) => Err(failed(self.format, self.destination.as_ref(), &self.fault, &error)),
        }
    }
}

/// The one error for all that can go wrong in writing: the system's own words where it was the system.
fn failed(format: Format, destination: Option<&Destination>, fault: &Fault, error: &encode::Failure) -> Error {
    let place = destination.map_or_else(|| "standard output".to_owned(), |destination| destination.path().display().to_string());
    match fault.take() {
        Some(fault) => file::unwritable(&place, &fault),
        None => Error::new(Code::OutputFailed, format!("cannot write {place} as {format}: {error}")).with_hint(encode::advice(format, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_formats_and_unknown_ones_are_refused() {
        assert_eq!(Target::choose(Some("a/b.PARQUET"), None).unwrap(), Target::File("a/b.PARQUET".into(), Format::Parquet));
        assert_eq!(Target::choose(Some("b.out"), Some(Format::Csv)).unwrap(), Target::File("b.out".into(), Format::Csv));
        assert_eq!(Target::choose(None, None).unwrap(), Target::Table);
        for bad in ["b", "b.xlsx", ".parquet"] {
            assert_eq!(Target::choose(Some(bad), None).unwrap_err().code(), Code::BadOption, "{bad}");
        }
    }
}
