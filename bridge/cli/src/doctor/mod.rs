//! `transom doctor`: what is needed, what is there, and how to mend what is missing.

mod pool;
mod python;
mod system;

use std::io::{self, Write};
use std::process::ExitCode;

use transom::Result;

use crate::args;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// All is well.
    Good,
    /// Transom runs, and would run better otherwise.
    Note,
    /// Transom does not run.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug)]
struct Check {
    what: &'static str,
    verdict: Verdict,
    found: String,
    mend: Option<String>,
}

impl Check {
    fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Good, found: found.into(), mend: None }
    }

    fn note(what: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Note, found: found.into(), mend: Some(mend.into()) }
    }

    fn bad(what: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Bad, found: found.into(), mend: Some(mend.into()) }
    }
}

/// Checks everything and prints what it found; the exit status says whether Transom can run.
pub(crate) fn doctor(args: &args::Doctor) -> Result<ExitCode> {
    if let Some(process) = args.pool {
        return pool::show(process, args.json);
    }
    let mut checks = system::checks();
    checks.extend(python::checks(args.python.as_deref()));
    // A reader who leaves early has seen what they wanted.
    _ = write!(io::stdout(), "{}", text(&checks));
    let bad = checks.iter().any(|check| check.verdict == Verdict::Bad);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn text(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.what.len()).max().unwrap_or(0);
    let mut text = format!("transom {}\n", env!("CARGO_PKG_VERSION"));
    for check in checks {
        let mark = match check.verdict {
            Verdict::Good => "ok     ",
            Verdict::Note => "note   ",
            Verdict::Bad => "MISSING",
        };
        text.push_str(&format!("{mark}  {:width$}  {}\n", check.what, check.found));
        if let Some(mend) = &check.mend {
            text.push_str(&format!("{:9}{:width$}  -> {mend}\n", "", ""));
        }
    }
    let bad = checks.iter().filter(|check| check.verdict == Verdict::Bad).count();
    text.push_str(&match bad {
        0 => "everything that is needed is there\n".to_owned(),
        1 => "1 thing that is needed is missing\n".to_owned(),
        bad => format!("{bad} things that are needed are missing\n"),
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_stands_with_its_mending() {
        let text = text(&[Check::good("kernel", "6.1"), Check::bad("pyarrow", "not there", "pip install pyarrow")]);
        assert!(text.contains("ok       kernel   6.1\n"), "{text}");
        assert!(text.contains("MISSING  pyarrow  not there\n                  -> pip install pyarrow\n"), "{text}");
        assert!(text.ends_with("1 thing that is needed is missing\n"));
    }

    #[test]
    fn this_machine_has_what_the_tests_need() {
        let checks = system::checks();
        assert!(checks.iter().all(|check| check.verdict != Verdict::Bad), "{}", text(&checks));
    }
}
