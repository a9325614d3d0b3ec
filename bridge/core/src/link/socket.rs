//! One end of a `SOCK_SEQPACKET` pair: whole packets, each with at most one descriptor beside it.

use std::cell::RefCell;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketFlags, SocketType,
};

use super::MAX_PACKET;
use super::wire::violation;
use crate::failure::{Code, Error, Result};

/// Room for a packet and for noticing one that is too long.
const RECEIVE_BUFFER: usize = MAX_PACKET + 1;

/// What was received.
#[derive(Debug)]
pub enum Packet {
    /// A packet, and the descriptor that came with it.
    Data(Vec<u8>, Option<OwnedFd>),
    /// Nothing is there now.
    Empty,
    /// The other side is gone.
    Closed,
}

/// An end of the pair.
#[derive(Debug)]
pub struct Socket {
    file: OwnedFd,
}

impl Socket {
    /// A connected pair: the host's end and the worker's. Both are closed on exec; who starts the worker lifts that in the child.
    ///
    /// # Errors
    /// `DESCRIPTOR_LIMIT` where no descriptor is left.
    pub fn pair() -> Result<(Self, Self)> {
        step!("system::socketpair", errno => Error::system(Code::DescriptorLimit, "cannot make a socket pair", errno));
        let (host, worker) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|error| Error::system(Code::DescriptorLimit, "cannot make a socket pair", error))?;
        for end in [&host, &worker] {
            // The kernel caps this by its own limit; a small buffer only means more waiting.
            _ = rustix::net::sockopt::set_socket_send_buffer_size(end, 1 << 20);
        }
        Ok((Self { file: host }, Self { file: worker }))
    }

    /// The end that a worker was started with.
    pub fn from_descriptor(file: OwnedFd) -> Self {
        Self { file }
    }

    /// Sends a packet if there is room now; `false` means that there is none.
    ///
    /// # Errors
    /// `HOST_GONE` where the other side has closed (named from the worker's view; a host learns of a death from the pidfd).
    pub fn try_send(&self, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> Result<bool> {
        self.send_with(bytes, descriptor, SendFlags::DONTWAIT)
    }

    /// Sends a packet, waiting for room. The wait ends at the latest when the other side closes or dies.
    ///
    /// # Errors
    /// As [`Socket::try_send`].
    pub fn send(&self, bytes: &[u8]) -> Result<()> {
        self.send_with(bytes, None, SendFlags::empty()).map(|_| ())
    }

    fn send_with(&self, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>, flags: SendFlags) -> Result<bool> {
        step!("system::sendmsg", errno => Error::system(Code::System, "cannot send on the link", errno));
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        let descriptors = descriptor.map(|descriptor| [descriptor]);
        if let Some(descriptors) = &descriptors {
            beside.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        loop {
            match rustix::net::sendmsg(&self.file, &[IoSlice::new(bytes)], &mut beside, flags | SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(true),
                Err(Errno::INTR) => {}
                // NOBUFS and TOOMANYREFS (descriptors in flight) pass like a full buffer does.
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::TOOMANYREFS) if flags.contains(SendFlags::DONTWAIT) => return Ok(false),
                Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => return Err(Error::new(Code::HostGone, "the other side has closed the link")),
                Err(error) => return Err(Error::system(Code::System, "cannot send on the link", error)),
            }
        }
    }

    /// Takes a packet if one is there.
    ///
    /// # Errors
    /// `PROTOCOL_VIOLATION` for a packet that is too long, `DESCRIPTOR_LIMIT` where a descriptor was lost for want of room.
    pub fn try_receive(&self) -> Result<Packet> {
        self.receive_with(RecvFlags::DONTWAIT)
    }

    /// Waits for a packet. The wait ends at the latest when the other side closes or dies.
    ///
    /// # Errors
    /// As [`Socket::try_receive`].
    pub fn receive(&self) -> Result<Packet> {
        self.receive_with(RecvFlags::empty())
    }

    fn receive_with(&self, flags: RecvFlags) -> Result<Packet> {
        // One buffer for each thread: to clear a new one would cost as much as the system call.
        thread_local!(static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; RECEIVE_BUFFER]));
        BUFFER.with_borrow_mut(|bytes| self.receive_into(bytes, flags))
    }

    fn receive_into(&self, bytes: &mut [u8], flags: RecvFlags) -> Result<Packet> {
        step!("system::recvmsg", errno => Error::system(Code::System, "cannot receive from the link", errno));
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            match rustix::net::recvmsg(&self.file, &mut [IoSliceMut::new(bytes)], &mut beside, flags | RecvFlags::CMSG_CLOEXEC) {
                Ok(received) => break received,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Packet::Empty),
                Err(Errno::CONNRESET) => return Ok(Packet::Closed),
                Err(error) => return Err(Error::system(Code::System, "cannot receive from the link", error)),
            }
        };
        let mut descriptors: Vec<OwnedFd> = Vec::new();
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(came) = message {
                descriptors.extend(came);
            }
        }
        let truncated = received.flags.contains(ReturnFlags::CTRUNC);
        // The kernel gives as many as there is room for, which by its alignment can be two.
        if descriptors.len() > 1 || (truncated && !descriptors.is_empty()) {
            return Err(violation("a packet brings more than one descriptor"));
        }
        if truncated {
            return Err(Error::new(Code::DescriptorLimit, "a segment's descriptor was lost: this process has no descriptor left"));
        }
        if received.bytes > MAX_PACKET || received.flags.contains(ReturnFlags::TRUNC) {
            return Err(violation("a packet is longer than the protocol allows"));
        }
        if received.bytes == 0 {
            return Ok(Packet::Closed);
        }
        Ok(Packet::Data(bytes[..received.bytes].to_vec(), descriptors.pop()))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        socket.file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_whole_and_carry_a_descriptor() {
        let (host, worker) = Socket::pair().unwrap();
        assert!(host.try_send(b"abc", Some(worker.as_fd())).unwrap());
        assert!(host.try_send(b"d", None).unwrap());
        let Packet::Data(first, Some(_)) = worker.receive().unwrap() else { panic!("a packet with a descriptor") };
        assert_eq!(first, b"abc");
        assert!(matches!(worker.try_receive().unwrap(), Packet::Data(bytes, None) if bytes == b"d"));
        assert!(matches!(worker.try_receive().unwrap(), Packet::Empty));
        drop(host);
        assert!(matches!(worker.receive().unwrap(), Packet::Closed));
        assert_eq!(worker.send(b"x").unwrap_err().code(), Code::HostGone);
    }

    #[test]
    fn more_than_one_descriptor_is_refused_and_none_is_kept() {
        let (host, worker) = Socket::pair().unwrap();
        for count in [2, 3, 253] {
            let (reading, writing) = rustix::pipe::pipe().unwrap();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
            let mut beside = SendAncillaryBuffer::new(&mut space);
            let descriptors = vec![writing.as_fd(); count];
            assert!(beside.push(SendAncillaryMessage::ScmRights(&descriptors)));
            rustix::net::sendmsg(&host, &[IoSlice::new(b"x")], &mut beside, SendFlags::NOSIGNAL).unwrap();
            assert_eq!(worker.receive().unwrap_err().code(), Code::ProtocolViolation, "{count}");
            drop(writing);
            // The end of the pipe is there when nobody has the other end.
            assert_eq!(rustix::io::read(&reading, &mut [0; 1]).unwrap(), 0);
        }
    }

    #[test]
    fn a_full_link_says_so_and_too_long_a_packet_is_refused() {
        let (host, worker) = Socket::pair().unwrap();
        assert!(host.try_send(&vec![0; MAX_PACKET + 1], None).unwrap());
        assert_eq!(worker.receive().unwrap_err().code(), Code::ProtocolViolation);
        while host.try_send(&[0; 1024], None).unwrap() {}
        worker.receive().unwrap();
    }
}
