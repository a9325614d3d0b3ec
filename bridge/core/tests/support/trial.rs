//! One trial for each thing that a peer may lie about. Each takes any bytes, and panics where the core's answer is none that it may give. The
//! fuzz targets (`fuzz/`) and the ordinary tests run the same trials.

use std::sync::{Arc, LazyLock};

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array, make_array};
use arrow_data::ArrayData;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::{concat::concat, filter::filter, take::take};
use transom::exchange::{Descriptor, Direction, Ledger, Mode, decode_schema, encode_schema, export, import};
use transom::link::{ToHost, ToWorker};
use transom::memory::Extent;
use transom::{Code, Error};

use super::change::{Change, INTERESTING, Value};
use super::generate::{Nulls, Recipe, Slices, leaves, nestings};
use super::memory::{Exact, Host, Image};
use super::show;

/// A batch, what is changed in its descriptor and in its memory, and the types under which it is imported.
#[derive(Clone, Debug)]
pub struct Case {
    pub recipe: Recipe,
    pub changes: Vec<Change>,
    /// A type for the first column that is not its own.
    pub disguise: Option<DataType>,
}

/// Tries a wire form of a descriptor: the first byte says for which schema, the rest is believed as little as a worker's.
pub fn descriptor(bytes: &[u8]) {
    let Some((&which, wire)) = bytes.split_first() else { return };
    let descriptor = match Descriptor::decode(wire) {
        Ok(descriptor) => descriptor,
        Err(error) => return well_said(&error, &[Code::BadDescriptor, Code::BatchTooLarge]),
    };
    let mut again = Vec::new();
    descriptor.encode(&mut again);
    assert_eq!(again, wire, "a descriptor came back as another");
    let schemas = schemas();
    imports(&descriptor, &schemas[usize::from(which) % schemas.len()], &MEMORY);
}

/// Tries a message of either direction, and what it carries.
pub fn message(bytes: &[u8]) {
    match ToHost::decode(bytes) {
        Err(error) => well_said(&error, &[Code::ProtocolViolation, Code::BadSchema]),
        Ok(message) => {
            assert_eq!(ToHost::decode(&message.encode().unwrap()).unwrap(), message);
            match message {
                ToHost::Schema { bytes, .. } => schema(&bytes),
                ToHost::Result { descriptor: bytes, .. } => _ = Descriptor::decode(&bytes),
                _ => {}
            }
        }
    }
    match ToWorker::decode(bytes) {
        Err(error) => well_said(&error, &[Code::ProtocolViolation]),
        Ok(message) => assert_eq!(ToWorker::decode(&message.encode()).unwrap(), message),
    }
}

/// Tries a schema message: as it is, and as the content of a message of the right length, so that a change of length is not all that is found.
pub fn schema(bytes: &[u8]) {
    let mut whole = vec![0xff; 4];
    whole.extend((bytes.len() as u32).to_le_bytes());
    whole.extend(bytes);
    for message in [bytes, &whole] {
        match decode_schema(message) {
            Err(error) => well_said(&error, &[Code::BadSchema]),
            Ok(schema) => assert_eq!(decode_schema(&encode_schema(&schema).unwrap()).unwrap(), schema),
        }
    }
}

/// Tries the batch that these bytes stand for.
pub fn batch(bytes: &[u8]) {
    case(&Case::of(bytes));
}

/// Sends a batch, changes what was sent, and receives it in every mode that checks. Says whether any of them took it.
pub fn case(case: &Case) -> bool {
    Sent::of(case).changed(&case.changes)
}

/// A batch that was sent, for any number of trials: each changes it in its own way.
pub struct Sent {
    wire: Vec<u8>,
    image: Image,
    extents: Vec<Extent>,
    schema: SchemaRef,
}

impl Sent {
    /// The batch of this case, without its changes.
    pub fn of(case: &Case) -> Self {
        let batch = case.recipe.batch();
        let sent = export(&batch, &*HOST, &Ledger::default(), Direction::Result).unwrap();
        let mut wire = Vec::new();
        sent.descriptor.encode(&mut wire);
        let image = Image::of_extents(&HOST, &sent.extents);
        let extents = sent.descriptor.extents().filter(|extent| extent.len > 0).collect();
        Self { wire, image, extents, schema: case.schema(batch.schema()) }
    }

    /// Changes a copy of it, and receives that in every mode that checks. Says whether any of them took it.
    pub fn changed(&self, changes: &[Change]) -> bool {
        let (mut wire, mut image) = (self.wire.clone(), self.image.clone());
        for change in changes {
            match change.content && !self.extents.is_empty() {
                true => change.apply(image.bytes_mut(self.extents[usize::from(change.at) % self.extents.len()])),
                false => change.apply(&mut wire),
            }
        }
        match Descriptor::decode(&wire) {
            Ok(descriptor) => imports(&descriptor, &self.schema, &image),
            Err(error) => {
                well_said(&error, &[Code::BadDescriptor, Code::BatchTooLarge]);
                false
            }
        }
    }
}

/// Imports in every mode that checks, and uses what comes of it as a program would. Says whether anything came.
fn imports(descriptor: &Descriptor, schema: &SchemaRef, image: &Image) -> bool {
    let mut taken: Option<String> = None;
    for (mode, peer_writes) in [(Mode::Guarded, true), (Mode::Guarded, false), (Mode::Strict, true)] {
        let peer = Exact { image, shift: 0, peer_writes };
        match import(descriptor, schema, &peer, mode, &Ledger::default(), Direction::Result) {
            Err(error) => well_said(&error, &[Code::BadDescriptor, Code::InvalidData, Code::BatchTooLarge, Code::BadSchema]),
            Ok(received) => {
                let values = read(&received);
                match &taken {
                    Some(others) => assert_eq!(values, *others, "two modes took the batch and read it differently"),
                    None => use_up(&received),
                }
                taken = Some(values);
            }
        }
    }
    // Only bounds are promised here, so nothing is read.
    let peer = Exact { image, shift: 1, peer_writes: true };
    _ = import(descriptor, schema, &peer, Mode::Trusted, &Ledger::default(), Direction::Result);
    taken.is_some()
}

/// Reads every value, and validates by Arrow's own rules.
fn read(batch: &RecordBatch) -> String {
    batch.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
    show::batch(batch)
}

/// Computes, and sends on. Once for each batch, since all modes give the same values.
fn use_up(batch: &RecordBatch) {
    for column in batch.columns() {
        let data = column.to_data();
        // A batch of a few bytes can have billions of rows that take no memory; what is computed from them would.
        if elements(&data) <= 10_000 {
            compute(column, &data);
        }
    }
    export(batch, &*HOST, &Ledger::default(), Direction::Input).unwrap();
}

/// What kernels give is not looked at, and some types they answer with an error: that they read only what there is, is what is tried here.
fn compute(column: &ArrayRef, data: &ArrayData) {
    let len = column.len();
    assert!(*data == make_array(data.clone()).slice(0, len).to_data(), "an array is not equal to itself: {column:?}");
    if !loses_rows(data) {
        select(column, data);
    }
    _ = format!("{column:?}");
}

fn select(column: &ArrayRef, data: &ArrayData) {
    let len = column.len();
    let odd: BooleanArray = (0..len).map(|row| Some(row % 2 == 1)).collect();
    let backwards = UInt32Array::from_iter_values((0..len as u32).rev());
    _ = filter(column, &odd);
    _ = take(column, &backwards, None);
    if !outgrows_keys(data) {
        _ = concat(&[column, &column.slice(len / 2, len - len / 2)]);
    }
}

/// Whether the values of a dictionary are so many that two of it together have more than there are keys; `concat` of arrow 59 panics on those.
fn outgrows_keys(data: &ArrayData) -> bool {
    let outgrows = match data.data_type() {
        DataType::Dictionary(key, _) => {
            let bits = 8 * key.primitive_width().expect("keys are integers") - usize::from(key.is_signed_integer());
            data.child_data()[0].len() as u128 * 2 > 1 << bits
        }
        _ => false,
    };
    outgrows || data.child_data().iter().any(outgrows_keys)
}

/// Whether kernels of arrow 59 select from it, or from a child, as if it had no rows; they panic on what comes of that.
fn loses_rows(data: &ArrayData) -> bool {
    use DataType::{FixedSizeBinary, FixedSizeList, RunEndEncoded};
    matches!(data.data_type(), RunEndEncoded(..) | FixedSizeList(_, 0) | FixedSizeBinary(0)) || data.child_data().iter().any(loses_rows)
}

fn elements(data: &ArrayData) -> usize {
    data.child_data().iter().map(elements).fold(data.len(), usize::saturating_add)
}

fn well_said(error: &Error, codes: &[Code]) {
    assert!(codes.contains(&error.code()), "another code than expected: {error}");
    assert!(error.message().len() < 2000, "too long: {error}");
}

static HOST: LazyLock<Host> = LazyLock::new(Host::new);

/// What descriptors that come alone may name: zeros, which are good offsets, views, keys and type ids, and rising numbers, which are good run ends.
static MEMORY: LazyLock<Image> = LazyLock::new(|| {
    let rising = (1..=64u64).flat_map(u64::to_le_bytes).collect();
    Image { segments: [(1, vec![0; 4096]), (2, rising), (3, vec![])].into() }
});

/// The schemas that descriptors are tried with: one for each type, plain and nested, and one of several columns.
pub fn schemas() -> &'static [SchemaRef] {
    static SCHEMAS: LazyLock<Vec<SchemaRef>> = LazyLock::new(|| {
        let mut types: Vec<Vec<DataType>> = leaves().into_iter().map(|leaf| vec![leaf]).collect();
        types.extend(nestings(&DataType::Utf8).into_iter().map(|nested| vec![nested]));
        types.push(nestings(&DataType::Int8));
        types.push(vec![]);
        types.iter().map(|types| of_columns(types)).collect()
    });
    &SCHEMAS
}

fn of_columns(types: &[DataType]) -> SchemaRef {
    let fields: Vec<Field> = types.iter().enumerate().map(|(index, data_type)| Field::new(format!("c{index}"), data_type.clone(), true)).collect();
    Arc::new(Schema::new(fields))
}

/// Fewer rows than this: more than a byte of a bitmap has, with those that are sliced off more than two, and no more work than that.
const ROWS: usize = 21;

impl Case {
    /// The case that these bytes stand for. Any bytes do; what is missing is zero.
    pub fn of(bytes: &[u8]) -> Self {
        let (batch, changes) = Self::without_changes(bytes);
        Self { changes: changes_of(changes), ..batch }
    }

    /// The batch that these bytes stand for, unchanged, and those of them that say what is changed.
    pub fn without_changes(bytes: &[u8]) -> (Self, &[u8]) {
        let mut bytes = Bytes { rest: bytes };
        let nulls = [Nulls::None, Nulls::Some, Nulls::All][bytes.below(3)];
        let slices = Slices { children: bytes.below(2) == 1, parent: (bytes.below(20), bytes.below(20)) };
        let (rows, seed) = (bytes.below(ROWS), bytes.u16().into());
        let columns = (0..bytes.below(4)).map(|_| bytes.data_type()).collect();
        let disguise = (bytes.below(8) == 7).then(|| bytes.data_type());
        (Self { recipe: Recipe { rows, columns, nulls, slices, seed }, changes: Vec::new(), disguise }, bytes.rest)
    }

    fn schema(&self, own: SchemaRef) -> SchemaRef {
        let Some(disguise) = &self.disguise else { return own };
        let others = self.recipe.columns.iter().skip(1);
        of_columns(&std::iter::once(disguise).chain(others).cloned().collect::<Vec<_>>())
    }
}

/// The changes that these bytes stand for, four at most.
pub fn changes_of(bytes: &[u8]) -> Vec<Change> {
    let mut bytes = Bytes { rest: bytes };
    (0..bytes.below(5)).map(|_| bytes.change()).collect()
}

/// One change that these bytes stand for.
pub fn change_of(bytes: &[u8]) -> Change {
    Bytes { rest: bytes }.change()
}

static LEAVES: LazyLock<Vec<DataType>> = LazyLock::new(leaves);

/// Bytes as decisions.
struct Bytes<'a> {
    rest: &'a [u8],
}

impl Bytes<'_> {
    fn u8(&mut self) -> u8 {
        let (first, rest) = self.rest.split_first().unwrap_or((&0, &[]));
        self.rest = rest;
        *first
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.u8(), self.u8()])
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::from(self.u8()) % limit
    }

    fn data_type(&mut self) -> DataType {
        let levels = self.below(4);
        let leaf = LEAVES[self.below(LEAVES.len())].clone();
        (0..levels).fold(leaf, |of, _| {
            let mut nestings = nestings(&of);
            nestings.swap_remove(self.below(nestings.len()))
        })
    }

    fn change(&mut self) -> Change {
        let (content, width) = (self.below(2) == 1, 1 << self.below(4));
        let (at, within) = (self.u16(), self.u16());
        let value = match self.below(4) {
            0 => Value::Set(INTERESTING[self.below(INTERESTING.len())]),
            1 => Value::Add(self.u8() as i8),
            2 => Value::Flip(self.u8()),
            _ => Value::From(self.u16()),
        };
        Change { content, at, within, width, value }
    }
}
