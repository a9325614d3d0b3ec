//! CSV and TSV with a header line; the types are guessed from the first rows.

use std::io::{BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use arrow_csv::ReaderBuilder;
use arrow_csv::reader::Format as Dialect;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use transom::{Code, Error, Result};

use super::{Batches, Format, Input, Plan, Probe, Stream, malformed, open_once, reading, text_of, unreadable};

/// How much of a pipe is looked at to guess types: what is read must be kept.
pub(super) const HEAD: u64 = 1 << 20;

pub(super) fn probe(path: &Path, format: Format, again: bool, infer_rows: Option<usize>) -> Result<Probe> {
    let (schema, stream) = if again {
        let source = text_of(path, None, &Arc::new(super::Meter::new(None)))?;
        (infer(path, format, source, infer_rows)?, None)
    } else {
        let (head, stream) = head_of(path)?;
        (infer(path, format, whole_lines(&head), infer_rows)?, Some(stream))
    };
    Ok(Probe { schema: Arc::new(schema), inferred: true, stream, extent: None })
}

/// The beginning of what can be read only once, and a stream that begins with it again.
pub(super) fn head_of(path: &Path) -> Result<(Vec<u8>, Stream)> {
    let mut source = open_once(path)?;
    let mut head = Vec::new();
    source.by_ref().take(HEAD).read_to_end(&mut head).map_err(|error| unreadable(path, error))?;
    let stream = Stream::Bytes(Box::new(Cursor::new(head.clone()).chain(source)));
    Ok((head, stream))
}

/// The part of a beginning that is whole lines; all of it where it is everything.
pub(super) fn whole_lines(head: &[u8]) -> &[u8] {
    let head = head.strip_prefix(&[0xEF, 0xBB, 0xBF]).unwrap_or(head);
    if (head.len() as u64) < HEAD - 3 {
        return head;
    }
    head.iter().rposition(|byte| *byte == b'\n').map_or(head, |end| &head[..=end])
}

fn infer(path: &Path, format: Format, source: impl Read, infer_rows: Option<usize>) -> Result<Schema> {
    let (schema, _) = dialect(format).infer_schema(BufReader::new(source), infer_rows).map_err(|error| reading(path, format, error))?;
    if schema.fields().is_empty() {
        return Err(malformed(path, format, "it is empty: there is no header line"));
    }
    // A column of nothing but empty fields is text that happens to be empty.
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Null => Field::new(field.name(), DataType::Utf8, true),
        _ => field.as_ref().clone(),
    });
    Ok(Schema::new(fields.collect::<Vec<_>>()))
}

pub(super) fn read(input: Input, plan: &Plan) -> Result<Batches> {
    let schema = with_types(&input.schema, &plan.columns);
    let wanted: Vec<usize> = plan.columns.fields().iter().filter_map(|field| schema.index_of(field.name()).ok()).collect();
    let source = text_of(&input.path, input.stream, &plan.meter)?;
    let (path, format, inferred) = (input.path, input.format, plan.infer_rows.is_some());
    // Reading no columns at all would lose the number of rows; the first one stands for it.
    let projection = if wanted.is_empty() { vec![0] } else { wanted };
    let reader = ReaderBuilder::new(schema)
        .with_format(dialect(format))
        .with_batch_size(plan.batch_rows)
        .with_projection(projection)
        .build_buffered(BufReader::with_capacity(1 << 20, source))
        .map_err(|error| reading(&path, format, error))?;
    Ok(Box::new(reader.map(move |batch| batch.map_err(|error| advise(reading(&path, format, error), inferred)))))
}

/// The columns in the file's order, with the types that all inputs together have.
fn with_types(own: &SchemaRef, united: &SchemaRef) -> SchemaRef {
    let fields: Vec<_> = own
        .fields()
        .iter()
        .map(|field| united.field_with_name(field.name()).map_or_else(|_| field.clone(), |field| Arc::new(field.clone())))
        .collect();
    Arc::new(Schema::new(fields))
}

/// Where a later row does not fit the guess, looking at more rows helps.
pub(super) fn advise(error: Error, inferred: bool) -> Error {
    if inferred && error.code() == Code::InputFormat && error.message().contains("pars") {
        return error.with_hint("the types are guessed from the first rows; --infer-rows 0 looks at all of them");
    }
    error
}

fn dialect(format: Format) -> Dialect {
    Dialect::default().with_header(true).with_delimiter(if format == Format::Tsv { b'\t' } else { b',' })
}
