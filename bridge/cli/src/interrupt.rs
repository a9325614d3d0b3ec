//! Ctrl-C, SIGTERM and SIGHUP: the program ends at once, and no half-written file stays.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use libc::{SIG_IGN, SIGHUP, SIGINT, SIGTERM};

use transom::{Code, Error, Result};

/// The unfinished output file, if there is one. Who holds the lock decides: either the file gets its final name, or it goes.
static PARTIAL: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Ends the program upon the signals that ask for it. Workers end with the program: their socket closes.
pub(crate) fn watch() -> Result<()> {
    let ignored = ignored();
    ctrlc::set_handler(|| {
        let partial = PARTIAL.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = partial.as_ref() {
            _ = fs::remove_file(path);
        }
        // The lock is still held: the main thread cannot rename the file in between.
        std::process::exit(130);
    })
    .map_err(|error| Error::system(Code::System, "cannot watch for Ctrl-C", error))?;
    // Who starts a program with a signal ignored, as `nohup` does, wants it to stay so.
    for signal in [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| ignored & (1 << (signal - 1)) != 0) {
        // SAFETY: `signal` is called with a signal's number and a constant disposition; no handler of ours is involved.
        unsafe { libc::signal(signal, SIG_IGN) };
    }
    Ok(())
}

/// The signals that this process was told to ignore, as a set of bits.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Says which file to remove upon a signal.
pub(crate) fn guard(path: PathBuf) {
    *PARTIAL.lock().unwrap_or_else(PoisonError::into_inner) = Some(path);
}

/// Does what ends the file's being partial, with signals kept out.
pub(crate) fn finish<T>(complete: impl FnOnce() -> T) -> T {
    let mut partial = PARTIAL.lock().unwrap_or_else(PoisonError::into_inner);
    *partial = None;
    complete()
}
