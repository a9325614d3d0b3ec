//! Generated batches of every Arrow type. A [`Recipe`] is small and shrinks; the same recipe always gives the same batch.

use std::sync::Arc;

use arrow_array::builder::{BinaryViewBuilder, StringViewBuilder};
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, make_array};
use arrow_buffer::{Buffer, NullBuffer};
use arrow_data::ArrayData;
use arrow_schema::{DataType, Field, FieldRef, Fields, IntervalUnit, Schema, TimeUnit, UnionFields, UnionMode};

/// How many values are null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nulls {
    None,
    Some,
    All,
}

/// Where the arrays are slices of longer ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Slices {
    /// The batch itself is a slice: rows before it and rows behind it.
    pub parent: (usize, usize),
    /// Children are slices.
    pub children: bool,
}

/// Everything that decides what a batch holds.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub rows: usize,
    pub columns: Vec<DataType>,
    pub nulls: Nulls,
    pub slices: Slices,
    pub seed: u64,
}

impl Recipe {
    pub fn batch(&self) -> RecordBatch {
        let (before, behind) = self.slices.parent;
        let nullable = self.nulls != Nulls::None;
        let fields: Fields = self.columns.iter().enumerate().map(|(i, t)| Field::new(format!("c{i}"), t.clone(), nullable)).collect();
        let mut maker = Maker { random: Random(self.seed | 1), nulls: self.nulls, children: self.slices.children };
        let rows = before + self.rows + behind;
        let columns = self.columns.iter().map(|t| maker.array(t, nullable, rows)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).unwrap().slice(before, self.rows)
    }
}

/// Every type without children.
pub fn leaves() -> Vec<DataType> {
    use DataType::*;
    let units = [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond];
    let mut all = vec![
        Null,
        Boolean,
        Int8,
        Int16,
        Int32,
        Int64,
        UInt8,
        UInt16,
        UInt32,
        UInt64,
        Float16,
        Float32,
        Float64,
        Date32,
        Date64,
        Utf8,
        LargeUtf8,
        Utf8View,
        Binary,
        LargeBinary,
        BinaryView,
        FixedSizeBinary(0),
        FixedSizeBinary(1),
        FixedSizeBinary(7),
        FixedSizeBinary(16),
        Decimal32(9, 2),
        Decimal64(18, -3),
        Decimal128(38, 10),
        Decimal256(76, 38),
        Time32(TimeUnit::Second),
        Time32(TimeUnit::Millisecond),
        Time64(TimeUnit::Microsecond),
        Time64(TimeUnit::Nanosecond),
        Interval(IntervalUnit::YearMonth),
        Interval(IntervalUnit::DayTime),
        Interval(IntervalUnit::MonthDayNano),
    ];
    all.extend(units.map(Duration));
    all.extend(units.map(|unit| Timestamp(unit, None)));
    all.extend(units.map(|unit| Timestamp(unit, Some("Europe/Tallinn".into()))));
    all
}

pub const KEYS: [DataType; 8] =
    [DataType::Int8, DataType::Int16, DataType::Int32, DataType::Int64, DataType::UInt8, DataType::UInt16, DataType::UInt32, DataType::UInt64];

pub const RUN_ENDS: [DataType; 3] = [DataType::Int16, DataType::Int32, DataType::Int64];

fn item(of: &DataType) -> FieldRef {
    Arc::new(Field::new("item", of.clone(), true))
}

/// Every way to nest a type in another.
pub fn nestings(of: &DataType) -> Vec<DataType> {
    use DataType::*;
    let map = |ordered| {
        let fields = Fields::from(vec![Field::new("key", Utf8, false), Field::new("value", of.clone(), true)]);
        Map(Arc::new(Field::new("entries", Struct(fields), false)), ordered)
    };
    let union = |mode| {
        let fields = [(3, item(of)), (0, Arc::new(Field::new("number", Int32, true))), (127, Arc::new(Field::new("text", Utf8View, true)))];
        Union(fields.into_iter().collect::<UnionFields>(), mode)
    };
    let mut all = vec![
        List(item(of)),
        LargeList(item(of)),
        ListView(item(of)),
        LargeListView(item(of)),
        FixedSizeList(item(of), 0),
        FixedSizeList(item(of), 3),
        Struct(Fields::empty()),
        Struct(Fields::from(vec![Field::new("a", of.clone(), true), Field::new("b", Int16, false), Field::new("c", Boolean, true)])),
        map(false),
        map(true),
        union(UnionMode::Sparse),
        union(UnionMode::Dense),
    ];
    all.extend(KEYS.map(|key| Dictionary(Box::new(key), Box::new(of.clone()))));
    all.extend(RUN_ENDS.map(|ends| RunEndEncoded(Arc::new(Field::new("run_ends", ends, false)), Arc::new(Field::new("values", of.clone(), true)))));
    all
}

/// A stream of pseudo-random numbers, always the same from the same start.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        // The generator of Vigna's `splitmix64`: small, and good enough to look random.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]));
        bytes
    }
}

/// Makes arrays from a stream of pseudo-random numbers.
struct Maker {
    random: Random,
    nulls: Nulls,
    children: bool,
}

impl Maker {
    fn below(&mut self, limit: usize) -> usize {
        self.random.below(limit)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        self.random.bytes(len)
    }

    fn validity(&mut self, nullable: bool, len: usize) -> Option<NullBuffer> {
        match self.nulls {
            _ if !nullable => None,
            Nulls::None => None,
            Nulls::Some => Some((0..len).map(|_| self.below(4) > 0).collect()),
            Nulls::All => Some(NullBuffer::new_null(len)),
        }
    }

    /// An array that stands for itself or, where children are to be slices, in the middle of a longer one.
    fn child(&mut self, data_type: &DataType, nullable: bool, len: usize) -> ArrayRef {
        let (before, behind) = if self.children { (self.below(12), self.below(12)) } else { (0, 0) };
        self.array(data_type, nullable, before + len + behind).slice(before, len)
    }

    fn field(&mut self, field: &Field, len: usize) -> ArrayData {
        self.child(field.data_type(), field.is_nullable(), len).to_data()
    }

    fn array(&mut self, data_type: &DataType, nullable: bool, len: usize) -> ArrayRef {
        use DataType::*;
        let data = ArrayData::builder(data_type.clone()).len(len);
        let data = match data_type {
            Null => data,
            Boolean => data.add_buffer(self.bytes(len.div_ceil(8)).into()),
            Utf8 | Binary => {
                let (offsets, text) = self.text(len, *data_type == Utf8);
                data.add_buffer(Buffer::from_iter(offsets.iter().map(|&o| o as i32))).add_buffer(text.into())
            }
            LargeUtf8 | LargeBinary => {
                let (offsets, text) = self.text(len, *data_type == LargeUtf8);
                data.add_buffer(Buffer::from_iter(offsets.iter().map(|&o| o as i64))).add_buffer(text.into())
            }
            Utf8View | BinaryView => return self.views(data_type, nullable, len),
            List(item) | Map(item, _) => {
                let (offsets, count) = self.offsets(len);
                data.add_buffer(Buffer::from_iter(offsets.iter().map(|&o| o as i32))).add_child_data(self.field(item, count))
            }
            LargeList(item) => {
                let (offsets, count) = self.offsets(len);
                data.add_buffer(Buffer::from_iter(offsets.iter().map(|&o| o as i64))).add_child_data(self.field(item, count))
            }
            ListView(item) => {
                let (views, count) = self.ranges(len);
                let data = data.add_buffer(Buffer::from_iter(views.iter().map(|v| v.0 as i32)));
                data.add_buffer(Buffer::from_iter(views.iter().map(|v| v.1 as i32))).add_child_data(self.field(item, count))
            }
            LargeListView(item) => {
                let (views, count) = self.ranges(len);
                let data = data.add_buffer(Buffer::from_iter(views.iter().map(|v| v.0 as i64)));
                data.add_buffer(Buffer::from_iter(views.iter().map(|v| v.1 as i64))).add_child_data(self.field(item, count))
            }
            FixedSizeList(item, size) => data.add_child_data(self.field(item, len * *size as usize)),
            Struct(fields) => data.child_data(fields.iter().map(|field| self.field(field, len)).collect()),
            Union(fields, mode) => return self.union(data_type, fields, *mode, len),
            Dictionary(keys, values) => {
                let count = 1 + self.below(20);
                let width = keys.primitive_width().unwrap();
                let keys = (0..len).flat_map(|_| (self.below(count) as u64).to_le_bytes().into_iter().take(width)).collect::<Vec<u8>>();
                data.add_buffer(aligned(&keys)).add_child_data(self.child(values, true, count).to_data())
            }
            RunEndEncoded(ends, values) => return self.runs(data_type, ends, values, len),
            FixedSizeBinary(width) => data.add_buffer(self.bytes(len * *width as usize).into()),
            fixed => data.add_buffer(aligned(&self.bytes(len * fixed.primitive_width().unwrap()))),
        };
        let nulls = if *data_type == Null { None } else { self.validity(nullable, len) };
        make_array(data.nulls(nulls).build().unwrap())
    }

    /// Texts of 0 to 30 bytes; where they are to be UTF-8, some with characters of several bytes.
    fn text(&mut self, len: usize, utf8: bool) -> (Vec<usize>, Vec<u8>) {
        let (mut offsets, mut all) = (vec![0], Vec::new());
        for _ in 0..len {
            let len = self.below(31);
            if utf8 {
                let one = ["a", "b", "é", "漢", "🚪"];
                let text: String = (0..len / 2).map(|_| one[self.below(if len.is_multiple_of(3) { 5 } else { 2 })]).collect();
                all.extend_from_slice(text.as_bytes());
            } else {
                all.extend(self.bytes(len));
            }
            offsets.push(all.len());
        }
        (offsets, all)
    }

    fn views(&mut self, data_type: &DataType, nullable: bool, len: usize) -> ArrayRef {
        let utf8 = *data_type == DataType::Utf8View;
        let (offsets, text) = self.text(len, utf8);
        let nulls = self.validity(nullable, len);
        let values = offsets.windows(2).enumerate();
        let values = values.map(|(i, range)| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(i)).then(|| &text[range[0]..range[1]]));
        // Small blocks, so that there are several data buffers.
        if utf8 {
            let mut builder = StringViewBuilder::new().with_fixed_block_size(64);
            values.for_each(|value| builder.append_option(value.map(|value| std::str::from_utf8(value).unwrap())));
            Arc::new(builder.finish())
        } else {
            let mut builder = BinaryViewBuilder::new().with_fixed_block_size(64);
            values.for_each(|value| builder.append_option(value));
            Arc::new(builder.finish())
        }
    }

    /// Offsets of lists of 0 to 3 values; they need not begin at 0, nor reach the end of the values.
    fn offsets(&mut self, len: usize) -> (Vec<usize>, usize) {
        let slack = if self.children { 5 } else { 1 };
        let mut offsets = vec![self.below(slack)];
        (0..len).for_each(|i| offsets.push(offsets[i] + self.below(4)));
        let count = offsets[len] + self.below(slack);
        (offsets, count)
    }

    /// Offset and size of list views, in no order.
    fn ranges(&mut self, len: usize) -> (Vec<(usize, usize)>, usize) {
        let count = self.below(2 * len + 5);
        let range = |maker: &mut Self| {
            let start = maker.below(count + 1);
            (start, maker.below((count - start + 1).min(4)))
        };
        ((0..len).map(|_| range(self)).collect(), count)
    }

    fn union(&mut self, data_type: &DataType, fields: &UnionFields, mode: UnionMode, len: usize) -> ArrayRef {
        let known: Vec<i8> = fields.iter().map(|(id, _)| id).collect();
        let ids: Vec<i8> = (0..len).map(|_| known[self.below(known.len())]).collect();
        let data = ArrayData::builder(data_type.clone()).len(len).add_buffer(Buffer::from_iter(ids.iter().copied()));
        let data = match mode {
            UnionMode::Sparse => data.child_data(fields.iter().map(|(_, field)| self.field(field, len)).collect()),
            UnionMode::Dense => {
                let lens: Vec<usize> = known.iter().map(|_| 1 + self.below(len + 1)).collect();
                let place = |id: &i8| known.iter().position(|known| known == id).unwrap();
                let offsets: Vec<i32> = ids.iter().map(|id| self.below(lens[place(id)]) as i32).collect();
                let children = fields.iter().zip(&lens).map(|((_, field), &len)| self.field(field, len)).collect();
                data.add_buffer(Buffer::from_iter(offsets)).child_data(children)
            }
        };
        make_array(data.build().unwrap())
    }

    fn runs(&mut self, data_type: &DataType, ends: &Field, values: &Field, len: usize) -> ArrayRef {
        let mut at = 0;
        let mut all = Vec::new();
        while at < len {
            at = (at + 1 + self.below(5)).min(len);
            all.push(at);
        }
        let width = ends.data_type().primitive_width().unwrap();
        let bytes: Vec<u8> = all.iter().flat_map(|&end| (end as u64).to_le_bytes().into_iter().take(width)).collect();
        let ends = ArrayData::builder(ends.data_type().clone()).len(all.len()).add_buffer(aligned(&bytes)).build().unwrap();
        let values = self.field(values, all.len());
        make_array(ArrayData::builder(data_type.clone()).len(len).add_child_data(ends).add_child_data(values).build().unwrap())
    }
}

/// A buffer that begins at a multiple of 64, as every type may need.
pub fn aligned(bytes: &[u8]) -> Buffer {
    Buffer::from_slice_ref(bytes)
}
