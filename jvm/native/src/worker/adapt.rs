//! Columns of other types than a function is declared with: casts that lose nothing, and refusals.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use transom::link::RemoteError;
use transom::{Code, Signature};

/// The columns as the function's parameters are declared.
pub(super) fn arguments(batch: RecordBatch, signature: &Signature) -> Result<RecordBatch, RemoteError> {
    let wanted = |index: usize| signature.parameters.get(index).and_then(|parameter| parameter.data_type.as_ref());
    let differs = |(index, field): (usize, &Arc<Field>)| wanted(index).is_some_and(|wanted| !wanted.equals_datatype(field.data_type()));
    if !batch.schema_ref().fields().iter().enumerate().any(differs) {
        return Ok(batch);
    }
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (index, (field, column)) in batch.schema_ref().fields().iter().zip(batch.columns()).enumerate() {
        let column = match wanted(index) {
            Some(wanted) if !wanted.equals_datatype(column.data_type()) => adapted(field.name(), column, wanted)?,
            _ => column.clone(),
        };
        // A column of type null counts no nulls, so its field may say that it has none.
        let nullable = field.is_nullable() || column.null_count() > 0;
        fields.push(Arc::new(field.as_ref().clone().with_data_type(column.data_type().clone()).with_nullable(nullable)));
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(|error| RemoteError::new(Code::Internal, error.to_string()))
}

fn adapted(name: &str, column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, RemoteError> {
    let actual = column.data_type();
    if !fits(actual, wanted) {
        return Err(RemoteError {
            hint: Some("cast the column before the call, or declare the parameter with the column's type".to_owned()),
            ..RemoteError::new(Code::ArgumentType, format!("parameter `{name}` takes {wanted}, and its column is {actual}"))
        });
    }
    let lost = |reason: String| RemoteError {
        hint: Some("cast the column before the call, or declare the parameter with the wider type".to_owned()),
        ..RemoteError::new(
            Code::ArgumentType,
            format!("column `{name}` is {actual}, and its values do not all fit the parameter's type {wanted}{reason}"),
        )
    };
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let cast = cast_with_options(column, wanted, &strict).map_err(|error| lost(format!(": {error}")))?;
    // A cast may round, or cut off what a unit cannot hold, without a word. What comes back as it was has lost nothing.
    let plain = plain(actual);
    if plain == &DataType::Null {
        return Ok(cast);
    }
    let before = cast_with_options(column, plain, &strict).map_err(|error| lost(format!(": {error}")))?;
    let back = cast_with_options(&cast, plain, &strict).map_err(|error| lost(format!(": {error}")))?;
    if before.to_data() == back.to_data() { Ok(cast) } else { Err(lost(String::new())) }
}

/// The type of the values under dictionaries and run ends.
fn plain(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain(values),
        DataType::RunEndEncoded(_, values) => plain(values.data_type()),
        other => other,
    }
}

/// Whether a column may be cast to a parameter's type: in the same family, each value being checked.
fn fits(actual: &DataType, wanted: &DataType) -> bool {
    use DataType::*;
    let actual = plain(actual);
    match (actual, wanted) {
        (Null, _) => true,
        (actual, wanted) if actual.equals_datatype(wanted) => true,
        (actual, Dictionary(_, values)) => is_text(actual) && is_text(values),
        (actual, wanted) if actual.is_integer() => wanted.is_integer() || wanted.is_floating() || is_decimal(wanted),
        (actual, wanted) if actual.is_floating() => wanted.is_floating() && wanted.primitive_width() >= actual.primitive_width(),
        (actual, wanted) if is_decimal(actual) => is_decimal(wanted),
        (actual, wanted) if is_text(actual) => is_text(wanted),
        (actual, wanted) if is_bytes(actual) => is_bytes(wanted),
        (Timestamp(_, ours), Timestamp(_, theirs)) => ours.is_none() == theirs.is_none(),
        (Date32 | Date64, Date32 | Date64) | (Time32(_) | Time64(_), Time32(_) | Time64(_)) | (Duration(_), Duration(_)) => true,
        (List(ours) | LargeList(ours) | FixedSizeList(ours, _), List(theirs) | LargeList(theirs) | FixedSizeList(theirs, _)) => {
            fits(ours.data_type(), theirs.data_type())
        }
        _ => false,
    }
}

fn is_decimal(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_))
}

/// The column that a function returned, if it is as declared.
pub(super) fn result(column: &ArrayRef, signature: &Signature) -> Result<ArrayRef, RemoteError> {
    match &signature.returns {
        Some(declared) => as_declared(column, declared.field(0), ""),
        None => Ok(column.clone()),
    }
}

/// The batch under the declared schema, or that of the batches before it; the first batch of a stream without a declaration sets it.
pub(super) fn batch(batch: RecordBatch, schema: &mut Option<SchemaRef>) -> Result<RecordBatch, RemoteError> {
    let Some(declared) = schema else {
        *schema = Some(batch.schema());
        return Ok(batch);
    };
    if batch.schema_ref() == declared {
        return Ok(batch);
    }
    if !batch.schema_ref().fields().iter().map(|field| field.name()).eq(declared.fields().iter().map(|field| field.name())) {
        let message = format!("the function gave the columns {}, and {} are declared", names(batch.schema_ref()), names(declared));
        return Err(RemoteError::new(Code::WrongType, message));
    }
    let columns = batch.columns().iter().zip(declared.fields());
    let columns = columns.map(|(column, field)| as_declared(column, field, &format!(" in column `{}`", field.name()))).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(declared.clone(), columns, &options).map_err(|error| RemoteError::new(Code::InvalidData, error.to_string()))
}

fn names(schema: &Schema) -> String {
    let names: Vec<String> = schema.fields().iter().map(|field| format!("`{}`", field.name())).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn as_declared(column: &ArrayRef, declared: &Field, place: &str) -> Result<ArrayRef, RemoteError> {
    let (found, wanted) = (column.data_type(), declared.data_type());
    let wrong = || RemoteError {
        hint: Some("return the declared type, or declare the type that the function returns".to_owned()),
        ..RemoteError::new(Code::WrongType, format!("the function returned {found}{place}, and {wanted} is declared"))
    };
    if !found.equals_datatype(wanted) {
        return Err(wrong());
    }
    if column.null_count() > 0 && !declared.is_nullable() {
        return Err(RemoteError::new(Code::InvalidData, format!("the function returned a null{place}, and its result is declared to have none")));
    }
    if found == wanted {
        return Ok(column.clone());
    }
    // The same types under other names of children, which Java's vectors choose by themselves.
    cast_with_options(column, wanted, &CastOptions { safe: false, ..CastOptions::default() }).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use arrow_array::{DictionaryArray, Float64Array, Int64Array, StringArray, TimestampNanosecondArray};
    use arrow_schema::TimeUnit;
    use transom::{Kind, OnError, Parameter};

    use super::*;

    fn takes(data_type: DataType) -> Signature {
        let parameter = Parameter { name: "x".to_owned(), data_type: Some(data_type), optional: false };
        Signature {
            name: "f".to_owned(),
            kind: Kind::Scalar,
            parameters: vec![parameter],
            variadic: false,
            returns: None,
            deadline: None,
            retries: 0,
            on_error: OnError::Raise,
            deterministic: true,
        }
    }

    fn given(column: impl Array + 'static, data_type: DataType) -> Result<ArrayRef, RemoteError> {
        let batch = RecordBatch::try_from_iter([("x", Arc::new(column) as ArrayRef)]).unwrap();
        arguments(batch, &takes(data_type)).map(|batch| batch.column(0).clone())
    }

    #[test]
    fn what_fits_is_cast() {
        let narrow = given(Int64Array::from(vec![Some(1), None]), DataType::Int16).unwrap();
        assert_eq!((narrow.data_type(), narrow.null_count()), (&DataType::Int16, 1));
        assert_eq!(given(Int64Array::from(vec![1 << 53]), DataType::Float64).unwrap().data_type(), &DataType::Float64);
        let texts: DictionaryArray<arrow_array::types::Int8Type> = vec!["a", "b", "a"].into_iter().collect();
        assert_eq!(given(texts, DataType::Utf8).unwrap().to_data(), StringArray::from(vec!["a", "b", "a"]).to_data());
        assert_eq!(given(arrow_array::NullArray::new(2), DataType::Utf8).unwrap().null_count(), 2);
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        assert_eq!(given(TimestampNanosecondArray::from(vec![2_000]), micros.clone()).unwrap().data_type(), &micros);
    }

    #[test]
    fn what_would_lose_something_is_refused() {
        let refused = |outcome: Result<ArrayRef, RemoteError>| outcome.unwrap_err();
        assert_eq!(refused(given(Int64Array::from(vec![1 << 20]), DataType::Int16)).code, Code::ArgumentType);
        assert_eq!(refused(given(Int64Array::from(vec![(1 << 53) + 1]), DataType::Float64)).code, Code::ArgumentType);
        assert_eq!(
            refused(given(TimestampNanosecondArray::from(vec![1]), DataType::Timestamp(TimeUnit::Microsecond, None))).code,
            Code::ArgumentType
        );
        assert_eq!(refused(given(Float64Array::from(vec![1.0]), DataType::Int64)).code, Code::ArgumentType);
        let message = refused(given(StringArray::from(vec!["1"]), DataType::Int64)).message;
        assert_eq!(message, "parameter `x` takes Int64, and its column is Utf8");
    }
}
