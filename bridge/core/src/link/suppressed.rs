//! Rows for which a function failed and whose results a worker made null instead of failing the batch.

use super::message::{RemoteError, get_error, put_error};
use super::wire::{Reader, Writer};
use crate::failure::{Code, Error, Result};

/// The rows of one batch for which a function failed, in a worker that was told to go on behind them. Their results are null.
///
/// Rows that fail alike share a cause, so that a batch of failures is no larger than a batch of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suppressed {
    /// Why rows failed.
    pub causes: Vec<RemoteError>,
    /// Rows of the batch, rising, each with its cause by position.
    pub rows: Vec<(u64, u32)>,
}

impl Suppressed {
    /// Whether no row was suppressed.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Fails unless every row is in a batch of `rows` rows, stands once and has a cause. A worker may send anything.
    pub(crate) fn check(&self, rows: usize) -> Result<()> {
        let rising = self.rows.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let inside = self.rows.last().is_none_or(|&(row, _)| row < rows as u64);
        let caused = self.rows.iter().all(|&(_, cause)| (cause as usize) < self.causes.len());
        if rising && inside && caused && self.causes.iter().all(|cause| matches!(cause.code.family(), 3 | 4)) {
            return Ok(());
        }
        Err(Error::new(Code::BadDescriptor, "the worker's list of failed rows does not hold together"))
    }

    pub(super) fn put(&self, w: &mut Writer) {
        w.list(&self.causes, put_error).list(&self.rows, |w, (row, cause)| _ = w.u64(*row).u32(*cause));
    }

    pub(super) fn get(r: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { causes: r.list(get_error)?, rows: r.list(|r| Ok((r.u64()?, r.u32()?)))? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_do_not_hold_together_are_refused() {
        let cause = || RemoteError::new(Code::FunctionRaised, "no");
        let listed = |rows: &[(u64, u32)]| Suppressed { causes: vec![cause()], rows: rows.to_vec() };
        assert!(listed(&[]).check(0).is_ok());
        assert!(listed(&[(0, 0), (4, 0)]).check(5).is_ok());
        for bad in [&[(5, 0)][..], &[(1, 0), (1, 0)], &[(2, 0), (1, 0)], &[(0, 1)]] {
            assert_eq!(listed(bad).check(5).unwrap_err().code(), Code::BadDescriptor, "{bad:?}");
        }
        let odd = Suppressed { causes: vec![RemoteError::new(Code::PoolClosed, "no")], rows: vec![(0, 0)] };
        assert!(odd.check(5).is_err());
    }
}
