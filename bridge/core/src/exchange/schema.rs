//! What a schema may be, and what its types mean for buffers.

use arrow_buffer::{IntervalDayTime, IntervalMonthDayNano, i256};
use arrow_schema::{DataType, Field, IntervalUnit, Schema, TimeUnit};

use super::fault::Fault;
use super::{MAX_COLUMNS, MAX_DEPTH, MAX_NODES};
use crate::failure::{Code, Error, Result};

/// Says whether arrays of this type have a validity buffer.
pub(super) fn has_validity(data_type: &DataType) -> bool {
    !matches!(data_type, DataType::Null | DataType::Union(..) | DataType::RunEndEncoded(..))
}

/// The nodes that a descriptor has for an array of this type: one for itself, and those of its children.
pub(super) fn node_count(data_type: &DataType) -> usize {
    let of = |field: &Field| node_count(field.data_type());
    1 + match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) | DataType::Map(item, _) => of(item),
        DataType::ListView(item) | DataType::LargeListView(item) => of(item),
        DataType::Struct(fields) => fields.iter().map(|field| of(field)).sum(),
        DataType::Union(fields, _) => fields.iter().map(|(_, field)| of(field)).sum(),
        DataType::Dictionary(_, values) => node_count(values),
        DataType::RunEndEncoded(ends, values) => of(ends) + of(values),
        _ => 0,
    }
}

/// The width of one value in bytes and the alignment of its Rust type, for types whose values are one buffer of fixed width. `None` for
/// all others.
///
/// ```
/// use arrow_schema::DataType;
/// assert_eq!(transom::exchange::fixed_width(&DataType::Decimal128(10, 2)), Some((16, 16)));
/// assert_eq!(transom::exchange::fixed_width(&DataType::Utf8), None);
/// ```
pub fn fixed_width(data_type: &DataType) -> Option<(usize, usize)> {
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
///
/// # Errors
/// `BAD_SCHEMA`, with the field.
pub fn check_schema(schema: &Schema) -> Result<()> {
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
