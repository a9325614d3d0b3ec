//! From a descriptor to a batch. Nothing of the descriptor is believed, and nothing of the memory that it names.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, make_array};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, NullBuffer};
use arrow_data::{ArrayData, ArrayDataBuilder};
use arrow_schema::{DataType, Field, SchemaRef, UnionFields, UnionMode};

use super::Mode;
use super::buffers::{Buffers, Kind, Resolve};
use super::descriptor::{Descriptor, Node, check_rows};
use super::fault::Fault;
use super::ledger::{Direction, Ledger};
use super::schema::{check_schema, fixed_width, has_validity};
use super::validate;
use crate::failure::{Code, Error, Result};

/// Longer arrays cannot be meant: no address space holds one, and sums of such lengths never wrap.
const MAX_LEN: u64 = 1 << 47;

type Checked<T> = std::result::Result<T, Fault>;

/// Makes the batch that `descriptor` describes, of columns as in `schema`. The batch keeps the memory that it uses through the owners that
/// `resolve` gives.
///
/// # Errors
/// `BAD_DESCRIPTOR` where the descriptor does not fit the schema or the memory; `INVALID_DATA` where the content breaks the rules of its
/// type, with the column, the buffer, the place and the value; `BAD_SCHEMA` or `BATCH_TOO_LARGE` where a limit is passed; and whatever
/// `resolve` says.
pub fn import(
    descriptor: &Descriptor,
    schema: &SchemaRef,
    resolve: &dyn Resolve,
    mode: Mode,
    ledger: &Ledger,
    direction: Direction,
) -> Result<RecordBatch> {
    // Everything below checks before it touches. The net is there so that a case nobody thought of costs one batch and not the process.
    let result = catch_unwind(AssertUnwindSafe(|| import_checked(descriptor, schema, resolve, mode, ledger, direction)));
    result.unwrap_or_else(|_| Err(Error::new(Code::Internal, "a check of a received batch failed")))
}

fn import_checked(
    descriptor: &Descriptor,
    schema: &SchemaRef,
    resolve: &dyn Resolve,
    mode: Mode,
    ledger: &Ledger,
    direction: Direction,
) -> Result<RecordBatch> {
    check_rows(descriptor.rows)?;
    check_schema(schema)?;
    let rows = descriptor.rows as usize;
    let mut importer =
        Importer { nodes: descriptor.nodes.iter(), buffers: Buffers::new(&descriptor.buffers, resolve, mode), checks: mode != Mode::Trusted };
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for (index, field) in schema.fields().iter().enumerate() {
        let column = importer.array(field.data_type(), Some(rows)).and_then(|column| refuse_nulls(field, &column, None).map(|()| column));
        columns.push(make_array(column.map_err(|fault| fault.inside(field.name()).in_column(index))?));
    }
    let (nodes, buffers) = (importer.nodes.len(), importer.buffers.left());
    if nodes > 0 || buffers > 0 {
        return Err(Error::new(Code::BadDescriptor, format!("{nodes} arrays and {buffers} buffers are left over")));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch =
        RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(|error| Error::new(Code::InvalidData, error.to_string()))?;
    ledger.record(direction, &importer.buffers.tally);
    Ok(batch)
}

struct Importer<'a> {
    nodes: std::slice::Iter<'a, Node>,
    buffers: Buffers<'a>,
    /// Whether the content is checked.
    checks: bool,
}

impl Importer<'_> {
    /// The next array, which its parent calls by this field's name.
    fn child(&mut self, field: &Field, len: Option<usize>) -> Checked<ArrayData> {
        self.array(field.data_type(), len).map_err(|fault| fault.inside(field.name()))
    }

    fn array(&mut self, data_type: &DataType, expected: Option<usize>) -> Checked<ArrayData> {
        let node = self.node(data_type, expected)?;
        let len = node.len as usize;
        let nulls = if has_validity(data_type) { self.validity(&node)? } else { None };
        let array = ArrayData::builder(data_type.clone()).len(len);
        let array = match data_type {
            DataType::Null => array,
            DataType::Boolean => {
                let first = node.first as usize;
                array.offset(first).add_buffer(self.buffers.exactly("values", Some((first + len).div_ceil(8)), 1, Kind::Values)?)
            }
            DataType::Utf8 => self.text::<i32>(array, len, true)?,
            DataType::LargeUtf8 => self.text::<i64>(array, len, true)?,
            DataType::Binary => self.text::<i32>(array, len, false)?,
            DataType::LargeBinary => self.text::<i64>(array, len, false)?,
            DataType::Utf8View => self.views(array, &node, true)?,
            DataType::BinaryView => self.views(array, &node, false)?,
            DataType::List(item) | DataType::Map(item, _) => self.list::<i32>(array, len, item)?,
            DataType::LargeList(item) => self.list::<i64>(array, len, item)?,
            DataType::ListView(item) => self.list_view::<i32>(array, len, item)?,
            DataType::LargeListView(item) => self.list_view::<i64>(array, len, item)?,
            DataType::FixedSizeList(item, size) => self.fixed_size_list(array, len, item, *size as usize, nulls.as_ref())?,
            DataType::Struct(fields) => {
                let children = fields.iter().map(|field| {
                    let child = self.child(field, Some(len))?;
                    if self.checks {
                        refuse_nulls(field, &child, nulls.as_ref()).map_err(|fault| fault.inside(field.name()))?;
                    }
                    Ok(child)
                });
                array.child_data(children.collect::<Checked<_>>()?)
            }
            DataType::Union(fields, mode) => self.union(array, len, fields, *mode)?,
            DataType::Dictionary(keys, values) => self.dictionary(array, len, keys, values, nulls.as_ref())?,
            DataType::RunEndEncoded(ends, values) => self.run_ends(array, &node, ends.data_type(), values)?,
            fixed => array.add_buffer(self.fixed(fixed, len, "values", Kind::Values)?),
        };
        // SAFETY: buffers have the lengths and alignments of their type, and what they hold was checked as far as the mode promises: the
        // caller chose `Trusted` where it was not.
        Ok(unsafe { array.nulls(nulls).build_unchecked() })
    }

    /// The next node, with everything checked that does not need its buffers.
    fn node(&mut self, data_type: &DataType, expected: Option<usize>) -> Checked<Node> {
        let node = *self.nodes.next().ok_or_else(|| Fault::descriptor("the array is missing"))?;
        if let Some(expected) = expected.filter(|&expected| expected as u64 != node.len) {
            return Err(Fault::descriptor(format!("the array has {} values where {expected} must be", node.len)));
        }
        if node.len > MAX_LEN {
            return Err(Fault::descriptor(format!("{} values are too many", node.len)));
        }
        let (least, most) = buffer_counts(data_type);
        if !(least..=most).contains(&node.buffers) {
            return Err(Fault::descriptor(format!("an array of type {data_type} has {} buffers and must have {least}", node.buffers)));
        }
        let most = match data_type {
            DataType::Boolean => 7,
            DataType::RunEndEncoded(..) => MAX_LEN,
            _ => 0,
        };
        if node.first > most {
            return Err(Fault::descriptor(format!("the values of type {data_type} begin at {}", node.first)));
        }
        Ok(node)
    }

    fn validity(&mut self, node: &Node) -> Checked<Option<NullBuffer>> {
        let (bit, len) = (usize::from(node.validity_bit), node.len as usize);
        let Some(extent) = self.buffers.next()? else { return Ok(None) };
        let needed = (bit + len).div_ceil(8) as u64;
        if extent.len < needed {
            return Err(Fault::descriptor(format!("the buffer `validity` has {} bytes and needs {needed}", extent.len)));
        }
        if len == 0 {
            return Ok(None);
        }
        let bits = self.buffers.fetch(crate::memory::Extent { len: needed, ..extent }, 1, Kind::Structure)?;
        Ok(Some(NullBuffer::new(BooleanBuffer::new(bits, bit, len))).filter(|nulls| nulls.null_count() > 0))
    }

    /// A buffer of `len` values of a type of fixed width.
    fn fixed(&mut self, data_type: &DataType, len: usize, name: &str, kind: Kind) -> Checked<Buffer> {
        let (width, align) = fixed_width(data_type).ok_or_else(|| Fault::schema(format!("{data_type} is not supported")))?;
        self.buffers.exactly(name, len.checked_mul(width), align, kind)
    }

    /// A buffer of `count` numbers that shape the data.
    fn structure<T: ArrowNativeType>(&mut self, count: usize, name: &str) -> Checked<Buffer> {
        self.buffers.exactly(name, count.checked_mul(size_of::<T>()), align_of::<T>(), Kind::Structure)
    }

    /// Offsets, one more than values. An array without values may come without any.
    fn offsets<O: ArrowNativeType>(&mut self, len: usize) -> Checked<Buffer> {
        let offsets = self.structure::<O>(if len == 0 { 0 } else { len + 1 }, "offsets")?;
        Ok(if len == 0 { Buffer::from_slice_ref([O::default()]) } else { offsets })
    }

    fn text<O: validate::Offset>(&mut self, array: ArrayDataBuilder, len: usize, utf8: bool) -> Checked<ArrayDataBuilder> {
        let offsets = self.offsets::<O>(len)?;
        let bytes = self.buffers.whole(Kind::Values)?;
        let range = validate::ends(offsets.typed_data::<O>(), bytes.len())?;
        if self.checks {
            validate::offsets(offsets.typed_data::<O>())?;
            if utf8 {
                validate::utf8(offsets.typed_data::<O>(), range, &bytes)?;
            }
        }
        Ok(array.add_buffer(offsets).add_buffer(bytes))
    }

    fn views(&mut self, array: ArrayDataBuilder, node: &Node, utf8: bool) -> Checked<ArrayDataBuilder> {
        let views = self.structure::<u128>(node.len as usize, "views")?;
        let texts = (2..node.buffers).map(|_| self.buffers.whole(Kind::Values)).collect::<Checked<Vec<_>>>()?;
        if self.checks {
            validate::views(views.typed_data(), &texts, utf8)?;
        }
        Ok(array.add_buffer(views).add_buffers(texts))
    }

    fn list<O: validate::Offset>(&mut self, array: ArrayDataBuilder, len: usize, item: &Field) -> Checked<ArrayDataBuilder> {
        let offsets = self.offsets::<O>(len)?;
        let child = self.child(item, None)?;
        validate::ends(offsets.typed_data::<O>(), child.len())?;
        if self.checks {
            validate::offsets(offsets.typed_data::<O>())?;
            refuse_nulls(item, &child, None).map_err(|fault| fault.inside(item.name()))?;
        }
        Ok(array.add_buffer(offsets).add_child_data(child))
    }

    fn list_view<O: validate::Offset>(&mut self, array: ArrayDataBuilder, len: usize, item: &Field) -> Checked<ArrayDataBuilder> {
        let (offsets, sizes) = (self.structure::<O>(len, "offsets")?, self.structure::<O>(len, "sizes")?);
        let child = self.child(item, None)?;
        if self.checks {
            validate::list_views(offsets.typed_data::<O>(), sizes.typed_data::<O>(), child.len())?;
            refuse_nulls(item, &child, None).map_err(|fault| fault.inside(item.name()))?;
        }
        Ok(array.add_buffer(offsets).add_buffer(sizes).add_child_data(child))
    }

    fn fixed_size_list(
        &mut self,
        array: ArrayDataBuilder,
        len: usize,
        item: &Field,
        size: usize,
        nulls: Option<&NullBuffer>,
    ) -> Checked<ArrayDataBuilder> {
        let count = len.checked_mul(size).ok_or_else(|| Fault::descriptor(format!("{len} lists of {size} values are too many")))?;
        let child = self.child(item, Some(count))?;
        if self.checks && !item.is_nullable() && child.nulls().is_some() {
            let mask = nulls.map(|nulls| nulls.expand(size));
            refuse_nulls(item, &child, mask.as_ref()).map_err(|fault| fault.inside(item.name()))?;
        }
        Ok(array.add_child_data(child))
    }

    fn union(&mut self, array: ArrayDataBuilder, len: usize, fields: &UnionFields, mode: UnionMode) -> Checked<ArrayDataBuilder> {
        let ids = self.structure::<i8>(len, "type ids")?;
        let places = match mode {
            UnionMode::Dense => Some(self.structure::<i32>(len, "offsets")?),
            UnionMode::Sparse => None,
        };
        let child_len = Some(len).filter(|_| mode == UnionMode::Sparse);
        let children = fields.iter().map(|(_, field)| self.child(field, child_len)).collect::<Checked<Vec<_>>>()?;
        if self.checks {
            let mut lens = [None; 128];
            for ((id, _), child) in fields.iter().zip(&children) {
                lens[(id & 127) as usize] = Some(child.len());
            }
            validate::type_ids(ids.typed_data(), &lens)?;
            if let Some(places) = &places {
                validate::union_offsets(ids.typed_data(), places.typed_data(), &lens)?;
            }
        }
        Ok(array.add_buffer(ids).add_buffers(places).child_data(children))
    }

    fn dictionary(
        &mut self,
        array: ArrayDataBuilder,
        len: usize,
        key_type: &DataType,
        value_type: &DataType,
        nulls: Option<&NullBuffer>,
    ) -> Checked<ArrayDataBuilder> {
        let keys = self.fixed(key_type, len, "keys", Kind::Structure)?;
        let values = self.array(value_type, None).map_err(|fault| fault.inside("dictionary"))?;
        if self.checks {
            validate::keys(key_type, &keys, values.len(), nulls)?;
        }
        // Values that no key can name are nobody's. Arrow's kernels take a dictionary that has such for one that was put together wrongly, and panic.
        let values = if values.len() as u128 > key_count(key_type) { values.slice(0, key_count(key_type) as usize) } else { values };
        Ok(array.add_buffer(keys).add_child_data(values))
    }

    fn run_ends(&mut self, array: ArrayDataBuilder, node: &Node, end_type: &DataType, values: &Field) -> Checked<ArrayDataBuilder> {
        let ends_node = self.node(end_type, None).map_err(|fault| fault.inside("run_ends"))?;
        if self.buffers.next()?.is_some() {
            return Err(Fault::descriptor("run ends cannot be null").inside("run_ends"));
        }
        let count = ends_node.len as usize;
        let ends = self.fixed(end_type, count, "values", Kind::Structure).map_err(|fault| fault.inside("run_ends"))?;
        let (first, len) = (node.first as usize, node.len as usize);
        if self.checks {
            validate::run_ends(end_type, &ends, first, len).map_err(|fault| fault.inside("run_ends"))?;
        }
        let values = self.child(values, Some(count))?;
        let ends = ArrayData::builder(end_type.clone()).len(count).add_buffer(ends);
        // SAFETY: `fixed` gave `count` aligned values of this type.
        let ends = unsafe { ends.build_unchecked() };
        Ok(array.offset(first).add_child_data(ends).add_child_data(values))
    }
}

/// How many values keys of this type can name.
fn key_count(key_type: &DataType) -> u128 {
    let bits = 8 * key_type.primitive_width().unwrap_or(0) - usize::from(key_type.is_signed_integer());
    1 << bits
}

/// The least and the most buffers of an array of this type, validity included.
fn buffer_counts(data_type: &DataType) -> (u32, u32) {
    match data_type {
        DataType::Null | DataType::RunEndEncoded(..) => (0, 0),
        DataType::Struct(_) | DataType::FixedSizeList(..) | DataType::Union(_, UnionMode::Sparse) => (1, 1),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => (3, 3),
        DataType::ListView(_) | DataType::LargeListView(_) => (3, 3),
        DataType::Utf8View | DataType::BinaryView => (2, u32::MAX),
        _ => (2, 2),
    }
}

/// Refuses nulls in a field that may have none, except where the parent's row is null (`mask`).
fn refuse_nulls(field: &Field, child: &ArrayData, mask: Option<&NullBuffer>) -> Checked<()> {
    match child.nulls() {
        Some(nulls) if !field.is_nullable() && !mask.is_some_and(|mask| mask.contains(nulls)) => {
            Err(Fault::data(format!("{} values are null and the field may have no nulls", nulls.null_count())))
        }
        _ => Ok(()),
    }
}
