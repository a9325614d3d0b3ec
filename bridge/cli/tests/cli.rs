//! The program from outside, as far as no Python is needed: what is wrong with the command line, the inputs and the output.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

fn transom(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_transom"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    for name in ["TRANSOM_PYTHON", "VIRTUAL_ENV"] {
        command.env_remove(name);
    }
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    transom(folder, arguments).output().expect("the program starts")
}

/// Runs what must fail: with this status, one error that begins like this, and no file left behind.
#[track_caller]
fn fails(arguments: &[&str], status: i32, parts: &[&str]) {
    let folder = folder();
    let before = names(folder.path());
    let output = run(folder.path(), arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
    for part in parts {
        assert!(text.contains(part), "{arguments:?}: {part:?} is not in\n{text}");
    }
    assert!(!text.contains("panicked") && !text.contains("Error {"), "{text}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    assert_eq!(names(folder.path()), before, "{arguments:?} left a file");
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, content) in [
        ("good.csv", "price,rebate\n1,0.5\n"),
        ("other.csv", "price,tax\n1,0.5\n"),
        ("text.csv", "price,rebate\ncheap,0.5\n"),
        ("good.txt", "one\ntwo\n"),
        ("fake.parquet", "not a table at all"),
        ("thing.weird", "?"),
        ("functions.py", "def f(price): return price\n"),
    ] {
        fs::write(at(name), content).unwrap();
    }
    fs::create_dir(at("empty")).unwrap();
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_wrong_command_line_is_status_2() {
    fails(&[], 2, &["Usage"]);
    fails(&["run", "functions.py:f"], 2, &["INPUT"]);
    fails(&["run", "functions.py:f", "good.csv", "--workers", "0"], 2, &["--workers"]);
    fails(&["run", "functions.py:f", "good.csv", "--nonsense"], 2, &["--nonsense"]);
    fails(&["run", "functions.py:f", "good.csv", "--deadline", "soon"], 2, &["not a number of seconds"]);
}

#[test]
fn a_function_that_is_none_is_an_error_before_anything_is_read() {
    fails(&["run", "functions.py", "nothing.csv"], 1, &["error[TRN-6006 BAD_OPTION]", "hint: write `path/file.py:name`"]);
}

#[test]
fn inputs_that_cannot_be_read_are_named() {
    let not_found = "error[TRN-6101 INPUT_NOT_FOUND]";
    let wrong = "error[TRN-6103 INPUT_FORMAT]";
    fails(&["run", "functions.py:f", "nothing.csv"], 1, &[not_found, "nothing.csv: no such file"]);
    fails(&["run", "functions.py:f", "god.csv"], 1, &[not_found, "hint: did you mean good.csv?"]);
    fails(&["run", "functions.py:f", "*.nothing"], 1, &[not_found, "nothing matches `*.nothing`"]);
    fails(&["run", "functions.py:f", "empty"], 1, &[not_found, "the folder empty holds no file"]);
    fails(&["run", "functions.py:f", "fake.parquet"], 1, &[wrong, "fake.parquet", "not a Parquet file"]);
    fails(&["run", "functions.py:f", "good.txt", "--format", "arrow"], 1, &[wrong, "good.txt"]);
    fails(&["run", "functions.py:f", "thing.weird"], 1, &[wrong, "thing.weird", "--format"]);
    fails(&["run", "functions.py:f", "-"], 1, &[wrong, "standard input"]);
    fails(&["run", "functions.py:f", "-", "-"], 1, &["TRN-6006 BAD_OPTION", "twice"]);
}

#[test]
fn inputs_that_differ_are_named_with_their_column() {
    let mismatch = "error[TRN-6007 SCHEMA_MISMATCH]";
    fails(&["run", "functions.py:f", "good.csv", "other.csv"], 1, &[mismatch, "other.csv has no column `rebate`, which good.csv has"]);
    fails(&["run", "functions.py:f", "good.csv", "text.csv"], 1, &[mismatch, "`price` is Int64 in good.csv and Utf8 in text.csv"]);
}

#[test]
fn a_file_that_may_not_be_read_says_so() {
    let folder = folder();
    let file = folder.path().join("good.csv");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&file).is_ok() {
        // Root reads everything.
        return;
    }
    let output = run(folder.path(), &["run", "functions.py:f", "good.csv"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("TRN-6102 INPUT_UNREADABLE") && text.contains("permission denied"), "{text}");
}

#[test]
fn outputs_that_cannot_be_written_are_refused_before_any_work() {
    let failed = "error[TRN-6104 OUTPUT_FAILED]";
    let bad = "error[TRN-6006 BAD_OPTION]";
    fails(&["run", "functions.py:f", "good.csv", "-o", "out.xlsx"], 1, &[bad, "out.xlsx", "hint: end it in .parquet"]);
    fails(&["run", "functions.py:f", "good.csv", "-o", "no/out.csv"], 1, &[failed, "the folder no is not there"]);
    fails(&["run", "functions.py:f", "good.csv", "-o", "good.csv"], 1, &[bad, "the output good.csv is also an input"]);
    fails(&["run", "functions.py:f", "*.csv", "-o", "empty/../good.csv", "--columns", "price"], 1, &["TRN-6007"]);
    fails(&["run", "functions.py:f", "good.csv", "-o", "empty", "--output-format", "csv"], 1, &[failed, "empty is a folder"]);
}

#[test]
fn an_interpreter_that_is_none_leaves_no_output() {
    fails(
        &["run", "functions.py:f", "good.csv", "-o", "out.csv", "--python", "./no-python"],
        1,
        &["error[TRN-1005 INTERPRETER_MISSING]", "no-python"],
    );
    fails(&["run", "functions.py:f", "good.csv", "-o", "out.csv", "--python", "functions.py"], 1, &["error[TRN-"]);
}

#[test]
fn doctor_says_what_is_missing_and_how_to_mend_it() {
    let folder = folder();
    let output = run(folder.path(), &["doctor", "--python", "./no-python"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("ok       memfd") && text.contains("MISSING  interpreter") && text.contains("-> "), "{text}");
}

/// Starts a run that has its output prepared and then waits for an interpreter that never answers.
fn waiting(folder: &Path, launcher: &[&str]) -> Child {
    let python = folder.join("python");
    fs::write(&python, "#!/bin/sh\nexec sleep 60\n").unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.join("out.csv"), "before\n").unwrap();
    let before = names(folder);
    let words = [env!("CARGO_BIN_EXE_transom"), "run", "functions.py:f", "good.csv", "-o", "out.csv", "--python", "./python"];
    let words = [launcher, &words].concat();
    let child = Command::new(words[0]).args(&words[1..]).current_dir(folder).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while names(folder) == before {
        assert!(Instant::now() < until, "no partial file appears");
        thread::sleep(Duration::from_millis(5));
    }
    child
}

fn signal(child: &Child, name: &str) {
    Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
}

#[test]
fn a_signal_ends_at_once_and_leaves_no_partial_file() {
    for name in ["-INT", "-TERM", "-HUP"] {
        let folder = folder();
        // What a shell starts in the background ignores SIGINT, and so would this program.
        let mut child = waiting(folder.path(), &["env", "--default-signal=INT,TERM,HUP"]);
        let asked = Instant::now();
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(130), "{name}");
        assert!(asked.elapsed() < Duration::from_secs(2), "{name}");
        assert!(names(folder.path()).iter().all(|name| !name.ends_with(".part")), "{name}");
        assert_eq!(fs::read_to_string(folder.path().join("out.csv")).unwrap(), "before\n");
    }
}

#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let folder = folder();
    let mut child = waiting(folder.path(), &["nohup"]);
    signal(&child, "-HUP");
    thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "it ended upon SIGHUP");
    signal(&child, "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
