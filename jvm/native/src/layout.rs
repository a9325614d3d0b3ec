//! From the numbers by which Java describes a batch to Arrow arrays over Java's buffers.
//!
//! Java is believed about addresses: they are those of buffers that it keeps. It is not believed about anything that a wrong use of vectors
//! could make wrong, such as a number of values that the buffers do not hold.

use std::ptr::NonNull;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, make_array};
use arrow_buffer::alloc::Allocation;
use arrow_buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer};
use arrow_data::{ArrayData, ArrayDataBuilder};
use arrow_schema::{DataType, Field, SchemaRef, UnionMode};
use transom::exchange::fixed_width;
use transom::{Code, Error, Result};

use crate::memory::{self, Borrowed};

/// The batch that `numbers` describes. The second value is how many bytes had to be copied for their alignment.
///
/// # Errors
/// `INVALID_DATA` where the buffers do not hold what the lengths say, with the column.
pub(crate) fn read(schema: &SchemaRef, rows: usize, borrowed: Arc<Borrowed>, numbers: &[i64]) -> Result<(RecordBatch, u64)> {
    let mut reader = Reader { numbers: numbers.iter(), borrowed, aligned: 0 };
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let data = reader.array(field.data_type(), Some(rows)).map_err(|what| invalid(field, &what))?;
        columns.push(make_array(data));
    }
    if reader.numbers.len() > 0 {
        return Err(Error::new(Code::Internal, "a batch of Java's has more arrays than its schema"));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(schema.clone(), columns, &options);
    Ok((batch.map_err(|error| Error::new(Code::InvalidData, error.to_string()))?, reader.aligned))
}

fn invalid(field: &Field, what: &str) -> Error {
    Error::new(Code::InvalidData, format!("column `{}` of the Java batch: {what}", field.name())).with_hint("set the value count of each vector")
}

type Read<T> = std::result::Result<T, String>;

struct Reader<'a> {
    numbers: std::slice::Iter<'a, i64>,
    borrowed: Arc<Borrowed>,
    aligned: u64,
}

impl Reader<'_> {
    fn number(&mut self) -> Read<usize> {
        let number = self.numbers.next().ok_or("its description is too short")?;
        usize::try_from(*number).map_err(|_| format!("{number} is no length"))
    }

    /// The next array, and those under it.
    fn array(&mut self, data_type: &DataType, expected: Option<usize>) -> Read<ArrayData> {
        let len = self.number()?;
        if let Some(expected) = expected.filter(|&expected| expected != len) {
            return Err(format!("a vector has {len} values and {expected} are needed"));
        }
        let count = self.number()?;
        let mut buffers = (0..count).map(|_| self.buffer()).collect::<Read<std::collections::VecDeque<Buffer>>>()?;
        let mut next = || buffers.pop_front().ok_or_else(|| format!("a vector of type {data_type} has {count} buffers"));
        let nulls = match data_type {
            DataType::Null | DataType::Union(..) | DataType::RunEndEncoded(..) => None,
            _ => validity(next()?, len)?,
        };
        let array = ArrayData::builder(data_type.clone()).len(len).nulls(nulls);
        let array = match data_type {
            DataType::Null => array,
            DataType::Boolean => array.add_buffer(cut(next()?, "values", len.div_ceil(8))?),
            DataType::Utf8 | DataType::Binary => array.add_buffer(self.offsets(next()?, len, size_of::<i32>())?).add_buffer(next()?),
            DataType::LargeUtf8 | DataType::LargeBinary => array.add_buffer(self.offsets(next()?, len, size_of::<i64>())?).add_buffer(next()?),
            DataType::Utf8View | DataType::BinaryView => {
                let views = self.fixed(next()?, "views", len, 16, align_of::<u128>())?;
                array.add_buffer(self.padded(views)).add_buffers(buffers)
            }
            DataType::List(item) | DataType::Map(item, _) => {
                let offsets = self.offsets(next()?, len, size_of::<i32>())?;
                array.add_buffer(offsets).add_child_data(self.child(item, None)?)
            }
            DataType::LargeList(item) => {
                let offsets = self.offsets(next()?, len, size_of::<i64>())?;
                array.add_buffer(offsets).add_child_data(self.child(item, None)?)
            }
            DataType::ListView(item) => self.list_view(array, [next()?, next()?], len, size_of::<i32>(), item)?,
            DataType::LargeListView(item) => self.list_view(array, [next()?, next()?], len, size_of::<i64>(), item)?,
            DataType::FixedSizeList(item, size) => {
                let child = self.child(item, None)?;
                let needed = usize::try_from(*size).ok().and_then(|size| len.checked_mul(size));
                let needed = needed.filter(|&needed| needed <= child.len()).ok_or("the child has too few values")?;
                array.add_child_data(child.slice(0, needed))
            }
            DataType::Struct(fields) => {
                let children = fields.iter().map(|field| self.child(field, Some(len)));
                array.child_data(children.collect::<Read<_>>()?)
            }
            DataType::Union(fields, mode) => {
                let ids = cut(next()?, "type ids", len)?;
                let places = if *mode == UnionMode::Dense { Some(self.fixed(next()?, "offsets", len, 4, 4)?) } else { None };
                let child_len = Some(len).filter(|_| *mode == UnionMode::Sparse);
                let children = fields.iter().map(|(_, field)| self.child(field, child_len));
                array.child_data(children.collect::<Read<_>>()?).add_buffer(ids).add_buffers(places)
            }
            DataType::Dictionary(keys, values) => {
                let width = keys.primitive_width().ok_or("dictionary keys are integers")?;
                let keys = self.fixed(next()?, "indices", len, width, width)?;
                array.add_buffer(keys).add_child_data(self.array(values, None).map_err(|what| format!("in its dictionary, {what}"))?)
            }
            DataType::RunEndEncoded(ends, values) => {
                let ends = self.child(ends, None)?;
                array.child_data(vec![ends.clone(), self.child(values, Some(ends.len()))?])
            }
            other => {
                let (width, align) = fixed_width(other).ok_or_else(|| format!("{other} is not supported"))?;
                array.add_buffer(self.fixed(next()?, "values", len, width, align)?)
            }
        };
        // SAFETY: each buffer has the length and the alignment that its type and the number of values ask for. What offsets, keys and views point
        // to is not looked at here; who reads these arrays (an export, or `normal`) trusts none of it.
        Ok(unsafe { array.build_unchecked() })
    }

    fn child(&mut self, field: &Field, expected: Option<usize>) -> Read<ArrayData> {
        self.array(field.data_type(), expected).map_err(|what| format!("in `{}`, {what}", field.name()))
    }

    fn list_view(
        &mut self,
        array: ArrayDataBuilder,
        [offsets, sizes]: [Buffer; 2],
        len: usize,
        width: usize,
        item: &Field,
    ) -> Read<ArrayDataBuilder> {
        let (offsets, sizes) = (self.fixed(offsets, "offsets", len, width, width)?, self.fixed(sizes, "sizes", len, width, width)?);
        Ok(array.add_buffer(offsets).add_buffer(sizes).add_child_data(self.child(item, None)?))
    }

    /// The next buffer: Java's memory, or Rust's that Java was lent.
    fn buffer(&mut self) -> Read<Buffer> {
        let (address, len) = (self.number()?, self.number()?);
        let Some(start) = NonNull::new(std::ptr::with_exposed_provenance_mut::<u8>(address)).filter(|_| len > 0) else {
            return Ok(Buffer::default());
        };
        let owner = memory::owner(address, len).unwrap_or_else(|| self.borrowed.clone() as Arc<dyn Allocation>);
        // SAFETY: `Codec.send` in Java wrote the address and the capacity of a buffer that it keeps until it hears that `borrowed` was dropped; where
        // the memory is Rust's, `owner` keeps it by itself.
        Ok(unsafe { Buffer::from_custom_allocation(start, len, owner) })
    }

    /// Offsets, one more than values. Java leaves them out where there are no values.
    fn offsets(&mut self, buffer: Buffer, len: usize, width: usize) -> Read<Buffer> {
        if len == 0 && buffer.len() < width {
            return Ok(Buffer::from(&[0u8; 8][..width]));
        }
        self.fixed(buffer, "offsets", len + 1, width, width)
    }

    /// Views with zeros behind the texts that lie in them. A slice of arrow-java's has there whatever its memory held before.
    fn padded(&mut self, views: Buffer) -> Buffer {
        if views.typed_data::<u128>().iter().all(|&view| padded(view) == view) {
            return views;
        }
        self.aligned += views.len() as u64;
        Buffer::from_vec(views.typed_data::<u128>().iter().map(|&view| padded(view)).collect::<Vec<_>>())
    }

    /// `len` values of `width` bytes, at an address that Rust's type for them allows: Java's are often aligned to 8 only.
    fn fixed(&mut self, buffer: Buffer, name: &str, len: usize, width: usize, align: usize) -> Read<Buffer> {
        let buffer = cut(buffer, name, len.checked_mul(width).ok_or("its values are too many")?)?;
        if buffer.as_ptr().align_offset(align) == 0 {
            return Ok(buffer);
        }
        self.aligned += buffer.len() as u64;
        let mut copy = MutableBuffer::with_capacity(buffer.len());
        copy.extend_from_slice(&buffer);
        Ok(copy.into())
    }
}

fn validity(buffer: Buffer, len: usize) -> Read<Option<NullBuffer>> {
    if buffer.is_empty() {
        return Ok(None);
    }
    let bits = cut(buffer, "validity", len.div_ceil(8))?;
    if all_set(&bits, len) {
        return Ok(None);
    }
    Ok(Some(NullBuffer::new(BooleanBuffer::new(bits, 0, len))))
}

/// Whether each of the first `len` bits is set, as in most vectors of Java's, which have a validity always. Counting them takes many times as long.
fn all_set(bytes: &[u8], len: usize) -> bool {
    let (words, rest) = bytes[..len / 8].as_chunks::<8>();
    words.iter().fold(u64::MAX, |all, word| all & u64::from_ne_bytes(*word)) == u64::MAX
        && rest.iter().all(|&byte| byte == u8::MAX)
        && (len.is_multiple_of(8) || bytes[len / 8] | (u8::MAX << (len % 8)) == u8::MAX)
}

/// A view of whose 16 bytes 4 are the length and, up to 12 bytes, as many are the text.
fn padded(view: u128) -> u128 {
    match view as u32 {
        len @ ..12 => view & ((1 << (32 + 8 * len)) - 1),
        _ => view,
    }
}

/// The first `len` bytes.
fn cut(buffer: Buffer, name: &str, len: usize) -> Read<Buffer> {
    if buffer.len() < len {
        return Err(format!("the buffer of {name} has {} bytes and needs {len}", buffer.len()));
    }
    Ok(if len == 0 { Buffer::default() } else { buffer.slice_with_length(0, len) })
}

#[cfg(test)]
mod tests {
    use super::{all_set, padded};

    #[test]
    fn behind_a_short_text_its_view_has_zeros() {
        assert_eq!(padded(u128::MAX << 32), 0);
        assert_eq!(padded(u128::MAX << 32 | 3), 0xFF_FFFF_0000_0003);
        assert_eq!(padded(u128::MAX << 32 | 12), u128::MAX << 32 | 12);
        assert_eq!(padded(u128::MAX << 32 | 13), u128::MAX << 32 | 13);
    }

    #[test]
    fn one_missing_bit_is_found_wherever_it_is() {
        for len in [0_usize, 1, 7, 8, 9, 63, 64, 65, 200] {
            let mut bytes = vec![u8::MAX; len.div_ceil(8) + 1];
            assert!(all_set(&bytes, len));
            for bit in 0..len {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(!all_set(&bytes, len), "bit {bit} of {len}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            // What lies behind the last is nobody's.
            bytes[len / 8] &= !(u8::MAX << (len % 8));
            assert!(all_set(&bytes, len));
        }
    }
}
