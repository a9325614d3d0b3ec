//! Which versions a worker's program has. It is asked when a capsule is written, since the worker may be dead by then.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::function::Language;
use crate::worker::Launch;

/// How long a program may take to say its version.
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints one `name version` a line: of the interpreter, and of the libraries that are installed for it.
const PYTHON: &str = r#"
import sys
if sys.path and sys.path[0] == "":
    sys.path.append(sys.path.pop(0))
from importlib import metadata
print("python", sys.version.split()[0])
print("executable", sys.executable)
for name in ("transom", "pyarrow", "numpy", "pandas", "polars", "cloudpickle"):
    try:
        print(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        pass
"#;

/// The versions of what `launch` starts; empty where it does not tell in time.
pub(crate) fn versions(launch: &Launch) -> BTreeMap<String, String> {
    let mut command = Command::new(&launch.program);
    match launch.language {
        Language::Python => command.args(["-c", PYTHON]),
        Language::Java => command.arg("--version"),
        // The program for shared libraries has the version of this library, which the record says.
        Language::Native => return BTreeMap::new(),
    };
    command.envs(&launch.environment).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    if let Some(directory) = &launch.directory {
        command.current_dir(directory);
    }
    let Ok(child) = command.spawn() else { return BTreeMap::new() };
    let text = said(child);
    match launch.language {
        Language::Java => text.lines().next().map(|line| ("java".to_owned(), line.to_owned())).into_iter().collect(),
        _ => text.lines().filter_map(|line| line.split_once(' ')).map(|(name, version)| (name.to_owned(), version.to_owned())).collect(),
    }
}

/// What a process prints until it ends, or until its time is up.
fn said(mut child: Child) -> String {
    let mut text = Vec::new();
    let until = Instant::now() + PATIENCE;
    if let Some(mut output) = child.stdout.take() {
        let mut buffer = [0; 4096];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let limit = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            let ready = match poll(&mut [PollFd::new(&output, PollFlags::IN)], Some(&limit)) {
                Err(rustix::io::Errno::INTR) => continue,
                ready => ready.is_ok_and(|count| count > 0),
            };
            match if ready { output.read(&mut buffer) } else { Ok(0) } {
                Ok(read) if read > 0 && text.len() < 1 << 16 => text.extend_from_slice(&buffer[..read]),
                _ => break,
            }
        }
    }
    // It has said its last word, or is not waited for any longer.
    _ = child.kill();
    _ = child.wait();
    String::from_utf8_lossy(&text).into_owned()
}
