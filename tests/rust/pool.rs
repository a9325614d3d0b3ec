//! The pool with native workers: calls, streams, copies, errors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, Int64Array, NullArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use futures::StreamExt;
use support::{checked, function, native, numbers, values};
use transom::pool::wait;
use transom::{Code, Direction, Error, Event, Function, MapOptions, Mode, Pool, Reason};

const WORKER: &str = env!("CARGO_BIN_EXE_native-worker");

fn pool(workers: usize) -> Pool {
    native(WORKER, workers).build().unwrap()
}

#[test]
fn a_call_gives_one_column_named_after_the_function() {
    checked(|| {
        let pool = pool(1);
        let result = pool.call_blocking(&function("plus_one"), numbers(0, 1000)).unwrap();
        assert_eq!(values(&result), (1..=1000).collect::<Vec<_>>());
        assert_eq!(result.schema().field(0).name(), "plus_one");
        let array: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        assert_eq!(values(&pool.call_arrays_blocking(&function("plus_one"), vec![array]).unwrap()), [2, 3]);
    });
}

#[test]
fn a_heap_input_is_copied_once_and_a_shared_one_never() {
    checked(|| {
        let pool = pool(1);
        let identity = function("identity");
        let rows = 65_536;
        pool.call_blocking(&identity, numbers(0, 10)).unwrap();
        let before = pool.copies();
        pool.call_blocking(&identity, numbers(0, rows)).unwrap();
        let after = pool.copies();
        assert_eq!(after.copied(Direction::Input) - before.copied(Direction::Input), 8 * rows as u64);
        assert_eq!(after.copied(Direction::Result) - before.copied(Direction::Result), 0, "a result that lies in the input's memory");

        let slice = numbers(0, rows).slice(1000, 77);
        let before = pool.copies();
        pool.call_blocking(&identity, slice).unwrap();
        assert_eq!(pool.copies().copied(Direction::Input) - before.copied(Direction::Input), 8 * 77);

        let shared = pool.share(&numbers(0, rows)).unwrap();
        let before = pool.copies();
        let result = pool.call_blocking(&identity, shared.slice(5, 100)).unwrap();
        assert_eq!(values(&result), (5..105).collect::<Vec<_>>());
        let after = pool.copies();
        assert_eq!(after.bytes_copied(), before.bytes_copied());
        assert_eq!(after.shared(Direction::Input) - before.shared(Direction::Input), 800);
    });
}

#[test]
fn a_result_crosses_to_another_worker_without_a_copy() {
    checked(|| {
        let pool = pool(2);
        let made = pool.call_blocking(&function("plus_one"), numbers(0, 65_536)).unwrap();
        let before = pool.copies();
        // Two at once, so that both workers have it.
        let both = wait(futures::future::join(pool.call(&function("identity"), renamed(&made)), pool.call(&function("identity"), renamed(&made))));
        assert_eq!(values(&both.0.unwrap()), values(&both.1.unwrap()));
        assert_eq!(pool.copies().bytes_copied(), before.bytes_copied());
    });
}

fn renamed(batch: &RecordBatch) -> RecordBatch {
    RecordBatch::try_from_iter([("x", batch.column(0).clone())]).unwrap()
}

#[test]
fn strict_mode_copies_results_and_says_so() {
    checked(|| {
        let pool = native(WORKER, 1).mode(Mode::Strict).build().unwrap();
        pool.call_blocking(&function("plus_one"), numbers(0, 1000)).unwrap();
        let copied = pool.copies().copied_because(Direction::Result, Reason::StrictMode);
        assert_eq!(copied, 8000);
    });
}

#[test]
fn a_result_outlives_its_pool() {
    checked(|| {
        let pool = pool(1);
        let result = pool.call_blocking(&function("plus_one"), numbers(0, 100_000)).unwrap();
        drop(pool);
        assert_eq!(values(&result).iter().sum::<i64>(), (1..=100_000).sum::<i64>());
    });
}

#[test]
fn a_stream_comes_back_in_order_and_complete() {
    checked(|| {
        let pool = pool(2);
        let source = (0..200).map(|i| Ok(numbers(i * 100, 100)));
        let results: Vec<i64> =
            pool.map_blocking(&function("plus_one"), source, MapOptions::default()).unwrap().flat_map(|batch| values(&batch.unwrap())).collect();
        assert_eq!(results, (1..=20_000).collect::<Vec<_>>());
        let stats = pool.stats();
        assert_eq!(stats.workers.iter().map(|worker| worker.rows).sum::<u64>(), 20_000);
        assert_eq!(stats.workers.iter().map(|worker| worker.batches).sum::<u64>(), 200);
    });
}

#[test]
fn an_unordered_stream_is_complete_too() {
    checked(|| {
        let pool = pool(2);
        let source = (0..50).map(|i| Ok(numbers(i * 10, 10)));
        let options = MapOptions { ordered: false, ..MapOptions::default() };
        let mut results: Vec<i64> = pool.map_blocking(&function("plus_one"), source, options).unwrap().flat_map(|b| values(&b.unwrap())).collect();
        results.sort_unstable();
        assert_eq!(results, (1..=500).collect::<Vec<_>>());
    });
}

#[test]
fn append_puts_the_inputs_columns_first() {
    checked(|| {
        let pool = pool(1);
        let options = MapOptions { append: true, ..MapOptions::default() };
        let mut results = pool.map_blocking(&function("plus_one"), [Ok(numbers(0, 3))], options).unwrap();
        let batch = results.next().unwrap().unwrap();
        let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["x", "plus_one"]);
        assert_eq!(values(&batch), [0, 1, 2]);
        assert!(results.next().is_none());
    });
}

#[test]
fn no_more_is_taken_from_a_source_than_may_be_under_way() {
    checked(|| {
        let pool = pool(1);
        let taken = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = taken.clone();
        let source = (0..1000).map(move |i| {
            counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok(numbers(i, 1))
        });
        let mut results = pool.map_blocking(&function("identity"), source, MapOptions::default()).unwrap();
        results.next().unwrap().unwrap();
        assert!(taken.load(std::sync::atomic::Ordering::SeqCst) <= 3);
    });
}

#[test]
fn a_batches_function_sees_the_whole_stream_in_one_worker() {
    checked(|| {
        let pool = pool(2);
        let source = || (0..100).map(|i| Ok(numbers(i * 10, 10)));
        let sums: Vec<_> = pool.map_blocking(&function("stream_sum"), source(), MapOptions::default()).unwrap().map(Result::unwrap).collect();
        assert_eq!(sums.len(), 1);
        assert_eq!(values(&sums[0]), [(0..1000).sum::<i64>()]);
        let twice = pool.map_blocking(&function("stream_twice"), source(), MapOptions::default()).unwrap();
        assert_eq!(twice.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 2000);
        let called = pool.call_blocking(&function("stream_twice"), numbers(0, 7)).unwrap();
        assert_eq!(called.num_rows(), 14);
        assert_eq!(pool.map_blocking(&function("stream_identity"), [], MapOptions::default()).unwrap().count(), 0);
    });
}

#[test]
fn a_stream_without_end_can_be_left() {
    checked(|| {
        let pool = pool(1);
        let results = pool.map_blocking(&function("stream_for_ever"), [], MapOptions::default()).unwrap();
        assert_eq!(results.take(50).map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 50);
        let pid = pool.stats().workers[0].pid;
        // The worker heard of the cancellation and goes on with the next call.
        assert_eq!(pool.call_blocking(&function("identity"), numbers(0, 1)).unwrap().num_rows(), 1);
        assert_eq!(pool.stats().workers[0].pid, pid);
    });
}

#[test]
fn an_open_stream_that_nobody_reads_does_not_block_others_for_ever() {
    checked(|| {
        let pool = pool(1);
        let mut held = pool.map_blocking(&function("stream_for_ever"), [], MapOptions::default()).unwrap();
        held.next().unwrap().unwrap();
        let error = pool.call_blocking(&function("identity"), numbers(0, 1)).unwrap_err();
        assert_eq!(error.code(), Code::PoolBusy);
        drop(held);
        pool.call_blocking(&function("identity"), numbers(0, 1)).unwrap();
    });
}

#[test]
fn a_call_inside_a_map_of_the_same_pool_works() {
    checked(|| {
        let pool = pool(1);
        let source = (0..20).map(|i| Ok(numbers(i, 4)));
        for batch in pool.map_blocking(&function("plus_one"), source, MapOptions::default()).unwrap() {
            pool.call_blocking(&function("plus_one"), renamed(&batch.unwrap())).unwrap();
        }
    });
}

#[test]
fn many_tasks_share_the_workers() {
    checked(|| {
        let pool = Arc::new(pool(2));
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let pool = pool.clone();
                std::thread::spawn(move || {
                    let source = (0..20).map(move |i| Ok(numbers(task * 1000 + i * 10, 10)));
                    let results = pool.map_blocking(&function("plus_one"), source, MapOptions::default()).unwrap();
                    results.flat_map(|batch| values(&batch.unwrap())).eq(task * 1000 + 1..=task * 1000 + 200)
                })
            })
            .collect();
        assert!(tasks.into_iter().all(|task| task.join().unwrap()));
    });
}

#[test]
fn a_failing_batch_is_one_error_and_the_stream_goes_on() {
    checked(|| {
        let pool = pool(1);
        let source = (0..3).map(|i| Ok(numbers(i * 10, 10)));
        let results: Vec<_> = pool.map_blocking(&function("raise"), source, MapOptions::default()).unwrap().collect();
        assert_eq!(results.len(), 3);
        let error = results[2].as_ref().unwrap_err();
        assert_eq!((error.code(), error.function(), error.batch(), error.rows()), (Code::FunctionRaised, Some("raise"), Some(2), Some(22..23)));
        assert_eq!(error.message(), "Oops: as asked");
    });
}

#[test]
fn what_is_wrong_with_a_call_is_said() {
    checked(|| {
        let pool = pool(1);
        let code = |name: &str, batch: RecordBatch| pool.call_blocking(&function(name), batch).unwrap_err().code();
        let other = RecordBatch::try_from_iter([("y", numbers(0, 1).column(0).clone())]).unwrap();
        assert_eq!(code("identity", other), Code::ColumnNotFound);
        assert_eq!(code("short", numbers(0, 5)), Code::WrongLength);
        assert_eq!(code("declared_text", numbers(0, 5)), Code::WrongType);
        assert_eq!(code("panic", numbers(0, 5)), Code::Internal);
        assert_eq!(code("nothing", numbers(0, 5)), Code::FunctionNotFound);
        let nowhere = Function::python("elsewhere:f").unwrap();
        assert_eq!(pool.call_blocking(&nowhere, numbers(0, 1)).unwrap_err().code(), Code::FunctionNotFound);
        let two = vec![numbers(0, 1).column(0).clone(), numbers(0, 1).column(0).clone()];
        assert_eq!(pool.call_arrays_blocking(&function("identity"), two).unwrap_err().code(), Code::WrongArguments);
        assert_eq!(values(&pool.call_blocking(&function("plus_one"), numbers(0, 1)).unwrap()), [1]);
    });
}

#[test]
fn a_failing_source_ends_the_stream_with_its_error() {
    checked(|| {
        let pool = pool(1);
        for name in ["identity", "stream_identity"] {
            let source = [Ok(numbers(0, 1)), Err(Error::new(Code::SourceFailed, "the disk is gone")), Ok(numbers(1, 1))];
            let results: Vec<_> = pool.map_blocking(&function(name), source, MapOptions::default()).unwrap().collect();
            assert_eq!(results.last().unwrap().as_ref().unwrap_err().code(), Code::SourceFailed, "{name}");
        }
        let odd = RecordBatch::new_empty(Arc::new(Schema::new(vec![Field::new("x", DataType::Utf8, true)])));
        let results: Vec<_> = pool.map_blocking(&function("identity"), [Ok(numbers(0, 1)), Ok(odd)], MapOptions::default()).unwrap().collect();
        assert_eq!(results[1].as_ref().unwrap_err().code(), Code::SchemaMismatch);
    });
}

#[test]
fn a_batch_larger_than_a_segment_has_a_segment_of_its_own() {
    checked(|| {
        let pool = pool(1);
        let rows = 12 << 20;
        let result = pool.call_blocking(&function("plus_one"), numbers(0, rows)).unwrap();
        assert_eq!(result.num_rows(), rows);
        assert_eq!(values(&result)[rows - 1], rows as i64);
    });
}

#[test]
fn more_than_two_gibibytes_cross_whole() {
    checked(|| {
        let pool = native(WORKER, 1).memory_limit(6 << 30).build().unwrap();
        // Made and compared by blocks, since this is built without optimisation.
        let column = Int64Array::from((0..65_536).collect::<Vec<i64>>().repeat(4100));
        assert!(column.values().inner().len() > 2 << 30);
        let batch = RecordBatch::try_from_iter([("x", Arc::new(column) as ArrayRef)]).unwrap();
        let result = pool.call_blocking(&function("identity"), batch.clone()).unwrap();
        assert_eq!(result.column(0), batch.column(0));
    });
}

#[test]
fn more_rows_than_a_batch_may_have_are_refused() {
    checked(|| {
        let pool = native(WORKER, 1).memory_limit(64 << 20).build().unwrap();
        let nulls: ArrayRef = Arc::new(NullArray::new(1 << 31));
        let error = pool.call_arrays_blocking(&function("identity"), vec![nulls]).unwrap_err();
        assert_eq!(error.code(), Code::BatchTooLarge);
        let too_much = pool.call_blocking(&function("identity"), numbers(0, 9 << 20)).unwrap_err();
        assert_eq!(too_much.code(), Code::BatchTooLarge, "{too_much}");
        pool.call_blocking(&function("identity"), numbers(0, 1)).unwrap();
    });
}

#[test]
fn the_memory_limit_is_an_error_that_says_who_holds_what() {
    checked(|| {
        let pool = native(WORKER, 1).memory_limit(16 << 20).build().unwrap();
        let keep = function("keep");
        let mut held = Vec::new();
        let error = loop {
            match pool.call_blocking(&keep, numbers(0, 65_536)) {
                Ok(result) => held.push(result),
                Err(error) => break error,
            }
            assert!(held.len() < 100, "the limit was never reached");
        };
        assert_eq!(error.code(), Code::InputRetained);
        assert!(error.message().contains("function `keep` keeps"), "{error}");
        assert!(error.hint().unwrap().contains("held now:"), "{error}");
        assert!(pool.stats().memory_used <= 16 << 20);
    });
}

#[test]
fn a_worker_that_keeps_nothing_never_reaches_the_limit() {
    checked(|| {
        let pool = native(WORKER, 2).memory_limit(32 << 20).build().unwrap();
        let source = (0..300).map(|i| Ok(numbers(i, 65_536)));
        let results = pool.map_blocking(&function("plus_one"), source, MapOptions::default()).unwrap();
        assert_eq!(results.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 300 * 65_536);
    });
}

#[test]
fn when_results_are_dropped_the_worker_gets_its_memory_and_the_host_its_own() {
    checked(|| {
        let pool = pool(1);
        let results: Vec<_> = (0..10).map(|_| pool.call_blocking(&function("plus_one"), numbers(0, 65_536)).unwrap()).collect();
        let used = pool.stats().memory_used;
        drop(results);
        for _ in 0..100 {
            pool.call_blocking(&function("plus_one"), numbers(0, 65_536)).unwrap();
        }
        assert_eq!(pool.stats().memory_used, used);
    });
}

#[test]
fn a_dropped_future_cancels_its_call() {
    checked(|| {
        let pool = pool(1);
        pool.call_blocking(&function("identity"), numbers(0, 1)).unwrap();
        let pid = pool.stats().workers[0].pid;
        let spin = function("spin");
        pool.describe_blocking(&spin).unwrap();
        let begun = Instant::now();
        // The call is sent, and nobody waits for it any more.
        assert!(futures::FutureExt::now_or_never(pool.call(&spin, numbers(0, 1))).is_none());
        pool.call_blocking(&function("identity"), numbers(0, 1)).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert_ne!(pool.stats().workers[0].pid, pid);
    });
}

#[test]
fn events_tell_what_happens() {
    checked(|| {
        let pool = pool(1);
        let mut events = pool.events();
        let batches: Vec<_> = wait(async {
            pool.map(&function("plus_one"), futures::stream::iter([Ok(numbers(0, 5))]), MapOptions::default()).await.unwrap().collect().await
        });
        assert_eq!(batches.len(), 1);
        let mut done = 0;
        while let Ok(event) = events.try_recv() {
            done += usize::from(matches!(event, Event::BatchDone { rows: 5, .. }));
        }
        assert_eq!(done, 1);
    });
}

#[test]
fn a_closed_pool_says_so_and_bad_options_are_refused() {
    checked(|| {
        let pool = pool(1);
        pool.close();
        assert_eq!(pool.call_blocking(&function("identity"), numbers(0, 1)).unwrap_err().code(), Code::PoolClosed);
        assert_eq!(native(WORKER, 0).build().unwrap_err().code(), Code::BadOption);
        assert_eq!(native("/nowhere/python", 1).build().unwrap_err().code(), Code::InterpreterMissing);
        assert_eq!(
            native("no-such-python", 1).build().unwrap().call_blocking(&function("x"), numbers(0, 1)).unwrap_err().code(),
            Code::InterpreterMissing
        );
        let elsewhere = native(WORKER, 1).working_directory("/nowhere").build().unwrap();
        assert_eq!(elsewhere.describe_blocking(&function("identity")).unwrap_err().code(), Code::WorkingDirectoryMissing);
    });
}
