//! A worker that lies: whatever it says, it is told apart from the function's failures, and the pool and everybody else's calls go on.

use std::time::Duration;

use arrow_array::RecordBatch;
use futures::{FutureExt, StreamExt};
use support::{Listener, checked, function, native, numbers, values, wait_until_idle};
use transom::pool::wait;
use transom::{Code, Error, MapOptions, Pool};

const ROGUE: &str = env!("CARGO_BIN_EXE_rogue-worker");

fn pool(workers: usize) -> Pool {
    native(ROGUE, workers).build().unwrap()
}

fn call(pool: &Pool, name: &str) -> Result<RecordBatch, Error> {
    pool.call_blocking(&function(name), numbers(0, 3))
}

fn assert_honest(pool: &Pool) {
    assert_eq!(values(&call(pool, "honest").unwrap()), [0, 1, 2]);
}

/// Each of these ends its worker, with this code for whoever called; the next worker serves the next call.
#[track_caller]
fn assert_each_ends_the_worker(code: Code, names: &[&str]) {
    let pool = pool(1);
    for (ended, name) in names.iter().enumerate() {
        let error = call(&pool, name).unwrap_err();
        assert_eq!((error.code(), error.function()), (code, Some(*name)), "{error}");
        assert_honest(&pool);
        assert_eq!(pool.stats().workers[0].restarts, ended as u64 + 1, "{name}");
    }
}

/// Each of these is one failed call: the worker may be honest the next time.
#[track_caller]
fn assert_each_fails_alone(lies: &[(Code, &str)]) {
    let pool = pool(1);
    for (code, name) in lies {
        let error = call(&pool, name).unwrap_err();
        assert_eq!((error.code(), error.function(), error.rows()), (*code, Some(*name), Some(0..3)), "{error}");
        assert_honest(&pool);
    }
    assert_eq!(pool.stats().workers[0].restarts, 0);
}

#[test]
fn a_worker_of_another_version_is_told_with_both_versions() {
    checked(|| {
        for greeting in ["newer version", "newer protocol", "other sizes"] {
            let pool = native(ROGUE, 2).env("ROGUE_GREETING", greeting).build().unwrap();
            let error = call(&pool, "honest").unwrap_err();
            assert_eq!(error.code(), Code::VersionMismatch, "{greeting}: {error}");
            assert!(error.message().contains(env!("CARGO_PKG_VERSION")), "{error}");
            assert!(greeting == "other sizes" || error.message().contains("99.1.2"), "{error}");
            assert!(error.hint().is_some(), "{error}");
        }
    });
}

#[test]
fn a_worker_that_answers_before_its_greeting_does_not_start() {
    checked(|| {
        let pool = native(ROGUE, 1).env("ROGUE_GREETING", "answers before the greeting").build().unwrap();
        assert_eq!(call(&pool, "honest").unwrap_err().code(), Code::ProtocolViolation);
    });
}

#[test]
fn an_answer_to_what_was_not_asked_ends_the_worker() {
    checked(|| {
        assert_each_ends_the_worker(
            Code::ProtocolViolation,
            &[
                "answers_another_call",
                "bears_an_unknown_schema",
                "fails_another_call",
                "ends_a_call_like_a_stream",
                "asks_for_the_input_of_a_call",
                "defines_unasked",
                "is_ready_again",
                "answers_a_question_that_nobody_asked",
            ],
        );
    });
}

#[test]
fn an_answer_of_the_wrong_kind_to_a_definition_ends_the_worker() {
    checked(|| {
        let lies = ["define_another", "define_with_a_result", "define_with_a_failure", "define_with_a_wish", "define_with_an_end"];
        assert_each_ends_the_worker(Code::ProtocolViolation, &lies);
    });
}

#[test]
fn a_segment_that_is_not_the_workers_own_cannot_be_mapped_or_given_up() {
    checked(|| {
        let lies = ["maps_what_it_was_not_given", "maps_twice", "gives_up_what_is_not_there", "gives_up_an_input"];
        assert_each_ends_the_worker(Code::ProtocolViolation, &lies);
    });
}

#[test]
fn a_ring_that_cannot_be_ends_the_worker() {
    checked(|| {
        let pool = native(ROGUE, 1).env("ROGUE_GREETING", "rings").build().unwrap();
        let lies = ["ring_has_more_than_room", "ring_has_half_a_message", "ring_has_no_message", "ring_goes_backwards", "ring_is_mapped_twice"];
        for (ended, name) in lies.iter().enumerate() {
            let error = call(&pool, name).unwrap_err();
            assert_eq!((error.code(), error.function()), (Code::ProtocolViolation, Some(*name)), "{error}");
            assert_honest(&pool);
            assert_eq!(pool.stats().workers[0].restarts, ended as u64 + 1, "{name}");
        }
        let pool = self::pool(1);
        assert_eq!(call(&pool, "ring_is_mapped_twice").unwrap_err().code(), Code::ProtocolViolation);
    });
}

#[test]
fn a_message_that_lies_nowhere_or_in_another_ends_the_worker() {
    checked(|| {
        assert_each_ends_the_worker(Code::ProtocolViolation, &["spills_nowhere", "spills_into_an_input", "spills_a_spill"]);
        assert_each_ends_the_worker(Code::BadDescriptor, &["spills_beyond_its_segment"]);
    });
}

#[test]
fn a_packet_that_is_no_message_ends_the_worker() {
    checked(|| {
        assert_each_ends_the_worker(
            Code::ProtocolViolation,
            &["sends_a_descriptor", "sends_too_long_a_packet", "sends_an_unknown_message", "sends_half_a_message", "sends_an_empty_packet"],
        );
    });
}

#[test]
fn a_result_that_is_none_fails_its_call_only() {
    checked(|| {
        assert_each_fails_alone(&[
            (Code::WrongType, "gives_no_column"),
            (Code::WrongType, "gives_five_columns"),
            (Code::WrongLength, "gives_fewer_rows"),
            (Code::BatchTooLarge, "gives_too_many_rows"),
            (Code::FunctionRaised, "blames_a_row_far_away"),
        ]);
    });
}

#[test]
fn a_result_may_name_only_memory_that_is_its_workers_or_was_lent_to_it() {
    checked(|| {
        assert_each_fails_alone(&[
            (Code::BadDescriptor, "gives_what_was_never_lent"),
            (Code::BadDescriptor, "gives_more_than_was_lent"),
            (Code::BadDescriptor, "gives_what_it_released"),
            (Code::BadDescriptor, "gives_beyond_its_segment"),
        ]);
    });
}

#[test]
fn no_worker_reads_anothers_segment_through_the_host() {
    checked(|| {
        let pool = pool(2);
        wait_until_idle(&pool);
        let own = function("gives_its_own");
        pool.describe_blocking(&own).unwrap();
        wait_until_idle(&pool);
        // Two at a time, so that each worker has a segment in which a result lies.
        let results = wait(futures::future::join(pool.call(&own, numbers(0, 3)), pool.call(&own, numbers(0, 3))));
        let results = [results.0.unwrap(), results.1.unwrap()];
        wait_until_idle(&pool);
        // Numbers of segments count from 1 in each process: those of the tests before this, the arguments', and one of each worker.
        let readable = (0..1000).filter(|number| match call(&pool, &format!("gives_segment_{number}")) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.code(), Code::BadDescriptor, "{error}");
                false
            }
        });
        assert_eq!(readable.count(), 1, "the first worker's own, since the first is asked first");
        drop(results);
    });
}

#[test]
fn made_up_releases_wishes_and_sums_cost_nothing() {
    checked(|| {
        let pool = pool(1);
        for name in ["releases_what_it_does_not_hold", "releases_twice", "wants_more_than_there_is", "counts_without_end"] {
            assert_eq!(values(&call(&pool, name).unwrap()), [0, 1, 2], "{name}");
            assert_honest(&pool);
        }
        assert_eq!(pool.stats().workers[0].restarts, 0);
        // A sum that the worker made up is wrong, and no more than that.
        _ = pool.copies().bytes_copied();
    });
}

#[test]
fn a_second_end_of_a_call_is_not_taken_for_the_next() {
    checked(|| {
        let pool = pool(1);
        let mut listener = Listener::to(&pool);
        assert_eq!(call(&pool, "fails_twice").unwrap_err().code(), Code::FunctionRaised);
        assert_eq!(listener.wait_for_end().code(), Code::ProtocolViolation);
        assert_honest(&pool);
    });
}

#[test]
fn a_flood_ends_the_worker_that_makes_it_and_others_go_on_meanwhile() {
    checked(|| {
        let pool = native(ROGUE, 2).deadline(Duration::from_millis(500)).build().unwrap();
        pool.describe_blocking(&function("honest")).unwrap();
        let floods = [
            // An answer to each would have to wait until the worker reads it.
            ("flood_of_great_wishes", [Code::ProtocolViolation, Code::DeadlineExceeded]),
            ("flood_of_schemas", [Code::ProtocolViolation, Code::DeadlineExceeded]),
            // These need no room in the host, and end like any function that does not.
            ("flood_of_small_wishes", [Code::DeadlineExceeded; 2]),
            ("flood_of_releases", [Code::DeadlineExceeded; 2]),
        ];
        for (name, codes) in floods {
            let flood = function(name);
            pool.describe_blocking(&flood).unwrap();
            wait_until_idle(&pool);
            let others = async {
                for _ in 0..10 {
                    pool.call(&function("honest"), numbers(0, 3)).await.unwrap();
                }
            };
            let (flooded, ()) = wait(futures::future::join(pool.call(&flood, numbers(0, 3)), others));
            let error = flooded.unwrap_err();
            assert!(codes.contains(&error.code()), "{name}: {error}");
            assert_honest(&pool);
        }
    });
}

#[test]
fn a_worker_that_never_reads_or_announces_for_ever_is_ended_without_a_deadline_too() {
    checked(|| assert_each_ends_the_worker(Code::ProtocolViolation, &["flood_of_great_wishes", "flood_of_schemas"]));
}

/// What a stream of one batch, whose source does not end, gives to a reader who comes back only when the worker is gone.
fn read_late(name: &str) -> Vec<Result<RecordBatch, Error>> {
    let pool = pool(1);
    pool.describe_blocking(&function(name)).unwrap();
    let mut listener = Listener::to(&pool);
    let source = futures::stream::iter([Ok(numbers(0, 3))]).chain(futures::stream::pending());
    let mut stream = wait(pool.map(&function(name), source, MapOptions::default())).unwrap();
    // A worker starts in a moment, but not in none: nothing is asked of a stream before its first look.
    let mut results: Vec<_> = stream.next().now_or_never().flatten().into_iter().collect();
    assert_eq!(listener.wait_for_end().code(), Code::ProtocolViolation);
    results.extend(wait(stream.collect::<Vec<_>>()));
    assert_honest(&pool);
    results
}

#[test]
fn a_stream_that_asks_gives_or_ends_more_than_it_may_ends_its_worker() {
    checked(|| {
        for name in ["stream_asks_without_end", "stream_gives_without_end", "stream_asks_for_another", "stream_ends_another"] {
            let results = read_late(name);
            let error = results.last().unwrap().as_ref().unwrap_err();
            assert_eq!((error.code(), error.function()), (Code::ProtocolViolation, Some(name)), "{error}");
            assert!(results.len() <= 3, "{name} had room for two results: {}", results.len());
        }
        let results = read_late("stream_ends_twice");
        assert!(results.is_empty(), "it ended well, the first time: {results:?}");
    });
}

#[test]
fn a_wish_that_crosses_the_input_does_not_stop_the_clock() {
    checked(|| {
        let pool = native(ROGUE, 1).deadline(Duration::from_millis(200)).build().unwrap();
        let mut results = pool.map_blocking(&function("stream_takes_and_is_silent"), [Ok(numbers(0, 3))], MapOptions::default()).unwrap();
        assert_eq!(results.next().unwrap().unwrap_err().code(), Code::DeadlineExceeded);
    });
}

#[test]
fn failed_rows_that_are_none_fail_the_call_alone() {
    checked(|| {
        assert_each_fails_alone(&[
            (Code::BadDescriptor, "suppresses_unasked"),
            (Code::BadDescriptor, "suppresses_a_row_far_away"),
            (Code::BadDescriptor, "suppresses_a_row_twice"),
            (Code::BadDescriptor, "suppresses_for_no_reason"),
            (Code::InvalidData, "suppresses_what_has_a_value"),
        ]);
    });
}
