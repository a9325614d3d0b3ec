//! Slices of nested arrays, as arrow-rs understands them.
//!
//! In the C data interface the offset of a struct, of a fixed-size list and of a sparse union applies to its children as well.
//! `ArrayData::slice` applies it to the children at once and keeps it too, so making an array of a slice of a struct in a struct applies it
//! twice, which panics. Here every such offset is applied once, to the leaves, before an array is made.

use arrow_data::{ArrayData, ArrayDataBuilder};
use arrow_schema::{DataType, UnionMode};

/// The same values, with no offset on anything whose children it would apply to.
///
/// For what was imported through the C data interface, before it becomes an array.
pub fn settled(data: ArrayData) -> ArrayData {
    if data.child_data().is_empty() {
        return data;
    }
    let children: Vec<ArrayData> = data.child_data().iter().cloned().map(settled).collect();
    let (offset, len) = (data.offset(), data.len());
    match width(data.data_type()) {
        Some(_) => cut(&data, &children, offset, len),
        None => rebuilt(data.into_builder().child_data(children)),
    }
}

/// Rows of a child for each row of a parent whose offset applies to its children; `None` for other parents.
fn width(kind: &DataType) -> Option<usize> {
    match kind {
        DataType::Struct(_) | DataType::Union(_, UnionMode::Sparse) => Some(1),
        DataType::FixedSizeList(_, size) => usize::try_from(*size).ok(),
        _ => None,
    }
}

/// `len` rows of settled data from `offset` on.
fn slice(data: &ArrayData, offset: usize, len: usize) -> ArrayData {
    if offset == 0 && len == data.len() {
        return data.clone();
    }
    if width(data.data_type()).is_none() {
        return data.slice(offset, len);
    }
    let nulls = data.nulls().map(|nulls| nulls.slice(offset, len));
    let part = rebuilt(data.clone().into_builder().nulls(nulls).len(len));
    cut(&part, data.child_data(), offset, len)
}

/// A parent whose own nulls and length are right, over the part of its settled children that belongs to it.
fn cut(parent: &ArrayData, children: &[ArrayData], offset: usize, len: usize) -> ArrayData {
    let width = width(parent.data_type()).unwrap_or(1);
    let children = children.iter().map(|child| slice(child, offset * width, len * width)).collect();
    // Type numbers of a union are a byte each; structs and lists have no buffer of their own.
    let buffers = parent.buffers().iter().map(|types| types.slice_with_length(offset, len)).collect();
    rebuilt(ArrayDataBuilder::new(parent.data_type().clone()).len(len).nulls(parent.nulls().cloned()).buffers(buffers).child_data(children))
}

fn rebuilt(builder: ArrayDataBuilder) -> ArrayData {
    // SAFETY: the parts come from one valid array and only its rows before and behind a range were left out, on the parent and on every child alike.
    unsafe { builder.build_unchecked() }
}
