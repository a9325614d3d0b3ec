//! The wire form of a schema: an encapsulated Arrow IPC schema message, which any Arrow library reads.
//!
//! Arrow's own encoder writes it. Reading is done here, since Arrow's decoder panics on types that it does not know.
//!
//! IPC cannot say one thing that Arrow types can: a dictionary whose values are a dictionary. Such values go as a struct of one field, which
//! is marked in its metadata and taken away again by the reader.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use arrow_ipc::{DateUnit, DictionaryEncoding, Endianness, KeyValue, Precision, Type, root_as_message_with_opts};
use arrow_schema::{DataType, Field, FieldRef, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit, UnionFields, UnionMode};
use flatbuffers::{ForwardsUOffset, Vector, VerifierOptions};

use super::fault::{Fault, capped};
use super::schema::check_schema;
use super::{MAX_DEPTH, MAX_NODES};
use crate::failure::Result;

const DICTIONARY_VALUES: &str = "TRANSOM:dictionary_values";
const CONTINUATION: [u8; 4] = [0xff; 4];

/// The wire form of a schema.
///
/// # Errors
/// `BAD_SCHEMA` where the schema is over a limit.
pub fn encode_schema(schema: &Schema) -> Result<Vec<u8>> {
    check_schema(schema)?;
    let schema = ipc_schema(schema);
    let mut dictionaries = DictionaryTracker::new(false);
    let message = IpcDataGenerator {}.schema_to_bytes_with_dictionary_tracker(&schema, &mut dictionaries, &IpcWriteOptions::default()).ipc_message;
    let padded = message.len().next_multiple_of(8);
    let mut bytes = Vec::with_capacity(8 + padded);
    bytes.extend_from_slice(&CONTINUATION);
    bytes.extend_from_slice(&(padded as u32).to_le_bytes());
    bytes.extend_from_slice(&message);
    bytes.resize(8 + padded, 0);
    Ok(bytes)
}

/// The schema in types that IPC has.
pub(super) fn ipc_schema(schema: &Schema) -> Schema {
    changed(schema, wrap)
}

/// The schema as it was before [`ipc_schema`].
pub(super) fn schema_of_ipc(schema: &Schema) -> Schema {
    changed(schema, unwrap)
}

fn changed(schema: &Schema, change: fn(DataType) -> DataType) -> Schema {
    let fields: Fields = schema.fields().iter().map(|field| changed_field(field, change)).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

fn changed_field(field: &FieldRef, change: fn(DataType) -> DataType) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(changed_type(field.data_type(), change)))
}

/// The type with every type of a dictionary's values changed, from the inside out.
fn changed_type(data_type: &DataType, change: fn(DataType) -> DataType) -> DataType {
    let field = |field: &FieldRef| changed_field(field, change);
    match data_type {
        DataType::Dictionary(keys, values) => DataType::Dictionary(keys.clone(), Box::new(change(changed_type(values, change)))),
        DataType::List(item) => DataType::List(field(item)),
        DataType::LargeList(item) => DataType::LargeList(field(item)),
        DataType::ListView(item) => DataType::ListView(field(item)),
        DataType::LargeListView(item) => DataType::LargeListView(field(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(field(item), *size),
        DataType::Map(entries, sorted) => DataType::Map(field(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        DataType::Union(fields, mode) => DataType::Union(fields.iter().map(|(id, of)| (id, field(of))).collect(), *mode),
        DataType::RunEndEncoded(ends, values) => DataType::RunEndEncoded(field(ends), field(values)),
        leaf => leaf.clone(),
    }
}

/// Puts a struct around the values of a dictionary that are a dictionary.
fn wrap(values: DataType) -> DataType {
    match values {
        values @ DataType::Dictionary(..) => {
            let mark = HashMap::from([(DICTIONARY_VALUES.to_owned(), String::new())]);
            DataType::Struct(vec![Field::new("dictionary", values, true).with_metadata(mark)].into())
        }
        values => values,
    }
}

/// Reads the wire form of a schema.
///
/// # Errors
/// `BAD_SCHEMA` where the bytes are none, or the schema is over a limit.
pub fn decode_schema(bytes: &[u8]) -> Result<SchemaRef> {
    // A net, as in `import`: the generated readers promise not to panic on what the verifier passed.
    let schema = catch_unwind(AssertUnwindSafe(|| read(bytes))).unwrap_or_else(|_| Err(Fault::schema("a schema message cannot be read")));
    let schema = schema.map_err(Fault::whole)?;
    check_schema(&schema)?;
    Ok(Arc::new(schema))
}

type Read<T> = std::result::Result<T, Fault>;

fn read(bytes: &[u8]) -> Read<Schema> {
    let bad = |what: &str| Fault::schema(format!("a schema message cannot be read: {}", capped(what)));
    let message = match bytes.split_at_checked(8) {
        Some((head, rest)) if head[..4] == CONTINUATION => {
            let len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
            Some(rest).filter(|rest| rest.len() == len)
        }
        _ => None,
    };
    let message = message.ok_or_else(|| bad("it is not one whole message"))?;
    // A type takes up to three tables deep: itself, its dictionary or its metadata, and the struct around a dictionary's dictionary.
    let limits = VerifierOptions { max_depth: 3 * MAX_DEPTH + 16, max_tables: 16 * MAX_NODES, ..VerifierOptions::default() };
    let message = root_as_message_with_opts(&limits, message).map_err(|error| bad(&error.to_string()))?;
    let schema = message.header_as_schema().ok_or_else(|| bad("it is another kind of message"))?;
    if schema.endianness() != Endianness::Little {
        return Err(bad("its data is big endian"));
    }
    let mut reader = Reader { left: 2 * MAX_NODES };
    let fields = schema.fields().into_iter().flatten().map(|child| reader.field(child, 1)).collect::<Read<Fields>>()?;
    Ok(Schema::new_with_metadata(fields, metadata(schema.custom_metadata())))
}

fn metadata(pairs: Option<Vector<'_, ForwardsUOffset<KeyValue<'_>>>>) -> HashMap<String, String> {
    let pairs = pairs.into_iter().flatten();
    pairs.map(|pair| (pair.key().unwrap_or_default().to_owned(), pair.value().unwrap_or_default().to_owned())).collect()
}

/// Bounds what is made of a message: tables may be shared in it, so a short one can mean a large schema.
struct Reader {
    left: usize,
}

impl Reader {
    fn field(&mut self, from: arrow_ipc::Field<'_>, depth: usize) -> Read<FieldRef> {
        let name = from.name().unwrap_or_default();
        self.left = self.left.checked_sub(1).ok_or_else(|| Fault::schema("it has too many fields"))?;
        if depth > 2 * MAX_DEPTH {
            return Err(Fault::schema("its types are nested too deeply"));
        }
        let values = self.data_type(from, depth).map_err(|fault| fault.inside(name))?;
        let field = match from.dictionary() {
            None => Field::new(name, values, from.nullable()),
            Some(encoding) => {
                let data_type = DataType::Dictionary(Box::new(keys(encoding)?), Box::new(unwrap(values)));
                Field::new(name, data_type, from.nullable()).with_dict_is_ordered(encoding.isOrdered())
            }
        };
        Ok(Arc::new(field.with_metadata(metadata(from.custom_metadata()))))
    }

    fn children(&mut self, from: arrow_ipc::Field<'_>, depth: usize) -> Read<Vec<FieldRef>> {
        from.children().into_iter().flatten().map(|child| self.field(child, depth + 1)).collect()
    }

    fn child(&mut self, from: arrow_ipc::Field<'_>, depth: usize) -> Read<FieldRef> {
        let [child] = self.exactly(from, depth)?;
        Ok(child)
    }

    fn exactly<const N: usize>(&mut self, from: arrow_ipc::Field<'_>, depth: usize) -> Read<[FieldRef; N]> {
        let children = self.children(from, depth)?;
        let count = children.len();
        children.try_into().map_err(|_| Fault::schema(format!("{} has {count} children and must have {N}", kind(from))))
    }

    /// The type that the field's tables say; for a dictionary, that of its values.
    fn data_type(&mut self, from: arrow_ipc::Field<'_>, depth: usize) -> Read<DataType> {
        match from.type_type() {
            Type::List => Ok(DataType::List(self.child(from, depth)?)),
            Type::LargeList => Ok(DataType::LargeList(self.child(from, depth)?)),
            Type::ListView => Ok(DataType::ListView(self.child(from, depth)?)),
            Type::LargeListView => Ok(DataType::LargeListView(self.child(from, depth)?)),
            Type::FixedSizeList => {
                let size = from.type_as_fixed_size_list().ok_or_else(|| unknown(from))?.listSize();
                Ok(DataType::FixedSizeList(self.child(from, depth)?, size))
            }
            Type::Map => {
                let sorted = from.type_as_map().ok_or_else(|| unknown(from))?.keysSorted();
                Ok(DataType::Map(self.child(from, depth)?, sorted))
            }
            Type::Struct_ => Ok(DataType::Struct(self.children(from, depth)?.into())),
            Type::RunEndEncoded => {
                let [ends, values] = self.exactly(from, depth)?;
                Ok(DataType::RunEndEncoded(ends, values))
            }
            Type::Union => self.union(from, depth),
            _ => leaf(from),
        }
    }

    fn union(&mut self, from: arrow_ipc::Field<'_>, depth: usize) -> Read<DataType> {
        let union = from.type_as_union().ok_or_else(|| unknown(from))?;
        let mode = match union.mode() {
            arrow_ipc::UnionMode::Dense => UnionMode::Dense,
            arrow_ipc::UnionMode::Sparse => UnionMode::Sparse,
            _ => return Err(unknown(from)),
        };
        let children = self.children(from, depth)?;
        let ids: Vec<i32> = match union.typeIds() {
            Some(ids) => ids.iter().collect(),
            None => (0..children.len() as i32).collect(),
        };
        let ids = ids.into_iter().map(i8::try_from).collect::<std::result::Result<Vec<i8>, _>>();
        let ids = ids.ok().filter(|ids| ids.len() == children.len());
        let ids = ids.ok_or_else(|| Fault::schema("a union's type ids are not one small number for each field"))?;
        let fields = UnionFields::try_new(ids, children).map_err(|error| Fault::schema(capped(&error.to_string())))?;
        Ok(DataType::Union(fields, mode))
    }
}

fn kind(from: arrow_ipc::Field<'_>) -> String {
    from.type_type().variant_name().map_or_else(|| format!("type {}", from.type_type().0), str::to_owned)
}

fn unknown(from: arrow_ipc::Field<'_>) -> Fault {
    Fault::schema(format!("{} with these parameters is not known", kind(from)))
}

/// A type without children.
fn leaf(from: arrow_ipc::Field<'_>) -> Read<DataType> {
    let data_type = match from.type_type() {
        Type::Null => Some(DataType::Null),
        Type::Bool => Some(DataType::Boolean),
        Type::Binary => Some(DataType::Binary),
        Type::LargeBinary => Some(DataType::LargeBinary),
        Type::BinaryView => Some(DataType::BinaryView),
        Type::Utf8 => Some(DataType::Utf8),
        Type::LargeUtf8 => Some(DataType::LargeUtf8),
        Type::Utf8View => Some(DataType::Utf8View),
        Type::FixedSizeBinary => from.type_as_fixed_size_binary().map(|of| DataType::FixedSizeBinary(of.byteWidth())),
        Type::Int => from.type_as_int().and_then(integer),
        Type::FloatingPoint => from.type_as_floating_point().and_then(|of| match of.precision() {
            Precision::HALF => Some(DataType::Float16),
            Precision::SINGLE => Some(DataType::Float32),
            Precision::DOUBLE => Some(DataType::Float64),
            _ => None,
        }),
        Type::Decimal => from.type_as_decimal().and_then(|of| {
            let (precision, scale) = (u8::try_from(of.precision()).ok()?, i8::try_from(of.scale()).ok()?);
            match of.bitWidth() {
                32 => Some(DataType::Decimal32(precision, scale)),
                64 => Some(DataType::Decimal64(precision, scale)),
                128 => Some(DataType::Decimal128(precision, scale)),
                256 => Some(DataType::Decimal256(precision, scale)),
                _ => None,
            }
        }),
        Type::Date => from.type_as_date().and_then(|of| match of.unit() {
            DateUnit::DAY => Some(DataType::Date32),
            DateUnit::MILLISECOND => Some(DataType::Date64),
            _ => None,
        }),
        Type::Time => from.type_as_time().and_then(|of| match (of.bitWidth(), unit(of.unit())?) {
            (32, unit) => Some(DataType::Time32(unit)),
            (64, unit) => Some(DataType::Time64(unit)),
            _ => None,
        }),
        Type::Timestamp => from.type_as_timestamp().and_then(|of| {
            // The format means the same by an empty timezone and by none, and a schema must not come back as another.
            let timezone = of.timezone().filter(|name| !name.is_empty());
            Some(DataType::Timestamp(unit(of.unit())?, timezone.map(Into::into)))
        }),
        Type::Duration => from.type_as_duration().and_then(|of| unit(of.unit()).map(DataType::Duration)),
        Type::Interval => from.type_as_interval().and_then(|of| match of.unit() {
            arrow_ipc::IntervalUnit::YEAR_MONTH => Some(DataType::Interval(IntervalUnit::YearMonth)),
            arrow_ipc::IntervalUnit::DAY_TIME => Some(DataType::Interval(IntervalUnit::DayTime)),
            arrow_ipc::IntervalUnit::MONTH_DAY_NANO => Some(DataType::Interval(IntervalUnit::MonthDayNano)),
            _ => None,
        }),
        _ => None,
    };
    data_type.ok_or_else(|| unknown(from))
}

fn integer(of: arrow_ipc::Int<'_>) -> Option<DataType> {
    match (of.bitWidth(), of.is_signed()) {
        (8, true) => Some(DataType::Int8),
        (16, true) => Some(DataType::Int16),
        (32, true) => Some(DataType::Int32),
        (64, true) => Some(DataType::Int64),
        (8, false) => Some(DataType::UInt8),
        (16, false) => Some(DataType::UInt16),
        (32, false) => Some(DataType::UInt32),
        (64, false) => Some(DataType::UInt64),
        _ => None,
    }
}

fn unit(of: arrow_ipc::TimeUnit) -> Option<TimeUnit> {
    match of {
        arrow_ipc::TimeUnit::SECOND => Some(TimeUnit::Second),
        arrow_ipc::TimeUnit::MILLISECOND => Some(TimeUnit::Millisecond),
        arrow_ipc::TimeUnit::MICROSECOND => Some(TimeUnit::Microsecond),
        arrow_ipc::TimeUnit::NANOSECOND => Some(TimeUnit::Nanosecond),
        _ => None,
    }
}

fn keys(encoding: DictionaryEncoding<'_>) -> Read<DataType> {
    // The format's default for the keys is a signed number of 32 bits.
    encoding.indexType().map_or(Some(DataType::Int32), integer).ok_or_else(|| Fault::schema("dictionary keys are not integers"))
}

/// Takes away the struct around the values of a dictionary that are a dictionary. A mark on anything else is not ours.
fn unwrap(values: DataType) -> DataType {
    let DataType::Struct(fields) = &values else { return values };
    match fields.as_ref() {
        [field] if field.metadata().contains_key(DICTIONARY_VALUES) && matches!(field.data_type(), DataType::Dictionary(..)) => {
            field.data_type().clone()
        }
        _ => values,
    }
}
