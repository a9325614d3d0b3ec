//! The edges of the exchange: arrays that are only partly in shared memory, garbage from other languages, memory that changes while it is
//! read, limits, and what errors say.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray;
use arrow_array::types::Int8Type;
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Int8Array, Int32Array, ListArray, NullArray, RecordBatch, StringArray, StringViewArray,
    StructArray, make_array,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow_data::ArrayData;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::filter::filter;
use proptest::prelude::*;
use support::generate::{Nulls, Recipe, Slices, aligned, leaves};
use support::memory::{Exact, Host, Image, Peer};
use support::strategies::any_recipe;
use support::{oracle, show};
use transom::exchange::{Direction, Export, Ledger, Mode, Reason, export, import};
use transom::memory::Extent;
use transom::{Code, Error};

static HOST: LazyLock<Host> = LazyLock::new(Host::new);

fn send(batch: &RecordBatch) -> (Export, Ledger) {
    let ledger = Ledger::default();
    (export(batch, &*HOST, &ledger, Direction::Input).unwrap(), ledger)
}

fn receive(sent: &Export, schema: &SchemaRef, mode: Mode) -> Result<RecordBatch, Error> {
    let peer = Peer { segments: HOST.segments.clone(), peer_writes: true };
    import(&sent.descriptor, schema, &peer, mode, &Ledger::default(), Direction::Result)
}

/// The same batch in shared memory, with the lease on it.
fn shared(batch: &RecordBatch) -> (RecordBatch, Export) {
    let (sent, _) = send(batch);
    (receive(&sent, &batch.schema(), Mode::Trusted).unwrap(), sent)
}

/// The same array with some of its buffers moved to the heap, as the bits of `which` say.
fn partly_on_heap(data: &ArrayData, which: &mut impl FnMut() -> bool) -> ArrayData {
    let mut moved = |buffer: &Buffer| if which() { aligned(buffer) } else { buffer.clone() };
    let buffers = data.buffers().iter().map(&mut moved).collect();
    let nulls = data.nulls().map(|nulls| {
        let inner = nulls.inner();
        NullBuffer::new(arrow_buffer::BooleanBuffer::new(moved(inner.inner()), inner.offset(), inner.len()))
    });
    let children = data.child_data().iter().map(|child| partly_on_heap(child, which)).collect();
    let same = data.clone().into_builder().buffers(buffers).nulls(nulls).child_data(children);
    // SAFETY: the content is that of `data`.
    unsafe { same.build_unchecked() }
}

proptest! {
    #![proptest_config(support::cases(1500))]

    #[test]
    fn a_batch_partly_in_shared_memory_crosses(
        recipe in any_recipe(40), which in prop::collection::vec(any::<bool>(), 1..20), start in any::<prop::sample::Index>(), end in any::<prop::sample::Index>(),
    ) {
        let batch = recipe.batch();
        let (there, _lease) = shared(&batch);
        let mut which = which.iter().copied().cycle();
        let columns: Vec<ArrayRef> = there.columns().iter().map(|column| make_array(partly_on_heap(&column.to_data(), &mut || which.next().unwrap()))).collect();
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let mixed = RecordBatch::try_new_with_options(batch.schema(), columns, &options).unwrap();
        let start = start.index(batch.num_rows() + 1);
        let len = end.index(batch.num_rows() - start + 1);
        let (mixed, original) = (mixed.slice(start, len), batch.slice(start, len));
        let (sent, ledger) = send(&mixed);
        let most: u64 = mixed.columns().iter().map(|column| oracle::bytes(column)).sum();
        // Where some data buffers of views are shared, packing the others' text may not pay.
        let most = if format!("{:?}", batch.schema()).contains("View") { 2 * most } else { most };
        prop_assert!(ledger.report().bytes_copied() <= most, "{} bytes copied and the slice has {most}", ledger.report().bytes_copied());
        for mode in [Mode::Guarded, Mode::Strict, Mode::Trusted] {
            let received = receive(&sent, &batch.schema(), mode).unwrap();
            prop_assert_eq!(show::batch(&received), show::batch(&original));
            prop_assert_eq!(&received, &original);
        }
    }

    /// Arrays of other languages come unchecked. What is wrong in them is refused by the exporter or by the importer, and nobody falls over it.
    #[test]
    fn garbage_from_another_language_is_refused_or_sound(
        recipe in any_recipe(40), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<i64>()), 1..4),
        start in any::<prop::sample::Index>(),
    ) {
        let batch = recipe.batch();
        let (sent, _) = send(&batch);
        let mut image = Image::of_extents(&HOST, &sent.extents);
        for (which, at, value) in changes.into_iter().filter(|_| !sent.extents.is_empty()) {
            let bytes = image.bytes_mut(*which.get(&sent.extents));
            let width = bytes.len().min(4);
            let at = at.index(bytes.len() / width) * width;
            bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
        let foreign = Exact { image: &image, shift: 0, peer_writes: false };
        // Arrow's own constructors may refuse what is too wrong; that is a refusal too.
        let Ok(garbage) = import(&sent.descriptor, &batch.schema(), &foreign, Mode::Trusted, &Ledger::default(), Direction::Result) else { return Ok(()) };
        let start = start.index(batch.num_rows() + 1);
        match export(&garbage.slice(start, batch.num_rows() - start), &*HOST, &Ledger::default(), Direction::Result) {
            Err(error) => prop_assert_eq!(error.code(), Code::InvalidData),
            Ok(sent) => match receive(&sent, &batch.schema(), Mode::Guarded) {
                Err(error) => prop_assert_eq!(error.code(), Code::InvalidData, "{}", error),
                Ok(received) => {
                    show::batch(&received);
                    received.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
                }
            },
        }
    }
}

#[test]
fn misaligned_values_are_copied_and_counted() {
    for leaf in leaves() {
        let recipe = Recipe { rows: 50, columns: vec![leaf.clone()], nulls: Nulls::Some, slices: Slices::default(), seed: 5 };
        let batch = recipe.batch();
        let (sent, _) = send(&batch);
        for mode in [Mode::Guarded, Mode::Strict, Mode::Trusted] {
            let peer = Exact { image: &Image::of_extents(&HOST, &sent.extents), shift: 1, peer_writes: true };
            let ledger = Ledger::default();
            let received = import(&sent.descriptor, &batch.schema(), &peer, mode, &ledger, Direction::Result).unwrap();
            assert_eq!(received, batch);
            let aligned = ledger.report().copied_because(Direction::Result, Reason::Aligned);
            if leaf.primitive_width().is_some_and(|width| width > 1) {
                let expected = if mode == Mode::Strict { 0 } else { 50 * leaf.primitive_width().unwrap() as u64 };
                assert_eq!(aligned, expected, "{leaf} {mode:?}");
            }
        }
    }
}

#[test]
fn the_ledger_names_its_reasons() {
    let text: ArrayRef = Arc::new(StringArray::from_iter((0..1000).map(|i| (i % 10 > 0).then(|| i.to_string()))));
    let bytes = text.as_any().downcast_ref::<StringArray>().unwrap().value_data().len() as u64;
    let batch = RecordBatch::try_from_iter([("text", text)]).unwrap();
    let (sent, ledger) = send(&batch);
    assert_eq!(ledger.report().reasons().collect::<Vec<_>>(), [(Reason::InputNotShared, 125 + 4004 + bytes)]);
    let peer = Peer { segments: HOST.segments.clone(), peer_writes: true };
    let expected = |mode, shared: u64, reasons: &[(Reason, u64)]| {
        let ledger = Ledger::default();
        import(&sent.descriptor, &batch.schema(), &peer, mode, &ledger, Direction::Result).unwrap();
        assert_eq!((ledger.report().shared(Direction::Result), ledger.report().reasons().collect::<Vec<_>>()), (shared, reasons.to_vec()));
    };
    expected(Mode::Guarded, bytes, &[(Reason::StructureChecked, 125 + 4004)]);
    expected(Mode::Strict, 0, &[(Reason::StrictMode, 125 + 4004 + bytes)]);
    expected(Mode::Trusted, 125 + 4004 + bytes, &[]);
}

#[test]
fn shared_offsets_of_values_on_the_heap_are_rewritten() {
    let values: ArrayRef = Arc::new(Int32Array::from_iter_values(0..100));
    let offsets = OffsetBuffer::<i32>::from_lengths(std::iter::repeat_n(10, 10));
    let item = Arc::new(Field::new("item", DataType::Int32, true));
    let batch = RecordBatch::try_from_iter([("lists", Arc::new(ListArray::new(item.clone(), offsets, values.clone(), None)) as ArrayRef)]).unwrap();
    let (there, _lease) = shared(&batch);
    let offsets = there.column(0).as_any().downcast_ref::<ListArray>().unwrap().offsets().clone();
    let mixed = RecordBatch::try_from_iter([("lists", Arc::new(ListArray::new(item, offsets, values, None)) as ArrayRef)]).unwrap();
    let (_, ledger) = send(&mixed);
    assert_eq!(ledger.report().reasons().collect::<Vec<_>>(), [(Reason::InputNotShared, 400)]);
    assert_eq!(ledger.report().bytes_shared(), 44);
    let (sent, ledger) = send(&mixed.slice(5, 2));
    assert_eq!(ledger.report().reasons().collect::<Vec<_>>(), [(Reason::InputNotShared, 80), (Reason::Rewritten, 12)]);
    assert_eq!(receive(&sent, &batch.schema(), Mode::Guarded).unwrap(), batch.slice(5, 2));
}

#[test]
fn views_that_a_filter_left_take_their_text_and_no_more() {
    let all = StringViewArray::from_iter((0..10_000).map(|i| Some(format!("a text of more than 12 bytes, {i:05}"))));
    let views: Vec<u128> = all.views().iter().copied().step_by(100).collect();
    let few: ArrayRef = Arc::new(StringViewArray::new(views.into(), all.data_buffers().to_vec(), None));
    let batch = RecordBatch::try_from_iter([("text", few)]).unwrap();
    let (sent, ledger) = send(&batch);
    assert_eq!(ledger.report().bytes_copied(), 100 * (16 + 35));
    for mode in [Mode::Guarded, Mode::Strict, Mode::Trusted] {
        assert_eq!(receive(&sent, &batch.schema(), mode).unwrap(), batch);
    }
}

#[test]
fn values_that_no_key_can_name_stay_behind() {
    for (count, left) in [(127, 127), (128, 128), (129, 128), (1000, 128)] {
        let values = StringArray::from_iter_values((0..count).map(|value| format!("value {value}")));
        let keys = Int8Array::from_iter((0..100).map(|row| (row % 7 != 3).then_some((row * 31 % 127) as i8)));
        let column: ArrayRef = Arc::new(DictionaryArray::new(keys, Arc::new(values)));
        let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let sent = send(&batch).0;
        for mode in [Mode::Trusted, Mode::Guarded, Mode::Strict] {
            let found = receive(&sent, &batch.schema(), mode).unwrap();
            assert_eq!(show::batch(&found), show::batch(&batch), "{count} values, {mode:?}");
            let found = found.column(0).as_dictionary::<Int8Type>();
            assert_eq!(found.values().len(), left);
            // With more values than keys this panics, in arrow-data 59.
            let odd = BooleanArray::from_iter((0..100).map(|row| Some(row % 2 == 1)));
            assert_eq!(filter(found, &odd).unwrap().len(), 50);
        }
    }
}

#[test]
fn memory_that_changes_while_it_is_checked_does_no_harm() {
    let recipe = Recipe {
        rows: 500,
        columns: support::generate::nestings(&DataType::Int16),
        nulls: Nulls::Some,
        slices: Slices { parent: (0, 0), children: true },
        seed: 11,
    };
    let batch = recipe.batch();
    let host = Host::new();
    let mut sent = export(&batch, &host, &Ledger::default(), Direction::Result).unwrap();
    let peer = Peer { segments: host.segments.clone(), peer_writes: true };
    let (stop, mut block) = (AtomicBool::new(false), sent.blocks.pop().unwrap());
    let (mut taken, mut refused) = (0, 0);
    /// Ends the writer when the reader is done, also when it failed.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        // The peer's stray thread: flips a bit, then puts it back, all over the batch. It is a bit that leaves text UTF-8: the bytes of text
        // may change after the check in this mode, and a reader of strings must not see others.
        scope.spawn(|| {
            let bytes = block.as_mut_slice();
            let mut at = 0usize;
            while !stop.load(Ordering::Relaxed) {
                at = (at + 7919) % bytes.len();
                let byte = &raw mut bytes[at];
                // SAFETY: the pointer comes from a live slice. Others read the byte at the same time: that is what the test is about.
                unsafe {
                    byte.write_volatile(byte.read_volatile() ^ 1);
                    byte.write_volatile(byte.read_volatile() ^ 1);
                }
            }
        });
        let until = std::time::Instant::now() + std::time::Duration::from_millis(700);
        while std::time::Instant::now() < until {
            match import(&sent.descriptor, &batch.schema(), &peer, Mode::Guarded, &Ledger::default(), Direction::Result) {
                Ok(received) => {
                    taken += 1;
                    show::batch(&received);
                }
                Err(error) => {
                    refused += 1;
                    assert_eq!(error.code(), Code::InvalidData, "{error}");
                }
            }
        }
    });
    assert!(taken + refused > 0);
}

#[test]
fn types_as_deep_as_the_limit_fit_a_small_stack() {
    let deep = |levels: usize| {
        (1..levels).fold(Arc::new(Int32Array::from(vec![1, 2, 3])) as ArrayRef, |of, level| {
            let field = Arc::new(Field::new("x", of.data_type().clone(), true));
            match level % 2 {
                0 => Arc::new(ListArray::new(field, OffsetBuffer::from_lengths([1, 1, 1]), of, None)),
                _ => Arc::new(StructArray::new(vec![field].into(), vec![of], None)),
            }
        })
    };
    let small = std::thread::Builder::new().stack_size(1 << 20);
    let run = small.spawn(move || {
        let batch = RecordBatch::try_from_iter([("deep", deep(64))]).unwrap();
        let (sent, _) = send(&batch);
        for mode in [Mode::Guarded, Mode::Strict, Mode::Trusted] {
            assert_eq!(receive(&sent, &batch.schema(), mode).unwrap(), batch);
        }
        let deeper = RecordBatch::try_from_iter([("deep", deep(65))]).unwrap();
        let error = export(&deeper, &*HOST, &Ledger::default(), Direction::Input).unwrap_err();
        assert_eq!(error.code(), Code::BadSchema);
    });
    run.unwrap().join().unwrap();
}

#[test]
fn limits_have_their_codes() {
    let rows = |count: usize| RecordBatch::try_from_iter([("n", Arc::new(NullArray::new(count)) as ArrayRef)]).unwrap();
    let most = rows(i32::MAX as usize);
    assert_eq!(receive(&send(&most).0, &most.schema(), Mode::Guarded).unwrap().num_rows(), i32::MAX as usize);
    let error = export(&rows(1 << 31), &*HOST, &Ledger::default(), Direction::Input).unwrap_err();
    assert_eq!((error.code(), error.hint()), (Code::BatchTooLarge, Some("send smaller batches")));

    let columns = (0..10_001).map(|i| (i.to_string(), Arc::new(NullArray::new(1)) as ArrayRef));
    let wide = RecordBatch::try_from_iter(columns).unwrap();
    assert_eq!(export(&wide, &*HOST, &Ledger::default(), Direction::Input).unwrap_err().code(), Code::BadSchema);

    let (sent, _) = send(&rows(3));
    for impossible in [
        DataType::FixedSizeBinary(-1),
        DataType::FixedSizeList(Arc::new(Field::new("item", DataType::Null, true)), -1),
        DataType::Time32(arrow_schema::TimeUnit::Nanosecond),
        DataType::Dictionary(Box::new(DataType::Utf8), Box::new(DataType::Utf8)),
        DataType::Map(Arc::new(Field::new("entries", DataType::Int8, false)), false),
    ] {
        let schema = Arc::new(Schema::new(vec![Field::new("n", impossible, true)]));
        assert_eq!(receive(&sent, &schema, Mode::Trusted).unwrap_err().code(), Code::BadSchema);
    }
}

/// What an import says when this change was made to the bytes of the extent with this number.
fn refusal(batch: &RecordBatch, extent: usize, change: impl Fn(&mut [u8])) -> String {
    let (sent, _) = send(batch);
    let mut image = Image::of_extents(&HOST, &sent.extents);
    let extents: Vec<Extent> = sent.descriptor.extents().collect();
    change(image.bytes_mut(extents[extent]));
    let peer = Exact { image: &image, shift: 0, peer_writes: true };
    import(&sent.descriptor, &batch.schema(), &peer, Mode::Guarded, &Ledger::default(), Direction::Result).unwrap_err().to_string()
}

#[test]
fn refusals_say_what_is_wrong_and_where() {
    let tags: ArrayRef = {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["red", "grün", "blue"]));
        let item = Arc::new(Field::new("item", DataType::Utf8, true));
        Arc::new(ListArray::new(item, OffsetBuffer::from_lengths([1, 2]), text, None))
    };
    let batch = RecordBatch::try_from_iter([("n", Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef), ("tags", tags)]).unwrap();
    let said = |extent, change: &dyn Fn(&mut [u8])| refusal(&batch, extent, change);
    let set = |at: usize, value: i32| move |bytes: &mut [u8]| bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    assert_eq!(said(1, &set(4, -4)), "TRN-4004 INVALID_DATA: column 1 `tags`: offsets[1] is -4, below offsets[0], 0");
    assert_eq!(said(1, &set(8, 9)), "TRN-4004 INVALID_DATA: column 1 `tags`: offsets[2] is 9, above the end of the values, 3");
    assert_eq!(said(2, &set(8, 99)), "TRN-4004 INVALID_DATA: column 1 `tags.item`: offsets[3] is 12, below offsets[2], 99");
    assert_eq!(said(2, &set(4, 6)), "TRN-4004 INVALID_DATA: column 1 `tags.item`: offsets[1] is 6, in the middle of a character");
    assert_eq!(said(3, &|bytes| bytes[5] = 0xff), "TRN-4004 INVALID_DATA: column 1 `tags.item`: row 1 is not UTF-8 at byte 5, 0xff");
}

#[test]
fn nulls_where_none_may_be_are_refused() {
    let nullable: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
    let strict = |data_type: &DataType| Arc::new(Field::new("x", data_type.clone(), false));
    let check = |column: ArrayRef, schema_type: DataType, nullable: bool, path: &str| {
        let (sent, _) = send(&RecordBatch::try_from_iter([("c", column)]).unwrap());
        let schema = Arc::new(Schema::new(vec![Field::new("c", schema_type, nullable)]));
        let error = receive(&sent, &schema, Mode::Guarded).unwrap_err();
        assert_eq!(error.code(), Code::InvalidData);
        assert!(error.message().starts_with(&format!("column 0 `{path}`: 1 values are null")), "{error}");
    };
    check(nullable.clone(), DataType::Int32, false, "c");
    let item = Arc::new(Field::new("x", DataType::Int32, true));
    let list = ListArray::new(item.clone(), OffsetBuffer::from_lengths([3]), nullable.clone(), None);
    check(Arc::new(list), DataType::List(strict(&DataType::Int32)), true, "c.x");
    let record = StructArray::new(vec![item.clone()].into(), vec![nullable.clone()], None);
    check(Arc::new(record), DataType::Struct(vec![strict(&DataType::Int32)].into()), true, "c.x");

    // A null record needs no value for its fields.
    let nulls = Some(NullBuffer::from(vec![true, false, true]));
    let record: ArrayRef = Arc::new(StructArray::new(vec![strict(&DataType::Int32)].into(), vec![nullable], nulls));
    let batch = RecordBatch::try_from_iter([("c", record)]).unwrap();
    assert_eq!(receive(&send(&batch).0, &batch.schema(), Mode::Guarded).unwrap(), batch);
}

#[test]
fn another_schema_than_the_senders_is_refused() {
    let batch = Recipe { rows: 9, columns: leaves(), nulls: Nulls::Some, slices: Slices::default(), seed: 2 }.batch();
    for (index, from) in leaves().into_iter().enumerate() {
        let (sent, _) = send(&batch.project(&[index]).unwrap());
        for to in leaves() {
            let schema = Arc::new(Schema::new(vec![Field::new("c", to.clone(), true)]));
            // Some types look alike; what is taken can be read.
            match receive(&sent, &schema, Mode::Guarded) {
                Ok(received) => _ = show::batch(&received),
                Err(error) => assert!(matches!(error.code(), Code::BadDescriptor | Code::InvalidData), "{from} as {to}: {error}"),
            }
        }
        let none = Arc::new(Schema::empty());
        assert_eq!(receive(&sent, &none, Mode::Guarded).unwrap_err().code(), Code::BadDescriptor);
    }
}
