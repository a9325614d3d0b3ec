//! Two marks of a schema that Arrow's Rust library loses: that a dictionary is in order, and that the keys of a map are sorted.

use std::sync::Arc;

use arrow_schema::ffi::{FFI_ArrowSchema, Flags};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};

/// Whether two schemas say the same. Arrow's own comparison takes a dictionary in order for one that is not.
pub fn same_schema(one: &SchemaRef, other: &SchemaRef) -> bool {
    Arc::ptr_eq(one, other) || (one == other && one.fields().iter().zip(other.fields()).all(|(one, other)| same_order(one, other)))
}

/// Whether two fields that Arrow calls equal have the same dictionaries in order.
fn same_order(one: &Field, other: &Field) -> bool {
    let children = || children(one.data_type()).into_iter().zip(children(other.data_type()));
    one.dict_is_ordered() == other.dict_is_ordered() && children().all(|(one, other)| same_order(one, other))
}

/// Whether Arrow's own comparison of a type says all: where there are fields within, it takes a dictionary in order for one that is not.
pub(crate) fn is_plain(data_type: &DataType) -> bool {
    children(data_type).is_empty()
}

fn children(data_type: &DataType) -> Vec<&Field> {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) | DataType::Map(item, _) => vec![item],
        DataType::ListView(item) | DataType::LargeListView(item) => vec![item],
        DataType::Struct(fields) => fields.iter().map(AsRef::as_ref).collect(),
        DataType::Union(fields, _) => fields.iter().map(|(_, field)| field.as_ref()).collect(),
        DataType::RunEndEncoded(ends, values) => vec![ends, values],
        DataType::Dictionary(_, values) => children(values),
        _ => Vec::new(),
    }
}

/// The schema for the C data interface, as Arrow's own conversion gives it, but with the marks of maps whose keys are sorted.
///
/// ```
/// use arrow_schema::{DataType, Field, Fields, Schema};
/// let pair = Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int32, true)]);
/// let entries = Field::new("entries", DataType::Struct(pair), false);
/// let schema = Schema::new(vec![Field::new("x", DataType::Map(entries.into(), true), true)]);
/// let exported = transom::exchange::c_schema(&schema)?;
/// assert!(exported.child(0).map_keys_sorted());
/// # Ok::<(), arrow_schema::ArrowError>(())
/// ```
///
/// # Errors
/// Where the interface has no form for a type, or metadata are too long for it.
pub fn c_schema(schema: &Schema) -> Result<FFI_ArrowSchema, ArrowError> {
    let fields = schema.fields().iter().map(|field| c_field(field)).collect::<Result<Vec<_>, _>>()?;
    FFI_ArrowSchema::try_new("+s", fields, None)?.with_metadata(schema.metadata())
}

/// [`c_schema`] for one field.
///
/// # Errors
/// As there.
pub fn c_field(field: &Field) -> Result<FFI_ArrowSchema, ArrowError> {
    let plain = FFI_ArrowSchema::try_from(field)?;
    if !has_sorted_maps(field.data_type()) {
        return Ok(plain);
    }
    let mut flags = Flags::empty();
    flags.set(Flags::NULLABLE, field.is_nullable());
    flags.set(Flags::DICTIONARY_ORDERED, field.dict_is_ordered() == Some(true));
    flags.set(Flags::MAP_KEYS_SORTED, matches!(field.data_type(), DataType::Map(_, true)));
    let made = match field.data_type() {
        DataType::Dictionary(_, values) => {
            let values = c_field(&Field::new("", values.as_ref().clone(), true))?;
            FFI_ArrowSchema::try_new(plain.format(), Vec::new(), Some(values))?
        }
        nested => {
            let fields = children(nested).into_iter().map(c_field).collect::<Result<Vec<_>, _>>()?;
            FFI_ArrowSchema::try_new(plain.format(), fields, None)?
        }
    };
    made.with_name(field.name())?.with_flags(flags)?.with_metadata(field.metadata())
}

fn has_sorted_maps(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Map(_, true))
        || matches!(data_type, DataType::Dictionary(_, values) if has_sorted_maps(values))
        || children(data_type).into_iter().any(|field| has_sorted_maps(field.data_type()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(ordered: bool) -> Field {
        Field::new("word", DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)), true).with_dict_is_ordered(ordered)
    }

    #[test]
    fn schemas_that_differ_in_the_order_of_a_dictionary_are_not_the_same() {
        let schema = |ordered| Arc::new(Schema::new(vec![Field::new("words", DataType::List(word(ordered).into()), true)]));
        assert_eq!(schema(true), schema(false), "where Arrow tells them apart, `same_schema` is no longer needed");
        assert!(same_schema(&schema(true), &schema(true)));
        assert!(!same_schema(&schema(true), &schema(false)));
    }

    #[test]
    fn marks_and_metadata_are_exported_at_every_depth() {
        let entries = Field::new("entries", DataType::Struct(vec![Field::new("key", DataType::Int8, false), word(true)].into()), false);
        let map = Field::new("map", DataType::Map(entries.into(), true), false).with_metadata([("a".to_owned(), "b".to_owned())].into());
        let keys = Box::new(DataType::Int16);
        let dictionary = Field::new("coded", DataType::Dictionary(keys, Box::new(map.data_type().clone())), true).with_dict_is_ordered(true);
        let schema = Schema::new(vec![Field::new("s", DataType::Struct(vec![map, dictionary].into()), true)]);
        let exported = c_schema(&schema).expect("these types have forms");
        let back = Schema::try_from(&exported).expect("what was exported can be imported");
        assert_eq!(back, schema);
        assert!(same_schema(&Arc::new(back), &Arc::new(schema)));
        assert!(!FFI_ArrowSchema::try_from(&Schema::new(vec![word(true)])).expect("a schema").child(0).map_keys_sorted());
    }
}
