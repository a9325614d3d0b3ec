//! Batches of every shape go in and out of the library as C structs and stay what they were; nothing of them is left behind. No worker is needed:
//! the pool only puts them into shared memory.

use std::ptr::null_mut;
use std::sync::Arc;

use arrow_array::builder::{FixedSizeListBuilder, Int32Builder, ListBuilder, MapBuilder, StringBuilder, StringRunBuilder, StringViewBuilder};
use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi};
use arrow_array::types::{Int8Type, Int32Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, DictionaryArray, FixedSizeBinaryArray, Int32Array, LargeBinaryArray, NullArray, RecordBatch,
    StringArray, StructArray, UnionArray, make_array,
};
use arrow_buffer::Buffer;
use arrow_data::ArrayData;
use arrow_schema::{DataType, Field, UnionFields};
use transom::Code;
use transom_ffi::abi::{TRANSOM_ABI_VERSION, transom_pool_t};
use transom_ffi::entry::transom_init;
use transom_ffi::error::transom_error_text;
use transom_ffi::memory::transom_pool_share;
use transom_ffi::options::{transom_options_free, transom_options_new, transom_options_set_prestart};
use transom_ffi::pool::{transom_pool_close, transom_pool_open};

const ROWS: usize = 40;

fn columns() -> Vec<(&'static str, ArrayRef)> {
    let numbers: Int32Array = (0..ROWS as i32).map(|row| (row % 3 != 0).then_some(row)).collect();
    let texts: StringArray = (0..ROWS).map(|row| (row % 4 != 0).then(|| format!("text {row}"))).collect();
    let mut views = StringViewBuilder::new();
    let mut lists = ListBuilder::new(Int32Builder::new());
    let mut fixed = FixedSizeListBuilder::new(Int32Builder::new(), 2);
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    let mut runs = StringRunBuilder::<Int32Type>::new();
    for row in 0..ROWS {
        views.append_option((row % 5 != 0).then(|| format!("a text that is longer than a view can hold, {row}")));
        lists.append_option((row % 3 != 1).then(|| (0..row as i32 % 4).map(Some)));
        fixed.values().append_slice(&[row as i32, -(row as i32)]);
        fixed.append(row % 7 != 0);
        (0..row % 3).for_each(|entry| {
            maps.keys().append_value(format!("key {entry}"));
            maps.values().append_value(row as i32);
        });
        maps.append(row % 6 != 0).expect("as many keys as values");
        runs.append_value(format!("run {}", row / 4));
    }
    let nested = StructArray::from(vec![
        (Arc::new(Field::new("n", DataType::Int32, true)), Arc::new(numbers.clone()) as ArrayRef),
        (Arc::new(Field::new("t", DataType::Utf8, true)), Arc::new(texts.clone()) as ArrayRef),
    ]);
    let outer = StructArray::from(vec![(Arc::new(Field::new("inner", nested.data_type().clone(), true)), Arc::new(nested.clone()) as ArrayRef)]);
    let fields: UnionFields =
        [(0, Arc::new(Field::new("n", DataType::Int32, true))), (1, Arc::new(Field::new("t", DataType::Utf8, true)))].into_iter().collect();
    let ids: Vec<i8> = (0..ROWS).map(|row| i8::from(row % 2 == 0)).collect();
    let union = UnionArray::try_new(fields, ids.into(), None, vec![Arc::new(numbers.clone()), Arc::new(texts.clone())]).expect("a union");
    let words: DictionaryArray<Int8Type> = (0..ROWS).map(|row| (row % 5 != 0).then_some(["over", "the", "door"][row % 3])).collect();
    vec![
        ("numbers", Arc::new(numbers)),
        ("texts", Arc::new(texts)),
        ("bits", Arc::new((0..ROWS).map(|row| (row % 3 != 0).then_some(row % 2 == 0)).collect::<BooleanArray>())),
        ("decimals", Arc::new((0..ROWS).map(|row| Some(row as i128 * 1_000_000_007)).collect::<Decimal128Array>())),
        ("bytes", Arc::new((0..ROWS).map(|row| Some(vec![row as u8; row % 5])).collect::<LargeBinaryArray>())),
        ("fixed", Arc::new(FixedSizeBinaryArray::try_from_iter((0..ROWS).map(|row| [row as u8; 3])).expect("of one size"))),
        ("views", Arc::new(views.finish())),
        ("lists", Arc::new(lists.finish())),
        ("pairs", Arc::new(fixed.finish())),
        ("maps", Arc::new(maps.finish())),
        ("runs", Arc::new(runs.finish())),
        ("nested", Arc::new(outer)),
        ("union", Arc::new(union)),
        ("words", Arc::new(words)),
        ("nothing", Arc::new(NullArray::new(ROWS))),
    ]
}

/// Opens a pool in which no worker is started.
fn open() -> *mut transom_pool_t {
    let (mut options, mut pool) = (null_mut(), null_mut());
    // SAFETY: every place may be written, and errors are not asked for.
    unsafe {
        assert_eq!(transom_init(TRANSOM_ABI_VERSION, null_mut()), 0);
        assert_eq!(transom_options_new(&raw mut options, null_mut()), 0);
        assert_eq!(transom_options_set_prestart(options, 0, null_mut()), 0);
        assert_eq!(transom_pool_open(options, &raw mut pool, null_mut()), 0);
    }
    transom_options_free(options);
    pool
}

/// The batch, as it comes back from the library.
fn shared(pool: *mut transom_pool_t, batch: &RecordBatch) -> RecordBatch {
    let mut array = FFI_ArrowArray::new(&StructArray::from(batch.clone()).to_data());
    let schema = FFI_ArrowSchema::try_from(batch.schema_ref().as_ref()).expect("C can have it");
    let (mut given, mut given_schema, mut error) = (FFI_ArrowArray::empty(), FFI_ArrowSchema::empty(), null_mut());
    // SAFETY: the structs are filled by arrow-rs; the places are empty and may be written.
    unsafe {
        let code = transom_pool_share(pool, &raw mut array, &raw const schema, &raw mut given, &raw mut given_schema, &raw mut error);
        if code != 0 {
            panic!("{code}: {}", std::ffi::CStr::from_ptr(transom_error_text(error)).to_string_lossy());
        }
        assert!(array.is_released(), "what is given is moved in");
        let data = from_ffi(given, &given_schema).expect("it holds together");
        RecordBatch::from(StructArray::from(data))
    }
}

/// How many hold the memory of an array.
fn holders(data: &ArrayData) -> usize {
    let buffers = data.buffers().iter().chain(data.nulls().map(|nulls| nulls.buffer()));
    buffers.map(Buffer::strong_count).sum::<usize>() + data.child_data().iter().map(holders).sum::<usize>()
}

#[test]
fn batches_of_every_shape_come_back_as_they_were() {
    let pool = open();
    for (name, column) in columns() {
        let before = holders(&column.to_data());
        for (from, rows) in [(0, ROWS), (7, 20), (1, 1), (5, 0)] {
            let batch = RecordBatch::try_from_iter_with_nullable([(name, column.slice(from, rows), true)]).expect("a batch");
            let back = shared(pool, &batch);
            assert_eq!(back, batch, "{name} {from}..{}", from + rows);
        }
        assert_eq!(holders(&column.to_data()), before, "{name} is still held by somebody");
    }
    // SAFETY: the pool is open, and an error is not asked for.
    assert_eq!(unsafe { transom_pool_close(pool, null_mut()) }, 0);
}

#[test]
fn slices_that_only_the_parent_knows_of_are_understood() {
    let pool = open();
    for (name, column) in columns() {
        let whole = RecordBatch::try_from_iter_with_nullable([(name, column, true)]).expect("a batch");
        // As C++ exports a slice: the struct has the offset, and its children do not.
        let mut array = FFI_ArrowArray::new(&StructArray::from(whole.clone()).to_data());
        (array.offset, array.length) = (7, 20);
        let schema = FFI_ArrowSchema::try_from(whole.schema_ref().as_ref()).expect("C can have it");
        let (mut given, mut given_schema) = (FFI_ArrowArray::empty(), FFI_ArrowSchema::empty());
        // SAFETY: the structs are filled by arrow-rs, and 27 of their 40 rows are used; the places are empty and may be written.
        let data = unsafe {
            let code = transom_pool_share(pool, &raw mut array, &raw const schema, &raw mut given, &raw mut given_schema, null_mut());
            assert_eq!(code, 0, "{name}");
            from_ffi(given, &given_schema).expect("it holds together")
        };
        assert_eq!(RecordBatch::from(StructArray::from(data)), whole.slice(7, 20), "{name}");
    }
    // SAFETY: as above.
    assert_eq!(unsafe { transom_pool_close(pool, null_mut()) }, 0);
}

#[test]
fn results_outlive_the_pool_and_what_they_came_from() {
    let pool = open();
    let batch = RecordBatch::try_from_iter_with_nullable(columns().into_iter().map(|(name, column)| (name, column, true))).expect("a batch");
    let back = shared(pool, &batch);
    // SAFETY: as above.
    assert_eq!(unsafe { transom_pool_close(pool, null_mut()) }, 0);
    assert_eq!(back, batch);
    let copies: Vec<ArrayRef> = back.columns().iter().map(|column| make_array(column.to_data())).collect();
    drop(back);
    assert_eq!(copies.as_slice(), batch.columns());
}

#[test]
fn a_null_row_of_a_batch_is_an_error_and_releases_the_array() {
    let pool = open();
    let fields = vec![Field::new("n", DataType::Int32, true)];
    let column: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let structs = StructArray::new(fields.into(), vec![column], Some(vec![true, false].into()));
    let schema = FFI_ArrowSchema::try_from(structs.data_type()).expect("C can have it");
    let mut array = FFI_ArrowArray::new(&structs.to_data());
    let mut given = FFI_ArrowArray::empty();
    // SAFETY: the structs are filled by arrow-rs; the place may be written; neither a schema nor an error is asked for.
    let code = unsafe { transom_pool_share(pool, &raw mut array, &raw const schema, &raw mut given, null_mut(), null_mut()) };
    assert_eq!(code, i32::from(Code::InvalidData.number()));
    assert!(array.is_released() && given.is_released());
    // SAFETY: as above.
    assert_eq!(unsafe { transom_pool_close(pool, null_mut()) }, 0);
}
