//! Functions that keep every argument: the pool goes on as long as there is memory, then says who keeps it, and never stands still.

use std::thread;

use support::{checked, function, native, numbers};
use transom::{Code, Holder, MapOptions};

const WORKER: &str = env!("CARGO_BIN_EXE_native-worker");
const ROWS: usize = 16 * 1024;
const BATCH: u64 = 8 * ROWS as u64;
/// Each worker gets so much for results before it asks; on top of it there is room for some arguments.
const FIRST_SEGMENT: u64 = 4 << 20;
const ROOM: u64 = 6 << 20;

fn keep_all(workers: usize, window: usize) {
    let pool = native(WORKER, workers).window(window).memory_limit(workers as u64 * FIRST_SEGMENT + ROOM).build().unwrap();
    let source = (0..10_000).map(|i| Ok(numbers(i, ROWS)));
    let mut answered = 0;
    let mut reason = None;
    for result in pool.map_blocking(&function("keep"), source, MapOptions::default()).unwrap() {
        match result {
            Ok(_) => answered += 1,
            Err(error) => {
                reason = Some(error);
                break;
            }
        }
    }
    let reason = reason.expect("10,000 batches have no room");
    assert_eq!(reason.code(), Code::InputRetained, "{workers} workers, window {window}: {reason}");
    assert!(reason.message().contains("function `keep` keeps"), "{reason}");
    assert!(answered * BATCH >= ROOM / 2, "{answered} batches were answered: {reason}");
    let leases = pool.leases();
    let kept: u64 = leases.iter().filter(|lease| lease.holder == Holder::Worker && lease.answered).map(|lease| lease.bytes).sum();
    assert!(kept >= ROOM / 2, "{kept} bytes are kept: {reason}");
    assert!(leases.iter().all(|lease| lease.function == "keep"));
}

/// Each window in a pool of its own, all at the same time: most of it is waiting.
fn keep_all_with(workers: usize, windows: impl Iterator<Item = usize> + Send + 'static) {
    checked(move || {
        thread::scope(|scope| windows.for_each(|window| drop(scope.spawn(move || keep_all(workers, window)))));
    });
}

#[test]
fn one_worker_that_keeps_every_argument_is_told() {
    keep_all_with(1, 1..=8);
}

#[test]
fn a_few_workers_that_keep_every_argument_are_told() {
    keep_all_with(3, 1..=8);
}

#[test]
fn many_workers_that_keep_every_argument_are_told() {
    keep_all_with(16, [1, 8].into_iter());
}

#[test]
fn a_lease_says_whose_it_is() {
    checked(|| {
        let pool = native(WORKER, 1).build().unwrap();
        let kept = pool.call_blocking(&function("keep"), numbers(0, ROWS)).unwrap();
        let made = pool.call_blocking(&function("plus_one"), numbers(0, ROWS)).unwrap();
        let leases = pool.leases();
        let of = |name: &str, holder| leases.iter().filter(|lease| lease.function == name && lease.holder == holder).cloned().collect::<Vec<_>>();
        let [argument] = of("keep", Holder::Worker).try_into().unwrap();
        assert_eq!((argument.worker, argument.batch, argument.bytes, argument.answered), (0, 0, BATCH, true));
        assert_eq!(argument.process, pool.stats().workers[0].pid);
        let [result] = of("plus_one", Holder::Host).try_into().unwrap();
        assert_eq!((result.worker, result.bytes), (0, BATCH));
        assert_ne!(result.call, argument.call);
        drop((kept, made));
        assert!(pool.leases().iter().all(|lease| lease.holder == Holder::Worker), "results that were dropped are nobody's");
    });
}
