//! Several functions, streams and callers on one pool: what one of them does, or leaves undone, costs the others nothing.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use futures::{FutureExt, StreamExt};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use support::{Gate, Listener, checked, function, native, numbers, scratch, values, wait_until_idle};
use transom::pool::wait;
use transom::{Code, MapOptions, Pool};

const WORKER: &str = env!("CARGO_BIN_EXE_native-worker");

fn pool(workers: usize) -> Pool {
    native(WORKER, workers).build().unwrap()
}

fn renamed(batch: &RecordBatch) -> RecordBatch {
    RecordBatch::try_from_iter([("x", batch.column(0).clone())]).unwrap()
}

/// Where its values lie in this process.
fn values_at(batch: &RecordBatch) -> usize {
    batch.column(0).as_primitive::<Int64Type>().values().as_ptr().addr()
}

fn describe(pool: &Pool, names: &[&str]) {
    names.iter().for_each(|name| _ = pool.describe_blocking(&function(name)).unwrap());
}

fn kill(pid: i64) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
}

fn sockets() -> usize {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    descriptors.filter_map(|entry| std::fs::read_link(entry.path()).ok()).filter(|link| link.to_string_lossy().starts_with("socket")).count()
}

#[test]
fn a_result_is_sent_again_after_the_death_of_the_worker_that_made_it() {
    checked(|| {
        let pool = pool(1);
        let made = renamed(&pool.call_blocking(&function("plus_one"), numbers(0, 1000)).unwrap());
        describe(&pool, &["abort", "identity"]);
        let [abort, identity] = ["abort", "identity"].map(function);
        // Both go to the one worker, and the second comes back to be sent to the next.
        let (aborted, same) = wait(futures::future::join(pool.call(&abort, numbers(0, 1)), pool.call(&identity, made)));
        assert_eq!(aborted.unwrap_err().code(), Code::WorkerSignalled);
        assert_eq!(values(&same.unwrap()), (1..=1000).collect::<Vec<_>>());
    });
}

#[test]
fn inputs_that_lie_unread_in_a_worker_outlive_the_worker_that_made_them() {
    checked(|| {
        let gate = Gate::new();
        let pool = native(WORKER, 2).env("TEST_GATE", gate.path()).build().unwrap();
        wait_until_idle(&pool);
        let (source, inputs) = futures::channel::mpsc::unbounded();
        source.unbounded_send(Ok(numbers(0, 1000))).unwrap();
        let mut stream = wait(pool.map(&function("stream_held"), inputs, MapOptions::default())).unwrap();
        wait(stream.next()).unwrap().unwrap();
        // The stream has one worker to itself, so this is made in the other.
        let made = renamed(&pool.call_blocking(&function("pid"), numbers(0, 1000)).unwrap());
        let maker = values(&made)[0];
        (0..2).for_each(|_| source.unbounded_send(Ok(made.clone())).unwrap());
        // One look sends both. The function stands at the gate with the first; the second, and whatever is said of its memory, lie in the link.
        assert!(stream.next().now_or_never().is_none());
        let mut listener = Listener::to(&pool);
        kill(maker);
        listener.wait_for_end();
        listener.wait_for_ready();
        for _ in 0..2 {
            gate.let_through();
            assert_eq!(values(&wait(stream.next()).unwrap().unwrap()), vec![maker; 1000]);
        }
        drop(source);
        assert!(wait(stream.next()).is_none());
    });
}

#[test]
fn a_result_finds_the_room_of_one_that_was_dropped_while_its_function_ran() {
    checked(|| {
        let (gate, mark) = (Gate::new(), scratch("mark"));
        // Arguments have one segment and results another, in which there is no room for a third.
        let pool = native(WORKER, 1).memory_limit(8 << 20).env("TEST_GATE", gate.path()).env("TEST_MARK", &mark).build().unwrap();
        let call = |name: &str, first| pool.call_blocking(&function(name), numbers(first, (3 << 19) / 8));
        let (first, second) = (call("plus_one", 0).unwrap(), call("plus_one", 1).unwrap());
        std::thread::scope(|scope| {
            let third = scope.spawn(|| call("begin_and_be_held", 2));
            while !mark.exists() {
                std::thread::yield_now();
            }
            // The worker is told at once, and has no time to hear it.
            drop(first);
            gate.let_through();
            assert_eq!(values(&third.join().unwrap().unwrap())[0], 3);
        });
        assert_eq!(values(&second)[0], 2);
        std::fs::remove_file(mark).unwrap();
    });
}

#[test]
fn a_result_lies_where_one_lay_whose_release_came_behind_the_call() {
    checked(|| {
        let gate = Gate::new();
        let pool = native(WORKER, 1).window(4).env("TEST_GATE", gate.path()).build().unwrap();
        describe(&pool, &["plus_one", "held"]);
        let [plus_one, held] = ["plus_one", "held"].map(function);
        let first = pool.call_blocking(&plus_one, numbers(0, 1000)).unwrap();
        let place = values_at(&first);
        // What is sent lies in the link while the function stands at the gate: a call, a release, and the call that took the release along.
        let mut held = pin!(pool.call(&held, numbers(1, 1)));
        assert!(held.as_mut().now_or_never().is_none());
        let mut second = pin!(pool.call(&plus_one, numbers(2, 1000)));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        let mut third = pin!(pool.call(&plus_one, numbers(3, 1000)));
        assert!(third.as_mut().now_or_never().is_none());
        gate.let_through();
        assert_eq!(values(&wait(held).unwrap()), [1]);
        let second = wait(second).unwrap();
        assert_eq!((values(&second)[0], values_at(&second)), (3, place));
        assert_eq!(values(&wait(third).unwrap())[0], 4);
    });
}

#[test]
fn half_read_streams_do_not_keep_a_call_waiting() {
    checked(|| {
        let gate = Gate::new();
        let pool = Arc::new(native(WORKER, 2).window(1).env("TEST_GATE", gate.path()).build().unwrap());
        describe(&pool, &["identity", "held"]);
        let open = || pool.map_blocking(&function("identity"), (0..10).map(|i| Ok(numbers(i, 1))), MapOptions::default()).unwrap();
        // One worker is held, so that both streams want the other.
        let other = pool.clone();
        let held = std::thread::spawn(move || other.call_blocking(&function("held"), numbers(0, 1)).map(drop));
        while pool.stats().workers.iter().all(|worker| worker.state != "busy") {
            std::thread::yield_now();
        }
        let mut first = open();
        first.next().unwrap().unwrap();
        let mut second = open();
        let second = std::thread::spawn(move || {
            second.next().unwrap().unwrap();
            second
        });
        gate.let_through();
        held.join().unwrap().unwrap();
        let second = second.join().unwrap();
        // Nobody looks at either stream now.
        assert_eq!(values(&pool.call_blocking(&function("identity"), numbers(7, 1)).unwrap()), [7]);
        assert_eq!((first.count(), second.count()), (9, 9));
    });
}

#[test]
fn what_a_caller_does_not_come_back_for_is_taken_in_all_the_same() {
    checked(|| {
        let pool = pool(1);
        let mut results = pool.map_blocking(&function("identity"), (0..10).map(|i| Ok(numbers(i, 1))), MapOptions::default()).unwrap();
        results.next().unwrap().unwrap();
        // The next was sent with the first, and its result lies in the ring of a caller who is not there.
        while pool.stats().workers[0].batches < 2 {
            std::thread::yield_now();
        }
        assert_eq!(results.count(), 9);
    });
}

#[test]
fn a_caller_who_means_to_come_back_keeps_nobody_else_waiting() {
    checked(|| {
        let pool = Arc::new(pool(1));
        describe(&pool, &["identity"]);
        let identity = function("identity");
        for round in 0..50 {
            let mut results = pool.map_blocking(&identity, (0..2).map(|i| Ok(numbers(i, 1))), MapOptions::default()).unwrap();
            results.next().unwrap().unwrap();
            // On other threads, which sleep or have an executor, while this one has a worker to itself and does not look.
            let other = pool.clone();
            let called = std::thread::spawn(move || values(&other.call_blocking(&function("identity"), numbers(round, 1)).unwrap()));
            assert_eq!(called.join().unwrap(), [round]);
            assert_eq!(values(&futures::executor::block_on(pool.call(&identity, numbers(round, 1))).unwrap()), [round]);
            assert_eq!(values(&results.next().unwrap().unwrap()), [1]);
        }
    });
}

#[test]
fn a_source_may_call_the_pool_that_reads_it() {
    checked(|| {
        let pool = Arc::new(pool(1));
        describe(&pool, &["identity", "plus_one"]);
        let inner = pool.clone();
        let source = (0..20).map(move |i| inner.call_blocking(&function("plus_one"), numbers(i, 1)).map(|batch| renamed(&batch)));
        let results = pool.map_blocking(&function("identity"), source, MapOptions::default()).unwrap();
        assert_eq!(results.map(|batch| values(&batch.unwrap())[0]).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    });
}

#[test]
fn without_a_way_to_sleep_on_several_words_callers_are_woken_all_the_same() {
    // What the system lacks it lacks for good, so in a process of its own.
    let program = std::env::current_exe().unwrap();
    let mut one = std::process::Command::new(program);
    assert!(one.args(["--exact", "without_futex_waitv", "--ignored"]).status().unwrap().success());
}

#[test]
#[ignore = "run by another test, in a process that lacks a system call"]
fn without_futex_waitv() {
    checked(|| {
        fail::cfg("system::futex_waitv", "return(38)").unwrap();
        let pool = pool(1);
        for round in 0..10 {
            // Its caller ceases to look long before the answer.
            assert_eq!(values(&pool.call_blocking(&function("sleep_2"), numbers(round, 1)).unwrap()), [round]);
            assert_eq!(values(&pool.call_blocking(&function("identity"), numbers(round, 1)).unwrap()), [round]);
        }
        fail::remove("system::futex_waitv");
    });
}

#[test]
fn a_task_of_tokio_may_block_for_as_many_calls_as_it_likes() {
    checked(|| {
        let pool = pool(1);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        // A task has to yield after so much as 128 messages, and one that blocks cannot.
        runtime.block_on(async {
            for number in 0..500 {
                assert_eq!(values(&pool.call_blocking(&function("identity"), numbers(number, 1)).unwrap()), [number]);
            }
        });
    });
}

#[test]
fn a_thread_that_still_reads_the_input_of_a_function_that_has_ended_hears_its_end() {
    checked(|| {
        let pool = pool(1);
        for _ in 0..5 {
            let source = futures::stream::iter([Ok(numbers(0, 1))]).chain(futures::stream::pending());
            let results = wait(pool.map(&function("stream_abandon"), source, MapOptions::default())).unwrap();
            assert_eq!(wait(results.count()), 0);
            pool.call_blocking(&function("identity"), numbers(0, 1)).unwrap();
        }
        assert_eq!(pool.stats().workers[0].restarts, 0);
    });
}

#[test]
fn a_batch_for_which_there_is_no_memory_fails_in_time_while_others_work() {
    checked(|| {
        let pool = Arc::new(native(WORKER, 2).memory_limit(48 << 20).build().unwrap());
        describe(&pool, &["identity"]);
        let over = Arc::new(AtomicBool::new(false));
        let (other, stop) = (pool.clone(), over.clone());
        let load = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                other.call_blocking(&function("identity"), numbers(0, 10)).unwrap();
            }
        });
        let never = pool.call_blocking(&function("identity"), numbers(0, 7 << 20)).map(drop);
        let held = pool.share(&numbers(0, 7 << 19));
        // This one would fit, did nobody hold what it needs: 24 MiB, and 28 of 48 are held.
        let not_now = pool.call_blocking(&function("identity"), numbers(0, 3 << 20)).map(drop);
        // The others are stopped before anything is judged, or a failure here would leave them behind.
        over.store(true, Ordering::Relaxed);
        load.join().unwrap();
        assert_eq!(never.unwrap_err().code(), Code::BatchTooLarge);
        assert_eq!(not_now.unwrap_err().code(), Code::MemoryLimit);
        drop(held.unwrap());
        assert_eq!(pool.call_blocking(&function("identity"), numbers(0, 3 << 20)).unwrap().num_rows(), 3 << 20);
    });
}

#[test]
fn more_callers_than_memory_queue_for_it() {
    checked(|| {
        let pool = Arc::new(native(WORKER, 1).memory_limit(32 << 20).build().unwrap());
        describe(&pool, &["sleep_100"]);
        // All together they need four times the limit, and longer than one may wait for memory.
        let callers: Vec<_> = (0..60)
            .map(|_| {
                let pool = pool.clone();
                std::thread::spawn(move || pool.call_blocking(&function("sleep_100"), numbers(0, 1 << 18)).map(drop))
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap().unwrap());
    });
}

#[test]
fn what_lies_idle_on_one_side_makes_room_on_the_other() {
    checked(|| {
        let pool = native(WORKER, 1).memory_limit(44 << 20).build().unwrap();
        let plus_one = function("plus_one");
        describe(&pool, &["plus_one"]);
        let held = pool.share(&numbers(0, 3 << 19)).unwrap();
        drop(pool.share(&numbers(0, 3 << 20)).unwrap());
        // The arguments' memory has 24 MiB to spare that the result needs.
        let result = pool.call_blocking(&plus_one, held).unwrap();
        assert_eq!(result.num_rows(), 3 << 19);
        drop(result);
        // And the other way round: now the worker has what a larger argument needs.
        drop(pool.share(&numbers(0, 4 << 20)));
        let large = pool.call_blocking(&function("identity"), numbers(0, 4 << 20)).unwrap();
        assert_eq!(large.num_rows(), 4 << 20);
    });
}

#[test]
fn a_limit_below_one_segment_still_serves_small_batches() {
    checked(|| {
        let pool = native(WORKER, 1).memory_limit(1 << 20).build().unwrap();
        for _ in 0..10 {
            assert_eq!(values(&pool.call_blocking(&function("plus_one"), numbers(0, 3)).unwrap()), [1, 2, 3]);
        }
        assert_eq!(pool.stats().workers[0].restarts, 0);
    });
}

#[test]
fn a_worker_that_dies_of_loading_a_function_again_fails_the_call_that_needed_it() {
    checked(|| {
        let mark = scratch("mark");
        let pool = native(WORKER, 1).env("TEST_MARK", &mark).build().unwrap();
        let fragile = function("die_when_loaded_again");
        pool.call_blocking(&fragile, numbers(0, 1)).unwrap();
        pool.call_blocking(&function("abort"), numbers(0, 1)).unwrap_err();
        let error = pool.call_blocking(&fragile, numbers(0, 1)).unwrap_err();
        assert_eq!((error.code(), error.function()), (Code::WorkerSignalled, Some("die_when_loaded_again")), "{error}");
        pool.call_blocking(&function("identity"), numbers(0, 1)).unwrap();
        assert_eq!(pool.stats().workers[0].restarts, 2);
        std::fs::remove_file(mark).unwrap();
    });
}

#[test]
fn an_answer_at_the_very_deadline_is_never_the_next_calls_death() {
    checked(|| {
        let pool = pool(1);
        let identity = function("identity");
        let brinks: Vec<_> = (0..10).map(|step| function(&format!("brink_{}", step * 50))).collect();
        brinks.iter().chain([&identity]).for_each(|function| _ = pool.describe_blocking(function).unwrap());
        for brink in brinks.iter().cycle().take(100) {
            let (late, next) = wait(futures::future::join(pool.call(brink, numbers(0, 1)), pool.call(&identity, numbers(5, 1))));
            assert!(late.as_ref().is_ok() || late.as_ref().is_err_and(|error| error.code() == Code::DeadlineExceeded), "{late:?}");
            assert_eq!(values(&next.unwrap()), [5]);
        }
    });
}

#[test]
fn a_quick_stream_of_small_batches_breaks_no_rule() {
    checked(|| {
        let pool = pool(1);
        for _ in 0..20 {
            let source = (0..500).map(|i| Ok(numbers(i, 1)));
            let results = pool.map_blocking(&function("stream_identity"), source, MapOptions::default()).unwrap();
            assert!(results.flat_map(|batch| values(&batch.unwrap())).eq(0..500));
        }
    });
}

#[test]
fn a_forked_child_that_drops_a_stream_leaves_its_parents_alone() {
    checked(|| {
        let pool = pool(2);
        for name in ["stream_identity", "identity"] {
            let mut stream = pool.map_blocking(&function(name), (0..20).map(|i| Ok(numbers(i, 1))), MapOptions::default()).unwrap();
            stream.next().unwrap().unwrap();
            // SAFETY: the child drops the stream, as an interpreter's collector would, and leaves without running anything of the parent's.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(stream)));
                // SAFETY: as above.
                unsafe { libc::_exit(i32::from(dropped.is_err())) };
            }
            let mut status = -1;
            // SAFETY: `status` is a place for the answer, and the child is this test's own.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0, "the child's exit status");
            assert!(stream.flat_map(|batch| values(&batch.unwrap())).eq(1..20), "{name}");
        }
        assert!(pool.stats().workers.iter().all(|worker| worker.restarts == 0));
    });
}

/// Lets this process open no more descriptors, until it is dropped.
struct Shortage {
    before: Rlimit,
}

impl Shortage {
    fn begin() -> Self {
        let before = getrlimit(Resource::Nofile);
        // The lowest free number is one that the kernel must not give.
        setrlimit(Resource::Nofile, Rlimit { current: Some(3), maximum: before.maximum }).unwrap();
        Self { before }
    }
}

impl Drop for Shortage {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.before).unwrap();
    }
}

#[test]
fn a_shortage_of_descriptors_is_told_and_passes() {
    checked(|| {
        let pool = pool(1);
        let pid = values(&pool.call_blocking(&function("pid"), numbers(0, 1)).unwrap())[0];
        let mut listener = Listener::to(&pool);
        let shortage = Shortage::begin();
        kill(pid);
        assert_eq!(listener.wait_for_end().code(), Code::WorkerSignalled);
        // So many failures in a row that callers are told.
        (0..3).for_each(|_| assert_eq!(listener.wait_for_end().code(), Code::DescriptorLimit));
        let error = pool.call_blocking(&function("identity"), numbers(0, 1)).unwrap_err();
        assert_eq!(error.code(), Code::DescriptorLimit, "{error}");
        drop(shortage);
        listener.wait_for_ready();
        pool.call_blocking(&function("identity"), numbers(0, 1)).unwrap();
    });
}

#[test]
fn a_kept_result_does_not_keep_the_link_to_a_dead_worker() {
    checked(|| {
        let pool = pool(1);
        wait_until_idle(&pool);
        let mut listener = Listener::to(&pool);
        let before = sockets();
        let kept: Vec<_> = (0..5)
            .map(|_| {
                let result = pool.call_blocking(&function("pid"), numbers(0, 100)).unwrap();
                kill(values(&result)[0]);
                listener.wait_for_ready();
                result
            })
            .collect();
        assert_eq!(sockets(), before);
        drop(kept);
    });
}

#[test]
fn nobody_takes_in_what_comes_behind_a_message_over_which_the_pools_thread_panicked() {
    checked(|| {
        let pool = pool(1);
        // Its result lies in the first segment, which so is mapped, and is too small for the next result.
        pool.call_blocking(&function("plus_one"), numbers(0, 5000)).unwrap();
        fail::cfg_callback("host::mapped", || {
            // The result behind this message is there by then, and its caller listens.
            std::thread::sleep(Duration::from_millis(20));
            panic!("as asked");
        })
        .unwrap();
        let error = pool.call_blocking(&function("plus_one"), numbers(0, 700_000)).unwrap_err();
        fail::remove("host::mapped");
        assert_eq!(error.code(), Code::Internal, "{error}");
    });
}

#[test]
fn the_segments_of_a_worker_whose_supervision_failed_are_given_up() {
    checked(|| {
        let pool = pool(1);
        pool.call_blocking(&function("plus_one"), numbers(0, 5000)).unwrap();
        fail::cfg("host::mapped", "panic(as asked)").unwrap();
        // Who lets an executor wait listens to no worker, so it is the pool's thread that panics.
        let error = futures::executor::block_on(pool.call(&function("plus_one"), numbers(0, 700_000))).unwrap_err();
        fail::remove("host::mapped");
        assert_eq!(error.code(), Code::Internal, "{error}");
        assert_eq!(pool.stats().memory_used, 10 << 20, "the arguments' segments of 4 and 6 MiB are there, the worker's are not");
    });
}
