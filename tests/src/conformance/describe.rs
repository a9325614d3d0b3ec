//! Every value of an array as JSON, in the notation of `docs/conformance.md`.

use std::fmt::{Display, Write};

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, BinaryArrayType, OffsetSizeTrait, RunArray, StringArrayType, StructArray, UnionArray};
use arrow_schema::{DataType, IntervalUnit, TimeUnit};
use serde_json::{Value, json};

/// One JSON value for each row.
pub(crate) fn described(array: &dyn Array) -> Vec<Value> {
    use DataType as D;
    match array.data_type() {
        D::Null => vec![Value::Null; array.len()],
        D::Boolean => array.as_boolean().iter().map(|value| json!(value)).collect(),
        D::Int8 => numbers::<Int8Type>(array),
        D::Int16 => numbers::<Int16Type>(array),
        D::Int32 => numbers::<Int32Type>(array),
        D::UInt8 => numbers::<UInt8Type>(array),
        D::UInt16 => numbers::<UInt16Type>(array),
        D::UInt32 => numbers::<UInt32Type>(array),
        D::Int64 => digits::<Int64Type>(array),
        D::UInt64 => digits::<UInt64Type>(array),
        D::Float16 => primitive::<Float16Type>(array, |value| json!(format!("{:04X}", value.to_bits()))),
        D::Float32 => primitive::<Float32Type>(array, |value| json!(format!("{:08X}", value.to_bits()))),
        D::Float64 => primitive::<Float64Type>(array, |value| json!(format!("{:016X}", value.to_bits()))),
        D::Decimal32(..) => digits::<Decimal32Type>(array),
        D::Decimal64(..) => digits::<Decimal64Type>(array),
        D::Decimal128(..) => digits::<Decimal128Type>(array),
        D::Decimal256(..) => digits::<Decimal256Type>(array),
        D::Date32 | D::Date64 | D::Time32(_) | D::Time64(_) | D::Timestamp(..) | D::Duration(_) => temporal(array),
        D::Interval(unit) => intervals(array, *unit),
        D::Utf8 => texts(array.as_string::<i32>()),
        D::LargeUtf8 => texts(array.as_string::<i64>()),
        D::Utf8View => texts(array.as_string_view()),
        D::Binary => bytes(array.as_binary::<i32>()),
        D::LargeBinary => bytes(array.as_binary::<i64>()),
        D::BinaryView => bytes(array.as_binary_view()),
        D::FixedSizeBinary(_) => array.as_fixed_size_binary().iter().map(|value| value.map_or(Value::Null, hex)).collect(),
        D::List(_) => list::<i32>(array),
        D::LargeList(_) => list::<i64>(array),
        D::ListView(_) => rows(array.as_list_view::<i32>().iter()),
        D::LargeListView(_) => rows(array.as_list_view::<i64>().iter()),
        D::FixedSizeList(..) => rows(array.as_fixed_size_list().iter()),
        D::Struct(_) => fields(array.as_struct()),
        // An entry is a struct of key and value, and a struct is an array of its fields.
        D::Map(..) => array.as_map().iter().map(|entries| entries.map_or(Value::Null, |entries| Value::Array(fields(&entries)))).collect(),
        D::Union(..) => union(array.as_union()),
        D::Dictionary(..) => dictionary(array),
        D::RunEndEncoded(ends, _) => match ends.data_type() {
            D::Int16 => runs::<Int16Type>(array.as_run()),
            D::Int32 => runs::<Int32Type>(array.as_run()),
            _ => runs::<Int64Type>(array.as_run()),
        },
    }
}

fn primitive<T: ArrowPrimitiveType>(array: &dyn Array, value: impl Fn(T::Native) -> Value) -> Vec<Value> {
    array.as_primitive::<T>().iter().map(|item| item.map_or(Value::Null, &value)).collect()
}

fn numbers<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &dyn Array) -> Vec<Value> {
    primitive::<T>(array, |value| json!(value.into()))
}

fn digits<T: ArrowPrimitiveType<Native: Display>>(array: &dyn Array) -> Vec<Value> {
    primitive::<T>(array, |value| json!(value.to_string()))
}

fn temporal(array: &dyn Array) -> Vec<Value> {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    match array.data_type() {
        DataType::Date32 => numbers::<Date32Type>(array),
        DataType::Time32(Second) => numbers::<Time32SecondType>(array),
        DataType::Time32(_) => numbers::<Time32MillisecondType>(array),
        DataType::Date64 => digits::<Date64Type>(array),
        DataType::Time64(Nanosecond) => digits::<Time64NanosecondType>(array),
        DataType::Time64(_) => digits::<Time64MicrosecondType>(array),
        DataType::Timestamp(Second, _) => digits::<TimestampSecondType>(array),
        DataType::Timestamp(Millisecond, _) => digits::<TimestampMillisecondType>(array),
        DataType::Timestamp(Microsecond, _) => digits::<TimestampMicrosecondType>(array),
        DataType::Timestamp(Nanosecond, _) => digits::<TimestampNanosecondType>(array),
        DataType::Duration(Second) => digits::<DurationSecondType>(array),
        DataType::Duration(Millisecond) => digits::<DurationMillisecondType>(array),
        DataType::Duration(Microsecond) => digits::<DurationMicrosecondType>(array),
        _ => digits::<DurationNanosecondType>(array),
    }
}

fn intervals(array: &dyn Array, unit: IntervalUnit) -> Vec<Value> {
    match unit {
        IntervalUnit::YearMonth => numbers::<IntervalYearMonthType>(array),
        IntervalUnit::DayTime => primitive::<IntervalDayTimeType>(array, |value| json!({"days": value.days, "milliseconds": value.milliseconds})),
        IntervalUnit::MonthDayNano => primitive::<IntervalMonthDayNanoType>(
            array,
            |value| json!({"months": value.months, "days": value.days, "nanoseconds": value.nanoseconds}),
        ),
    }
}

fn texts<'a>(array: impl StringArrayType<'a>) -> Vec<Value> {
    array.iter().map(|value| json!(value)).collect()
}

fn bytes<'a>(array: impl BinaryArrayType<'a>) -> Vec<Value> {
    array.iter().map(|value| value.map_or(Value::Null, hex)).collect()
}

fn hex(bytes: &[u8]) -> Value {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        _ = write!(text, "{byte:02X}"); // a String takes everything
    }
    Value::String(text)
}

fn list<O: OffsetSizeTrait>(array: &dyn Array) -> Vec<Value> {
    rows(array.as_list::<O>().iter())
}

fn rows(lists: impl Iterator<Item = Option<ArrayRef>>) -> Vec<Value> {
    lists.map(|row| row.map_or(Value::Null, |row| Value::Array(described(&row)))).collect()
}

fn fields(array: &StructArray) -> Vec<Value> {
    let columns: Vec<Vec<Value>> = array.columns().iter().map(|column| described(column)).collect();
    let row = |row: usize| Value::Array(columns.iter().map(|column| column[row].clone()).collect());
    (0..array.len()).map(|index| if array.is_null(index) { Value::Null } else { row(index) }).collect()
}

fn union(array: &UnionArray) -> Vec<Value> {
    (0..array.len()).map(|row| json!([array.type_id(row), described(&array.value(row)).swap_remove(0)])).collect()
}

fn dictionary(array: &dyn Array) -> Vec<Value> {
    let array = array.as_any_dictionary();
    let values = described(array.values());
    if values.is_empty() {
        return vec![Value::Null; array.len()];
    }
    let keys = array.normalized_keys().into_iter().enumerate();
    keys.map(|(row, key)| if array.keys().is_null(row) { Value::Null } else { values[key].clone() }).collect()
}

fn runs<R: RunEndIndexType>(array: &RunArray<R>) -> Vec<Value> {
    let values = described(array.values());
    (0..array.len()).map(|row| values[array.get_physical_index(row)].clone()).collect()
}
