//! One schema for all inputs, and batches made to have it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use transom::{Code, Error, Result};

use super::{Format, malformed, shown, unreadable};

/// The schema of one input, for uniting.
pub(super) struct Part {
    pub(super) place: PathBuf,
    pub(super) schema: SchemaRef,
    /// Whether the types were guessed from text.
    pub(super) inferred: bool,
    /// Whether a column may be absent, as a key of a JSON object may.
    pub(super) open: bool,
}

/// The schema that all inputs share: the first one's columns and order.
///
/// Inputs may differ in the order of columns and in what may be null. Types guessed from text may be widened where no value changes.
pub(super) fn unite(parts: &[Part]) -> Result<SchemaRef> {
    let Some((first, others)) = parts.split_first() else {
        return Err(Error::new(Code::InputNotFound, "there is no input"));
    };
    let mut fields: Vec<FieldRef> = first.schema.fields().to_vec();
    for part in others {
        for field in &mut fields {
            match part.schema.fields().iter().find(|other| other.name() == field.name()) {
                Some(other) => *field = merge(first, field, part, other)?,
                None if part.open && first.open => {}
                None => return Err(absent(field.name(), part, first)),
            }
        }
        for extra in part.schema.fields().iter().filter(|field| first.schema.column_with_name(field.name()).is_none()) {
            if !(part.open && first.open) {
                return Err(absent(extra.name(), first, part));
            }
            if !fields.iter().any(|field| field.name() == extra.name()) {
                fields.push(extra.clone());
            }
        }
    }
    Ok(Arc::new(Schema::new_with_metadata(fields, first.schema.metadata().clone())))
}

/// Refuses columns that share a name: everything after this finds columns by their names.
pub(super) fn check_names(place: &Path, format: Format, schema: &Schema) -> Result<()> {
    let mut seen = HashSet::new();
    match schema.fields().iter().find(|field| !seen.insert(field.name())) {
        Some(field) => Err(malformed(place, format, format!("two columns are named `{}`", field.name())).with_hint("give one of them another name")),
        None => Ok(()),
    }
}

fn absent(column: &str, without: &Part, with: &Part) -> Error {
    Error::new(Code::SchemaMismatch, format!("{} has no column `{column}`, which {} has", shown(&without.place), shown(&with.place)))
        .with_hint("all inputs of one run need the same columns; run those that differ by themselves")
}

fn merge(first: &Part, left: &FieldRef, part: &Part, right: &FieldRef) -> Result<FieldRef> {
    let data_type = if left.data_type().equals_datatype(right.data_type()) {
        left.data_type().clone()
    } else if first.inferred && part.inferred {
        wider(left.data_type(), right.data_type()).ok_or_else(|| mismatch(first, left, part, right))?
    } else {
        return Err(mismatch(first, left, part, right));
    };
    let nullable = left.is_nullable() || right.is_nullable();
    Ok(Arc::new(Field::new(left.name(), data_type, nullable).with_metadata(left.metadata().clone())))
}

fn mismatch(first: &Part, left: &Field, part: &Part, right: &Field) -> Error {
    let message =
        format!("column `{}` is {} in {} and {} in {}", left.name(), left.data_type(), shown(&first.place), right.data_type(), shown(&part.place));
    let error = Error::new(Code::SchemaMismatch, message);
    if first.inferred && part.inferred {
        error.with_hint("the types are guessed from the text; --infer-rows 0 looks at all rows")
    } else {
        error.with_hint("all inputs of one run need the same types; run those that differ by themselves")
    }
}

/// The type that holds the values of both guessed types unchanged, where there is one.
fn wider(left: &DataType, right: &DataType) -> Option<DataType> {
    use DataType::{Date32, Float64, Int64, List, Null, Timestamp};
    Some(match (left, right) {
        (Null, other) | (other, Null) => other.clone(),
        (Int64, Float64) | (Float64, Int64) => Float64,
        (Date32, Timestamp(unit, zone)) | (Timestamp(unit, zone), Date32) => Timestamp(*unit, zone.clone()),
        (List(left), List(right)) => List(Arc::new(left.as_ref().clone().with_data_type(wider(left.data_type(), right.data_type())?))),
        (left, right) if left == right => left.clone(),
        _ => return None,
    })
}

/// Gives a batch exactly the columns of `wanted`: picked by name, in its order, with its types.
pub(super) fn conform(place: &Path, batch: RecordBatch, wanted: &SchemaRef) -> Result<RecordBatch> {
    if batch.schema_ref() == wanted {
        return Ok(batch);
    }
    let columns = wanted.fields().iter().map(|field| column(place, &batch, field)).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(wanted.clone(), columns, &options)
        .map_err(|error| Error::new(Code::InputFormat, format!("{} holds rows that do not fit its schema: {error}", shown(place))))
}

fn column(place: &Path, batch: &RecordBatch, field: &Field) -> Result<ArrayRef> {
    let array = batch.column_by_name(field.name()).ok_or_else(|| changed(place, field.name()))?;
    if array.data_type() == field.data_type() {
        return Ok(array.clone());
    }
    // Only names and nullability inside nested types can still differ.
    arrow_cast::cast(array, field.data_type()).map_err(|_| changed(place, field.name()))
}

fn changed(place: &Path, column: &str) -> Error {
    unreadable(place, std::io::Error::other(format!("its column `{column}` changed while it was read")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Int64Array, StringArray};

    fn part(place: &str, inferred: bool, open: bool, fields: &[(&str, DataType)]) -> Part {
        let fields: Vec<Field> = fields.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true)).collect();
        Part { place: place.into(), schema: Arc::new(Schema::new(fields)), inferred, open }
    }

    #[test]
    fn guessed_numbers_widen_and_declared_ones_do_not() {
        let parts = [part("a", true, false, &[("x", DataType::Int64)]), part("b", true, false, &[("x", DataType::Float64)])];
        assert_eq!(unite(&parts).unwrap().field(0).data_type(), &DataType::Float64);
        let parts = [part("a", false, false, &[("x", DataType::Int64)]), part("b", false, false, &[("x", DataType::Float64)])];
        let error = unite(&parts).unwrap_err();
        assert_eq!(error.code(), Code::SchemaMismatch);
        assert!(error.message().contains("`x` is Int64 in a and Float64 in b"), "{error}");
    }

    #[test]
    fn a_missing_column_is_named_with_its_file_either_way() {
        let (one, two) = ([("x", DataType::Int64)], [("x", DataType::Int64), ("y", DataType::Int64)]);
        let error = unite(&[part("a", true, false, &one), part("b", true, false, &two)]).unwrap_err();
        assert!(error.message().contains("a has no column `y`, which b has"), "{error}");
        let error = unite(&[part("b", true, false, &two), part("a", true, false, &one)]).unwrap_err();
        assert!(error.message().contains("a has no column `y`, which b has"), "{error}");
        let united = unite(&[part("a", true, true, &one), part("b", true, true, &two)]).unwrap();
        assert_eq!(united.fields().len(), 2);
    }

    #[test]
    fn the_order_of_columns_may_differ() {
        let wanted = part("a", false, false, &[("x", DataType::Int64), ("y", DataType::Utf8)]).schema;
        let batch = RecordBatch::try_from_iter([
            ("y", Arc::new(StringArray::from(vec!["q"])) as ArrayRef),
            ("z", Arc::new(Int64Array::from(vec![9]))),
            ("x", Arc::new(Int64Array::from(vec![1]))),
        ])
        .unwrap();
        let batch = conform(Path::new("b"), batch, &wanted).unwrap();
        assert_eq!(batch.schema(), wanted);
        assert_eq!(batch.num_rows(), 1);
    }

    #[test]
    fn no_columns_keep_their_rows() {
        let batch = RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]).unwrap();
        assert_eq!(conform(Path::new("b"), batch, &Arc::new(Schema::empty())).unwrap().num_rows(), 2);
    }
}
