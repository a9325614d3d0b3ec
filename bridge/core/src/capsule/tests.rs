//! Arguments of every type come back from a capsule as they were.

use std::fs::File;

use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;

use super::batches::{packed, read, write_file, write_stream};
use generate::{Nulls, Recipe, Slices, leaves, nestings};

#[allow(dead_code, unreachable_pub, reason = "the tests of the exchange use the rest")]
#[path = "../../tests/support/generate.rs"]
mod generate;
#[allow(dead_code, unreachable_pub, reason = "the tests of the exchange use the rest")]
#[path = "../../tests/support/show.rs"]
mod show;

fn scratch() -> File {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    rustix::fs::memfd_create("capsule", flags).unwrap().into()
}

fn again(batches: &[RecordBatch], stream: bool) -> Vec<RecordBatch> {
    let file = scratch();
    let copy = file.try_clone().unwrap();
    if stream {
        write_stream(copy, batches).unwrap()
    } else {
        write_file(copy, &batches[0]).unwrap()
    }
    read(file, stream).unwrap()
}

fn comes_back(recipe: &Recipe) {
    let batch = recipe.batch();
    let (first, kept) = packed(&batch, 1 << 24, 0).unwrap();
    assert_eq!((kept, &first), (0..batch.num_rows(), &batch), "{recipe:?}");
    let other = Recipe { seed: recipe.seed + 1, ..recipe.clone() }.batch();
    let (other, _) = packed(&other, 1 << 24, 0).unwrap();
    for (given, stream) in [(vec![first.clone()], false), (vec![first, other], true)] {
        let back = again(&given, stream);
        assert_eq!(back.len(), given.len(), "{recipe:?}");
        for (back, given) in back.iter().zip(&given) {
            assert_eq!(back.schema(), given.schema(), "{recipe:?}");
            assert_eq!(show::batch(back), show::batch(given), "{recipe:?} stream {stream}");
            back.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
        }
    }
}

fn all_shapes(data_type: &DataType) {
    for nulls in [Nulls::None, Nulls::Some, Nulls::All] {
        for (rows, parent, children) in [(0, (0, 0), false), (1, (3, 2), true), (70, (0, 0), false), (70, (13, 5), true)] {
            comes_back(&Recipe { rows, columns: vec![data_type.clone()], nulls, slices: Slices { parent, children }, seed: 5 });
        }
    }
}

#[test]
fn every_type_comes_back_as_it_was() {
    leaves().iter().for_each(all_shapes);
    for of in [DataType::Int32, DataType::Boolean, DataType::Utf8, DataType::Null] {
        nestings(&of).iter().for_each(all_shapes);
    }
}

#[test]
fn every_nesting_in_every_nesting_comes_back() {
    for inner in nestings(&DataType::Utf8View) {
        for outer in nestings(&inner) {
            let slices = Slices { parent: (3, 2), children: true };
            comes_back(&Recipe { rows: 20, columns: vec![outer], nulls: Nulls::Some, slices, seed: 3 });
        }
    }
}

#[test]
fn rows_without_columns_are_counted() {
    comes_back(&Recipe { rows: 5, columns: vec![], nulls: Nulls::None, slices: Slices::default(), seed: 1 });
}

#[test]
fn of_a_batch_that_is_too_large_the_rows_around_the_failing_one_are_kept() {
    let batch = Recipe { rows: 100_000, columns: vec![DataType::Int64], nulls: Nulls::None, slices: Slices::default(), seed: 1 }.batch();
    for (focus, start) in [(0, 0), (50_000, 43_750), (99_999, 87_500)] {
        let (part, kept) = packed(&batch, 100_000, focus).unwrap();
        assert_eq!(kept, start..start + 12_500);
        assert_eq!(part, batch.slice(start, 12_500));
        assert!(kept.contains(&focus));
    }
}

#[test]
fn a_truncated_file_is_an_error_wherever_it_ends() {
    let batch = Recipe { rows: 20, columns: vec![DataType::Utf8], nulls: Nulls::Some, slices: Slices::default(), seed: 1 }.batch();
    let file = scratch();
    write_file(file.try_clone().unwrap(), &batch).unwrap();
    let whole = file.metadata().unwrap().len();
    for len in (0..whole).rev() {
        file.set_len(len).unwrap();
        read(file.try_clone().unwrap(), false).unwrap_err();
    }
}
