//! The encoders behind one face.

use std::fmt;
use std::io::{self, BufWriter, Write};

use arrow_array::RecordBatch;
use arrow_csv::Writer as CsvWriter;
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_json::writer::LineDelimited;
use arrow_schema::{ArrowError, DataType, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::Format;
use super::sink::Sink;

type Writer = BufWriter<Sink>;
type JsonWriter = arrow_json::Writer<Writer, LineDelimited>;

/// An encoder with its writer.
pub(super) enum Encoder {
    Parquet(Box<ArrowWriter<Writer>>),
    Arrow(FileWriter<Writer>),
    Stream(StreamWriter<Writer>),
    Csv { writer: CsvWriter<Writer>, empty: Option<RecordBatch> },
    Json(JsonWriter),
}

/// Whatever an encoder says that went wrong.
#[derive(Debug)]
pub(super) struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ArrowError> for Failure {
    fn from(error: ArrowError) -> Self {
        Self(match error {
            ArrowError::CsvError(text) | ArrowError::JsonError(text) | ArrowError::IpcError(text) | ArrowError::InvalidArgumentError(text) => text,
            other => other.to_string(),
        })
    }
}

impl From<ParquetError> for Failure {
    fn from(error: ParquetError) -> Self {
        Self(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Rows kept in memory before Parquet writes a row group, in encoded bytes.
const ROW_GROUP_BYTES: usize = 128 << 20;

impl Encoder {
    /// An encoder for rows of this schema.
    pub(super) fn new(format: Format, schema: &SchemaRef, writer: Writer) -> Result<Self, Failure> {
        if let Some(field) = schema.fields().iter().find(|field| !can_hold(format, field.data_type())) {
            return Err(Failure(format!("its column `{}` is {}", field.name(), field.data_type())));
        }
        Ok(match format {
            Format::Parquet => {
                let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
                Self::Parquet(Box::new(ArrowWriter::try_new(writer, schema.clone(), Some(properties))?))
            }
            Format::Arrow => Self::Arrow(FileWriter::try_new(writer, schema)?),
            Format::Stream => Self::Stream(StreamWriter::try_new(writer, schema)?),
            Format::Csv | Format::Tsv => {
                let delimiter = if format == Format::Tsv { b'\t' } else { b',' };
                let writer = arrow_csv::WriterBuilder::new().with_header(true).with_delimiter(delimiter).build(writer);
                Self::Csv { writer, empty: Some(RecordBatch::new_empty(schema.clone())) }
            }
            // A row without a key and a row with a null are different things to whoever reads the lines.
            Format::Json => Self::Json(arrow_json::WriterBuilder::new().with_explicit_nulls(true).build(writer)),
        })
    }

    /// Encodes a batch.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        match self {
            Self::Parquet(writer) => {
                writer.write(batch)?;
                if writer.in_progress_size() > ROW_GROUP_BYTES {
                    writer.flush()?;
                }
            }
            Self::Arrow(writer) => writer.write(batch)?,
            Self::Stream(writer) => writer.write(batch)?,
            Self::Csv { writer, empty } => {
                *empty = None;
                writer.write(batch)?;
            }
            Self::Json(writer) => writer.write(batch)?,
        }
        Ok(())
    }

    /// Writes what is kept back, and sees that all of it goes on.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        match self {
            Self::Parquet(writer) => {
                writer.finish()?;
                writer.inner_mut().flush()?;
            }
            Self::Arrow(writer) => {
                writer.finish()?;
                writer.get_mut().flush()?;
            }
            Self::Stream(writer) => {
                writer.finish()?;
                writer.get_mut().flush()?;
            }
            // The header comes with the first batch, so no rows at all still need one.
            Self::Csv { writer, empty } => {
                if let Some(empty) = empty.take() {
                    writer.write(&empty)?;
                }
            }
            Self::Json(writer) => {
                writer.finish()?;
                writer.get_mut().flush()?;
            }
        }
        Ok(())
    }
}

/// Whether a format has a place for a type, as far as that is known before the first row.
fn can_hold(format: Format, data_type: &DataType) -> bool {
    match format {
        Format::Csv | Format::Tsv => !data_type.is_nested(),
        Format::Parquet => !contains(data_type, &|data_type| matches!(data_type, DataType::Union(..) | DataType::RunEndEncoded(..))),
        Format::Arrow | Format::Stream | Format::Json => true,
    }
}

fn contains(data_type: &DataType, wanted: &dyn Fn(&DataType) -> bool) -> bool {
    wanted(data_type)
        || Schema::new(vec![arrow_schema::Field::new("", data_type.clone(), true)]).flattened_fields().iter().any(|field| wanted(field.data_type()))
}

/// What to do about an encoder's refusal.
pub(super) fn advice(format: Format, failure: &Failure) -> &'static str {
    match format {
        Format::Arrow if failure.0.contains("ictionary replacement") => {
            "an Arrow file holds one dictionary a column; write a stream (.arrows) or Parquet"
        }
        Format::Arrow | Format::Stream => "write another format",
        Format::Parquet | Format::Csv | Format::Tsv | Format::Json => "Arrow (.arrow) holds every type",
    }
}
