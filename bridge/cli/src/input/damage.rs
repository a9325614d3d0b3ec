//! Damaged files. Arrow's readers answer some of them with a panic; here it becomes an error that names the file.

use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use transom::{Error, Result};

use super::{Batches, Format, Input, Plan, malformed, read};
use crate::report;

/// Does what may meet a damaged file.
pub(super) fn caught<T>(path: &Path, format: Format, work: impl FnOnce() -> Result<T>) -> Result<T> {
    report::caught(work).unwrap_or_else(|| Err(damaged(path, format)))
}

fn damaged(path: &Path, format: Format) -> Error {
    malformed(path, format, "its content is damaged")
}

/// Opens an input and reads it, up to the first error.
pub(super) fn guarded(input: Input, plan: &Plan) -> impl Iterator<Item = Result<RecordBatch>> + Send + use<> {
    let (path, format) = (input.path.clone(), input.format);
    match caught(&path, format, || read(input, plan)) {
        Ok(batches) => Guarded { batches: Some(batches), failed: None, path, format },
        Err(error) => Guarded { batches: None, failed: Some(error), path, format },
    }
}

struct Guarded {
    /// Gone after an error: what panicked must not be asked again.
    batches: Option<Batches>,
    failed: Option<Error>,
    path: PathBuf,
    format: Format,
}

impl Iterator for Guarded {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            return Some(Err(error));
        }
        let batches = self.batches.as_mut()?;
        let batch = report::caught(|| batches.next()).unwrap_or_else(|| Some(Err(damaged(&self.path, self.format))));
        if !matches!(batch, Some(Ok(_))) {
            self.batches = None;
        }
        batch
    }
}
