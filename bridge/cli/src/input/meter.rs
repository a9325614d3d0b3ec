//! How much of the input is read, for the progress bar.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Batches;

/// Bytes of files read so far, and in all.
#[derive(Debug)]
pub(crate) struct Meter {
    read: AtomicU64,
    total: Option<u64>,
}

impl Meter {
    /// A meter; the total is known where all inputs are files.
    pub(crate) fn new(total: Option<u64>) -> Self {
        Self { read: AtomicU64::new(0), total }
    }

    /// Counts bytes as read.
    pub(crate) fn add(&self, bytes: u64) {
        self.read.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The part that is read, from 0 to 1.
    pub(crate) fn part(&self) -> Option<f64> {
        let total = self.total.filter(|total| *total > 0)?;
        Some((self.read.load(Ordering::Relaxed) as f64 / total as f64).min(1.0))
    }
}

/// A reader that tells a meter.
pub(crate) struct Metered<R> {
    inner: R,
    meter: Arc<Meter>,
}

impl<R> Metered<R> {
    pub(crate) fn new(inner: R, meter: Arc<Meter>) -> Self {
        Self { inner, meter }
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.meter.add(count as u64);
        Ok(count)
    }
}

/// Counts the rows of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counter(Arc<AtomicU64>);

impl Counter {
    /// The same stream, counted.
    pub(crate) fn count(&self, batches: Batches) -> Batches {
        let rows = self.0.clone();
        Box::new(batches.inspect(move |batch| {
            if let Ok(batch) = batch {
                rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
            }
        }))
    }

    /// The rows so far.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
