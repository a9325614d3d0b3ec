//! Which Arrow types Java's Arrow has. The others are refused by name before any data moves.

use arrow_schema::{DataType, Field, Schema, UnionFields, UnionMode};
use transom::{Code, Error, Result};

/// Refuses schemas with types that no Java vector can hold.
///
/// # Errors
/// `BAD_SCHEMA` with the column and the type.
pub(crate) fn check(schema: &Schema) -> Result<()> {
    schema.fields().iter().try_for_each(|field| check_type(field.data_type()).map_err(|what| refused(field, &what)))
}

fn refused(field: &Field, what: &str) -> Error {
    let error = Error::new(Code::BadSchema, format!("column `{}` cannot cross to Java: {what}", field.name()));
    error.with_hint("cast the column to a type that Java's Arrow has")
}

fn check_type(data_type: &DataType) -> std::result::Result<(), String> {
    let inside = |field: &Field| check_type(field.data_type()).map_err(|what| format!("in `{}`, {what}", field.name()));
    match data_type {
        DataType::Decimal32(..) | DataType::Decimal64(..) => Err(format!("Java's Arrow has no {data_type}, only decimals of 128 and 256 bits")),
        DataType::FixedSizeBinary(0) => Err(format!("Java's Arrow divides by the width of values, which is 0 in {data_type}")),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => inside(item),
        DataType::ListView(item) | DataType::LargeListView(item) | DataType::Map(item, _) => inside(item),
        DataType::Struct(fields) => fields.iter().try_for_each(|field| inside(field)),
        DataType::RunEndEncoded(_, values) => inside(values),
        DataType::Dictionary(_, values) => match **values {
            DataType::Dictionary(..) => Err(format!("Java's Arrow has no dictionary of a dictionary, {data_type}")),
            ref values => check_type(values),
        },
        DataType::Union(fields, UnionMode::Dense) => {
            check_dense(fields)?;
            fields.iter().try_for_each(|(_, field)| inside(field))
        }
        DataType::Union(fields, UnionMode::Sparse) => {
            check_sparse(fields)?;
            fields.iter().try_for_each(|(_, field)| inside(field))
        }
        _ => Ok(()),
    }
}

/// `DenseUnionVector` counts its fields and takes the counts for type ids.
fn check_dense(fields: &UnionFields) -> std::result::Result<(), String> {
    match fields.iter().enumerate().find(|(index, (id, _))| usize::try_from(*id) != Ok(*index)) {
        None => Ok(()),
        Some((index, (id, field))) => {
            Err(format!("Java's dense unions number their fields from 0 on, and the type id of field {index}, `{}`, is {id}", field.name()))
        }
    }
}

/// `UnionVector` finds the vector of a value by its kind, so it can have one field of each.
fn check_sparse(fields: &UnionFields) -> std::result::Result<(), String> {
    for (index, (_, field)) in fields.iter().enumerate() {
        let same = |(_, other): (i8, &arrow_schema::FieldRef)| std::mem::discriminant(other.data_type()) == std::mem::discriminant(field.data_type());
        if fields.iter().take(index).any(same) {
            return Err(format!("Java's sparse unions have one field of each kind of type, and `{}` is a second one of its kind", field.name()));
        }
    }
    Ok(())
}
