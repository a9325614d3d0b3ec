//! A death, a panic, an error and a delay at every step of the protocol, in the worker and in the host.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use support::faults::{host_dies_at, host_fails_at, worker_at};
use support::steps::{Action, HOST_STEPS, SYSTEM_STEPS, WORKER_STEPS, ZYGOTE_STEPS};
use support::{Programs, checked};

const PROGRAMS: Programs<'_> = Programs { worker: env!("CARGO_BIN_EXE_native-worker"), host: env!("CARGO_BIN_EXE_fault-host") };

#[test]
fn the_tables_name_every_step_in_the_code() {
    // In its turn, since the folders that it opens are descriptors.
    checked(|| {
        let mut written = BTreeSet::new();
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../bridge/core/src"), &mut written);
        let tables =
            WORKER_STEPS.iter().map(|step| step.name).chain(HOST_STEPS.iter().map(|step| step.name)).chain(SYSTEM_STEPS.iter().map(|step| step.0));
        let tables = tables.chain(ZYGOTE_STEPS.iter().copied());
        assert_eq!(tables.map(str::to_owned).collect::<BTreeSet<_>>(), written, "left: tests/src/steps.rs, right: the code");
    });
}

fn collect(folder: &Path, steps: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, steps);
        } else if !path.ends_with("failpoints.rs") {
            let text = fs::read_to_string(&path).unwrap();
            let names = text.split("step!(").skip(1).filter_map(|rest| rest.split('"').nth(1));
            steps.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn a_worker_may_die_or_fail_at_every_step() {
    for step in WORKER_STEPS {
        for action in Action::ALL {
            println!("{} {action:?}", step.name);
            checked(move || worker_at(PROGRAMS, step, action));
        }
    }
}

#[test]
fn a_host_may_fail_at_every_step() {
    for step in HOST_STEPS {
        for action in [Action::Panic, Action::Error, Action::Delay] {
            println!("{} {action:?}", step.name);
            checked(move || host_fails_at(PROGRAMS, step, action));
        }
    }
}

#[test]
fn a_host_may_die_at_every_step() {
    for step in HOST_STEPS.iter().map(|step| step.name).chain(SYSTEM_STEPS.iter().map(|step| step.0)) {
        for action in [Action::Abort, Action::Kill] {
            checked(move || _ = host_dies_at(PROGRAMS, step, action));
        }
    }
}
