//! One direction of a link with a ring: a writer sends numbered messages by whichever way there is, and now and then one that must go by the socket; a
//! reader looks, sleeps and is woken. None is lost, none overtakes another, and nobody waits for ever, which loom would call a deadlock.

use std::sync::Arc;

use loom::thread;

use super::link::reception::Reception;
use super::link::ring::{Put, RingReader, RingWriter};
use crate::shim::{OwnWords, Packet, Socket, Wire, Words};
use transom::Result;

/// Words of the ring: two messages of one word each, and no third.
const ROOM: usize = 5;
/// What says only that there is something in the ring.
const LOOK: u64 = u64::MAX;

/// Runs it under every schedule of at most so many preemptions as loom is told. Each turn is a case: which message goes by the socket, of how many, and
/// how the reader sleeps.
pub fn run(turn: usize) {
    let (packet, messages, dozes) = match turn as u64 {
        turn @ 0..5 => (Some(turn), 4, false),
        5 => (Some(0), 2, false),
        6 => (None, 2, false),
        7 => (None, 2, true),
        turn => (Some(turn - 8), 3, true),
    };
    let (ours, theirs) = (Words::new(ROOM), Words::new(ROOM));
    let wire = Arc::new(Wire::default());
    let mut reception = Reception::default();
    reception.open(RingReader::new(OwnWords::new(theirs.clone()), ours.clone()));
    let socket = Socket::new(wire.clone());
    let sleep = if dozes { doze } else { asleep };
    let waiting = wire.clone();
    let writer = thread::spawn(move || write(RingWriter::new(OwnWords::new(ours), theirs), &wire, packet, messages));
    read(&mut reception, &socket, messages, |reception, socket| sleep(reception, socket, &waiting));
    writer.join().expect("the writer does what it should");
}

fn write(mut ring: RingWriter, wire: &Wire, packet: Option<u64>, messages: u64) {
    for number in 0..messages {
        let put = if Some(number) == packet { Put::Not } else { ring.put(&number.to_le_bytes(), true).expect("the reader is honest") };
        let said = match put {
            Put::Seen => continue,
            Put::Unseen => LOOK,
            Put::Not => number,
        };
        ring.packet();
        wire.give(said.to_le_bytes().to_vec());
    }
}

/// Sleeps until a packet comes.
fn asleep(reception: &mut Reception, socket: &Socket, _: &Wire) -> Result<Packet> {
    if reception.sleep() { reception.wait(socket) } else { reception.next(socket, true) }
}

/// Sleeps until something comes by the ring, or a packet.
fn doze(reception: &mut Reception, socket: &Socket, wire: &Wire) -> Result<Packet> {
    if let Some(place) = reception.doze() {
        wire.doze(&place.word());
    }
    reception.wake();
    reception.next(socket, true)
}

fn read(reception: &mut Reception, socket: &Socket, messages: u64, sleep: impl Fn(&mut Reception, &Socket) -> Result<Packet>) {
    let mut next = 0;
    while next < messages {
        reception.wake();
        let mut packet = reception.next(socket, false).expect("the writer is honest");
        if matches!(packet, Packet::Empty) {
            packet = sleep(reception, socket).expect("the writer is honest");
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
