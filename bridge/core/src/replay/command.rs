//! The command that replays a capsule in one process: what a debugger is started on.

use std::ops::Range;
use std::path::Path;
use std::process::Command;

use super::Capsule;
use crate::failure::{Code, Error, Result};
use crate::function::Language;

/// As with workers, the working directory comes last on the path: a file of the user's there may bear the name of a library.
const BOOTSTRAP: &str = "import sys; sys.path.append(sys.path.pop(0)); from transom import _replay; _replay.main()";

impl Capsule {
    /// A command that calls the function with the arguments with which it failed, or with some of their rows, in a process of its own without a host: for
    /// debuggers. With the last argument `--pdb` Python's debugger begins where an exception was raised. `program` is as for [`Capsule::pool`].
    ///
    /// ```no_run
    /// let capsule = transom::Capsule::open("capsules/ratio-b17-53b8a1f0c2d4e697")?;
    /// let status = capsule.command(None, None)?.arg("--pdb").status();
    /// # Ok::<(), transom::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Capsule::pool`]; `BAD_OPTION` for a function of a JVM, and for rows that are not in the capsule.
    pub fn command(&self, program: Option<&Path>, rows: Option<Range<u64>>) -> Result<Command> {
        let chosen = self.checked(program)?;
        let (_, _, first) = self.part(rows.clone())?;
        let end = rows.map_or(self.rows().end, |rows| rows.end);
        let path = std::path::absolute(&self.path).map_err(|error| Error::system(Code::System, "the capsule's path cannot be resolved", error))?;
        let mut command = Command::new(chosen);
        match self.language() {
            Language::Python => command.args(["-c", BOOTSTRAP]),
            Language::Native => command.arg("--replay"),
            Language::Java => {
                return Err(Error::new(Code::BadOption, "a JVM has debuggers of its own, so a function of one is replayed in a worker only")
                    .with_hint("JAVA_TOOL_OPTIONS=-agentlib:jdwp=… makes the worker's JVM wait for a debugger"));
            }
        };
        command.arg(path).arg(format!("{first}..{end}"));
        if let Some(directory) = self.working_directory() {
            command.current_dir(directory);
        }
        Ok(command)
    }
}
