//! Each system call of host and worker fails once, at every place where it is made: an error that says so, nothing left, and full service after it.

use support::checked;
use support::shortages::{host_calls, host_without, worker_without};
use support::steps::SYSTEM_STEPS;

const WORKER: &str = env!("CARGO_BIN_EXE_native-worker");
/// Of the many calls by which messages are sent and received, a test tries the first; a release tries all.
const MOST: u64 = 12;

#[test]
fn a_host_is_refused_what_it_needs() {
    for &(call, errno) in SYSTEM_STEPS {
        checked(move || {
            let calls = host_calls(WORKER, call);
            println!("{call}: {calls} calls");
            assert!(calls > 0, "{call} is never made");
            (1..=calls.min(MOST)).for_each(|nth| host_without(WORKER, call, errno, nth));
        });
    }
}

#[test]
fn a_worker_is_refused_what_it_needs() {
    for &(call, errno) in SYSTEM_STEPS.iter().filter(|(call, _)| ["system::mmap", "system::recvmsg", "system::sendmsg"].contains(call)) {
        checked(move || (1..=MOST).for_each(|nth| worker_without(WORKER, call, errno, nth)));
    }
}
