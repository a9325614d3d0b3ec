//! What the interpreter has: its version, pyarrow, and transom of this program's version.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use transom::worker::preload;

use super::Check;
use crate::interpreter;

/// Importing pyarrow from a cold disk is slow; an interpreter that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Says where pyarrow allocates.
const POOL: &str = "ARROW_DEFAULT_MEMORY_POOL";

/// Prints one `key=value` line for each thing that is there. Nothing of the current folder may stand in for a library.
const QUESTIONS: &str = "
import os, sys
if sys.path and sys.path[0] == '':
    sys.path.pop(0)
os.environ.setdefault('JE_ARROW_MALLOC_CONF', 'background_thread:false')
print('python=%d.%d.%d' % sys.version_info[:3])
for name in ('pyarrow', 'transom'):
    try:
        print('%s=%s' % (name, __import__(name).__version__))
    except ImportError as error:
        print('%s-error=%s' % (name, ' '.join(str(error).split())))
try:
    from transom._worker import share_memory
    print('copied=%s' % (share_memory() or ''))
    print('pool=%s' % __import__('pyarrow').default_memory_pool().backend_name)
    from transom import _native
    print('forks=%s' % (_native.obstacle_to_forks() or 'yes'))
except (ImportError, AttributeError):
    pass
";

/// All checks of the interpreter.
pub(super) fn checks(option: Option<&Path>) -> Vec<Check> {
    let interpreter = match interpreter::find(option) {
        Ok(interpreter) => interpreter,
        Err(error) => return vec![Check::bad("interpreter", error.message(), error.hint().unwrap_or("install Python 3.10 or later"))],
    };
    let place = format!("{} ({})", interpreter.path.display(), interpreter.chosen_by);
    let preload = preload(&interpreter.path, &BTreeMap::new());
    match ask(&interpreter.path, preload.clone().unwrap_or_default()) {
        Ok(answers) => {
            let mut checks = vec![Check::good("interpreter", place)];
            checks.extend(judge(&interpreter.path, &answers));
            checks.push(results(&answers, preload.err()));
            checks
        }
        Err(what) => vec![Check::bad("interpreter", format!("{place}: {what}"), "name one that works with --python or $TRANSOM_PYTHON")],
    }
}

fn judge(interpreter: &Path, answers: &str) -> Vec<Check> {
    let answer = |key: &str| answers.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let install = |what: &str| format!("{} -m pip install {what}", interpreter.display());
    let own = env!("CARGO_PKG_VERSION");
    let python = match answer("python") {
        Some(version) if is_too_old(version) => Check::bad("python", version, "Python 3.10 or later is needed"),
        Some(version) => Check::good("python", version),
        None => Check::bad("python", "says nothing about itself", "name another with --python"),
    };
    let pyarrow = match (answer("pyarrow"), answer("pyarrow-error")) {
        (Some(version), _) => Check::good("pyarrow", version),
        (None, error) => Check::bad("pyarrow", error.unwrap_or("not there"), install("pyarrow")),
    };
    let transom = match (answer("transom"), answer("transom-error")) {
        (Some(version), _) if version == own => Check::good("transom", version),
        (Some(version), _) => Check::bad("transom", format!("{version}, and this program is {own}"), install(&format!("transom=={own}"))),
        (None, error) => Check::bad("transom", error.unwrap_or("not there"), install(&format!("transom=={own}"))),
    };
    // What follows from transom's being another is said already.
    let forks = answer("forks").map(|found| match found {
        "yes" => Check::good("worker starts", "by fork, after the first"),
        obstacle => Check::note("worker starts", format!("each loads its libraries anew: {obstacle}"), "see docs/decisions/0037-workers-by-fork.md"),
    });
    [python, pyarrow, transom].into_iter().chain(forks).collect()
}

/// Whether results lie in shared memory from the start, or why they are copied. `unloaded` is why the library for it is not loaded.
fn results(answers: &str, unloaded: Option<String>) -> Check {
    let answer = |key: &str| answers.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let reason = unloaded.or_else(|| answer("copied").filter(|reason| !reason.is_empty()).map(str::to_owned));
    match (reason, answer("pool")) {
        (Some(reason), _) => Check::note("results", format!("are copied once, since {reason}"), "docs/python.md, \"Copies\", says what is needed"),
        (None, Some("system")) => Check::good("results", "lie in shared memory from the start"),
        (None, Some(pool)) => {
            Check::note("results", format!("of pyarrow are copied once, since it allocates by {pool}"), "unset ARROW_DEFAULT_MEMORY_POOL")
        }
        (None, None) => Check::note("results", "nothing is known of them", "mend what is missing above"),
    }
}

fn is_too_old(version: &str) -> bool {
    let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < (3, 10)
}

/// Runs the interpreter on the questions, for a limited time.
fn ask(interpreter: &Path, environment: Vec<(OsString, OsString)>) -> Result<String, String> {
    let mut command = Command::new(interpreter);
    if !environment.is_empty() && env::var_os(POOL).is_none() {
        // As the worker has it.
        command.env(POOL, "system");
    }
    let mut child = command
        .envs(environment)
        .args(["-c", QUESTIONS])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("it cannot be started: {error}"))?;
    let output = drain(child.stdout.take());
    let errors = drain(child.stderr.take());
    let end = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if Instant::now() > end => {
                _ = child.kill();
                _ = child.wait();
                return Err(format!("it did not answer within {} seconds", PATIENCE.as_secs()));
            }
            None => thread::sleep(Duration::from_millis(10)),
        }
    };
    let output = output.join().unwrap_or_default();
    if status.success() {
        return Ok(output);
    }
    let errors = errors.join().unwrap_or_default();
    Err(format!("it ended with {status}: {}", errors.lines().last().unwrap_or("and said nothing")))
}

fn drain(source: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(source) = source {
            // What arrived until the pipe broke is what there is.
            _ = source.take(1 << 20).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn verdicts(answers: &str) -> Vec<Verdict> {
        judge(Path::new("/p"), answers).iter().map(|check| check.verdict).collect()
    }

    #[test]
    fn answers_are_judged() {
        let own = env!("CARGO_PKG_VERSION");
        use Verdict::{Bad, Good};
        assert_eq!(verdicts(&format!("python=3.12.1\npyarrow=21.0.0\ntransom={own}\n")), [Good, Good, Good]);
        assert_eq!(verdicts("python=3.9.1\npyarrow-error=No module named 'pyarrow'\ntransom=0.0.1\n"), [Bad, Bad, Bad]);
        assert_eq!(verdicts(""), [Bad, Bad, Bad]);
        assert_eq!(verdicts(&format!("python=3.12.1\npyarrow=21.0.0\ntransom={own}\nforks=yes\n")), [Good; 4]);
        assert_eq!(verdicts(&format!("python=3.12.1\npyarrow=21.0.0\ntransom={own}\nforks=threads\n"))[3], Verdict::Note);
        let checks = judge(Path::new("/p"), "python=3.11.0\npyarrow=1\n");
        assert_eq!(checks[2].mend.as_deref(), Some(format!("/p -m pip install transom=={own}").as_str()));
    }

    #[test]
    fn what_becomes_of_results_is_said() {
        use Verdict::{Good, Note};
        let found = |answers: &str, unloaded: Option<&str>| results(answers, unloaded.map(str::to_owned));
        assert_eq!(found("copied=\npool=system\n", None).verdict, Good);
        assert!(found("copied=\npool=mimalloc\n", None).found.contains("allocates by mimalloc"));
        assert!(found("copied=another allocator\npool=system\n", None).found.ends_with("since another allocator"));
        assert!(found("copied=\npool=system\n", Some("musl")).found.ends_with("since musl"));
        assert_eq!(found("", None).verdict, Note);
    }

    #[test]
    fn what_is_no_interpreter_is_said() {
        assert!(ask(Path::new("/bin/false"), Vec::new()).unwrap_err().contains("ended with"));
        assert!(ask(Path::new("/proc/version"), Vec::new()).unwrap_err().contains("cannot be started"));
    }
}
