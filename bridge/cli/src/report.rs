//! The one place where errors reach the user.

use std::cell::Cell;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use transom::{Code, Error};

/// Prints an error on standard error and gives the exit status that goes with it.
pub(crate) fn error(error: &Error) -> ExitCode {
    // Nobody can be told where standard error itself fails.
    _ = writeln!(io::stderr(), "{}", text(error));
    ExitCode::FAILURE
}

fn text(error: &Error) -> String {
    let head = format!("{} {}", error.code().id(), error.code().name());
    let whole = error.to_string();
    let rest = whole.strip_prefix(&head).unwrap_or(&whole);
    format!("error[{head}]{rest}")
}

thread_local! {
    /// Whether this thread expects that foreign code may panic.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs foreign code that is known to panic over bad data; `None` where it did. What it worked on must not be used again.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    let before = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    result.ok()
}

/// Makes a panic, which is a defect of this program, look like one: a code and a request, not a backtrace.
pub(crate) fn defects() {
    std::panic::set_hook(Box::new(|panic| {
        if QUIET.get() {
            return;
        }
        let place = panic.location().map(|place| format!(" ({}:{})", place.file(), place.line())).unwrap_or_default();
        let payload = panic.payload();
        let what = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        let error = Error::new(Code::Internal, format!("{what}{place}")).with_hint("this is a defect of Transom; please report it with this text");
        _ = writeln!(io::stderr(), "{}", text(&error));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_of_foreign_code_are_answers() {
        assert_eq!(caught(|| 1), Some(1));
        assert_eq!(caught(|| panic!("bad data")), None::<i32>);
    }

    #[test]
    fn the_code_stands_in_brackets_and_the_hint_last() {
        let error = Error::new(Code::ColumnNotFound, "no column `x`").with_function("f").with_hint("it has `y`");
        assert_eq!(text(&error), "error[TRN-6001 COLUMN_NOT_FOUND]: no column `x`\n  in function `f`\n  hint: it has `y`");
    }
}
