//! Reads every value of any array through the safe API and writes it as text: what a user's program would do with a batch.

use std::fmt::Write;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch, downcast_dictionary_array, downcast_primitive_array, downcast_run_array};
use arrow_schema::{DataType, UnionMode};

/// The most values of one array that are read: enough for every array of a test, and a bound on one that claims to have billions.
const MOST: usize = 2000;

/// All values of a batch, one line a column.
pub fn batch(batch: &RecordBatch) -> String {
    let mut out = format!("{} rows\n", batch.num_rows());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        _ = write!(out, "{}: ", field.name());
        array(column, &mut out);
        out.push('\n');
    }
    out
}

/// All values of an array.
pub fn array(array: &dyn Array, out: &mut String) {
    out.push('[');
    for row in 0..array.len().min(MOST) {
        value(array, row, out);
        out.push(' ');
    }
    if array.len() > MOST {
        value(array, array.len() - 1, out);
    }
    out.push(']');
}

fn value(of: &dyn Array, row: usize, out: &mut String) {
    if of.is_null(row) {
        return out.push('-');
    }
    downcast_primitive_array!(
        of => _ = write!(out, "{:?}", of.value(row)),
        DataType::Null => out.push('0'),
        DataType::Boolean => out.push(if of.as_boolean().value(row) { 't' } else { 'f' }),
        DataType::Utf8 => text(of.as_string::<i32>().value(row), out),
        DataType::LargeUtf8 => text(of.as_string::<i64>().value(row), out),
        DataType::Utf8View => text(of.as_string_view().value(row), out),
        DataType::Binary => _ = write!(out, "{:?}", of.as_binary::<i32>().value(row)),
        DataType::LargeBinary => _ = write!(out, "{:?}", of.as_binary::<i64>().value(row)),
        DataType::BinaryView => _ = write!(out, "{:?}", of.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => _ = write!(out, "{:?}", of.as_fixed_size_binary().value(row)),
        DataType::List(_) => array(&of.as_list::<i32>().value(row), out),
        DataType::LargeList(_) => array(&of.as_list::<i64>().value(row), out),
        DataType::ListView(_) => array(&of.as_list_view::<i32>().value(row), out),
        DataType::LargeListView(_) => array(&of.as_list_view::<i64>().value(row), out),
        DataType::FixedSizeList(_, _) => array(&of.as_fixed_size_list().value(row), out),
        DataType::Map(_, _) => array(&of.as_map().value(row), out),
        DataType::Struct(_) => {
            out.push('{');
            for column in of.as_struct().columns() {
                value(column, row, out);
                out.push(',');
            }
            out.push('}');
        }
        DataType::Union(_, mode) => {
            let union = of.as_union();
            let id = union.type_id(row);
            _ = write!(out, "{id}:");
            let at = if *mode == UnionMode::Dense { union.value_offset(row) } else { row };
            value(union.child(id), at, out);
        }
        DataType::Dictionary(_, _) => downcast_dictionary_array!(
            of => value(of.values(), of.key(row).unwrap(), out),
            other => unreachable!("{other}")
        ),
        DataType::RunEndEncoded(_, _) => downcast_run_array!(
            of => value(of.values(), of.get_physical_index(row), out),
            other => unreachable!("{other}")
        ),
        other => unreachable!("{other}")
    );
}

fn text(text: &str, out: &mut String) {
    assert!(std::str::from_utf8(text.as_bytes()).is_ok(), "a string is not UTF-8");
    _ = write!(out, "{text:?}");
}
