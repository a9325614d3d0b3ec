//! The books hold under every schedule, wherever the worker dies; and the model is one that finds bugs: each that was seeded.
//!
//! `LOOM_MAX_PREEMPTIONS` sets how many preemptions a schedule may have: with 1 all bugs are found in seconds, each more takes many times as long.

use std::process::{Command, Stdio};

use loom::model::Builder;
use transom_model::VARIANTS;

/// One more than the worker sends in a whole run: it dies behind each of its messages, and once not at all.
const STEPS: usize = 9;
const PREEMPTIONS: usize = 1;
/// The exit status of a process in which a schedule showed a bug.
const FOUND: i32 = 42;

fn explore(run: fn(usize), steps: usize) {
    let mut model = Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(PREEMPTIONS));
    model.max_branches = 20_000;
    model.check(move || run(steps));
}

#[test]
fn no_schedule_and_no_death_breaks_the_books() {
    let (name, run) = VARIANTS[0];
    assert_eq!(name, "unchanged");
    for steps in 0..=STEPS {
        let begun = std::time::Instant::now();
        explore(run, steps);
        println!("the worker dies behind {steps} messages: {:?}", begun.elapsed());
    }
}

/// Each message in turn goes by the socket, and in some runs none; in the last the reader dozes.
#[test]
fn no_schedule_loses_a_message_of_a_ring_or_changes_the_order() {
    (0..=STEPS).for_each(|turn| explore(transom_model::unchanged::rings::run, turn));
}

/// In a process for each, since some show themselves by a deadlock or by a panic in a destructor.
#[test]
fn every_seeded_bug_is_found() {
    let program = std::env::current_exe().expect("a test is a program");
    let ends = |variant: &str| {
        let mut one = Command::new(&program);
        one.args(["--exact", "one_bug", "--ignored", "--nocapture"]).env("SEEDED_BUG", variant).stdout(Stdio::null()).stderr(Stdio::null());
        one.status().expect("a test can be run").code()
    };
    assert_eq!(ends(VARIANTS[0].0), Some(0), "the core as it is has none");
    for (bug, _) in &VARIANTS[1..] {
        assert_eq!(ends(bug), Some(FOUND), "no schedule shows {bug}");
    }
}

#[test]
#[ignore = "run by `every_seeded_bug_is_found`"]
fn one_bug() {
    let bug = std::env::var("SEEDED_BUG").expect("SEEDED_BUG says which");
    let (_, run) = VARIANTS.iter().find(|(name, _)| *name == bug).expect("a bug of the list");
    // At once: the model's threads are coroutines, and one that panics within a panic leaves the others, and this process, waiting for ever.
    std::panic::set_hook(Box::new(|_| std::process::exit(FOUND)));
    // The whole run first: it shows most.
    (0..=STEPS).rev().for_each(|steps| explore(*run, steps));
}
