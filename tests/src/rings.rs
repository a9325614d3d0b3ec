//! Lies in the ring: what is written there does not hold together.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use transom::link::ToHost;
use transom::memory::{Arena, Role, Segment};

use crate::{NoMore, Rogue};

/// Where the words of a ring lie (docs/protocol.md, "Rings").
const WRITTEN: usize = 0;
const MESSAGES: usize = 64;

impl Rogue {
    /// The whole of its segment, to be written to as it likes.
    pub(crate) fn map_ring(&mut self, len: usize, file: OwnedFd) {
        let arena = Arena::new(NoMore);
        arena.adopt(Arc::new(Segment::attach(0, Role::Output, len, file).expect("the host's segments are whole")));
        self.ring = Some(arena.allocate(len).expect("the segment has room for itself"));
        self.send(ToHost::RingMapped);
    }

    fn write(&mut self, index: usize, word: u64) {
        let ring = self.ring.as_mut().expect("the host gave rings");
        ring.as_mut_slice()[index * 8..][..8].copy_from_slice(&word.to_le_bytes());
    }

    /// Has the host look.
    fn show(&mut self, written: u64) {
        self.write(WRITTEN, written);
        self.send(ToHost::Look);
    }

    pub(crate) fn lie_in_the_ring(&mut self, name: &str) {
        match name {
            "ring_has_more_than_room" => self.show(u64::MAX),
            "ring_has_half_a_message" => {
                self.write(MESSAGES, 9);
                self.show(2);
            }
            "ring_has_no_message" => {
                self.write(MESSAGES, 8);
                self.write(MESSAGES + 1, u64::MAX);
                self.show(2);
            }
            "ring_goes_backwards" => {
                let honest = ToHost::Look.encode().expect("lies are well-formed");
                self.write(MESSAGES, honest.len() as u64);
                self.write(MESSAGES + 1, u64::from(u16::from_le_bytes([honest[0], honest[1]])));
                self.show(2);
                self.show(1);
            }
            "ring_is_mapped_twice" => self.send(ToHost::RingMapped),
            other => panic!("{other} is no lie that is known here"),
        }
    }
}
