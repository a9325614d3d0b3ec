//! What stands under the modelled files instead of the system: memory that is no mapping, and a link that is no socket.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use loom::sync::Mutex;
use loom::sync::atomic::AtomicU64;
use transom::memory::Role;
use transom::{Code, Error, Result};

use crate::condvar::Condvar;

/// A segment in ordinary memory. It counts those that live, and knows whether it was closed to writers.
#[derive(Debug)]
pub struct Segment {
    id: u32,
    role: Role,
    bytes: *mut [u64],
    pub closed: AtomicBool,
    living: Arc<AtomicUsize>,
}

// SAFETY: the memory is the segment's own, and loom runs one thread at a time.
unsafe impl Send for Segment {}
// SAFETY: as above.
unsafe impl Sync for Segment {}

impl Segment {
    pub fn new(id: u32, role: Role, len: usize, living: Arc<AtomicUsize>) -> Self {
        living.fetch_add(1, Ordering::Relaxed);
        Self { id, role, bytes: Box::into_raw(vec![0; len / 8].into_boxed_slice()), closed: AtomicBool::new(false), living }
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    pub fn role(&self) -> Role {
        self.role
    }

    pub fn len(&self) -> usize {
        self.bytes.len() * 8
    }

    pub fn inode(&self) -> Option<u64> {
        None
    }

    pub fn as_ptr(&self) -> *const u8 {
        self.bytes.cast::<u8>().cast_const()
    }

    pub fn as_mut_ptr(&self) -> Option<*mut u8> {
        Some(self.bytes.cast())
    }

    pub fn offset_of(&self, ptr: *const u8) -> Option<usize> {
        (ptr as usize).checked_sub(self.as_ptr() as usize).filter(|&offset| offset < self.len())
    }

    pub fn close_to_writers(&self) -> Result<()> {
        self.closed.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// No descriptor is needed: the link hands over the number only.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        borrowed()
    }

    /// The number at an offset.
    pub fn read(&self, offset: u64) -> u64 {
        // SAFETY: the model's extents lie in their segments, and loom runs one thread at a time.
        unsafe { self.bytes.cast::<u64>().add(offset as usize / 8).read() }
    }

    /// Writes the number at an offset.
    pub fn write(&self, offset: u64, value: u64) {
        // SAFETY: as in `read`.
        unsafe { self.bytes.cast::<u64>().add(offset as usize / 8).write(value) }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.living.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: `new` made the box, and nobody else has it.
        drop(unsafe { Box::from_raw(self.bytes) });
    }
}

fn borrowed() -> BorrowedFd<'static> {
    // SAFETY: standard input is open in every test, and nothing is done with it.
    unsafe { BorrowedFd::borrow_raw(0) }
}

/// What the host's end receives.
pub enum Packet {
    Data(Vec<u8>, Option<OwnedFd>),
    Empty,
    Closed,
}

/// Both ends of a link. The way to the worker has room for two packets, so that it is full now and then.
#[derive(Default)]
pub struct Wire {
    packets: Mutex<Packets>,
    changed: Condvar,
}

#[derive(Default)]
struct Packets {
    to_worker: VecDeque<Vec<u8>>,
    to_host: VecDeque<Vec<u8>>,
    woken: bool,
    closed: bool,
}

const ROOM: usize = 2;

impl Wire {
    fn packets(&self) -> loom::sync::MutexGuard<'_, Packets> {
        self.packets.lock().expect("the model does not go on behind a panic")
    }

    /// The worker takes a packet, waiting for one; none when the host has hung up.
    pub fn take(&self) -> Option<Vec<u8>> {
        let mut packets = self.packets();
        loop {
            if packets.closed {
                return None;
            }
            if let Some(bytes) = packets.to_worker.pop_front() {
                drop(packets);
                self.changed.notify_all();
                return Some(bytes);
            }
            packets = self.changed.wait(&self.packets, packets);
        }
    }

    /// The worker sends.
    pub fn give(&self, bytes: Vec<u8>) {
        self.packets().to_host.push_back(bytes);
        self.changed.notify_all();
    }

    /// Either side is gone.
    pub fn close(&self) {
        self.packets().closed = true;
        self.changed.notify_all();
    }

    /// Waits until the host has something to do: a packet, room for one that waits, a word from another of its threads, or the end.
    pub fn wait(&self, wants_room: bool) {
        let mut packets = self.packets();
        while packets.to_host.is_empty() && !packets.closed && !packets.woken && !(wants_room && packets.to_worker.len() < ROOM) {
            packets = self.changed.wait(&self.packets, packets);
        }
        packets.woken = false;
    }

    /// A reader sleeps until it is woken for the ring, or a packet comes: one that is heard by another thread, which wakes it too.
    pub fn doze(&self, sleep: &Sleep<'_>) {
        let mut packets = self.packets();
        // As the kernel does it: whoever wakes comes before this look, or finds somebody who sleeps.
        while sleep.words.load(sleep.index) == sleep.expected && packets.to_host.is_empty() {
            packets = self.changed.wait(&self.packets, packets);
        }
    }

    fn wake(&self) {
        self.packets().woken = true;
        self.changed.notify_all();
    }
}

std::thread_local! {
    /// The link that is being made: all threads of a model are one of the system's.
    static CURRENT: RefCell<Option<Arc<Wire>>> = const { RefCell::new(None) };
}

/// The host's own way to wake its supervisor, which waits for this and for packets at once.
pub struct Notify(Arc<Wire>);

impl Notify {
    pub fn new() -> Self {
        Self(CURRENT.with_borrow(Clone::clone).expect("a socket was made first"))
    }

    pub fn notify_one(&self) {
        self.0.wake();
    }

    /// Nobody waits so in the model.
    pub fn notify_waiters(&self) {}

    pub fn notified(&self) -> Notified {
        Notified(std::future::pending())
    }
}

pub struct Notified(std::future::Pending<()>);

impl Notified {
    pub fn enable(self: std::pin::Pin<&mut Self>) {}
}

impl Future for Notified {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        std::pin::Pin::new(&mut self.0).poll(context)
    }
}

/// What only workers have.
#[derive(Clone, Copy)]
pub enum Heap {}
#[derive(Debug)]
pub enum Claim {}
pub enum InputLease {}
pub enum Share {}

impl Heap {
    pub fn adopt(self, _segment: Arc<Segment>) -> Share {
        match self {}
    }
}

impl Share {
    pub fn take(&self, _len: usize) -> Option<usize> {
        match *self {}
    }

    pub fn give(&self, _offset: usize, _len: usize) {
        match *self {}
    }

    pub fn free(&self) -> usize {
        match *self {}
    }

    pub fn is_whole(&self) -> bool {
        match *self {}
    }

    pub fn retire(&self) -> bool {
        match *self {}
    }
}

/// The host's end.
pub struct Socket(Arc<Wire>);

impl Socket {
    pub fn new(wire: Arc<Wire>) -> Self {
        CURRENT.set(Some(wire.clone()));
        Self(wire)
    }

    pub fn try_receive(&self) -> Result<Packet> {
        let mut packets = self.0.packets();
        Ok(match packets.to_host.pop_front() {
            Some(bytes) => Packet::Data(bytes, None),
            None if packets.closed => Packet::Closed,
            None => Packet::Empty,
        })
    }

    /// Waits for a packet.
    pub fn receive(&self) -> Result<Packet> {
        self.0.wait(false);
        self.try_receive()
    }

    pub fn try_send(&self, bytes: &[u8], _descriptor: Option<BorrowedFd<'_>>) -> Result<bool> {
        let mut packets = self.0.packets();
        if packets.closed {
            return Err(Error::new(Code::HostGone, "the other side has closed the link"));
        }
        let room = packets.to_worker.len() < ROOM;
        if room {
            packets.to_worker.push_back(bytes.to_vec());
        }
        drop(packets);
        self.0.changed.notify_all();
        Ok(room)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        borrowed()
    }
}

pub fn violation(what: &str) -> Error {
    Error::new(Code::ProtocolViolation, what.to_owned())
}

/// The model has one process.
pub fn process_id() -> u32 {
    1
}

/// Words that two sides touch at the same time: as many as a small ring has.
#[derive(Clone, Debug)]
pub struct Words(Arc<[AtomicU64]>);

impl Words {
    /// Those of a ring with room for so many words.
    pub fn new(room: usize) -> Self {
        Self((0..RING_HEAD + room).map(|_| AtomicU64::new(0)).collect())
    }

    /// Rings of segments are not modelled with the books: `rings.rs` has words of its own.
    pub fn of(_segment: Arc<Segment>) -> Self {
        Self::new(1)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn until_not(&self, index: usize, value: u64) -> Sleep<'_> {
        Sleep { words: self, index, expected: value }
    }

    pub fn load(&self, index: usize) -> u64 {
        self.0[index].load(loom::sync::atomic::Ordering::Relaxed)
    }

    pub fn read(&self, index: usize, count: usize, bytes: &mut Vec<u8>) {
        (index..index + count).for_each(|index| bytes.extend_from_slice(&self.load(index).to_le_bytes()));
    }
}

/// Where a reader sleeps, as `futex(2)` sees it.
pub struct Sleep<'a> {
    words: &'a Words,
    index: usize,
    expected: u64,
}

/// What stands before the messages of a ring.
const RING_HEAD: usize = 5;

/// The same words, for the side that writes them.
#[derive(Clone, Debug)]
pub struct OwnWords(Words);

impl OwnWords {
    pub fn new(words: Words) -> Self {
        Self(words)
    }

    pub fn of(segment: Arc<Segment>) -> Option<Self> {
        Some(Self(Words::of(segment)))
    }

    pub fn count(&self) -> usize {
        self.0.count()
    }

    pub fn store(&self, index: usize, value: u64) {
        self.0.0[index].store(value, loom::sync::atomic::Ordering::Relaxed);
    }

    pub fn write(&self, index: usize, bytes: &[u8]) {
        for (index, chunk) in (index..).zip(bytes.chunks(8)) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.store(index, u64::from_le_bytes(word));
        }
    }

    pub fn wake(&self, _index: usize) {
        let wire = CURRENT.with_borrow(Clone::clone).expect("a socket was made first");
        drop(wire.packets());
        wire.changed.notify_all();
    }
}
