//! Messages as a peer with a defect sends them: cut, stretched, changed, doubled, stale, at the wrong time, and with descriptors beside them.
//! The same seed always gives the same messages.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use transom::link::{MAX_PACKET, Socket};

/// As many descriptors as the kernel lets a packet have (`SCM_MAX_FD`, `unix(7)`).
const MOST_DESCRIPTORS: usize = 253;

/// A stream of pseudo-random numbers, and all that was made of it: a duplicate is one of something.
pub struct Garbler {
    state: u64,
    sent: Vec<Vec<u8>>,
}

/// A packet.
pub struct Garbled {
    /// What it says.
    pub bytes: Vec<u8>,
    /// How many descriptors come beside it.
    pub descriptors: usize,
}

impl Garbler {
    /// The messages of this seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed, sent: Vec::new() }
    }

    /// The next message: one of `honest`, or what becomes of one.
    pub fn message(&mut self, honest: &[Vec<u8>]) -> Garbled {
        let mut bytes = honest[self.below(honest.len())].clone();
        match self.below(10) {
            0 => bytes.truncate(self.below(bytes.len())),
            1 => bytes.extend((0..=self.below(40)).map(|_| self.next() as u8)),
            2 | 3 => (0..=self.below(3)).for_each(|_| self.flip(&mut bytes)),
            4 => self.overwrite(&mut bytes),
            5 if !self.sent.is_empty() => {
                let one = self.below(self.sent.len());
                bytes = self.sent[one].clone();
            }
            6 => bytes.iter_mut().skip(2).for_each(|byte| *byte = self.next() as u8),
            7 => bytes.resize([MAX_PACKET, MAX_PACKET + 1, 2 * MAX_PACKET][self.below(3)], 0),
            _ => {}
        }
        let descriptors = if self.below(12) == 0 { [1, 2, 3, MOST_DESCRIPTORS][self.below(4)] } else { 0 };
        self.sent.push(bytes.clone());
        Garbled { bytes, descriptors }
    }

    fn flip(&mut self, bytes: &mut [u8]) {
        let at = self.below(bytes.len());
        bytes[at] ^= 1 << self.below(8);
    }

    /// Puts a number where arithmetic turns into one of the fields.
    fn overwrite(&mut self, bytes: &mut [u8]) {
        let number = [0, 1, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX][self.below(6)];
        let at = self.below(bytes.len());
        let width = [4, 8][self.below(2)].min(bytes.len() - at);
        bytes[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
    }

    /// A number under `limit`, by the generator of Vigna's `splitmix64`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Garbled {
    /// Sends it, without waiting where there is no room; says whether the other side is there.
    pub fn send(&self, socket: &Socket) -> bool {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<BorrowedFd<'_>> = (0..self.descriptors).map(|_| socket.as_fd()).collect();
        if !descriptors.is_empty() {
            beside.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = sendmsg(socket, &[IoSlice::new(&self.bytes)], &mut beside, flags);
        !matches!(sent, Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET))
    }
}

/// How many rounds a test goes: `count`, or what the environment variable `TEST_ROUNDS` says. Round numbers are seeds, from `TEST_FIRST_ROUND` on.
pub fn rounds(count: u64) -> std::ops::Range<u64> {
    let from_outside = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = from_outside("TEST_FIRST_ROUND").unwrap_or(0);
    first..first + from_outside("TEST_ROUNDS").unwrap_or(count)
}
