//! Messages through shared memory while the other side is awake to see them: one ring in each direction, with one writer and one reader.
//!
//! Each side has one segment that it alone writes: its messages, how far it wrote, how far it has read of the other's, and whether it looks. Nothing of
//! the other side's is believed: what a reader has read it keeps to itself, what it takes is copied out before anybody looks at it, and how much there
//! is must fit. The socket stays for all the rest: descriptors, long messages, and whatever is said to a side that sleeps, which it wakes.
//! `docs/protocol.md`, "Rings", has the words and the order between the two ways.

use std::sync::atomic::{Ordering, fence};

use super::wire::violation;
use crate::failure::Result;
use crate::memory::{OwnWords, Sleep, Words};

/// Where what stands in a segment, in words. Those that change at different times lie on lines of their own.
const WRITTEN: usize = 0;
const READ: usize = 8;
const AWAKE: usize = 16;
const PACKETS_SENT: usize = 24;
const PACKETS_READ: usize = 32;
/// Where the messages begin; from here on the segment is the ring.
const MESSAGES: usize = 64;

/// What a side says of itself: nobody looks, and a packet wakes it; it will look before it sleeps; or it sleeps on the other's *written*, and whoever
/// raises that wakes it.
const ASLEEP: u64 = 0;
const LOOKS: u64 = 1;
const DOZES: u64 = 2;

/// The bytes of the segment of one side.
pub(crate) const RING_BYTES: usize = 32 << 10;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// It is in the ring, and will be seen.
    Seen,
    /// It is in the ring, and the reader has fallen asleep: a packet has to wake it.
    Unseen,
    /// It has to go by the socket.
    Not,
}

/// The writing end.
pub(super) struct RingWriter {
    mine: OwnWords,
    theirs: Words,
    written: u64,
    packets: u64,
}

impl RingWriter {
    pub(super) fn new(mine: OwnWords, theirs: Words) -> Self {
        Self { mine, theirs, written: 0, packets: 0 }
    }

    /// Writes a message for a reader who is awake; or, where it need not be read soon, for one who sleeps too.
    ///
    /// # Errors
    /// `PROTOCOL_VIOLATION` where the reader says that it has read what was not written.
    pub(super) fn put(&mut self, bytes: &[u8], soon: bool) -> Result<Put> {
        let capacity = (self.mine.count() - MESSAGES) as u64;
        let needed = 1 + bytes.len().div_ceil(8) as u64;
        if needed > capacity / 2 || !self.is_in_order() || (soon && self.reader() == ASLEEP) {
            return Ok(Put::Not);
        }
        let read = self.theirs.load(READ);
        // What was read there before is free to be written over.
        fence(Ordering::Acquire);
        let used = self.written.checked_sub(read).filter(|&used| used <= capacity);
        let used = used.ok_or_else(|| violation("the reader of a ring has read what was not written"))?;
        if needed > capacity - used {
            return Ok(Put::Not);
        }
        self.mine.store(self.place(self.written), bytes.len() as u64);
        let place = self.place(self.written + 1);
        let (first, wrapped) = bytes.split_at(bytes.len().min(8 * (self.mine.count() - place)));
        self.mine.write(place, first);
        self.mine.write(MESSAGES, wrapped);
        self.written += needed;
        fence(Ordering::Release);
        self.mine.store(WRITTEN, self.written);
        // Either this side sees that the reader has fallen asleep, or the reader sees the message before it does.
        fence(Ordering::SeqCst);
        Ok(if soon && !self.reach() { Put::Unseen } else { Put::Seen })
    }

    /// Has a reader who dozes look at what was written; whether it looks then.
    fn reach(&self) -> bool {
        let reader = self.reader();
        if reader == DOZES {
            self.mine.wake(WRITTEN);
        }
        reader != ASLEEP
    }

    /// A packet goes by the socket; until it is taken in, nothing goes by the ring.
    pub(super) fn packet(&mut self) {
        self.packets += 1;
        self.mine.store(PACKETS_SENT, self.packets);
    }

    /// Whether there are messages that a reader who sleeps has not seen. One who dozes is woken for them.
    pub(super) fn is_owed(&self) -> bool {
        self.theirs.load(READ) != self.written && !self.reach()
    }

    /// Whether the reader has read all and looks for more: what it is told now goes by the ring, delays nothing, and wakes nobody.
    pub(super) fn is_watched(&self) -> bool {
        self.theirs.load(READ) == self.written && self.is_in_order() && self.reader() == LOOKS
    }

    /// Whether every packet was taken in: behind one that was not, a message in the ring would overtake it.
    fn is_in_order(&self) -> bool {
        self.theirs.load(PACKETS_READ) == self.packets
    }

    /// What the reader says of itself. Whoever says what nobody knows is asleep.
    fn reader(&self) -> u64 {
        let said = self.theirs.load(AWAKE);
        if matches!(said, LOOKS | DOZES) { said } else { ASLEEP }
    }

    fn place(&self, position: u64) -> usize {
        MESSAGES + (position % (self.mine.count() - MESSAGES) as u64) as usize
    }
}

/// The reading end.
pub(super) struct RingReader {
    mine: OwnWords,
    theirs: Words,
    read: u64,
    packets: u64,
}

impl RingReader {
    pub(super) fn new(mine: OwnWords, theirs: Words) -> Self {
        Self { mine, theirs, read: 0, packets: 0 }
    }

    /// The next message, where there is one.
    ///
    /// # Errors
    /// `PROTOCOL_VIOLATION` where the writer says what cannot be.
    pub(super) fn take(&mut self) -> Result<Option<Vec<u8>>> {
        let capacity = (self.theirs.count() - MESSAGES) as u64;
        let written = self.theirs.load(WRITTEN);
        if written == self.read {
            return Ok(None);
        }
        fence(Ordering::Acquire);
        let there = written.checked_sub(self.read).filter(|&there| there <= capacity);
        let there = there.ok_or_else(|| violation("a ring has more messages than it has room for"))?;
        let len = self.theirs.load(self.place(self.read));
        let words = len.div_ceil(8);
        if words >= there {
            return Err(violation("a message in a ring is longer than what was written"));
        }
        // Copied out first: nothing that is looked at afterwards can still change.
        let (place, count) = (self.place(self.read + 1), words as usize);
        let first = count.min(self.theirs.count() - place);
        let mut bytes = Vec::with_capacity(8 * count);
        self.theirs.read(place, first, &mut bytes);
        self.theirs.read(MESSAGES, count - first, &mut bytes);
        bytes.truncate(len as usize);
        self.read += 1 + words;
        fence(Ordering::Release);
        self.mine.store(READ, self.read);
        Ok(Some(bytes))
    }

    /// Whether the writer says that packets are in the socket, or about to be.
    pub(super) fn expects_packet(&self) -> bool {
        self.theirs.load(PACKETS_SENT) != self.packets
    }

    /// A packet was taken in, and with it all that was written before.
    pub(super) fn packet(&mut self) {
        self.packets += 1;
        fence(Ordering::Release);
        self.mine.store(PACKETS_READ, self.packets);
    }

    /// From here on somebody looks, until [`RingReader::sleep`] says otherwise.
    pub(super) fn wake(&self) {
        self.mine.store(AWAKE, LOOKS);
    }

    /// Nobody looks any more, and what comes next comes by the socket. `false` where something was written meanwhile, which has to be taken first.
    pub(super) fn sleep(&self) -> bool {
        self.mine.store(AWAKE, ASLEEP);
        fence(Ordering::SeqCst);
        self.theirs.load(WRITTEN) == self.read
    }

    /// As [`RingReader::sleep`], for who sleeps on the writer's *written* until it is another than now. `None` where it is another already.
    pub(super) fn doze(&self) -> Option<Doze> {
        self.mine.store(AWAKE, DOZES);
        fence(Ordering::SeqCst);
        (self.theirs.load(WRITTEN) == self.read).then(|| Doze { theirs: self.theirs.clone(), read: self.read })
    }

    fn place(&self, position: u64) -> usize {
        MESSAGES + (position % (self.theirs.count() - MESSAGES) as u64) as usize
    }
}

/// Where a reader sleeps until there is something in its ring.
pub(crate) struct Doze {
    theirs: Words,
    read: u64,
}

impl Doze {
    /// The word to sleep on.
    pub(crate) fn word(&self) -> Sleep<'_> {
        self.theirs.until_not(WRITTEN, self.read)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::failure::Code;
    use crate::memory::{self, Budget, Role, Segment};

    fn words() -> OwnWords {
        let room = Budget::new(RING_BYTES as u64).reserve(RING_BYTES).unwrap();
        OwnWords::of(Arc::new(Segment::create(0, Role::Input, room).unwrap())).unwrap()
    }

    /// Two sides, each with both ends.
    fn pair() -> (OwnWords, OwnWords, RingWriter, RingReader) {
        let (ours, theirs) = (words(), words());
        let writer = RingWriter::new(ours.clone(), theirs.words());
        let reader = RingReader::new(theirs.clone(), ours.words());
        (ours, theirs, writer, reader)
    }

    #[test]
    fn messages_come_whole_and_in_order_until_the_ring_is_full() {
        let (_, _, mut writer, mut reader) = pair();
        assert_eq!(writer.put(b"x", true).unwrap(), Put::Not, "nobody looks");
        reader.wake();
        let mut next = 0_usize;
        for round in 0..20 {
            let first = next;
            while writer.put(&vec![next as u8; next * 7 % 4000], true).unwrap() == Put::Seen {
                next += 1;
            }
            assert!(next > first, "round {round}");
            for number in first..next {
                assert_eq!(reader.take().unwrap().unwrap(), vec![number as u8; number * 7 % 4000]);
            }
            assert_eq!(reader.take().unwrap(), None);
        }
        assert_eq!(writer.put(&[0; RING_BYTES], true).unwrap(), Put::Not);
    }

    #[test]
    fn behind_a_packet_nothing_goes_by_the_ring_until_it_is_taken_in() {
        let (_, _, mut writer, mut reader) = pair();
        reader.wake();
        writer.packet();
        assert!(reader.expects_packet());
        assert_eq!(writer.put(b"x", true).unwrap(), Put::Not);
        reader.packet();
        assert!(!reader.expects_packet());
        assert_eq!(writer.put(b"x", true).unwrap(), Put::Seen);
    }

    #[test]
    fn what_is_not_urgent_waits_for_a_reader_and_what_is_wakes_it() {
        let (_, _, mut writer, mut reader) = pair();
        assert_eq!(writer.put(b"later", false).unwrap(), Put::Seen);
        assert!(writer.is_owed());
        assert!(!reader.sleep(), "there is something to take first");
        assert_eq!(reader.take().unwrap().unwrap(), b"later");
        assert!(reader.sleep());
        assert!(!writer.is_owed());
    }

    #[test]
    fn who_dozes_is_woken_by_what_comes() {
        let (_, theirs, mut writer, mut reader) = pair();
        let place = reader.doze().unwrap();
        let sleeper = std::thread::spawn(move || {
            // Where it was written before this sleeps, this does not sleep.
            memory::sleep(&[place.word(), place.word()], Duration::MAX);
        });
        assert_eq!(writer.put(b"x", true).unwrap(), Put::Seen);
        sleeper.join().unwrap();
        assert!(reader.doze().is_none(), "there is something to take first");
        assert!(!writer.is_owed(), "who dozes needs no packet");
        assert_eq!(reader.take().unwrap().unwrap(), b"x");
        theirs.store(AWAKE, 7);
        assert_eq!(writer.put(b"y", true).unwrap(), Put::Not, "what nobody knows is asleep");
    }

    #[test]
    fn a_lying_side_is_found_out() {
        let (ours, theirs, mut writer, mut reader) = pair();
        reader.wake();
        for lie in [u64::MAX, RING_BYTES as u64] {
            ours.store(WRITTEN, lie);
            assert_eq!(reader.take().unwrap_err().code(), Code::ProtocolViolation);
        }
        ours.store(WRITTEN, 3);
        for lie in [u64::MAX, 1 << 40, 17] {
            ours.store(MESSAGES, lie);
            assert_eq!(reader.take().unwrap_err().code(), Code::ProtocolViolation);
        }
        theirs.store(READ, 1);
        assert_eq!(writer.put(b"x", true).unwrap_err().code(), Code::ProtocolViolation);
    }

    #[test]
    fn no_garbage_is_read_twice_or_for_ever() {
        let (ours, _, _, mut reader) = pair();
        let mut state = 1_u64;
        for _ in 0..2000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let word = state >> (state >> 58);
            ours.store(MESSAGES + (word % 4032) as usize, word);
            ours.store(WRITTEN, reader.read.wrapping_add(word % 5000));
            let before = reader.read;
            match reader.take() {
                Ok(Some(bytes)) => assert_eq!(reader.read, before + 1 + (bytes.len() as u64).div_ceil(8)),
                Ok(None) | Err(_) => assert_eq!(reader.read, before),
            }
        }
    }
}
