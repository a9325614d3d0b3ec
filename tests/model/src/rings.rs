//! One direction of a link with a ring: a writer sends numbered messages by whichever way there is, and now and then one that must go by the socket; a
//! reader looks, sleeps and is woken. None is lost, none overtakes another, and nobody waits for ever, which loom would call a deadlock.

use std::sync::Arc;

use loom::thread;

use super::link::reception::Reception;
use super::link::ring::{Put, RingReader, RingWriter};
use crate::shim::{OwnWords, Packet, Socket, Wire, Words};

/// Words of the ring: two messages of one word each, and no third.
const ROOM: usize = 5;
/// What says only that there is something in the ring.
const LOOK: u64 = u64::MAX;

/// Runs it under every schedule of at most so many preemptions as loom is told. Of four messages, or from `turn` 5 on of two, so that the last goes by
/// the ring, the one whose turn it is goes by the socket.
pub fn run(turn: usize) {
    let (packet, messages) = (turn as u64 % 5, if turn < 5 { 4 } else { 2 });
    let (ours, theirs) = (Words::new(ROOM), Words::new(ROOM));
    let wire = Arc::new(Wire::default());
    let mut reception = Reception::default();
    reception.open(RingReader::new(OwnWords::new(theirs.clone()), ours.clone()));
    let socket = Socket::new(wire.clone());
    let writer = thread::spawn(move || write(RingWriter::new(OwnWords::new(ours), theirs), &wire, packet, messages));
    read(&mut reception, &socket, messages);
    writer.join().expect("the writer does what it should");
}

fn write(mut ring: RingWriter, wire: &Wire, packet: u64, messages: u64) {
    for number in 0..messages {
        let put = if number == packet { Put::Not } else { ring.put(&number.to_le_bytes(), true).expect("the reader is honest") };
        let said = match put {
            Put::Seen => continue,
            Put::Unseen => LOOK,
            Put::Not => number,
        };
        ring.packet();
        wire.give(said.to_le_bytes().to_vec());
    }
}

fn read(reception: &mut Reception, socket: &Socket, messages: u64) {
    let mut next = 0;
    while next < messages {
        reception.wake();
        let mut packet = reception.next(socket, false).expect("the writer is honest");
        if matches!(packet, Packet::Empty) {
            packet = if reception.sleep() { reception.wait(socket) } else { reception.next(socket, true) }.expect("the writer is honest");
        }
        let Packet::Data(bytes, None) = packet else { continue };
        match u64::from_le_bytes(bytes.try_into().expect("all messages are numbers")) {
            LOOK => {}
            number => {
                assert_eq!(number, next, "a message was lost, or came out of turn");
                next += 1;
            }
        }
    }
}
