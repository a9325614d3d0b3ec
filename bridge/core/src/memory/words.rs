//! A segment as words that two processes touch at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::segment::Segment;

const WORD: usize = size_of::<u64>();

/// A segment that another process writes. What stands in it may change at any moment, so a word that matters is read once and then kept.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    segment: Arc<Segment>,
}

impl Words {
    pub(crate) fn of(segment: Arc<Segment>) -> Self {
        Self { segment }
    }

    /// How many there are.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.segment.len() / WORD
    }

    /// One word. Its order among others is for fences to say: only relaxed loads may be made of memory that is mapped read-only.
    #[inline]
    pub(crate) fn load(&self, index: usize) -> u64 {
        self.words()[index].load(Ordering::Relaxed)
    }

    #[inline]
    fn words(&self) -> &[AtomicU64] {
        // SAFETY: a mapping begins at a page and has as many bytes as the segment, which it keeps for as long as `self` lives; every bit pattern is a
        // word. Whoever writes there, in this process or another, does it by atomic stores or is another process, of which nothing is assumed.
        unsafe { std::slice::from_raw_parts(self.segment.as_ptr().cast(), self.count()) }
    }
}

/// A segment that this process writes, and others read meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct OwnWords {
    words: Words,
}

impl OwnWords {
    /// `None` for a segment of which this process is not the writer.
    pub(crate) fn of(segment: Arc<Segment>) -> Option<Self> {
        segment.as_mut_ptr()?;
        Some(Self { words: Words::of(segment) })
    }

    pub(crate) fn count(&self) -> usize {
        self.words.count()
    }

    /// The same words as the other side sees them.
    #[cfg(test)]
    pub(crate) fn words(&self) -> Words {
        self.words.clone()
    }

    #[inline]
    pub(crate) fn store(&self, index: usize, value: u64) {
        // The mapping can be written: `of` saw to it.
        self.words.words()[index].store(value, Ordering::Relaxed);
    }
}
