//! The page in a capsule for whoever finds it.

use std::fmt::Write;
use std::path::Path;

use super::record::{BATCH, ERROR, PICKLE, RECORD, Record, SourceRecord};
use crate::failure::quoted;

pub(super) fn readme(record: &Record, path: &Path) -> String {
    let function = &record.function;
    let place = match &function.source {
        SourceRecord::File(path) => format!("`{}` in `{path}`", function.name),
        SourceRecord::Module(module) => format!("`{}` of `{module}`", function.name),
        SourceRecord::Pickle(_) => format!("`{}`, which was sent by value", function.name),
    };
    let mut text = format!(
        "# A failure of `{}`\n\nThis folder is a failure capsule of Transom: the input over which a function failed, and what is needed to see the failure again.\n\
         **It holds data of yours, and code that a replay runs.** Do not pass it on without a look, and do not replay one that you do not trust.\n\n",
        function.name
    );
    let folder = quoted(&path.display().to_string());
    _ = write!(
        text,
        "    transom replay {folder}                 # the same call, alone, in a fresh worker\n    \
         transom replay {folder} --rows {}..{}     # over some of the rows, numbered as in the error\n    \
         transom replay {folder} --pdb           # Python's debugger where the exception was raised\n    \
         transom replay {folder} --gdb           # the native stack where the process died\n\n\
         In Python: `transom.replay(path)`; in Rust: `transom::replay(path)`.\n\n",
        record.arguments.first_row,
        record.arguments.first_row + record.arguments.rows,
    );
    // A fence longer than any in the text.
    _ = write!(text, "## The error\n\n````text\n{}\n````\n\n## What is here\n\n", record.error.text.replace("````", "` ` ` `"));
    let count = |count: u64, what: &str| if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") };
    let arguments = &record.arguments;
    let form = if arguments.file == BATCH { "an Arrow IPC file" } else { "an Arrow IPC stream" };
    _ = writeln!(text, "- `{}`: the arguments as the function got them, {}; {form}.", arguments.file, count(arguments.rows, "row"));
    if let Some(left_out) = &arguments.left_out {
        _ = writeln!(text, "  **Not all of them:** {left_out}.");
    }
    match &function.source {
        SourceRecord::Pickle(Some(_)) => _ = writeln!(text, "- `{PICKLE}`: the function {place}. Only a worker unpickles it."),
        SourceRecord::Pickle(None) => {
            _ = writeln!(text, "- The function {place}, is **not here**: it is larger than a capsule may be, and a replay needs it.")
        }
        SourceRecord::File(_) | SourceRecord::Module(_) => _ = writeln!(text, "- Not here: the function {place}. A replay runs it as it is now."),
    }
    _ = writeln!(
        text,
        "- `{RECORD}`: the function's place, interpreter, versions, settings, names of environment variables (no values), and the error in parts."
    );
    _ = writeln!(text, "- `{ERROR}`: the error as it was shown.");
    text
}
