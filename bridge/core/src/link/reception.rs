//! What comes over a link by either way, in the order in which it was sent.

use super::ring::{Doze, RingReader};
use super::socket::{Packet, Socket};
use crate::failure::Result;

/// The receiving end of a link. One thread at a time has it.
#[derive(Default)]
pub(super) struct Reception {
    ring: Option<RingReader>,
    /// A packet before which messages stand in the ring.
    packet: Option<Packet>,
}

impl Reception {
    /// From here on messages may come by this ring too.
    pub(super) fn open(&mut self, ring: RingReader) {
        self.ring = Some(ring);
    }

    /// The next message, or [`Packet::Empty`]. The socket is asked where the writer says that there is something, or always with `thorough`.
    ///
    /// # Errors
    /// What the socket says, and `PROTOCOL_VIOLATION` for a ring that cannot be.
    pub(super) fn next(&mut self, socket: &Socket, thorough: bool) -> Result<Packet> {
        let Some(ring) = &mut self.ring else { return socket.try_receive() };
        if let Some(bytes) = ring.take()? {
            return Ok(Packet::Data(bytes, None));
        }
        if self.packet.is_none() {
            if !thorough && !ring.expects_packet() {
                return Ok(Packet::Empty);
            }
            let packet = socket.try_receive()?;
            return self.behind_the_ring(packet);
        }
        Ok(self.waiting())
    }

    /// Waits for a packet where this side has said that it sleeps; gives the message that stands first.
    ///
    /// # Errors
    /// As [`Reception::next`].
    pub(super) fn wait(&mut self, socket: &Socket) -> Result<Packet> {
        let packet = socket.receive()?;
        self.behind_the_ring(packet)
    }

    /// What was written to the ring before a packet was sent can be seen when the packet is here, and comes before it.
    fn behind_the_ring(&mut self, packet: Packet) -> Result<Packet> {
        let Some(ring) = &mut self.ring else { return Ok(packet) };
        if matches!(packet, Packet::Empty) {
            return Ok(packet);
        }
        self.packet = Some(packet);
        match ring.take()? {
            Some(bytes) => Ok(Packet::Data(bytes, None)),
            None => Ok(self.waiting()),
        }
    }

    /// The packet whose turn it is now.
    fn waiting(&mut self) -> Packet {
        let packet = self.packet.take().unwrap_or(Packet::Empty);
        if let (Some(ring), Packet::Data(..)) = (&mut self.ring, &packet) {
            ring.packet();
        }
        packet
    }

    /// Somebody looks from here on, so messages may come by the ring.
    pub(super) fn wake(&self) {
        if let Some(ring) = &self.ring {
            ring.wake();
        }
    }

    /// Nobody looks any more; `false` where there is something to be taken in first.
    pub(super) fn sleep(&self) -> bool {
        // Said in any case: who goes on looking says otherwise, and who does not must be woken.
        let quiet = self.ring.as_ref().is_none_or(RingReader::sleep);
        quiet && self.packet.is_none()
    }

    /// As [`Reception::sleep`], for who sleeps where the writer of the ring wakes it.
    pub(super) fn doze(&self) -> Option<Doze> {
        self.ring.as_ref().filter(|_| self.packet.is_none())?.doze()
    }

    /// Whether messages may come by a ring.
    pub(super) fn has_ring(&self) -> bool {
        self.ring.is_some()
    }
}
