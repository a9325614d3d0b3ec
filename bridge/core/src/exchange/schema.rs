//! Schemas: their limits, and their wire form, which is the Arrow IPC schema message.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_buffer::{IntervalDayTime, IntervalMonthDayNano, i256};
use arrow_ipc::convert::try_schema_from_ipc_buffer;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use arrow_schema::{DataType, Field, IntervalUnit, Schema, SchemaRef, TimeUnit};

use super::fault::{Fault, capped};
use super::{MAX_COLUMNS, MAX_DEPTH, MAX_NODES};
use crate::failure::{Code, Error, Result};

/// Says whether arrays of this type have a validity buffer.
pub(super) fn has_validity(data_type: &DataType) -> bool {
    !matches!(data_type, DataType::Null | DataType::Union(..) | DataType::RunEndEncoded(..))
}

/// The width of one value in bytes and the alignment of its Rust type, for types whose values are one buffer of fixed width.
pub(super) fn fixed_width(data_type: &DataType) -> Option<(usize, usize)> {
    match data_type {
        DataType::FixedSizeBinary(width) => Some((usize::try_from(*width).ok()?, 1)),
        DataType::Decimal128(..) => Some((16, align_of::<i128>())),
        DataType::Decimal256(..) => Some((32, align_of::<i256>())),
        DataType::Interval(IntervalUnit::DayTime) => Some((8, align_of::<IntervalDayTime>())),
        DataType::Interval(IntervalUnit::MonthDayNano) => Some((16, align_of::<IntervalMonthDayNano>())),
        other => other.primitive_width().map(|width| (width, width)),
    }
}

/// Refuses schemas over the limits, and types that no array can have.
pub(super) fn check_schema(schema: &Schema) -> Result<()> {
    let columns = schema.fields().len();
    if columns > MAX_COLUMNS {
        return Err(Error::new(Code::BadSchema, format!("{columns} columns are more than the {MAX_COLUMNS} that a batch may have")));
    }
    let mut left = MAX_NODES;
    for (index, field) in schema.fields().iter().enumerate() {
        check_type(field.data_type(), 1, &mut left).map_err(|fault| fault.inside(field.name()).in_column(index))?;
    }
    Ok(())
}

fn check_type(data_type: &DataType, depth: usize, left: &mut usize) -> std::result::Result<(), Fault> {
    if depth > MAX_DEPTH {
        return Err(Fault::schema(format!("types are nested in more than {MAX_DEPTH} levels")));
    }
    *left = left.checked_sub(1).ok_or_else(|| Fault::schema(format!("the schema has more than {MAX_NODES} fields")))?;
    let mut field = |field: &Field| check_type(field.data_type(), depth + 1, left).map_err(|fault| fault.inside(field.name()));
    match data_type {
        DataType::FixedSizeBinary(size) if *size < 0 => Err(Fault::schema(format!("values of {size} bytes cannot be"))),
        DataType::FixedSizeList(_, size) if *size < 0 => Err(Fault::schema(format!("lists of {size} values cannot be"))),
        DataType::Time32(TimeUnit::Microsecond | TimeUnit::Nanosecond) | DataType::Time64(TimeUnit::Second | TimeUnit::Millisecond) => {
            Err(Fault::schema(format!("{data_type} is not an Arrow type")))
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => field(item),
        DataType::ListView(item) | DataType::LargeListView(item) => field(item),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => field(entries),
            other => Err(Fault::schema(format!("the entries of a map are {other}, and must be a struct of key and value"))),
        },
        DataType::Struct(fields) => fields.iter().try_for_each(|child| field(child)),
        DataType::Union(fields, _) => fields.iter().try_for_each(|(id, child)| match id {
            0.. => field(child),
            _ => Err(Fault::schema(format!("the union's type id {id} is negative"))),
        }),
        DataType::Dictionary(keys, values) => {
            if !keys.is_dictionary_key_type() {
                return Err(Fault::schema(format!("dictionary keys cannot be {keys}")));
            }
            check_type(values, depth + 1, left).map_err(|fault| fault.inside("dictionary"))
        }
        DataType::RunEndEncoded(ends, values) => {
            if !ends.data_type().is_run_ends_type() {
                return Err(Fault::schema(format!("run ends cannot be {}", ends.data_type())));
            }
            field(ends)?;
            field(values)
        }
        _ => Ok(()),
    }
}

/// The wire form of a schema: an encapsulated Arrow IPC schema message, which any Arrow library reads.
///
/// # Errors
/// `BAD_SCHEMA` where the schema is over a limit or cannot be written so.
pub fn encode_schema(schema: &Schema) -> Result<Vec<u8>> {
    check_schema(schema)?;
    let message = IpcDataGenerator {}
        .schema_to_bytes_with_dictionary_tracker(schema, &mut DictionaryTracker::new(false), &IpcWriteOptions::default())
        .ipc_message;
    let padded = message.len().next_multiple_of(8);
    let mut bytes = Vec::with_capacity(8 + padded);
    bytes.extend_from_slice(&u32::MAX.to_le_bytes());
    bytes.extend_from_slice(&(padded as u32).to_le_bytes());
    bytes.extend_from_slice(&message);
    bytes.resize(8 + padded, 0);
    Ok(bytes)
}

/// Reads the wire form of a schema.
///
/// # Errors
/// `BAD_SCHEMA` where the bytes are none, or the schema is over a limit.
pub fn decode_schema(bytes: &[u8]) -> Result<SchemaRef> {
    let bad = |what: &str| Error::new(Code::BadSchema, format!("the schema message cannot be read: {}", capped(what)));
    let schema = catch_unwind(AssertUnwindSafe(|| try_schema_from_ipc_buffer(bytes)))
        .map_err(|_| bad("unknown type"))?
        .map_err(|error| bad(&error.to_string()))?;
    check_schema(&schema)?;
    Ok(Arc::new(schema))
}
