//! A segment as words that two processes touch at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::futex::{self, Sleep};
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

    /// Adds to `bytes` those of `count` words.
    pub(crate) fn read(&self, index: usize, count: usize, bytes: &mut Vec<u8>) {
        for word in &self.words()[index..index + count] {
            bytes.extend_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
    }

    /// What to sleep on until somebody who has made the word another than `value` wakes it.
    pub(crate) fn until_not(&self, index: usize, value: u64) -> Sleep<'_> {
        Sleep { word: self.lower_half(index), expected: value as u32, shared: true }
    }

    /// What `futex(2)` knows of a word, which has 32 bits.
    fn lower_half(&self, index: usize) -> &AtomicU32 {
        let halves = std::ptr::from_ref(&self.words()[index]).cast::<AtomicU32>();
        // SAFETY: the word has two halves, which live as long as it; every bit pattern is one. Nobody in this process reads or writes through it: the
        // kernel is given its address.
        unsafe { &*halves.add(usize::from(cfg!(target_endian = "big"))) }
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

    /// Stores bytes as words, the last of which is filled up with zeros.
    pub(crate) fn write(&self, index: usize, bytes: &[u8]) {
        let words = &self.words.words()[index..][..bytes.len().div_ceil(WORD)];
        let (whole, rest) = bytes.as_chunks::<WORD>();
        for (word, bytes) in words.iter().zip(whole) {
            word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
        }
        if !rest.is_empty() {
            let mut last = [0; WORD];
            last[..rest.len()].copy_from_slice(rest);
            words[whole.len()].store(u64::from_le_bytes(last), Ordering::Relaxed);
        }
    }

    /// Wakes who sleeps on a word, in this process or another.
    pub(crate) fn wake(&self, index: usize) {
        futex::wake(self.words.lower_half(index), true);
    }
}
