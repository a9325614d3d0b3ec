//! Workers that do not go on: an error that says which, soon after the limit. How soon is printed, and measured by `make soak`; a test that shares its
//! machine can only be generous.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use support::stuck::{detection, overdue};
use support::{checked, function, native, numbers, scratch};
use transom::{Code, Pool};

const WORKER: &str = env!("CARGO_BIN_EXE_native-worker");
const GENEROUS: Duration = Duration::from_secs(20);

#[test]
fn a_function_that_spins_or_sleeps_is_ended_at_its_deadline() {
    for name in ["spin", "sleep_1000000"] {
        checked(move || {
            let pool = native(WORKER, 1).build().unwrap();
            let (late, error) = overdue(&pool, name, Duration::from_millis(100));
            println!("{name}: {late:?} after the deadline");
            assert_eq!((error.code(), error.function(), error.rows()), (Code::DeadlineExceeded, Some(name), Some(0..3)), "{error}");
            assert!(late < GENEROUS);
            pool.call_blocking(&function("identity"), numbers(0, 1)).unwrap();
        });
    }
}

#[test]
fn a_death_is_known_soon_also_while_a_grandchild_lives() {
    for name in ["held_sleep", "held_orphan"] {
        checked(move || {
            let taken: Vec<Duration> = (0..20).map(|_| detection(WORKER, name)).collect();
            println!("{name}: {taken:?}");
            assert!(taken.iter().max() < Some(&GENEROUS));
        });
    }
}

/// A program in place of a worker.
struct Script {
    path: PathBuf,
}

impl Script {
    fn new(text: &str) -> Self {
        let path = scratch("script");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self { path }
    }

    fn pool(&self) -> Pool {
        Pool::builder().workers(1).python(&self.path).start_limit(Duration::from_millis(200)).build().unwrap()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.path);
    }
}

#[test]
fn a_worker_that_never_says_that_it_is_ready_is_told_of() {
    checked(|| {
        let script = Script::new("echo I am not what you wanted; exec sleep 1000");
        let pool = script.pool();
        let error = pool.call_blocking(&function("identity"), numbers(0, 1)).unwrap_err();
        assert_eq!(error.code(), Code::StartTimeout);
        assert!(error.message().contains("0.2 s"), "{error}");
        assert_eq!(error.output(), ["I am not what you wanted"]);
    });
}

#[test]
fn a_worker_that_hangs_up_and_lives_on_is_told_of() {
    checked(|| {
        let script = Script::new(
            "for descriptor in 3 4 5 6 7 8 9; do eval \"exec $descriptor>&-\"; done; for last; do :; done\nexec bash -c \"exec $last>&-; exec sleep 1000\"",
        );
        let pool = script.pool();
        let error = pool.call_blocking(&function("identity"), numbers(0, 1)).unwrap_err();
        assert!([Code::ProtocolViolation, Code::StartTimeout].contains(&error.code()), "{error}");
    });
}
