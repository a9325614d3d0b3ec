//! The tests of the table, and the counts that a release is to reach.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use support::invariants::assert_healthy;
use support::kills::{Load, under_load};
use support::{Belongings, Random, Round, function, native};
use transom::{Function, Language, Pool};

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
        id: "T3-python",
        what: "SIGKILL of a Python worker at a random moment under load",
        unit: "kills",
        aim: 10_000,
        missing: no_python,
        round: python_kills,
    },
    Campaign {
        id: "T3-jvm",
        what: "SIGKILL of a JVM with two workers at a random moment under load",
        unit: "kills",
        aim: 500,
        missing: no_java,
        round: jvm_kills,
    },
];

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
