//! From Arrow arrays to the numbers by which Java finds their buffers. Java's vectors know no offsets, so slices are taken apart here: where a
//! slice begins at a byte its buffers are named from there on; only bits that begin within a byte, and run ends, are written anew.
//!
//! Offsets and lengths are not trusted: an array may have come from another language unchecked.

use arrow_array::{Array, RecordBatch};
use arrow_buffer::{ArrowNativeType, Buffer};
use arrow_data::ArrayData;
use arrow_schema::{DataType, UnionMode};
use transom::exchange::fixed_width;
use transom::{Code, Error, Result};

/// A batch as Java reads it.
pub(crate) struct Described {
    /// For each array, depth first: values, nulls, buffers, and for each of these its address and its length.
    pub(crate) numbers: Vec<i64>,
    /// The addresses and lengths of all buffers.
    pub(crate) ranges: Vec<(usize, usize)>,
    /// Buffers that had to be written anew. They belong to whoever keeps the batch.
    pub(crate) made: Vec<Buffer>,
    /// How many bytes of them were copied.
    pub(crate) bytes_made: u64,
}

/// Describes a batch whose types Java has.
///
/// # Errors
/// `INVALID_DATA` where an array points outside of its own buffers.
pub(crate) fn describe(batch: &RecordBatch) -> Result<Described> {
    let mut out = Described { numbers: Vec::with_capacity(8 * batch.num_columns()), ranges: Vec::new(), made: Vec::new(), bytes_made: 0 };
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let data = column.to_data();
        out.array(&data, 0, data.len())
            .map_err(|what| Error::new(Code::InvalidData, format!("column `{}` cannot cross to Java: {what}", field.name())))?;
    }
    Ok(out)
}

type Step<T = ()> = std::result::Result<T, String>;

impl Described {
    /// `len` values from `start` on.
    fn array(&mut self, data: &ArrayData, start: usize, len: usize) -> Step {
        if start.checked_add(len).is_none_or(|end| end > data.len()) {
            return Err(format!("{len} values from {start} on are needed of {}", data.len()));
        }
        // The first value of the slice is this one of the buffers, and of children that follow their parent row by row.
        let at = data.offset() + start;
        match data.data_type() {
            DataType::Null => self.node(len, len, 0),
            DataType::Boolean => {
                self.open(data, start, len, 1)?;
                self.bits(buffer(data, 0)?, at, len)?;
            }
            DataType::Utf8 | DataType::Binary => self.text::<i32>(data, start, len)?,
            DataType::LargeUtf8 | DataType::LargeBinary => self.text::<i64>(data, start, len)?,
            DataType::Utf8View | DataType::BinaryView => {
                self.open(data, start, len, data.buffers().len())?;
                self.values(buffer(data, 0)?, at, len, 16)?;
                data.buffers()[1..].iter().for_each(|text| self.bytes(text));
            }
            DataType::List(_) | DataType::Map(..) => self.list::<i32>(data, start, len)?,
            DataType::LargeList(_) => self.list::<i64>(data, start, len)?,
            DataType::ListView(_) => self.list_view(data, start, len, size_of::<i32>())?,
            DataType::LargeListView(_) => self.list_view(data, start, len, size_of::<i64>())?,
            DataType::FixedSizeList(_, size) => {
                self.open(data, start, len, 0)?;
                let size = usize::try_from(*size).map_err(|_| "a list has fewer than no values".to_owned())?;
                self.array(child(data, 0)?, at * size, len * size)?;
            }
            DataType::Struct(_) => {
                self.open(data, start, len, 0)?;
                data.child_data().iter().try_for_each(|child| self.array(child, at, len))?;
            }
            DataType::Union(_, mode) => self.union(data, at, len, *mode)?,
            DataType::Dictionary(keys, _) => {
                self.open(data, start, len, 1)?;
                self.values(buffer(data, 0)?, at, len, keys.primitive_width().unwrap_or(0))?;
                self.whole(child(data, 0)?)?;
            }
            DataType::RunEndEncoded(ends, _) => match ends.data_type() {
                DataType::Int16 => self.run_ends::<i16>(data, at, len)?,
                DataType::Int32 => self.run_ends::<i32>(data, at, len)?,
                _ => self.run_ends::<i64>(data, at, len)?,
            },
            other => {
                let (width, _) = fixed_width(other).ok_or_else(|| format!("{other} is not supported"))?;
                self.open(data, start, len, 1)?;
                self.values(buffer(data, 0)?, at, len, width)?;
            }
        }
        Ok(())
    }

    fn whole(&mut self, data: &ArrayData) -> Step {
        self.array(data, 0, data.len())
    }

    fn node(&mut self, len: usize, nulls: usize, buffers: usize) {
        self.numbers.extend([len as i64, nulls as i64, buffers as i64]);
    }

    /// Begins an array with its validity, before `more` other buffers. Without nulls the validity is left out, as in IPC.
    fn open(&mut self, data: &ArrayData, start: usize, len: usize, more: usize) -> Step {
        let nulls = data.nulls().map(|nulls| nulls.slice(start, len)).filter(|nulls| nulls.null_count() > 0);
        self.node(len, nulls.as_ref().map_or(0, |nulls| nulls.null_count()), 1 + more);
        match nulls {
            Some(nulls) => self.bits(nulls.buffer(), nulls.offset(), len),
            None => {
                self.absent();
                Ok(())
            }
        }
    }

    fn text<O: ArrowNativeType>(&mut self, data: &ArrayData, start: usize, len: usize) -> Step {
        self.open(data, start, len, 2)?;
        let end = self.offsets::<O>(data, start, len)?;
        self.bytes(&part(buffer(data, 1)?, 0, end)?);
        Ok(())
    }

    fn list<O: ArrowNativeType>(&mut self, data: &ArrayData, start: usize, len: usize) -> Step {
        self.open(data, start, len, 1)?;
        let end = self.offsets::<O>(data, start, len)?;
        self.array(child(data, 0)?, 0, end)
    }

    /// Offsets need not begin at 0, so they can stay as they are. Gives the last, up to which there is something to be read.
    fn offsets<O: ArrowNativeType>(&mut self, data: &ArrayData, start: usize, len: usize) -> Step<usize> {
        if len == 0 {
            // Java reads the first offset of empty vectors too.
            let zero = Buffer::from(&[0u8; 8][..size_of::<O>()]);
            self.bytes(&zero);
            self.made.push(zero);
            return Ok(0);
        }
        let offsets = part(buffer(data, 0)?, (data.offset() + start) * size_of::<O>(), (len + 1) * size_of::<O>())?;
        let end = offsets.typed_data::<O>()[len];
        self.bytes(&offsets);
        end.to_usize().ok_or_else(|| format!("an offset is {end:?}"))
    }

    fn list_view(&mut self, data: &ArrayData, start: usize, len: usize, width: usize) -> Step {
        self.open(data, start, len, 2)?;
        let at = data.offset() + start;
        self.values(buffer(data, 0)?, at, len, width)?;
        self.values(buffer(data, 1)?, at, len, width)?;
        self.whole(child(data, 0)?)
    }

    fn union(&mut self, data: &ArrayData, at: usize, len: usize, mode: UnionMode) -> Step {
        self.node(len, 0, if mode == UnionMode::Dense { 2 } else { 1 });
        self.values(buffer(data, 0)?, at, len, 1)?;
        if mode == UnionMode::Sparse {
            return data.child_data().iter().try_for_each(|child| self.array(child, at, len));
        }
        self.values(buffer(data, 1)?, at, len, size_of::<i32>())?;
        data.child_data().iter().try_for_each(|child| self.whole(child))
    }

    /// The runs of a slice, whose ends are counted from its first row and do not go behind its last.
    fn run_ends<R: ArrowNativeType>(&mut self, data: &ArrayData, at: usize, len: usize) -> Step {
        let (ends, values) = (child(data, 0)?, child(data, 1)?);
        let all = part(buffer(ends, 0)?, ends.offset() * size_of::<R>(), ends.len() * size_of::<R>())?;
        let all = all.typed_data::<R>();
        let run_of = |row: usize| all.partition_point(|end| end.to_usize().is_some_and(|end| end <= row));
        let (from, to) = if len == 0 { (0, 0) } else { (run_of(at), run_of(at + len - 1) + 1) };
        let runs = all.get(from..to).ok_or("the run ends do not reach the last row")?;
        self.node(len, 0, 0);
        self.node(runs.len(), 0, 2);
        self.absent();
        if at == 0 && runs.last().and_then(|end| end.to_usize()) == Some(len) {
            self.values(buffer(ends, 0)?, ends.offset() + from, runs.len(), size_of::<R>())?;
        } else {
            let ends = runs.iter().map(|end| R::from_usize(end.as_usize().saturating_sub(at).min(len)).unwrap_or_default());
            self.add(ends.collect::<Vec<R>>().into());
        }
        self.array(values, from, runs.len())
    }

    /// `len` values of `width` bytes from value `at` on.
    fn values(&mut self, values: &Buffer, at: usize, len: usize, width: usize) -> Step {
        let range = at.checked_mul(width).zip(len.checked_mul(width)).ok_or("its values are too many")?;
        self.bytes(&part(values, range.0, range.1)?);
        Ok(())
    }

    /// `len` bits from bit `at` on, moved only where they begin within a byte.
    fn bits(&mut self, bits: &Buffer, at: usize, len: usize) -> Step {
        let bytes = part(bits, at / 8, (at % 8 + len).div_ceil(8))?;
        if at.is_multiple_of(8) {
            self.bytes(&bytes);
        } else {
            self.add(bytes.bit_slice(at % 8, len));
        }
        Ok(())
    }

    /// A buffer that was written anew.
    fn add(&mut self, buffer: Buffer) {
        self.bytes_made += buffer.len() as u64;
        self.bytes(&buffer);
        self.made.push(buffer);
    }

    fn bytes(&mut self, bytes: &Buffer) {
        if bytes.is_empty() {
            return self.absent();
        }
        let address = bytes.as_ptr().expose_provenance();
        self.numbers.extend([address as i64, bytes.len() as i64]);
        self.ranges.push((address, bytes.len()));
    }

    fn absent(&mut self) {
        self.numbers.extend([0, 0]);
    }
}

fn buffer(data: &ArrayData, index: usize) -> Step<&Buffer> {
    data.buffers().get(index).ok_or_else(|| format!("buffer {index} is missing"))
}

fn child(data: &ArrayData, index: usize) -> Step<&ArrayData> {
    data.child_data().get(index).ok_or_else(|| format!("child {index} is missing"))
}

fn part(bytes: &Buffer, from: usize, len: usize) -> Step<Buffer> {
    match from.checked_add(len) {
        Some(end) if end <= bytes.len() => Ok(bytes.slice_with_length(from, len)),
        _ => Err(format!("a buffer has {} bytes and {len} from {from} on are needed", bytes.len())),
    }
}
