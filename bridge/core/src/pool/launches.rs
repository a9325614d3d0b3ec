//! How the workers of each language are started.

use std::env;
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::builder::Options;
use crate::failure::{Code, Error, Result};
use crate::function::Language;
use crate::worker::{Launch, preload};

/// What to do where there is no Python.
pub(super) const PYTHON_HINT: &str = "give the path of a Python that has transom and pyarrow, such as `.venv/bin/python`";
const NATIVE_WORKER: &str = "transom-native-worker";

/// Workers to be started: how, and for which places.
pub(super) struct Crew {
    pub(super) launch: Launch,
    pub(super) workers: Range<usize>,
}

impl Crew {
    /// The places that each process has.
    pub(super) fn processes(&self) -> impl Iterator<Item = Range<usize>> {
        let (end, links) = (self.workers.end, self.launch.links);
        self.workers.clone().step_by(links).map(move |first| first..(first + links).min(end))
    }
}

/// How to start workers for a language.
///
/// # Errors
/// `INTERPRETER_MISSING` or `TRANSOM_MISSING` where what they need is not there.
pub(super) fn launch(options: &Options, language: Language) -> Result<Launch> {
    let launch = match language {
        Language::Python => Launch::python(&options.python),
        Language::Native => Launch::native(native_worker(options)?),
        Language::Java => Launch::java(java(options)?, &options.java_options, &java_class_path(options)?, options.workers),
    };
    let mut environment = options.environment.clone();
    if language == Language::Python {
        // Where there is a reason against it, results are copied; `transom doctor` says the reason.
        environment.extend(preload(&options.python, &environment).unwrap_or_default());
    }
    Ok(Launch {
        environment,
        directory: options.directory.clone(),
        start_limit: options.start_limit,
        limits: options.limits.times(launch.links),
        ..launch
    })
}

/// Whether a program is there; a name without a slash is looked for on the path when a worker starts.
pub(super) fn present(program: &Path, what: &str, hint: &str) -> Result<()> {
    if program.components().count() > 1 && !program.is_file() {
        return Err(Error::new(Code::InterpreterMissing, format!("the {what} {} is not there", program.display())).with_hint(hint));
    }
    Ok(())
}

fn native_worker(options: &Options) -> Result<PathBuf> {
    let named = options.native_worker.clone().or_else(|| variable("TRANSOM_NATIVE_WORKER").map(PathBuf::from));
    let beside = || Some(env::current_exe().ok()?.with_file_name(NATIVE_WORKER)).filter(|program| program.is_file());
    let program = named.or_else(beside).unwrap_or_else(|| NATIVE_WORKER.into());
    present(&program, "native worker", "give the path of `transom-native-worker`, or set TRANSOM_NATIVE_WORKER to it")?;
    Ok(program)
}

fn java(options: &Options) -> Result<PathBuf> {
    let home = || variable("JAVA_HOME").map(|home| Path::new(&home).join("bin/java"));
    let program = options.java.clone().or_else(home).unwrap_or_else(|| "java".into());
    present(&program, "java program", "install a JDK or JRE of version 17 or later, and set JAVA_HOME to it or give the path of its `bin/java`")?;
    Ok(program)
}

pub(super) fn java_class_path(options: &Options) -> Result<OsString> {
    let entries = match variable("TRANSOM_JAVA_CLASS_PATH") {
        Some(path) if options.java_class_path.is_empty() => env::split_paths(&path).collect(),
        _ => options.java_class_path.clone(),
    };
    let hint = "give the transom-worker jar as the class path of JVM workers, or set TRANSOM_JAVA_CLASS_PATH to it";
    if entries.is_empty() {
        return Err(Error::new(Code::TransomMissing, "no class path is set for JVM workers").with_hint(hint));
    }
    // An entry that is not there would only be passed over in silence; `DIR/*` stands for all jars of a folder.
    let missing = entries.iter().find(|entry| !entry.ends_with("*") && !entry.exists());
    if let Some(entry) = missing {
        let message = format!("{} on the class path of JVM workers is not there", entry.display());
        return Err(Error::new(Code::TransomMissing, message).with_hint(hint));
    }
    let whole = entries.iter().map(std::path::absolute).collect::<std::io::Result<Vec<PathBuf>>>();
    let whole = whole.map_err(|error| Error::system(Code::System, "cannot resolve the class path of JVM workers", error))?;
    env::join_paths(whole).map_err(|error| Error::system(Code::BadOption, "the class path of JVM workers cannot be written", error))
}

/// A variable that is set and not empty.
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::PoolBuilder;

    #[test]
    fn a_jvm_has_a_link_for_each_worker_and_others_have_one() {
        let crew = |launch| Crew { launch, workers: 2..5 };
        let jvm = crew(Launch::java("java", &[], "a.jar".as_ref(), 3));
        assert!(jvm.processes().eq(std::iter::once(2..5)));
        assert!(crew(Launch::native("worker")).processes().eq([2..3, 3..4, 4..5]));
    }

    #[test]
    fn what_is_not_there_is_said_before_anything_starts() {
        let code = |builder: PoolBuilder, language| launch(builder.options(), language).unwrap_err().code();
        assert_eq!(code(PoolBuilder::default().native_worker("/nowhere/worker"), Language::Native), Code::InterpreterMissing);
        assert_eq!(code(PoolBuilder::default().java("/nowhere/bin/java"), Language::Java), Code::InterpreterMissing);
        assert_eq!(code(PoolBuilder::default().java("java").java_class_path(["/nowhere/a.jar"]), Language::Java), Code::TransomMissing);
    }
}
