//! The first pass of an export: which bytes of a batch go where. Nothing is copied here.
//!
//! The rules: what lies in shared memory is named where it is. From anywhere else exactly the bytes of the slice are taken, so children are
//! cut to what the slice uses and offsets are counted anew. Offsets that are in shared memory stay untouched where everything that they
//! point to is there as well.
//!
//! Arrays come from other languages too, unchecked, so nothing here trusts an offset or a length.

use arrow_buffer::{ArrowNativeType, Buffer};
use arrow_data::ArrayData;
use arrow_schema::{DataType, UnionMode};

use super::copy::Source;
use super::descriptor::Node;
use super::export::{ALIGNMENT, Copy};
use super::fault::Fault;
use super::ledger::{Direction, Reason, Tally};
use super::schema::{fixed_width, has_validity};
use crate::failure::{Code, Error};
use crate::memory::{Extent, Space};

/// Why a walk through an array stopped.
pub(super) enum Stop {
    /// Something is not in shared memory, where only that was asked for. Not an error: the caller takes another way.
    NotShared,
    Broken(Fault),
}

pub(super) type Step<T = ()> = std::result::Result<T, Stop>;

impl Stop {
    pub(super) fn in_column(self, column: usize, name: &str) -> Error {
        match self {
            Stop::Broken(fault) => fault.inside(name).in_column(column),
            Stop::NotShared => Error::new(Code::Internal, "the plan of a copy stopped early"),
        }
    }

    fn inside(self, name: &str) -> Self {
        match self {
            Stop::Broken(fault) => Stop::Broken(fault.inside(name)),
            Stop::NotShared => Stop::NotShared,
        }
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Stop::Broken(fault)
    }
}

/// What an export will do, put together array by array.
pub(super) struct Plan<'a> {
    space: &'a dyn Space,
    reason: Reason,
    /// Whether the walk stops at the first byte that is not in shared memory.
    shared_only: bool,
    pub(super) nodes: Vec<Node>,
    pub(super) buffers: Vec<Option<Extent>>,
    pub(super) copies: Vec<Copy<'a>>,
    /// The bytes that all copies take, padding included.
    pub(super) size: usize,
    pub(super) tally: Tally,
}

/// A child array and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Child<'a, 'b> {
    pub(super) name: &'b str,
    pub(super) data_type: &'b DataType,
    pub(super) data: &'a ArrayData,
}

impl<'a> Plan<'a> {
    pub(super) fn new(space: &'a dyn Space, direction: Direction, columns: usize) -> Self {
        Self {
            space,
            reason: Reason::of_copy(direction),
            shared_only: false,
            nodes: Vec::with_capacity(columns),
            buffers: Vec::with_capacity(columns * 2),
            copies: Vec::with_capacity(columns * 2),
            size: 0,
            tally: Tally::default(),
        }
    }

    /// Adds `len` elements of an array, from element `start` on.
    pub(super) fn array(&mut self, data_type: &DataType, data: &'a ArrayData, start: usize, len: usize) -> Step {
        if start.checked_add(len).is_none_or(|end| end > data.len()) {
            return Err(Fault::data(format!("{len} values from {start} on are needed of {}", data.len())).into());
        }
        let node = self.open(data_type, data, start, len)?;
        // Element 0 of the slice is this element of the buffers and children.
        let at = data.offset() + start;
        match data_type {
            DataType::Null => Ok(()),
            DataType::Boolean => {
                let bit = self.bits(node, buffer(data, 0)?, at, len)?;
                self.nodes[node].first = u64::from(bit);
                Ok(())
            }
            DataType::Utf8 | DataType::Binary => self.text::<i32>(node, data, at, len),
            DataType::LargeUtf8 | DataType::LargeBinary => self.text::<i64>(node, data, at, len),
            DataType::Utf8View | DataType::BinaryView => self.views(node, data, start, len),
            DataType::List(item) | DataType::Map(item, _) => self.list::<i32>(node, data, at, len, child(data, 0, item.name(), item.data_type())?),
            DataType::LargeList(item) => self.list::<i64>(node, data, at, len, child(data, 0, item.name(), item.data_type())?),
            DataType::ListView(item) => self.list_view::<i32>(node, data, at, len, child(data, 0, item.name(), item.data_type())?),
            DataType::LargeListView(item) => self.list_view::<i64>(node, data, at, len, child(data, 0, item.name(), item.data_type())?),
            DataType::FixedSizeList(item, size) => {
                let item = child(data, 0, item.name(), item.data_type())?;
                match (at.checked_mul(*size as usize), len.checked_mul(*size as usize)) {
                    (Some(from), Some(count)) => self.child(item, from, count),
                    _ => Err(Fault::data(format!("{len} lists of {size} values are too many")).into()),
                }
            }
            DataType::Struct(fields) => {
                let mut fields = fields.iter().enumerate();
                fields.try_for_each(|(index, field)| self.child(child(data, index, field.name(), field.data_type())?, at, len))
            }
            DataType::Union(fields, UnionMode::Sparse) => {
                self.fixed(node, data, at, len, 1)?;
                let mut fields = fields.iter().enumerate();
                fields.try_for_each(|(index, (_, field))| self.child(child(data, index, field.name(), field.data_type())?, at, len))
            }
            DataType::Union(fields, UnionMode::Dense) => self.dense_union(node, data, at, len, fields),
            DataType::Dictionary(keys, values) => {
                self.fixed(node, data, at, len, keys.primitive_width().unwrap_or(0))?;
                let values = child(data, 0, "dictionary", values)?;
                self.child(values, 0, values.data.len())
            }
            DataType::RunEndEncoded(ends, values) => {
                let values = child(data, 1, values.name(), values.data_type())?;
                match ends.data_type() {
                    DataType::Int16 => self.run_ends::<i16>(node, data, at, len, values),
                    DataType::Int32 => self.run_ends::<i32>(node, data, at, len, values),
                    _ => self.run_ends::<i64>(node, data, at, len, values),
                }
            }
            fixed => match fixed_width(fixed) {
                Some((width, _)) => self.fixed(node, data, at, len, width),
                None => Err(Fault::schema(format!("{fixed} is not supported")).into()),
            },
        }
    }

    /// Adds a part of a child; what goes wrong there is said with the child's name.
    pub(super) fn child(&mut self, child: Child<'a, '_>, start: usize, len: usize) -> Step {
        self.array(child.data_type, child.data, start, len).map_err(|stop| stop.inside(child.name))
    }

    /// Begins a node with its length and validity. The validity is left out where it says nothing.
    fn open(&mut self, data_type: &DataType, data: &'a ArrayData, start: usize, len: usize) -> Step<usize> {
        let node = self.bare_node(len);
        if !has_validity(data_type) {
            return Ok(node);
        }
        let nulls = data.nulls().filter(|nulls| nulls.null_count() > 0);
        let part = nulls.map(|nulls| if nulls.len() == len { nulls.clone() } else { nulls.slice(start, len) });
        match (nulls, part.map_or(0, |part| part.null_count())) {
            (Some(nulls), null_count @ 1..) => {
                let bit = self.bits(node, nulls.buffer(), nulls.offset() + start, len)?;
                self.nodes[node].validity_bit = bit;
                self.nodes[node].null_count = null_count as u64;
            }
            _ => self.absent(node),
        }
        Ok(node)
    }

    /// Begins a node whose buffers are all still to come.
    pub(super) fn bare_node(&mut self, len: usize) -> usize {
        self.nodes.push(Node { len: len as u64, ..Node::default() });
        self.nodes.len() - 1
    }

    /// Adds `len` values of one width.
    fn fixed(&mut self, node: usize, data: &'a ArrayData, at: usize, len: usize, width: usize) -> Step {
        let bytes = match (at.checked_mul(width), len.checked_mul(width)) {
            (Some(from), Some(count)) => part(buffer(data, 0)?, from, count)?,
            _ => return Err(Fault::data(format!("{len} values of {width} bytes are too many")).into()),
        };
        self.bytes(node, bytes)
    }

    /// Adds `len` bits and says at which bit of the first byte they now begin.
    fn bits(&mut self, node: usize, buffer: &'a Buffer, first: usize, len: usize) -> Step<u8> {
        if len == 0 {
            self.absent(node);
            return Ok(0);
        }
        let (from, bit) = (first / 8, first % 8);
        let bytes = part(buffer, from, (bit + len).div_ceil(8))?;
        match self.locate(bytes) {
            Some(extent) => {
                self.shared(node, extent);
                Ok(bit as u8)
            }
            None => {
                self.copy(node, Source::Bits { bytes, bit: bit as u8, len }, self.reason)?;
                Ok(0)
            }
        }
    }

    /// Adds bytes as they are: named where they lie, or copied.
    pub(super) fn bytes(&mut self, node: usize, bytes: &'a [u8]) -> Step {
        match self.locate(bytes) {
            Some(extent) => self.shared(node, extent),
            None if bytes.is_empty() => self.absent(node),
            None => self.copy(node, Source::Bytes(bytes), self.reason)?,
        }
        Ok(())
    }

    /// Where these bytes are in shared memory, if they are. No bytes are nowhere.
    pub(super) fn locate(&self, bytes: &[u8]) -> Option<Extent> {
        if bytes.is_empty() { None } else { self.space.locate(bytes.as_ptr(), bytes.len()) }
    }

    /// Adds a buffer that stays where it is.
    pub(super) fn shared(&mut self, node: usize, extent: Extent) {
        self.tally.shared += extent.len;
        self.push(node, Some(extent));
    }

    /// Adds a buffer that is not there.
    pub(super) fn absent(&mut self, node: usize) {
        self.push(node, None);
    }

    /// Adds a buffer that has to be written. Its place in the descriptor is filled when the memory is there.
    pub(super) fn copy(&mut self, node: usize, source: Source<'a>, reason: Reason) -> Step {
        if self.shared_only {
            return Err(Stop::NotShared);
        }
        let len = source.len();
        let end = self.size.checked_next_multiple_of(ALIGNMENT).and_then(|offset| Some((offset, offset.checked_add(len)?)));
        let Some((offset, size)) = end else { return Err(Fault::data("the values take more memory than there can be").into()) };
        self.copies.push(Copy { buffer: self.buffers.len(), offset, source });
        self.size = size;
        self.tally.copy(reason, len);
        self.push(node, None);
        Ok(())
    }

    /// Adds offsets or the like that are written anew; `was_shared` where they lay in shared memory and could not stay.
    pub(super) fn rewritten(&mut self, node: usize, source: Source<'a>, was_shared: bool) -> Step {
        self.copy(node, source, if was_shared { Reason::Rewritten } else { self.reason })
    }

    fn push(&mut self, node: usize, buffer: Option<Extent>) {
        self.buffers.push(buffer);
        self.nodes[node].buffers += 1;
    }

    /// Does `walk`, which may only name what is in shared memory; where it cannot, takes everything back and says so.
    pub(super) fn only_shared(&mut self, node: usize, walk: impl FnOnce(&mut Self) -> Step) -> Step<bool> {
        let (nodes, buffers, tally) = (self.nodes.len(), self.buffers.len(), self.tally);
        let (this, nested) = (self.nodes[node], self.shared_only);
        self.shared_only = true;
        let result = walk(self);
        self.shared_only = nested;
        match result {
            Ok(()) => Ok(true),
            Err(Stop::NotShared) if !nested => {
                self.nodes.truncate(nodes);
                self.buffers.truncate(buffers);
                self.nodes[node] = this;
                self.tally = tally;
                Ok(false)
            }
            Err(stop) => Err(stop),
        }
    }
}

/// One of an array's buffers.
pub(super) fn buffer(data: &ArrayData, index: usize) -> Step<&Buffer> {
    data.buffers().get(index).ok_or_else(|| Fault::data(format!("buffer {index} is missing")).into())
}

/// One of an array's children.
pub(super) fn child<'a, 'b>(data: &'a ArrayData, index: usize, name: &'b str, data_type: &'b DataType) -> Step<Child<'a, 'b>> {
    match data.child_data().get(index) {
        Some(data) => Ok(Child { name, data_type, data }),
        None => Err(Fault::data(format!("child `{name}` is missing")).into()),
    }
}

/// A range of bytes of a buffer.
pub(super) fn part(buffer: &Buffer, from: usize, len: usize) -> Step<&[u8]> {
    if len == 0 {
        return Ok(&[]);
    }
    let bytes = from.checked_add(len).and_then(|end| buffer.as_slice().get(from..end));
    bytes.ok_or_else(|| Fault::data(format!("a buffer has {} bytes where {len} from {from} on are needed", buffer.len())).into())
}

/// A range of values of a buffer.
pub(super) fn values<T: ArrowNativeType>(buffer: &Buffer, from: usize, len: usize) -> Step<&[T]> {
    let (Some(from), Some(len)) = (from.checked_mul(size_of::<T>()), len.checked_mul(size_of::<T>())) else {
        return Err(Fault::data(format!("{len} values are too many")).into());
    };
    // SAFETY: every bit pattern is a value of a native Arrow type.
    match unsafe { part(buffer, from, len)?.align_to::<T>() } {
        ([], values, []) => Ok(values),
        _ => Err(Fault::data("a buffer begins at an address that its type does not allow").into()),
    }
}

/// Values as the bytes that they are.
pub(super) fn as_bytes<T: ArrowNativeType>(values: &[T]) -> &[u8] {
    // SAFETY: native Arrow types have no padding, and the range is that of `values`.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}
