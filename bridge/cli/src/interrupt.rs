//! Ctrl-C, SIGTERM and SIGHUP: the program ends at once, and no half-written file stays.

use std::path::PathBuf;
use std::sync::Mutex;

use transom::{Code, Error, Result};

/// The unfinished output file, if there is one. Who holds the lock decides: either the file gets its final name, or it goes.
static PARTIAL: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Ends the program upon the signals that ask for it. Workers end with the program: their socket closes.
pub(crate) fn watch() -> Result<()> {
    ctrlc::set_handler(|| {
        let partial = PARTIAL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(path) = partial.as_ref() {
            _ = std::fs::remove_file(path);
        }
        // The lock is still held: the main thread cannot rename the file in between.
        std::process::exit(130);
    })
    .map_err(|error| Error::system(Code::System, "cannot watch for Ctrl-C", error))
}

/// Says which file to remove upon a signal.
pub(crate) fn guard(path: PathBuf) {
    *PARTIAL.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(path);
}

/// Does what ends the file's being partial, with signals kept out.
pub(crate) fn finish<T>(complete: impl FnOnce() -> T) -> T {
    let mut partial = PARTIAL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    *partial = None;
    complete()
}
