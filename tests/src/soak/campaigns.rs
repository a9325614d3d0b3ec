//! The tests of the table, and the counts that a release is to reach.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use support::faults::{host_dies_at, host_fails_at, load, worker_at};
use support::hosts::{Host, Task};
use support::invariants::assert_healthy;
use support::kills::{Load, restart, under_load};
use support::shortages::{host_calls, host_without, worker_without};
use support::stepping::{Course, forbidden, kill_after_each};
use support::steps::{Action, HOST_STEPS, SYSTEM_STEPS, WORKER_STEPS};
use support::stuck::{detection, overdue};
use support::{Belongings, Programs, Random, Round, function, native};
use transom::{Code, Function, Language, Pool};

/// A test, run again and again until its count is reached.
pub(crate) struct Campaign {
    /// Its name in the table.
    pub(crate) id: &'static str,
    /// What is done.
    pub(crate) what: &'static str,
    /// What is counted.
    pub(crate) unit: &'static str,
    /// The count of a release.
    pub(crate) aim: u64,
    /// What it lacks here, if anything.
    pub(crate) missing: fn(&Soak) -> Option<String>,
    /// One round, of at most so many.
    pub(crate) round: fn(&Soak, u64) -> Round,
}

/// What the campaigns need.
pub(crate) struct Soak {
    /// The time is up, or somebody wants the run to end.
    pub(crate) over: Arc<AtomicBool>,
    python: PathBuf,
    programs: PathBuf,
}

impl Soak {
    pub(crate) fn new(python: PathBuf) -> Self {
        let programs = std::env::current_exe().expect("this program has a path").with_file_name("");
        Self { over: Arc::default(), python, programs }
    }

    fn program(&self, name: &str) -> String {
        self.programs.join(name).to_string_lossy().into_owned()
    }
}

const NATIVE_WORKER: &str = "native-worker";
const FAULT_HOST: &str = "fault-host";
/// The system calls that workers make.
const IN_WORKERS: [&str; 3] = ["system::mmap", "system::recvmsg", "system::sendmsg"];
const WORKER_JAR: &str = "jvm/transom-worker/target/transom-worker-0.1.0.jar";
const FUNCTIONS_JAR: &str = "tests/java/target/test-functions-0.1.0.jar";

fn nothing(_: &Soak) -> Option<String> {
    None
}

fn no_python(soak: &Soak) -> Option<String> {
    (!soak.python.is_file()).then(|| format!("{} is not there; `make setup` makes it", soak.python.display()))
}

fn no_java(_: &Soak) -> Option<String> {
    let missing = [WORKER_JAR, FUNCTIONS_JAR].into_iter().find(|jar| !PathBuf::from(jar).is_file())?;
    Some(format!("{missing} is not there; `make jvm` makes it"))
}

fn no_ptrace(soak: &Soak) -> Option<String> {
    forbidden(&soak.program(NATIVE_WORKER))
}

/// All of them, in the order in which they run: the quick ones first.
pub(crate) const CAMPAIGNS: &[Campaign] = &[
    Campaign {
        id: "T2",
        what: "SIGKILL of a native worker at a random moment under load",
        unit: "kills",
        aim: 100_000,
        missing: nothing,
        round: native_kills,
    },
    Campaign {
        id: "T5-native",
        what: "SIGKILL of the host while a native function spins, has children or is stopped",
        unit: "hosts",
        aim: 1000,
        missing: nothing,
        round: native_hosts,
    },
    Campaign { id: "T6", what: "from a worker's death to the error at the caller", unit: "deaths", aim: 5000, missing: nothing, round: detections },
    Campaign { id: "T7", what: "functions that spin or sleep past their deadline", unit: "calls", aim: 200, missing: nothing, round: overdues },
    Campaign {
        id: "T1",
        what: "abort, SIGKILL, panic, error and delay at every step of worker and host",
        unit: "faults",
        aim: 100 * FAULTS,
        missing: nothing,
        round: steps,
    },
    Campaign {
        id: "R2",
        what: "each system call of host and worker refused, at every place where it is made",
        unit: "system calls",
        aim: SYSTEM_STEPS.len() as u64,
        missing: nothing,
        round: refusals,
    },
    Campaign {
        id: "T4",
        what: "SIGKILL of a worker between two instructions of publishing a result and releasing its input",
        unit: "kills",
        aim: INSTRUCTIONS,
        missing: no_ptrace,
        round: instructions,
    },
    Campaign {
        id: "T3-restarts",
        what: "native workers that end and start anew, in one pool",
        unit: "restarts",
        aim: 10_000,
        missing: nothing,
        round: restarts,
    },
    Campaign {
        id: "T5-python",
        what: "SIGKILL of the host while a Python function holds the interpreter's lock, or has children",
        unit: "hosts",
        aim: 1000,
        missing: no_python,
        round: python_hosts,
    },
    Campaign {
        id: "T5-jvm",
        what: "SIGKILL of the host while a function of a JVM spins",
        unit: "hosts",
        aim: 100,
        missing: no_java,
        round: jvm_hosts,
    },
    Campaign {
        id: "T3-jvm",
        what: "SIGKILL of a JVM with two workers at a random moment under load",
        unit: "kills",
        aim: 500,
        missing: no_java,
        round: jvm_kills,
    },
    Campaign {
        id: "T3-python",
        what: "SIGKILL of a Python worker at a random moment under load",
        unit: "kills",
        aim: 10_000,
        missing: no_python,
        round: python_kills,
    },
];

/// What one pass over all steps has of faults.
const FAULTS: u64 = (WORKER_STEPS.len() * 5 + HOST_STEPS.len() * 3 + (HOST_STEPS.len() + SYSTEM_STEPS.len()) * 2) as u64;

/// Every action at every step, in the worker and in the host.
fn steps(soak: &Soak, _: u64) -> Round {
    let (worker, host) = (soak.program(NATIVE_WORKER), soak.program(FAULT_HOST));
    let programs = Programs { worker: &worker, host: &host };
    for action in Action::ALL {
        WORKER_STEPS.iter().for_each(|step| worker_at(programs, step, action));
    }
    for action in [Action::Panic, Action::Error, Action::Delay] {
        HOST_STEPS.iter().for_each(|step| host_fails_at(programs, step, action));
    }
    let names = HOST_STEPS.iter().map(|step| step.name).chain(SYSTEM_STEPS.iter().map(|step| step.0));
    let outlived = names.flat_map(|name| [Action::Abort, Action::Kill].map(|action| micros(host_dies_at(programs, name, action))));
    Round { count: FAULTS, samples: [("workers after their host", outlived.collect())].into(), ..Round::default() }
}

/// One system call, refused at each place where it is made.
fn refusals(soak: &Soak, left: u64) -> Round {
    let worker = soak.program(NATIVE_WORKER);
    let (call, errno) = SYSTEM_STEPS[SYSTEM_STEPS.len() - left as usize];
    let calls = host_calls(&worker, call);
    (1..=calls).for_each(|nth| host_without(&worker, call, errno, nth));
    // A worker's calls are not counted: as many again cover them.
    let in_worker = if IN_WORKERS.contains(&call) { calls } else { 0 };
    (1..=in_worker).for_each(|nth| worker_without(&worker, call, errno, nth));
    Round { count: 1, details: [("refusals", calls + in_worker)].into(), ..Round::default() }
}

/// More instructions than a worker needs from the moment at which it is about to tell of a result until it waits for its next message.
const INSTRUCTIONS: u64 = 24_000;

/// Each instruction has its turn once, in an order that spreads those of a shorter run.
fn instructions(soak: &Soak, left: u64) -> Round {
    const STRIDE: u64 = 7919;
    let done = INSTRUCTIONS - left;
    let kills = left.min(1000);
    let worker = soak.program(NATIVE_WORKER);
    let answered = kill_after_each(&worker, &Course::of(&worker), (done..done + kills).map(|turn| turn * STRIDE % INSTRUCTIONS));
    Round { count: kills, details: [("batches answered", answered)].into(), ..Round::default() }
}

fn detections(soak: &Soak, left: u64) -> Round {
    let worker = soak.program(NATIVE_WORKER);
    let count = left.min(50);
    let of = |name: &'static str| (0..count.div_ceil(2)).map(|_| micros(detection(&worker, name))).collect();
    let samples = [("alone", of("held_sleep")), ("with a grandchild that holds the link", of("held_orphan"))];
    Round { count, samples: samples.into(), ..Round::default() }
}

fn overdues(soak: &Soak, left: u64) -> Round {
    let pool = native(&soak.program(NATIVE_WORKER), 1).build().expect("a pool can be made");
    let deadline = Duration::from_millis(50);
    let count = left.min(20);
    let late = |name: &str| -> Vec<u64> {
        let calls = (0..count.div_ceil(2)).map(|_| {
            let (late, error) = overdue(&pool, name, deadline);
            assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
            micros(late)
        });
        calls.collect()
    };
    let samples = [("spin, after the deadline", late("spin")), ("sleep, after the deadline", late("sleep_1000000"))];
    Round { count, samples: samples.into(), ..Round::default() }
}

fn restarts(soak: &Soak, left: u64) -> Round {
    let before = Belongings::now();
    let pool = native(&soak.program(NATIVE_WORKER), 1).build().expect("a pool can be made");
    let count = left.min(1000);
    for _ in 0..count {
        let error = restart(&pool);
        assert_eq!(error.code(), Code::WorkerExited, "{error}");
    }
    assert_healthy(&pool, &load());
    assert_eq!(pool.stats().workers[0].restarts, count);
    drop(pool);
    before.assert_unchanged();
    Round { count, ..Round::default() }
}

fn native_hosts(soak: &Soak, left: u64) -> Round {
    let functions = [("spins", "native:held_spin"), ("has children", "native:held_fork"), ("is stopped", "native:held_stop")];
    hosts(soak, left, &soak.program(NATIVE_WORKER), "native", &functions)
}

fn python_hosts(soak: &Soak, left: u64) -> Round {
    let functions = [
        ("spins", "tests/held.py:spins"),
        ("holds the lock in C", "tests/held.py:holds_the_lock"),
        ("has forked children", "tests/held.py:forks"),
        ("is stopped", "tests/held.py:stops"),
    ];
    hosts(soak, left, &soak.python.to_string_lossy(), "python", &functions)
}

fn jvm_hosts(soak: &Soak, left: u64) -> Round {
    let spins = format!("{FUNCTIONS_JAR}:com.acme.Rows$Loops");
    hosts(soak, left, WORKER_JAR, "java", &[("spins", &spins)])
}

/// Kills hosts whose worker runs each of these functions; how long their processes outlived them is measured.
fn hosts(soak: &Soak, left: u64, worker: &str, language: &str, functions: &[(&'static str, &str)]) -> Round {
    let program = soak.program(FAULT_HOST);
    let each = left.div_ceil(functions.len() as u64).min(10);
    let mut samples = BTreeMap::new();
    for &(what, function) in functions {
        let outlived = (0..each).map(|_| micros(Host::new(&program, worker, &Task::Hold { language, function }).kill()));
        samples.insert(what, outlived.collect());
    }
    Round { count: each * functions.len() as u64, samples, ..Round::default() }
}

fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}

fn native_kills(soak: &Soak, left: u64) -> Round {
    let work = Load { function: function("plus_one"), added: 1, rows: 5000 };
    kills(soak, &|| native(&soak.program(NATIVE_WORKER), 2).build(), &work, left.min(1000), Duration::from_millis(3))
}

fn python_kills(soak: &Soak, left: u64) -> Round {
    let work = Load { function: Function::python("tests/udfs.py:plus_one").expect("a reference"), added: 1, rows: 50_000 };
    kills(soak, &|| Pool::builder().workers(2).python(&soak.python).build(), &work, left.min(50), Duration::from_millis(40))
}

fn jvm_kills(soak: &Soak, left: u64) -> Round {
    let function = Function::java("com.acme.Rows$OfLong").expect("a reference").with_import_path([FUNCTIONS_JAR.to_owned()]);
    let work = Load { function, added: 0, rows: 5000 };
    let build = || Pool::builder().workers(2).java_class_path([WORKER_JAR]).prestart([Language::Java]).build();
    kills(soak, &build, &work, left.min(20), Duration::from_millis(40))
}

/// A pool under load whose workers are killed; then everything must be as it was.
fn kills(soak: &Soak, build: &dyn Fn() -> transom::Result<Pool>, work: &Load, kills: u64, pause: Duration) -> Round {
    let before = Belongings::now();
    let pool = Arc::new(build().expect("a pool can be made"));
    pool.describe_blocking(&work.function).expect("the function is there");
    let outcome = under_load(&pool, work, kills, pause, &mut Random::of_this_moment(), &soak.over);
    assert_healthy(&pool, work);
    drop(pool);
    before.assert_unchanged();
    let details = [("batches answered", outcome.answered), ("batches failed with WORKER_SIGNALLED", outcome.failed), ("restarts", outcome.restarts)];
    Round { count: outcome.kills, details: details.into(), ..Round::default() }
}
