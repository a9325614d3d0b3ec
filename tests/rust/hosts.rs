//! A host that is killed leaves nothing: neither workers, whatever they do, nor what they started.

use support::checked;
use support::hosts::{Host, Task};

const WORKER: &str = env!("CARGO_BIN_EXE_native-worker");
const HOST: &str = env!("CARGO_BIN_EXE_fault-host");

fn killed(function: &'static str) {
    checked(move || (0..5).for_each(|_| _ = Host::new(HOST, WORKER, &Task::Hold { language: "native", function }).kill()));
}

#[test]
fn a_worker_that_spins_goes_with_its_host() {
    killed("native:held_spin");
}

#[test]
fn the_children_of_a_worker_go_with_its_host() {
    killed("native:held_fork");
}

#[test]
fn a_worker_that_is_stopped_goes_with_its_host() {
    killed("native:held_stop");
}
