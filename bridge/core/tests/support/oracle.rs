//! How many bytes a slice is made of, said once more and in another way than the exporter does: from the arrays' own API.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, GenericListViewArray, OffsetSizeTrait, downcast_run_array};
use arrow_schema::{DataType, UnionMode};

/// The bytes that cross when this array is sent from ordinary memory.
pub fn bytes(array: &dyn Array) -> u64 {
    let len = array.len();
    let validity = if array.null_count() > 0 { len.div_ceil(8) } else { 0 };
    let own = match array.data_type() {
        DataType::Null => 0,
        DataType::Boolean => len.div_ceil(8),
        DataType::Utf8 => {
            offsets::<i32>(len)
                + array.as_string::<i32>().iter().zip(0..).map(|(_, i)| array.as_string::<i32>().value_length(i) as usize).sum::<usize>()
        }
        DataType::Binary => offsets::<i32>(len) + (0..len).map(|i| array.as_binary::<i32>().value_length(i) as usize).sum::<usize>(),
        DataType::LargeUtf8 => offsets::<i64>(len) + (0..len).map(|i| array.as_string::<i64>().value_length(i) as usize).sum::<usize>(),
        DataType::LargeBinary => offsets::<i64>(len) + (0..len).map(|i| array.as_binary::<i64>().value_length(i) as usize).sum::<usize>(),
        DataType::Utf8View => views(array.as_string_view().views(), array.as_string_view().data_buffers().len()),
        DataType::BinaryView => views(array.as_binary_view().views(), array.as_binary_view().data_buffers().len()),
        DataType::FixedSizeBinary(width) => len * *width as usize,
        DataType::List(_) => offsets::<i32>(len) + part(array.as_list::<i32>().values(), ends(array.as_list::<i32>().value_offsets())),
        DataType::LargeList(_) => offsets::<i64>(len) + part(array.as_list::<i64>().values(), ends(array.as_list::<i64>().value_offsets())),
        DataType::Map(_, _) => {
            let entries: ArrayRef = std::sync::Arc::new(array.as_map().entries().clone());
            offsets::<i32>(len) + part(&entries, ends(array.as_map().value_offsets()))
        }
        DataType::ListView(_) => 2 * 4 * len + list_views(array.as_list_view::<i32>()),
        DataType::LargeListView(_) => 2 * 8 * len + list_views(array.as_list_view::<i64>()),
        DataType::FixedSizeList(_, _) => part(array.as_fixed_size_list().values(), (0, array.as_fixed_size_list().values().len())),
        DataType::Struct(_) => array.as_struct().columns().iter().map(|column| bytes(column) as usize).sum(),
        DataType::Union(fields, UnionMode::Sparse) => len + fields.iter().map(|(id, _)| bytes(array.as_union().child(id)) as usize).sum::<usize>(),
        DataType::Union(fields, UnionMode::Dense) => {
            let union = array.as_union();
            let child = |id: i8| {
                let used = (0..len).filter(|&i| union.type_id(i) == id).map(|i| union.value_offset(i));
                part(union.child(id), (used.clone().min().unwrap_or(0), used.max().map_or(0, |last| last + 1)))
            };
            5 * len + fields.iter().map(|(id, _)| child(id)).sum::<usize>()
        }
        DataType::Dictionary(keys, _) => {
            let dictionary = array.as_any_dictionary();
            len * keys.primitive_width().unwrap() + bytes(dictionary.values()) as usize
        }
        DataType::RunEndEncoded(ends, _) => {
            let width = ends.data_type().primitive_width().unwrap();
            downcast_run_array!(
                array => {
                    let values = if len == 0 { array.values().slice(0, 0) } else { array.values_slice() };
                    width * values.len() + bytes(&values) as usize
                },
                other => unreachable!("{other}")
            )
        }
        fixed => len * fixed.primitive_width().unwrap(),
    };
    (validity + own) as u64
}

fn offsets<O: OffsetSizeTrait>(len: usize) -> usize {
    if len == 0 { 0 } else { (len + 1) * size_of::<O>() }
}

fn ends<O: OffsetSizeTrait>(offsets: &[O]) -> (usize, usize) {
    (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize())
}

fn part(values: &ArrayRef, (first, end): (usize, usize)) -> usize {
    bytes(&values.slice(first, end - first)) as usize
}

fn list_views<O: OffsetSizeTrait>(array: &GenericListViewArray<O>) -> usize {
    let ranges = array.offsets().iter().zip(array.sizes()).filter(|(_, size)| size.as_usize() > 0);
    let first = ranges.clone().map(|(offset, _)| offset.as_usize()).min().unwrap_or(0);
    let end = ranges.map(|(offset, size)| offset.as_usize() + size.as_usize()).max().unwrap_or(first);
    part(array.values(), (first, end))
}

/// Views take the ranges of their data buffers that they use, or where that is less than half as much the text alone.
fn views(views: &[u128], buffers: usize) -> usize {
    let long = || views.iter().filter(|&&view| view as u32 > 12);
    let used = |buffer: usize| {
        let here = long().filter(|&&view| (view >> 64) as u32 as usize == buffer);
        let first = here.clone().map(|view| (view >> 96) as usize).min().unwrap_or(0);
        here.map(|view| (view >> 96) as usize + *view as u32 as usize).max().unwrap_or(first) - first
    };
    let (ranges, text) = ((0..buffers).map(used).sum::<usize>(), long().map(|&view| view as u32 as usize).sum::<usize>());
    16 * views.len() + if 2 * text < ranges { text } else { ranges }
}
