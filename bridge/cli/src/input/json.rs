//! JSON lines: one object a line; the types are guessed from the first ones.

use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use arrow_json::ReaderBuilder;
use arrow_json::reader::infer_json_schema;
use arrow_schema::Schema;
use transom::Result;

use super::csv::{advise, head_of, whole_lines};
use super::{Batches, Format, Input, Meter, Plan, Probe, malformed, reading, text_of};

pub(super) fn probe(path: &Path, again: bool, infer_rows: Option<usize>) -> Result<Probe> {
    let (inferred, stream) = if again {
        let source = text_of(path, None, &Arc::new(Meter::new(None)))?;
        (infer_json_schema(BufReader::new(source), infer_rows), None)
    } else {
        let (head, stream) = head_of(path)?;
        (infer_json_schema(whole_lines(&head), infer_rows), Some(stream))
    };
    let (schema, rows) = inferred.map_err(|error| {
        if error.to_string().contains("found Array") {
            return malformed(path, Format::Json, "it holds an array, and one object a line is wanted")
                .with_hint("`jq -c '.[]' FILE` makes lines of an array");
        }
        reading(path, Format::Json, error)
    })?;
    if rows == 0 {
        return Err(malformed(path, Format::Json, "it is empty, and without a row there are no columns"));
    }
    Ok(Probe { schema: Arc::new(schema), inferred: true, stream, extent: None })
}

pub(super) fn read(input: Input, plan: &Plan) -> Result<Batches> {
    let source = text_of(&input.path, input.stream, &plan.meter)?;
    let (path, inferred) = (input.path, plan.infer_rows.is_some());
    // Keys that are not in the schema are passed over, so the wanted columns are the schema to read by.
    let reader = ReaderBuilder::new(Arc::new(Schema::new(plan.columns.fields().clone())))
        .with_batch_size(plan.batch_rows)
        .build(BufReader::with_capacity(1 << 20, source))
        .map_err(|error| reading(&path, Format::Json, error))?;
    Ok(Box::new(reader.map(move |batch| batch.map_err(|error| advise(reading(&path, Format::Json, error), inferred)))))
}
