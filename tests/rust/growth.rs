//! Whatever a host does again and again, its memory does not grow by a byte. In RAM it does: that is the allocator's (docs/reliability.md).

use support::counted::{Counted, bytes_in_use};
use support::invariants::assert_healthy;
use support::kills::{Load, restart};
use support::stuck::detection;
use support::{checked, function, native};
use transom::Code;

const WORKER: &str = env!("CARGO_BIN_EXE_native-worker");
const ROUNDS: usize = 20;
/// How often so many rounds are made before what is in use counts as growing.
const WINDOWS: usize = 5;

#[global_allocator]
static MEMORY: Counted = Counted;

/// Does it again and again, and fails if more memory is in use each time. What is in use goes up and down and takes a while to be what it stays:
/// queues take and give back memory for many messages at a time, and threads theirs as they end. So the least of many rounds is compared with the
/// least of those before: what is lost in each round is missing in each.
fn assert_no_growth(what: &str, mut round: impl FnMut()) {
    let mut least = || {
        let after_each = (0..ROUNDS).map(|_| {
            round();
            bytes_in_use()
        });
        after_each.min().expect("there are rounds")
    };
    let mut before = least();
    let more = (0..WINDOWS).map(|_| {
        let now = least();
        now - std::mem::replace(&mut before, now)
    });
    let growth: Vec<i64> = more.take_while(|more| *more > 0).collect();
    assert!(growth.len() < WINDOWS, "{what}: so many bytes more are in use after each {ROUNDS} rounds: {growth:?}");
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
