//! Batches of every type go out and come back the same, and the ledger says to the byte what was copied.

mod support;

use std::sync::{Arc, LazyLock};

use arrow_array::RecordBatch;
use arrow_schema::DataType;
use support::generate::{Nulls, Recipe, Slices, leaves, nestings};
use support::memory::{Host, Peer};
use support::{oracle, show};
use transom::exchange::{Descriptor, Direction, Export, Ledger, Mode, export, import};

static HOST: LazyLock<Host> = LazyLock::new(Host::new);

fn peer(host: &Host, peer_writes: bool) -> Peer {
    Peer { segments: host.segments.clone(), peer_writes }
}

fn receive(host: &Host, sent: &Export, like: &RecordBatch, mode: Mode, peer_writes: bool, ledger: &Ledger) -> RecordBatch {
    let mut wire = Vec::new();
    sent.descriptor.encode(&mut wire);
    let descriptor = Descriptor::decode(&wire).unwrap();
    assert_eq!(descriptor, sent.descriptor);
    import(&descriptor, &like.schema(), &peer(host, peer_writes), mode, ledger, Direction::Input).unwrap()
}

/// Sends a batch every way there is and compares.
fn round_trip(recipe: &Recipe) {
    let batch = recipe.batch();
    let expected = show::batch(&batch);
    let (host, ledger) = (&*HOST, Ledger::default());
    let sent = export(&batch, host, &ledger, Direction::Input).unwrap();
    let own_bytes: u64 = batch.columns().iter().map(|column| oracle::bytes(column)).sum();
    assert_eq!(ledger.report().bytes_copied(), own_bytes, "copied from the heap");
    assert_eq!(ledger.report().bytes_shared(), 0);
    for (mode, peer_writes) in [(Mode::Guarded, true), (Mode::Guarded, false), (Mode::Strict, true), (Mode::Strict, false), (Mode::Trusted, true)] {
        let ledger = Ledger::default();
        let received = receive(host, &sent, &batch, mode, peer_writes, &ledger);
        assert_eq!(show::batch(&received), expected, "{mode:?}");
        assert_eq!(received, batch, "{mode:?}");
        for column in received.columns() {
            column.to_data().validate_full().unwrap();
        }
        let report = ledger.report();
        assert_eq!(report.bytes_copied() + report.bytes_shared(), own_bytes, "{mode:?}");
        match (mode, peer_writes) {
            (Mode::Strict, _) => assert_eq!(report.bytes_shared(), 0),
            (Mode::Guarded, true) => {}
            _ => assert_eq!(report.bytes_copied(), 0),
        }
    }
    shared_again(host, &batch, &sent);
}

/// What was received in place lies in the arena: any slice of it goes out again without a byte copied.
fn shared_again(host: &Host, batch: &RecordBatch, sent: &Export) {
    let shared = receive(host, sent, batch, Mode::Trusted, true, &Ledger::default());
    let rows = shared.num_rows();
    for (start, len) in [(0, rows), (0, rows / 2), (rows / 3, rows - rows / 3), (rows / 2, rows / 4), (rows, 0)] {
        let (slice, original) = (shared.slice(start, len), batch.slice(start, len));
        let ledger = Ledger::default();
        let again = export(&slice, host, &ledger, Direction::Input).unwrap();
        assert_eq!(ledger.report().bytes_copied(), 0, "rows {start}..{}", start + len);
        assert!(again.blocks.is_empty());
        for mode in [Mode::Guarded, Mode::Strict, Mode::Trusted] {
            let received = receive(host, &again, &original, mode, true, &Ledger::default());
            assert_eq!(show::batch(&received), show::batch(&original), "rows {start}..{} {mode:?}", start + len);
            assert_eq!(received, original);
        }
        drop(again);
    }
}

/// All shapes of one type.
#[expect(clippy::print_stdout, reason = "the recipe of a failure is shown with it")]
fn all_shapes(data_type: &DataType) {
    for rows in [0, 1, 77] {
        for nulls in [Nulls::None, Nulls::Some, Nulls::All] {
            for parent in [(0, 0), (13, 5), (8, 0)] {
                for children in [false, true] {
                    let slices = Slices { parent, children };
                    let recipe = Recipe { rows, columns: vec![data_type.clone()], nulls, slices, seed: 7 + rows as u64 };
                    println!("{recipe:?}");
                    round_trip(&recipe);
                }
            }
        }
    }
}

#[test]
fn every_type_without_children() {
    leaves().iter().for_each(all_shapes);
}

#[test]
fn every_nesting() {
    for of in [DataType::Int32, DataType::Boolean, DataType::Utf8, DataType::Null] {
        nestings(&of).iter().for_each(all_shapes);
    }
}

#[test]
fn every_nesting_in_every_nesting() {
    for inner in nestings(&DataType::Utf8View) {
        for outer in nestings(&inner) {
            for (nulls, parent, children) in [(Nulls::None, (0, 0), false), (Nulls::Some, (3, 2), true)] {
                let recipe = Recipe { rows: 20, columns: vec![outer.clone()], nulls, slices: Slices { parent, children }, seed: 3 };
                println!("{recipe:?}");
                round_trip(&recipe);
            }
        }
    }
}

#[test]
fn no_columns_and_many_rows() {
    for rows in [0, 1, 5_000_000] {
        round_trip(&Recipe { rows, columns: vec![], nulls: Nulls::None, slices: Slices::default(), seed: 1 });
    }
}

#[test]
fn int64_without_nulls_copies_its_own_bytes_and_no_more() {
    let values = arrow_array::Int64Array::from_iter_values(0..100_000);
    let batch = RecordBatch::try_from_iter([("n", Arc::new(values) as _)]).unwrap().slice(1000, 65_536);
    let (host, ledger) = (Host::new(), Ledger::default());
    let sent = export(&batch, &host, &ledger, Direction::Input).unwrap();
    assert_eq!(ledger.report().bytes_copied(), 524_288);
    assert_eq!(sent.blocks.len(), 1);
    assert_eq!(sent.extents, [sent.blocks[0].extent()]);
}
