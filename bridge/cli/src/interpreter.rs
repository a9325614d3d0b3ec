//! Which Python runs the workers.

use std::env;
use std::path::{Path, PathBuf};

use transom::{Code, Error, Result};

/// An interpreter, and who chose it.
#[derive(Debug, PartialEq)]
pub(crate) struct Interpreter {
    pub(crate) path: PathBuf,
    pub(crate) chosen_by: &'static str,
}

impl Interpreter {
    /// Where a worker lacks something, the user needs to know in which interpreter: it may be another than they think.
    pub(crate) fn blamed(&self, error: Error) -> Error {
        let (path, chosen_by) = (self.path.display(), self.chosen_by);
        let install = |what: &str| {
            format!("the interpreter is {path} ({chosen_by}); install {what} in it: {path} -m pip install {what}, or name another with --python")
        };
        match error.code() {
            Code::PyarrowMissing => error.with_hint(install("pyarrow")),
            Code::TransomMissing | Code::VersionMismatch => error.with_hint(install(concat!("transom==", env!("CARGO_PKG_VERSION")))),
            _ => error,
        }
    }
}

/// What the choice depends on besides the option; a value, so that it can be tested.
struct Surroundings {
    transom_python: Option<PathBuf>,
    virtual_env: Option<PathBuf>,
    program: Option<PathBuf>,
    current: Option<PathBuf>,
    path: Vec<PathBuf>,
}

/// The interpreter to use: the option, `$TRANSOM_PYTHON`, the active virtual environment, a `.venv` by the program or here, `python3`.
pub(crate) fn find(option: Option<&Path>) -> Result<Interpreter> {
    let folder = |key: &str| env::var_os(key).filter(|value| !value.is_empty()).map(PathBuf::from);
    choose(
        option,
        &Surroundings {
            transom_python: folder("TRANSOM_PYTHON"),
            virtual_env: folder("VIRTUAL_ENV"),
            program: env::current_exe().ok(),
            current: env::current_dir().ok(),
            path: env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default(),
        },
    )
}

fn choose(option: Option<&Path>, around: &Surroundings) -> Result<Interpreter> {
    let explicit = [(option, "--python"), (around.transom_python.as_deref(), "$TRANSOM_PYTHON")];
    for (path, chosen_by) in explicit {
        if let Some(path) = path {
            return named(path, chosen_by, &around.path);
        }
    }
    if let Some(path) = around.virtual_env.as_deref().map(|venv| venv.join("bin/python")).filter(|path| path.exists()) {
        return Ok(Interpreter { path, chosen_by: "$VIRTUAL_ENV" });
    }
    if let Some(path) = around.program.as_deref().and_then(beside) {
        return Ok(Interpreter { path, chosen_by: "found by the program" });
    }
    if let Some(path) = around.current.as_deref().map(|here| here.join(".venv/bin/python")).filter(|path| path.exists()) {
        return Ok(Interpreter { path, chosen_by: ".venv in this folder" });
    }
    search("python3", &around.path).map(|path| Interpreter { path, chosen_by: "python3 in $PATH" }).ok_or_else(|| {
        Error::new(Code::InterpreterMissing, "there is no Python: no virtual environment is active and $PATH has no python3")
            .with_hint("install Python 3.10 or later, or name one with --python")
    })
}

/// An interpreter that somebody named must be there: falling back to another would run the function in a surprising place.
fn named(path: &Path, chosen_by: &'static str, search_path: &[PathBuf]) -> Result<Interpreter> {
    let bare = path.components().count() == 1 && !path.is_dir();
    let found = if bare { search(path, search_path) } else { path.is_file().then(|| std::path::absolute(path).unwrap_or_else(|_| path.into())) };
    found.map(|path| Interpreter { path, chosen_by }).ok_or_else(|| {
        let inside = path.join("bin/python");
        let hint = if inside.exists() {
            format!("name the program in it: {}", inside.display())
        } else {
            "`transom doctor` shows which one is found without it".to_owned()
        };
        Error::new(Code::InterpreterMissing, format!("the interpreter {} ({chosen_by}) is not a program", path.display())).with_hint(hint)
    })
}

/// The virtual environment that the program stands in (`.venv/bin/transom`), or a `.venv` in a folder above it (`target/release/transom`).
///
/// The path is kept as it is: a virtual environment's `python` is a link, and only its own name tells Python where it belongs.
fn beside(program: &Path) -> Option<PathBuf> {
    let folder = program.parent()?;
    let own = folder.join("python");
    if folder.parent().is_some_and(|environment| environment.join("pyvenv.cfg").exists()) && own.exists() {
        return Some(own);
    }
    folder.ancestors().map(|above| above.join(".venv/bin/python")).find(|path| path.exists())
}

fn search(name: impl AsRef<Path>, folders: &[PathBuf]) -> Option<PathBuf> {
    folders.iter().map(|folder| folder.join(name.as_ref())).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn touch(path: &Path) -> PathBuf {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
        path.to_path_buf()
    }

    #[test]
    fn the_nearest_choice_wins() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let mut around = Surroundings {
            transom_python: None,
            virtual_env: None,
            program: Some(touch(&at("project/target/release/transom"))),
            current: Some(at("work")),
            path: vec![at("bin")],
        };
        assert_eq!(choose(None, &around).unwrap_err().code(), Code::InterpreterMissing);
        let system = touch(&at("bin/python3"));
        assert_eq!(choose(None, &around).unwrap().path, system);
        let here = touch(&at("work/.venv/bin/python"));
        assert_eq!(choose(None, &around).unwrap().path, here);
        let project = touch(&at("project/.venv/bin/python"));
        assert_eq!(choose(None, &around).unwrap().path, project);
        let active = touch(&at("active/bin/python"));
        around.virtual_env = Some(at("active"));
        assert_eq!(choose(None, &around).unwrap().path, active);
        around.transom_python = Some(system.clone());
        assert_eq!(choose(None, &around).unwrap(), Interpreter { path: system, chosen_by: "$TRANSOM_PYTHON" });
        assert_eq!(choose(Some(&here), &around).unwrap().path, here);
        assert_eq!(choose(Some(Path::new("python3")), &around).unwrap().path, at("bin/python3"));
    }

    #[test]
    fn a_named_interpreter_is_never_replaced() {
        let root = tempfile::tempdir().unwrap();
        touch(&root.path().join("venv/bin/python"));
        let around = Surroundings { transom_python: None, virtual_env: None, program: None, current: None, path: vec![root.path().join("venv/bin")] };
        let error = choose(Some(Path::new("/no/such/python")), &around).unwrap_err();
        assert!(error.message().contains("/no/such/python"), "{error}");
        let error = choose(Some(&root.path().join("venv")), &around).unwrap_err();
        assert!(error.hint().unwrap().contains("venv/bin/python"), "{error}");
    }

    #[test]
    fn a_program_in_a_virtual_environment_uses_it() {
        let root = tempfile::tempdir().unwrap();
        touch(&root.path().join("env/pyvenv.cfg"));
        let python = touch(&root.path().join("env/bin/python"));
        assert_eq!(beside(&touch(&root.path().join("env/bin/transom"))), Some(python));
    }
}
