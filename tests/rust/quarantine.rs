//! Rows for which a function fails: null or dead letters where that is asked for, each found and counted, and the other rows' results as if nothing were.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_select::concat::concat_batches;
use futures::StreamExt;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::{checked, function, native};
use transom::pool::wait;
use transom::{BlockingBatches, Code, Error, Event, Function, MapOptions, OnError, Pool};

const WORKER: &str = env!("CARGO_BIN_EXE_native-worker");

/// Numbers that careful functions refuse, and what happens then.
const RAISES: i64 = -1;
const ABORTS: i64 = -2;
const EXITS: i64 = -3;
const SPINS: i64 = -4;
const LIES_ABOUT_LENGTH: i64 = -5;

fn pool(workers: usize) -> Pool {
    native(WORKER, workers).build().unwrap()
}

fn with(name: &str, on_error: OnError) -> Function {
    function(name).with_on_error(on_error)
}

fn batch_of(numbers: &[Option<i64>]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("x", Arc::new(Int64Array::from(numbers.to_vec())) as ArrayRef, true)]).unwrap()
}

/// Numbers from 0, of which some are replaced.
fn rows(count: usize, bad: &[(usize, i64)]) -> RecordBatch {
    let mut numbers: Vec<Option<i64>> = (0..count as i64).map(Some).collect();
    bad.iter().for_each(|&(row, number)| numbers[row] = Some(number));
    batch_of(&numbers)
}

fn options_of(batch: &RecordBatch) -> Vec<Option<i64>> {
    batch.column(batch.num_columns() - 1).as_primitive::<Int64Type>().iter().collect()
}

/// The only dead letters there are: row, code and number of attempts of each.
#[track_caller]
fn letters(taken: Result<Vec<RecordBatch>, Error>) -> Vec<(u64, String, u32)> {
    let taken = taken.unwrap();
    let [batch] = taken.as_slice() else { panic!("{} batches of dead letters", taken.len()) };
    let rows = batch.column_by_name("transom_row").unwrap().as_primitive::<UInt64Type>();
    let codes = batch.column_by_name("transom_code").unwrap().as_string::<i32>();
    let attempts = batch.column_by_name("transom_attempts").unwrap().as_primitive::<UInt32Type>();
    (0..batch.num_rows()).map(|row| (rows.value(row), codes.value(row).to_owned(), attempts.value(row))).collect()
}

/// How many rows were suppressed, and how many attempts that took.
fn counted(pool: &Pool, name: &str) -> (u64, u64) {
    let functions = pool.stats().functions;
    let of: Vec<_> = functions.iter().filter(|stats| stats.function == name).collect();
    (of.iter().map(|stats| stats.suppressed).sum(), of.iter().map(|stats| stats.attempts).sum())
}

fn restarts(pool: &Pool) -> u64 {
    pool.stats().workers.iter().map(|worker| worker.restarts).sum()
}

#[test]
fn rows_that_raise_are_null_wherever_they_stand() {
    checked(|| {
        let pool = pool(1);
        let bad = [0, 500, 501, 999];
        let batch = rows(1000, &bad.map(|row| (row, RAISES)));
        let expected: Vec<_> = (0..1000).map(|row| (!bad.contains(&row)).then_some(row as i64 + 1)).collect();
        for name in ["careful", "careful_row"] {
            let result = pool.call_blocking(&with(name, OnError::Null), batch.clone()).unwrap();
            assert_eq!(options_of(&result), expected, "{name}");
        }
        assert!(pool.dead_letters().take().unwrap().is_empty());
        assert_eq!(counted(&pool, "careful_row"), (4, 0), "who runs the rows itself needs no second attempt");
        let (suppressed, attempts) = counted(&pool, "careful");
        assert_eq!(suppressed, 4);
        assert!((8..=80).contains(&attempts), "{attempts} attempts");
        let error = pool.call_blocking(&function("careful"), batch).unwrap_err();
        assert_eq!(error.code(), Code::FunctionRaised, "nothing is suppressed unasked");
    });
}

#[test]
fn dead_letters_have_the_arguments_and_the_reason_and_results_have_the_rest() {
    checked(|| {
        let pool = pool(2);
        let words: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c", "d"]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(RAISES), None, Some(ABORTS)]));
        let batch = RecordBatch::try_from_iter_with_nullable([("word", words, true), ("x", numbers, true)]).unwrap();
        for name in ["careful", "careful_row", "careful_text"] {
            let options = MapOptions { append: true, ..MapOptions::default() };
            let mut results = pool.map_blocking(&with(name, OnError::DeadLetter), [Ok(batch.clone())], options).unwrap();
            let result = results.next().unwrap().unwrap();
            assert!(results.next().is_none());
            assert_eq!(result.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "c"], "the source's columns go along");
            assert_eq!((result.column(2).is_null(0), result.column(2).is_null(1)), (false, true), "a null is no failure");
            let taken = results.dead_letters().take().unwrap();
            assert_eq!(taken[0].schema().field(0).name(), "x", "what the function was given");
            assert_eq!(taken[0].schema(), results.dead_letters().schema().unwrap());
            assert_eq!(taken[0].column(0).as_primitive::<Int64Type>().values(), &[RAISES, ABORTS]);
            let names = taken[0].column_by_name("transom_function").unwrap().as_string::<i32>();
            let errors = taken[0].column_by_name("transom_error").unwrap().as_string::<i32>();
            assert_eq!((names.value(0), errors.value(0)), (name, "Refused: -1 is below 0"));
            assert!(errors.value(1).contains("SIGABRT"), "{}", errors.value(1));
            let found: Vec<_> = letters(Ok(taken)).into_iter().map(|(row, code, _)| (row, code)).collect();
            assert_eq!(found, [(1, "TRN-3001".to_owned()), (3, "TRN-2104".to_owned())]);
            assert!(results.dead_letters().take().unwrap().is_empty(), "they are taken once");
        }
    });
}

#[test]
fn each_kind_of_death_is_found_among_good_rows() {
    checked(|| {
        let pool = pool(2);
        let bad = [(7, ABORTS), (64, EXITS), (65, SPINS), (190, RAISES)];
        let careful = with("careful", OnError::DeadLetter).with_deadline(Duration::from_millis(100));
        let result = pool.call_blocking(&careful, rows(200, &bad)).unwrap();
        let expected: Vec<_> = (0..200).filter(|row| bad.iter().all(|(bad, _)| row != bad)).map(|row| Some(row as i64 + 1)).collect();
        assert_eq!(options_of(&result), expected);
        let found = letters(pool.dead_letters().take());
        let codes: Vec<_> = found.iter().map(|(row, code, _)| (*row, code.as_str())).collect();
        assert_eq!(codes, [(7, "TRN-2104"), (64, "TRN-2101"), (65, "TRN-2107"), (190, "TRN-3001")]);
        assert!(found.iter().all(|&(.., attempts)| (2..=9).contains(&attempts)), "{found:?}");
        assert_eq!(counted(&pool, "careful").0, 4);
    });
}

#[test]
fn a_death_is_no_null() {
    checked(|| {
        let pool = pool(1);
        for (number, code) in [(ABORTS, Code::WorkerSignalled), (LIES_ABOUT_LENGTH, Code::WrongLength)] {
            let error = pool.call_blocking(&with("careful", OnError::Null), rows(10, &[(3, number)])).unwrap_err();
            assert_eq!((error.code(), error.rows()), (code, Some(0..10)), "{error}");
        }
        let error = pool.call_blocking(&with("careful", OnError::DeadLetter), rows(10, &[(3, LIES_ABOUT_LENGTH)])).unwrap_err();
        assert_eq!(error.code(), Code::WrongLength, "no row is to blame for a length");
        assert_eq!((counted(&pool, "careful"), restarts(&pool)), ((0, 0), 1));
    });
}

#[test]
fn results_of_any_type_are_put_together_again() {
    checked(|| {
        let pool = pool(1);
        let batch = rows(300, &[(0, RAISES), (150, RAISES), (299, RAISES)]);
        for name in ["careful_text", "careful_list", "careful_dictionary"] {
            let good = pool.call_blocking(&function(name), rows(300, &[])).unwrap();
            let nulls = pool.call_blocking(&with(name, OnError::Null), batch.clone()).unwrap();
            assert_eq!(nulls.schema(), good.schema());
            assert_eq!(nulls.num_rows(), 300);
            let parted = pool.call_blocking(&with(name, OnError::DeadLetter), batch.clone()).unwrap();
            assert_eq!(parted.num_rows(), 297);
            // Dictionaries may have got other keys: what the rows say is compared.
            for row in (0..300).filter(|row| ![0, 150, 299].contains(row)) {
                assert_eq!(shown(nulls.column(0), row), shown(good.column(0), row), "{name} {row}");
                let before = [0, 150, 299].iter().filter(|&&bad| bad < row).count();
                assert_eq!(shown(parted.column(0), row - before), shown(good.column(0), row), "{name} {row}");
            }
            let gaps = [0, 150, 299].map(|row| nulls.column(0).is_null(row));
            assert_eq!(gaps, [true; 3], "{name}");
        }
    });
}

/// A value of a column in words.
fn shown(column: &ArrayRef, row: usize) -> String {
    match column.data_type() {
        arrow_schema::DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        arrow_schema::DataType::List(_) => format!("{:?}", column.as_list::<i32>().value(row)),
        _ => {
            let dictionary = column.as_any_dictionary();
            dictionary.values().as_string::<i32>().value(dictionary.normalized_keys()[row]).to_owned()
        }
    }
}

#[test]
fn a_batch_in_which_every_row_raises_has_no_result_but_a_type() {
    checked(|| {
        let pool = pool(1);
        let batch = rows(9, &std::array::from_fn::<_, 9, _>(|row| (row, RAISES)));
        assert_eq!(pool.call_blocking(&with("careful_text", OnError::Null), batch.clone()).unwrap().column(0).null_count(), 9);
        let empty = pool.call_blocking(&function("careful_always"), batch.clone()).unwrap();
        assert_eq!((empty.num_rows(), empty.schema().field(0).is_nullable()), (0, false), "a result without nulls can have dead letters");
        assert_eq!(letters(pool.dead_letters().take()).len(), 9);
        let error = pool.call_blocking(&with("careful", OnError::Null), batch).unwrap_err();
        assert_eq!(error.code(), Code::TooManyFailures, "nothing says its type");
        assert!(error.message().contains("-1 is below 0") && error.remote().is_some(), "{error}");
        let none = pool.call_blocking(&with("careful", OnError::Null), rows(0, &[])).unwrap();
        assert_eq!(none.num_rows(), 0);
    });
}

#[test]
fn a_function_that_dies_of_every_row_is_given_up() {
    checked(|| {
        let pool = pool(1);
        let all: Vec<_> = (0..1000).map(|row| (row, ABORTS)).collect();
        let error = pool.call_blocking(&with("careful", OnError::DeadLetter), rows(1000, &all)).unwrap_err();
        assert_eq!((error.code(), error.function(), error.rows()), (Code::TooManyFailures, Some("careful"), Some(0..1000)), "{error}");
        assert!(error.message().contains("after 64 calls, 64 of which ended a worker") && error.message().contains("SIGABRT"), "{error}");
        assert!(pool.dead_letters().take().unwrap().is_empty(), "a batch that failed has no dead letters");
        assert_eq!(options_of(&pool.call_blocking(&function("careful"), rows(2, &[])).unwrap()), [Some(1), Some(2)]);
        assert_eq!(restarts(&pool), 64);
    });
}

#[test]
fn exceptions_beyond_counting_are_given_up() {
    checked(|| {
        let pool = pool(1);
        let every_second: Vec<_> = (0..20_000).step_by(2).map(|row| (row, RAISES)).collect();
        let batch = rows(20_000, &every_second);
        let error = pool.call_blocking(&with("careful", OnError::Null), batch.clone()).unwrap_err();
        assert_eq!(error.code(), Code::TooManyFailures);
        assert_eq!(counted(&pool, "careful"), (0, 16_383));
        let result = pool.call_blocking(&with("careful_row", OnError::Null), batch).unwrap();
        assert_eq!((result.column(0).null_count(), counted(&pool, "careful_row")), (10_000, (10_000, 0)), "a row function has no such bound");
    });
}

fn three_batches() -> Vec<RecordBatch> {
    vec![rows(100, &[(3, RAISES), (99, ABORTS)]), rows(50, &[]), rows(100, &[(0, ABORTS), (50, RAISES)])]
}

#[test]
fn streams_keep_their_order_and_their_other_batches() {
    checked(|| {
        let pool = pool(2);
        let source = || three_batches().into_iter().map(Ok);
        let letter_rows = |results: &BlockingBatches| letters(results.dead_letters().take()).into_iter().map(|(row, ..)| row).collect::<Vec<_>>();
        let mut ordered = pool.map_blocking(&with("careful", OnError::DeadLetter), source(), MapOptions::default()).unwrap();
        let counts: Vec<usize> = ordered.by_ref().map(|batch| batch.unwrap().num_rows()).collect();
        assert_eq!((counts, letter_rows(&ordered)), (vec![98, 50, 98], vec![3, 99, 150, 200]), "rows are those of the stream");
        let options = MapOptions { ordered: false, ..MapOptions::default() };
        let mut any = pool.map_blocking(&with("careful", OnError::DeadLetter), source(), options).unwrap();
        let mut counts: Vec<usize> = any.by_ref().map(|batch| batch.unwrap().num_rows()).collect();
        counts.sort_unstable();
        let mut found = letter_rows(&any);
        found.sort_unstable();
        assert_eq!((counts, found), (vec![50, 98, 98], vec![3, 99, 150, 200]));
        assert_eq!(counted(&pool, "careful").0, 8);
        let mut clean = pool.map_blocking(&with("careful", OnError::DeadLetter), [Ok(rows(5, &[]))], MapOptions::default()).unwrap();
        clean.by_ref().for_each(|batch| _ = batch.unwrap());
        assert_eq!(clean.dead_letters().schema().unwrap().fields().len(), 7, "known without any dead letter too");
    });
}

#[test]
fn letters_come_with_the_results_that_they_were_taken_out_of() {
    checked(|| {
        let pool = pool(2);
        let mut results =
            pool.map_blocking(&with("careful", OnError::DeadLetter), three_batches().into_iter().map(Ok), MapOptions::default()).unwrap();
        assert_eq!(results.next().unwrap().unwrap().num_rows(), 98);
        assert_eq!(letters(results.dead_letters().take()).len(), 2);
        results.next().unwrap().unwrap();
        assert!(results.dead_letters().take().unwrap().is_empty(), "the third batch was not taken, whether it is ready or not");
    });
}

#[test]
fn a_search_that_nobody_waits_for_ends() {
    checked(|| {
        let pool = pool(2);
        let mut events = pool.events();
        wait(async {
            let source = futures::stream::iter([Ok(rows(1000, &[(999, ABORTS)]))]);
            let mut results = pool.map(&with("careful", OnError::DeadLetter), source, MapOptions::default()).await.unwrap();
            let ended = async { while !matches!(events.recv().await, Ok(Event::WorkerEnded { .. })) {} };
            // Both are polled here: the search goes on only as long as somebody asks for its result.
            futures::future::select(Box::pin(ended), results.next()).await;
        });
        assert_eq!(options_of(&pool.call_blocking(&function("careful"), rows(1, &[])).unwrap()), [Some(1)]);
        assert_eq!(counted(&pool, "careful").0, 0);
    });
}

#[test]
fn a_pool_that_closes_ends_a_search() {
    checked(|| {
        let pool = Arc::new(pool(1));
        let mut events = pool.events();
        let caller = {
            let pool = pool.clone();
            std::thread::spawn(move || pool.call_blocking(&with("careful", OnError::DeadLetter), rows(100_000, &[(0, RAISES), (9, SPINS)])))
        };
        // The spinning piece has no deadline: only the close can end it.
        while !matches!(events.blocking_recv(), Ok(Event::BatchFailed { .. })) {}
        pool.close();
        assert_eq!(caller.join().unwrap().unwrap_err().code(), Code::PoolClosed);
    });
}

#[test]
fn policies_that_a_function_cannot_keep_are_refused() {
    checked(|| {
        let pool = pool(1);
        let refusal = |function: &Function| pool.call_blocking(function, rows(1, &[])).unwrap_err();
        for (function, code, word) in [
            (with("stream_identity", OnError::Null), Code::BadOption, "batches function"),
            (with("careful_and_fickle", OnError::DeadLetter), Code::BadOption, "not deterministic"),
            (function("careful_and_fickle").with_retries(1), Code::BadOption, "not deterministic"),
            (with("careful_always", OnError::Null), Code::BadOption, "without nulls"),
            (function("careful_badly_defined"), Code::FunctionSignature, "without nulls"),
        ] {
            let error = refusal(&function);
            assert_eq!((error.code(), error.function()), (code, Some(function.name())), "{error}");
            assert!(error.message().contains(word) && error.hint().is_some(), "{error}");
        }
        let fickle = pool.call_blocking(&function("careful_and_fickle"), rows(2, &[(1, RAISES)])).unwrap_err();
        assert_eq!((fickle.code(), counted(&pool, "careful_and_fickle")), (Code::FunctionRaised, (0, 0)), "it is run once");
    });
}

#[test]
fn dead_letters_that_nobody_takes_are_bounded() {
    checked(|| {
        let pool = pool(2);
        let all_bad: ArrayRef = Arc::new(Int64Array::from(vec![RAISES; 65_536]));
        let batch = RecordBatch::try_from_iter([("x", all_bad)]).unwrap();
        let source = std::iter::repeat_with(move || Ok(batch.clone())).take(40);
        let mut results = pool.map_blocking(&with("careful_row", OnError::DeadLetter), source, MapOptions::default()).unwrap();
        let error = results.find_map(Result::err).expect("40 batches of dead letters are too many");
        assert_eq!((error.code(), error.function()), (Code::TooManyFailures, Some("careful_row")), "{error}");
        let kept = results.dead_letters().take().unwrap();
        let bytes = kept[0].get_array_memory_size();
        assert!((40 << 20..=65 << 20).contains(&bytes), "{bytes} bytes");
        let batch = error.batch().unwrap();
        assert_eq!((kept[0].num_rows() as u64, error.rows()), (batch * 65_536, Some(batch * 65_536..(batch + 1) * 65_536)));
        assert_eq!(results.next().unwrap().unwrap().num_rows(), 0, "there is room again");
        assert_eq!(letters(results.dead_letters().take()).len(), 65_536);
    });
}

#[test]
fn the_events_say_what_was_suppressed() {
    checked(|| {
        let pool = pool(1);
        let mut events = pool.events();
        pool.call_blocking(&with("careful_row", OnError::Null), rows(10, &[(4, RAISES), (6, RAISES)])).unwrap();
        let told = loop {
            if let Event::RowsSuppressed { rows, reason } = events.blocking_recv().unwrap() {
                break (rows, reason);
            }
        };
        assert_eq!((told.0, told.1.code(), told.1.rows(), told.1.function()), (2, Code::FunctionRaised, Some(4..5), Some("careful_row")));
    });
}

/// A batch of good numbers, nulls and numbers that raise or kill.
fn any_batch() -> impl Strategy<Value = Vec<Option<i64>>> {
    let number = prop_oneof![12 => (0..1000_i64).prop_map(Some), 2 => Just(None), 1 => Just(Some(RAISES)), 1 => Just(Some(ABORTS))];
    proptest::collection::vec(number, 0..40)
}

#[test]
fn every_row_is_in_the_result_or_a_dead_letter_and_never_in_both() {
    checked(|| {
        let pool = pool(2);
        let mut runner = TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
        let name = prop_oneof![Just("careful_text"), Just("careful_row")];
        let tested = runner.run(&(proptest::collection::vec(any_batch(), 1..4), name), |(batches, name)| {
            let source: Vec<_> = batches.iter().map(|batch| Ok(batch_of(batch))).collect();
            let options = MapOptions { append: true, ..MapOptions::default() };
            let mut results = pool.map_blocking(&with(name, OnError::DeadLetter), source, options).unwrap();
            let given: Vec<RecordBatch> = results.by_ref().map(Result::unwrap).collect();
            let given = concat_batches(given[0].schema_ref(), &given).unwrap();
            let mut left = given.column(0).as_primitive::<Int64Type>().iter();
            let taken = results.dead_letters().take().unwrap();
            let mut dead = taken.iter().flat_map(|batch| letters(Ok(vec![batch.clone()]))).map(|(row, ..)| row);
            let values = taken.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect::<Vec<_>>();
            let mut bad = Vec::new();
            for (row, number) in batches.iter().flatten().enumerate() {
                match number {
                    Some(refused) if *refused < 0 => {
                        prop_assert_eq!(dead.next(), Some(row as u64));
                        bad.push(*refused);
                    }
                    number => prop_assert_eq!(left.next(), Some(*number)),
                }
            }
            prop_assert_eq!((left.next(), dead.next(), values), (None, None, bad));
            Ok(())
        });
        tested.unwrap();
    });
}
