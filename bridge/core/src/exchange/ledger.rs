//! The copy ledger: how many bytes crossed in place, how many were copied, and why.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which way a batch goes, seen from the caller of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Arguments: from the host to a worker.
    Input,
    /// What the function returned: from a worker to the host.
    Result,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $number:literal $text:literal,)*) => {
        /// Why bytes were copied. Numbers and names are stable: they cross between processes and are read by users' tools.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* $variant = $number,)* }

        impl Reason {
            /// Every reason, in order of its number.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// The reason as users read it.
            pub const fn text(self) -> &'static str {
                match self { $(Reason::$variant => $text,)* }
            }

            /// The reason with this number, if there is one.
            pub const fn from_number(number: u8) -> Option<Reason> {
                match number { $($number => Some(Reason::$variant),)* _ => None }
            }
        }
    };
}

reasons! {
    /// The caller's batch lay in ordinary memory.
    InputNotShared = 0 "input was not in shared memory",
    /// The function's result lay in ordinary memory, or in memory that something else could still write.
    ResultNotShared = 1 "result was not in shared memory",
    /// Offsets or views lay in shared memory, but some of what they point to did not, so they had to be written anew.
    Rewritten = 2 "slice was only partly in shared memory",
    /// What shapes the data was copied out of memory that its sender can still write.
    StructureChecked = 3 "structure copied before it was checked",
    /// [`Mode::Strict`](super::Mode::Strict) copies everything.
    StrictMode = 4 "strict mode",
    /// The values began at an address that their type does not allow.
    Aligned = 5 "aligned",
    /// A slice began within a byte of bits, or within a run, and its reader's vectors know no offsets, as Java's do not.
    Unsliced = 6 "reader knows no slices",
    /// The result lay in shared memory, and something of the function, a variable or another array, still has it and could write to it.
    StillHeld = 7 "result was still held by its function",
}

impl Reason {
    /// The stable number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    pub(super) const fn of_copy(direction: Direction) -> Self {
        match direction {
            Direction::Input => Reason::InputNotShared,
            Direction::Result => Reason::ResultNotShared,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

const REASONS: usize = Reason::ALL.len();

/// Counts bytes as batches cross. Cheap to share: plain atomic counters.
#[derive(Debug, Default)]
pub struct Ledger {
    input: Counters,
    result: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    shared: AtomicU64,
    copied: [AtomicU64; REASONS],
}

impl Ledger {
    fn of(&self, direction: Direction) -> &Counters {
        match direction {
            Direction::Input => &self.input,
            Direction::Result => &self.result,
        }
    }

    /// Counts bytes that crossed where they lay.
    pub fn shared(&self, direction: Direction, bytes: u64) {
        self.of(direction).shared.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes that were copied.
    pub fn copied(&self, direction: Direction, reason: Reason, bytes: u64) {
        self.of(direction).copied[usize::from(reason.number())].fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes as copied that were counted as shared before.
    pub(super) fn moved(&self, direction: Direction, reason: Reason, bytes: u64) {
        self.of(direction).shared.fetch_sub(bytes, Ordering::Relaxed);
        self.copied(direction, reason, bytes);
    }

    pub(super) fn record(&self, direction: Direction, tally: &Tally) {
        if tally.shared > 0 {
            self.shared(direction, tally.shared);
        }
        for (&reason, &bytes) in Reason::ALL.iter().zip(&tally.copied) {
            if bytes > 0 {
                self.copied(direction, reason, bytes);
            }
        }
    }

    /// The counts so far.
    pub fn report(&self) -> CopyReport {
        CopyReport { input: self.input.read(), result: self.result.read() }
    }
}

impl Counters {
    fn read(&self) -> Tally {
        Tally { shared: self.shared.load(Ordering::Relaxed), copied: std::array::from_fn(|reason| self.copied[reason].load(Ordering::Relaxed)) }
    }
}

/// What one batch adds to the ledger; kept apart until the batch has really crossed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) shared: u64,
    copied: [u64; REASONS],
}

impl Tally {
    pub(super) fn copy(&mut self, reason: Reason, bytes: usize) {
        self.copied[usize::from(reason.number())] += bytes as u64;
    }

    fn total(&self) -> u64 {
        // A worker's part of the sums is what it says, which may be anything.
        self.copied.iter().fold(0, |sum, &bytes| sum.saturating_add(bytes))
    }
}

/// What the ledger held at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyReport {
    input: Tally,
    result: Tally,
}

impl CopyReport {
    fn of(&self, direction: Direction) -> &Tally {
        match direction {
            Direction::Input => &self.input,
            Direction::Result => &self.result,
        }
    }

    /// Bytes that crossed where they lay, both ways.
    pub fn bytes_shared(&self) -> u64 {
        self.input.shared + self.result.shared
    }

    /// Bytes that were copied, both ways. Padding between buffers is not counted.
    pub fn bytes_copied(&self) -> u64 {
        self.input.total().saturating_add(self.result.total())
    }

    /// Bytes that crossed one way where they lay.
    pub fn shared(&self, direction: Direction) -> u64 {
        self.of(direction).shared
    }

    /// Bytes that were copied one way.
    pub fn copied(&self, direction: Direction) -> u64 {
        self.of(direction).total()
    }

    /// Bytes that were copied one way for one reason.
    pub fn copied_because(&self, direction: Direction, reason: Reason) -> u64 {
        self.of(direction).copied[usize::from(reason.number())]
    }

    /// The reasons that occurred, with their bytes, both ways added up.
    pub fn reasons(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        let sum = |reason: Reason| self.copied_because(Direction::Input, reason) + self.copied_because(Direction::Result, reason);
        Reason::ALL.iter().map(move |&reason| (reason, sum(reason))).filter(|&(_, bytes)| bytes > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_by_direction_and_reason() {
        let ledger = Ledger::default();
        ledger.shared(Direction::Input, 10);
        ledger.copied(Direction::Input, Reason::InputNotShared, 3);
        ledger.copied(Direction::Result, Reason::StructureChecked, 4);
        ledger.copied(Direction::Result, Reason::StructureChecked, 5);
        let report = ledger.report();
        assert_eq!((report.bytes_shared(), report.bytes_copied()), (10, 12));
        assert_eq!(report.copied(Direction::Result), 9);
        assert_eq!(report.reasons().collect::<Vec<_>>(), [(Reason::InputNotShared, 3), (Reason::StructureChecked, 9)]);
    }

    #[test]
    fn numbers_come_back() {
        for (index, &reason) in Reason::ALL.iter().enumerate() {
            assert_eq!((reason.number() as usize, Reason::from_number(reason.number())), (index, Some(reason)));
        }
        assert_eq!(Reason::from_number(Reason::ALL.len() as u8), None);
    }
}
