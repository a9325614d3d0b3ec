//! A worker that is killed between any two instructions of publishing a result and releasing its input: the batch is answered, or fails.

use support::stepping::{Course, forbidden, kill_after_each};
use support::{Random, checked};

const WORKER: &str = env!("CARGO_BIN_EXE_native-worker");
/// A release has all of them.
const SAMPLES: u64 = 60;

#[test]
fn a_worker_may_be_killed_after_any_instruction() {
    if let Some(reason) = forbidden(WORKER) {
        println!("skipped: {reason}");
        return;
    }
    checked(|| {
        let course = Course::of(WORKER);
        let all = course.instructions;
        let mut random = Random::of_this_run();
        // The first and the last, and some between.
        let counts = (0..SAMPLES).map(|sample| if sample < 2 { sample * all } else { random.below(all) });
        let answered = kill_after_each(WORKER, &course, counts);
        println!("{SAMPLES} kills in {all} instructions, {answered} batches answered");
        assert!(0 < answered && answered < SAMPLES);
    });
}
