//! Stacks of workers: written in the worker when it dies or is asked to, read and cut for people in the host.

mod handler;

pub use handler::{use_large_signal_stack, write_stacks};

/// Stands before a native stack.
const BEGIN: &str = "Native stack (most recent call first):\n";
/// Stands behind a stack that the host asked for.
const END: &str = "End of the stack\n";
/// What `faulthandler` calls the signals.
const SIGNALS: [&str; 5] = ["Aborted", "Segmentation fault", "Bus error", "Illegal instruction", "Floating-point exception"];
/// Frames of a native stack that are shown.
const SHOWN: usize = 24;
/// Lines of other stacks that are shown.
const LINES: usize = 200;

/// Whether a stack that was asked for is written to its end.
pub(super) fn is_complete(text: &[u8]) -> bool {
    text.ends_with(END.as_bytes())
}

/// What a worker wrote, cut to what a user can use: the interpreter's stack without the bridge's own frames and the list of loaded extensions; then
/// the native stack, as far as it is not the interpreter's.
pub(super) fn for_users(text: &str) -> String {
    let asked = is_complete(text.as_bytes());
    let text = text.trim_end().trim_end_matches(END.trim_end());
    // The interpreter may have written after the native stack too, where its handler was put behind ours by somebody else.
    let (interpreted, native) = text.split_once(BEGIN).unwrap_or((text, ""));
    let own =
        |line: &str| line.contains("/transom/_") || line.trim_start().starts_with("File \"<string>\"") || line.starts_with("Extension modules:");
    // The error names the signal itself.
    let signal = |line: &str| line.strip_prefix("Fatal Python error: ").is_some_and(|what| SIGNALS.contains(&what.trim_end()));
    let lines: Vec<&str> = interpreted.lines().filter(|line| !own(line) && !signal(line)).take(LINES).collect();
    let interpreted = lines.join("\n").trim().to_owned();
    let mut frames: Vec<String> = native.lines().take_while(|line| !is_interpreter(line)).map(shortened).collect();
    // What the interpreter was just doing within itself says nothing, unless it died there.
    if let Some(interpreter) = native.lines().find(|line| is_interpreter(line)).map(shortened).filter(|_| asked) {
        while frames.last().is_some_and(|frame| library(frame) == library(&interpreter)) {
            frames.pop();
        }
    }
    frames.truncate(SHOWN);
    if frames.is_empty() {
        return interpreted;
    }
    let native = format!("{BEGIN}  {}", frames.join("\n  "));
    if interpreted.is_empty() { native } else { format!("{interpreted}\n\n{native}") }
}

/// From the evaluation of bytecode on, Python's own stack says more.
fn is_interpreter(line: &str) -> bool {
    ["(_PyEval_", "(PyEval_", "(_PyObject_", "(PyObject_"].iter().any(|name| line.contains(name))
}

/// `/usr/lib/libm.so.6(cos+0x12)[0x7f…]` without the folder and the address, which say nothing to anybody else.
fn shortened(line: &str) -> String {
    let line = line.rsplit_once('[').map_or(line, |(frame, _)| frame);
    let (library, place) = line.split_once('(').unwrap_or((line, ""));
    let name = library.rsplit('/').next().unwrap_or(library);
    if place.is_empty() { name.to_owned() } else { format!("{name}({place}") }
}

/// The library of a shortened frame.
fn library(frame: &str) -> &str {
    frame.split('(').next().unwrap_or(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_cut_to_the_users_frames() {
        let text = "Fatal Python error: Aborted\n\nCurrent thread (most recent call first):\n  File \"udfs.py\", line 3 in f\n  File \"/x/transom/_plans.py\", \
                    line 8 in run\n  File \"<string>\", line 20 in <module>\n\nExtension modules: a, b (total: 2)\n";
        assert_eq!(for_users(text), "Current thread (most recent call first):\n  File \"udfs.py\", line 3 in f");
        assert!(for_users("Fatal Python error: no GIL\n").contains("no GIL"));
    }

    #[test]
    fn a_native_stack_comes_last_and_ends_where_the_interpreter_begins() {
        let text = format!(
            "Current thread (most recent call first):\n  File \"udfs.py\", line 3 in f\n{BEGIN}/lib/libm.so.6(cos+0x12)[0x7f01]\n\
             /x/my.so(+0x55)[0x7f02]\n/usr/bin/python3.11(_PyEval_EvalFrameDefault+0x30e)[0x5b]\n/usr/bin/python3.11(main+0x1)[0x5b]\n{END}"
        );
        assert!(is_complete(text.as_bytes()));
        let shown = for_users(&text);
        assert!(shown.ends_with("line 3 in f\n\nNative stack (most recent call first):\n  libm.so.6(cos+0x12)\n  my.so(+0x55)"), "{shown}");
    }

    #[test]
    fn what_the_interpreter_does_within_itself_is_shown_where_it_died() {
        let died = format!("{BEGIN}/usr/bin/python3.11(PyLong_FromLong+0xba)[0x5b]\n/usr/bin/python3.11(_PyEval_EvalFrameDefault+0x30e)[0x5b]\n");
        assert_eq!(for_users(&died), format!("{BEGIN}  python3.11(PyLong_FromLong+0xba)"));
        assert_eq!(for_users(&format!("{died}{END}")), "");
    }

    #[test]
    fn a_native_stack_may_be_all_there_is_and_is_capped() {
        let text = format!("{BEGIN}{}", "a.so(f+0x1)[0x1]\n".repeat(1000));
        assert_eq!(for_users(&text).lines().count(), SHOWN + 1);
        assert_eq!(for_users(&format!("{BEGIN}python3.11(_PyEval_EvalFrameDefault+0x1)[0x5]\n")), "");
        assert_eq!(for_users(""), "");
    }
}
