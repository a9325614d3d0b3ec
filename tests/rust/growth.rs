//! Whatever a host does again and again, its memory does not grow by a byte. In RAM it does: that is the allocator's (docs/reliability.md).

use std::time::{Duration, Instant};

use support::counted::{Counted, bytes_in_use};
use support::invariants::assert_healthy;
use support::kills::{Load, restart};
use support::stuck::detection;
use support::{checked, function, native};
use transom::Code;

const WORKER: &str = env!("CARGO_BIN_EXE_native-worker");
/// Rounds after which nothing is done for the first time any more.
const WARM_UP: usize = 3;
const ROUNDS: usize = 20;
/// How long what ends in the background may take.
const PATIENCE: Duration = Duration::from_secs(10);

#[global_allocator]
static MEMORY: Counted = Counted;

/// Does it again and again, and fails if more memory is in use than after the first rounds. Threads give theirs back as they end, which takes a
/// moment, so it is asked until then.
fn assert_no_growth(what: &str, mut round: impl FnMut()) {
    (0..WARM_UP).for_each(|_| round());
    let warm = bytes_in_use();
    (0..ROUNDS).for_each(|_| round());
    let begun = Instant::now();
    while bytes_in_use() > warm {
        let more = bytes_in_use() - warm;
        assert!(begun.elapsed() < PATIENCE, "{what}: {more} bytes more are in use after {ROUNDS} rounds");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One test, since the harness takes memory of its own at the end of each.
#[test]
fn whatever_is_done_again_takes_no_more_memory() {
    checked(|| {
        assert_no_growth("pools", || {
            let pool = native(WORKER, 2).build().unwrap();
            assert_healthy(&pool, &Load { function: function("plus_one"), added: 1, rows: 1000 });
        });
        assert_no_growth("pools whose worker is killed", || _ = detection(WORKER, "held_sleep"));
        let pool = native(WORKER, 1).build().unwrap();
        assert_no_growth("restarts in a pool", || assert_eq!(restart(&pool).code(), Code::WorkerExited));
        let plus_one = Load { function: function("plus_one"), added: 1, rows: 1000 };
        assert_no_growth("calls", || assert_healthy(&pool, &plus_one));
    });
}
