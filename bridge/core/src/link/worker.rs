//! A worker's end of a link: its inbox, the segments that it was sent, and the arena that grows by asking the host.

mod memory;
mod results;

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};

use arrow_schema::SchemaRef;

use self::memory::HostMemory;
pub(super) use self::memory::InputLease;
use super::MAX_PACKET;
use super::answer::Borrowed;
use super::keep::Keep;
use super::message::{RemoteError, ToHost, ToWorker};
use super::reception::Reception;
use super::ring::{Put, RingReader, RingWriter};
use super::socket::{Packet, Socket};
use super::spin::Spin;
use super::trace::{Kept, Tracer};
use super::wire::violation;
use crate::exchange;
use crate::failure::{Code, Error, Result};
use crate::memory::{Arena, Extent, Heap, OwnWords, Role, Segment, Segments, Words, process_id};

/// A worker's end. One thread at a time receives; releases may be sent from any thread at any time, without the interpreter's lock.
pub struct WorkerLink {
    socket: Socket,
    segments: Segments,
    arena: Arena,
    /// The process's heap in the arena's segments, where there is one.
    heap: Option<Heap>,
    process: u32,
    /// The way in, for the one thread that receives.
    inward: Mutex<Inward>,
    state: Mutex<State>,
    /// The way out, in which packets and what goes by the ring keep their order. Taken behind the state, where both are.
    outward: Mutex<Option<RingWriter>>,
    borrowed: Mutex<Borrowed>,
    tracer: OnceLock<Tracer>,
    /// Told when the inbox may have something new, or nobody receives any more.
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    inbox: VecDeque<ToWorker>,
    /// Some thread is receiving.
    receiving: bool,
    /// Threads that wait for it.
    waiting: usize,
    /// Why the link is no use any more.
    broken: Option<Error>,
    /// The stream that is open.
    stream: Option<u64>,
    schemas_received: HashMap<u32, SchemaRef>,
    schemas_sent: Vec<SchemaRef>,
    results: HashMap<u64, Keep>,
    next_result: u64,
    releases: Vec<u64>,
    answering: bool,
    /// The thread that receives is awake, and sends what was gathered before it sleeps.
    awake: bool,
    /// Wishes for room in the heap since a result last lay there.
    wishes: u8,
}

#[derive(Default)]
struct Inward {
    reception: Reception,
    spin: Spin,
    /// The host's segment of the rings, until this process's own is here too.
    ring: Option<Words>,
}

/// What a worker receives.
#[derive(Debug)]
pub enum Received {
    /// A message for whoever serves.
    Message(ToWorker),
    /// The host said goodbye or is gone.
    End,
}

impl WorkerLink {
    /// The end that the host started this process with.
    pub fn new(descriptor: OwnedFd) -> Arc<Self> {
        let heap = Heap::get();
        Arc::new_cyclic(|link| Self {
            socket: Socket::from_descriptor(descriptor),
            segments: Segments::default(),
            arena: Arena::with_heap(HostMemory::new(link.clone()), heap),
            heap,
            process: process_id(),
            inward: Mutex::default(),
            state: Mutex::default(),
            outward: Mutex::default(),
            borrowed: Mutex::default(),
            tracer: OnceLock::new(),
            arrived: Condvar::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits for the next message that is not the link's own affair.
    ///
    /// # Errors
    /// Whatever breaks the protocol, and `FORKED_HANDLE` in a forked child: the link is its parent's.
    pub fn receive(&self) -> Result<Received> {
        let message = self.wait_answering(|_| true)?;
        // A call sends what was gathered with its answer.
        if !matches!(message, Some(ToWorker::Call { .. })) {
            self.send_gathered()?;
        }
        Ok(message.map_or(Received::End, Received::Message))
    }

    /// As [`WorkerLink::wait_for`], for who calls functions and waits for what comes next: answers the host's questions about leases meanwhile.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn wait_for_next(&self, wanted: impl Fn(&ToWorker) -> bool) -> Result<ToWorker> {
        let message = self.wait_answering(wanted)?.ok_or_else(host_gone)?;
        self.send_gathered()?;
        Ok(message)
    }

    fn wait_answering(&self, wanted: impl Fn(&ToWorker) -> bool) -> Result<Option<ToWorker>> {
        loop {
            match self.wait(|message| wanted(message) || matches!(message, ToWorker::Trace { .. }))? {
                // Here and not where it arrives: looking through an interpreter needs its lock, whose holder may be waiting for a message.
                Some(ToWorker::Trace { ask, leases }) => {
                    // What was released is kept by nobody.
                    self.send_gathered()?;
                    self.tell_keepers(ask, &leases)?;
                }
                other => return Ok(other),
            }
        }
    }

    /// Has this language answer questions about what keeps leases.
    pub(crate) fn set_tracer(&self, tracer: Tracer) {
        _ = self.tracer.set(tracer);
    }

    fn tell_keepers(&self, ask: u64, leases: &[(u64, Vec<Extent>)]) -> Result<()> {
        let range = |extent: &Extent| {
            let mapped = self.resolve_segment(*extent, ()).ok()?;
            let start = mapped.ptr.as_ptr().addr();
            Some(start..start + mapped.len)
        };
        let kept = |(lease, extents): &(u64, Vec<Extent>)| Kept { lease: *lease, memory: extents.iter().filter_map(range).collect() };
        let keepers = self.tracer.get().map_or_else(Vec::new, |tracer| tracer(leases.iter().map(kept).collect()));
        self.send(&ToHost::Traced { ask, keepers })
    }

    /// Waits for the first message that is wanted; the others stay in order in the inbox.
    ///
    /// # Errors
    /// As [`WorkerLink::receive`], and `HOST_GONE`.
    pub fn wait_for(&self, wanted: impl Fn(&ToWorker) -> bool) -> Result<ToWorker> {
        let message = self.wait(wanted)?.ok_or_else(host_gone)?;
        self.send_gathered()?;
        Ok(message)
    }

    /// One thread receives for all that wait, since a function's own threads may read its input: each finds its message in the inbox.
    fn wait(&self, wanted: impl Fn(&ToWorker) -> bool) -> Result<Option<ToWorker>> {
        self.not_forked()?;
        let mut state = self.state();
        let mut looked = false;
        loop {
            if let Some(index) = state.inbox.iter().position(&wanted) {
                if !std::mem::replace(&mut looked, true) {
                    drop(state);
                    // A release behind this message makes room for what it asks for, in memory that the caches still have. What is wrong behind it is
                    // said when its turn comes.
                    _ = self.take_in_waiting();
                    state = self.state();
                    continue;
                }
                return Ok(state.inbox.remove(index));
            }
            if let Some(error) = &state.broken {
                return Err(error.clone());
            }
            if state.receiving {
                state.waiting += 1;
                state = self.arrived.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
                state.waiting -= 1;
                continue;
            }
            (state.receiving, state.awake) = (true, true);
            drop(state);
            let received = self.receive_any().and_then(|packet| match packet {
                None => Ok(false),
                Some(packet) => self.take_in(packet).map(|()| true),
            });
            if !self.received(received)? {
                return Ok(None);
            }
            state = self.state();
        }
    }

    /// Takes in what has come already, and waits for nothing; says whether there was anything. Where another thread receives, that thread does it.
    fn take_in_waiting(&self) -> Result<bool> {
        self.not_forked()?;
        let mut state = self.state();
        if state.receiving || state.broken.is_some() {
            return Ok(false);
        }
        state.receiving = true;
        drop(state);
        let next = || self.inward().reception.next(&self.socket, false);
        let take_all = || {
            let mut any = false;
            while let Packet::Data(bytes, descriptor) = next()? {
                self.take_in((ToWorker::decode(&bytes)?, descriptor))?;
                any = true;
            }
            Ok(any)
        };
        self.received(take_all())
    }

    /// This thread receives no more; another may, and hears of it.
    fn received(&self, received: Result<bool>) -> Result<bool> {
        let mut state = self.state();
        (state.receiving, state.awake) = (false, false);
        if state.waiting > 0 {
            self.arrived.notify_all();
        }
        // A message that was half taken in, such as a segment that could not be mapped, leaves host and worker of two minds for ever.
        received.inspect_err(|error| state.broken = Some(error.clone()))
    }

    fn inward(&self) -> MutexGuard<'_, Inward> {
        self.inward.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A batches function begins to be served, or no more is.
    pub(crate) fn set_stream(&self, call: Option<u64>) {
        self.state().stream = call;
        self.open_heap(call.is_some());
    }

    /// What a function builds may lie in segments; what it is made of, and what this side needs, does not.
    fn open_heap(&self, open: bool) {
        if let Some(heap) = self.heap {
            heap.open(open);
        }
    }

    /// Asks for an input of an open stream; a function that has ended may have left a thread behind that still asks.
    pub(crate) fn ask(&self, call: u64) -> Result<bool> {
        let open = self.state().stream == Some(call);
        if open {
            self.send(&ToHost::Next { call })?;
        }
        Ok(open)
    }

    /// The schema that the host sent under this number.
    pub(crate) fn schema(&self, number: u32) -> Result<SchemaRef> {
        self.state().schemas_received.get(&number).cloned().ok_or_else(|| violation("a batch bears an unknown schema"))
    }

    fn receive_any(&self) -> Result<Option<(ToWorker, Option<OwnedFd>)>> {
        match self.next_packet()? {
            Packet::Data(bytes, descriptor) => Ok(Some((ToWorker::decode(&bytes)?, descriptor))),
            Packet::Closed | Packet::Empty => Ok(None),
        }
    }

    /// Looks for a little while where that pays, and then sleeps.
    fn next_packet(&self) -> Result<Packet> {
        let inward = &mut *self.inward();
        let (reception, spin) = (&mut inward.reception, &mut inward.spin);
        if !reception.has_ring() {
            self.rest()?;
            return self.socket.receive();
        }
        let mut wait = spin.begin();
        let mut looking = spin.pays();
        loop {
            match reception.next(&self.socket, false)? {
                Packet::Empty if looking && wait.goes_on() => {}
                Packet::Empty => break,
                packet => {
                    if looking {
                        spin.hit();
                    }
                    return Ok(packet);
                }
            }
        }
        if std::mem::take(&mut looking) {
            spin.missed();
        }
        self.rest()?;
        let packet = if reception.sleep() { reception.wait(&self.socket) } else { reception.next(&self.socket, true) };
        reception.wake();
        spin.slept(&wait);
        packet
    }

    /// Before this side sleeps: sends the releases that were gathered, and sees to it that the host looks at those that it was sent.
    fn rest(&self) -> Result<()> {
        let mut state = self.state();
        state.awake = false;
        let releases = if state.answering { Vec::new() } else { std::mem::take(&mut state.releases) };
        drop(state);
        self.send_releases(&releases, true)?;
        let mut outward = self.outward();
        if outward.as_ref().is_some_and(RingWriter::is_owed) {
            self.packet(&mut outward, &ToHost::Look.encode()?)?;
        }
        Ok(())
    }

    /// Does what is the link's own affair; puts the rest into the inbox.
    fn take_in(&self, (message, descriptor): (ToWorker, Option<OwnedFd>)) -> Result<()> {
        match message {
            ToWorker::Segment { id, role, len } => {
                step!("worker::segment");
                let file = descriptor.ok_or_else(|| violation("a segment came without its descriptor"))?;
                let len = usize::try_from(len).map_err(|_| violation("a segment is larger than the address space"))?;
                let segment = Arc::new(Segment::attach(id, role, len, file)?);
                self.segments.insert(segment.clone());
                if role == Role::Output {
                    step!("worker::map");
                    self.send(&ToHost::Mapped { segment: id })?;
                    step!("worker::mapped");
                    self.arena.adopt(segment);
                    // Somebody may have asked for it and wait.
                    self.state().inbox.push_back(ToWorker::TryAgain);
                }
            }
            ToWorker::Ring { role, len } => self.map_ring(role, len, descriptor)?,
            // What it is about was taken in before it.
            ToWorker::Look => {}
            ToWorker::Schema { schema, bytes } => {
                step!("worker::schema");
                let decoded = exchange::decode_schema(&bytes)?;
                self.state().schemas_received.insert(schema, decoded);
            }
            ToWorker::Release { results } => {
                step!("worker::freed");
                let mut state = self.state();
                let ended: Vec<Keep> = results.iter().filter_map(|result| state.results.remove(result)).collect();
                drop(state);
                // Out here, since the end of a keep may be the release of an input.
                drop(ended);
            }
            ToWorker::Forget { segments } => segments.iter().for_each(|&id| _ = self.segments.remove(id)),
            ToWorker::Trim => {
                _ = self.arena.discard_idle();
                // Whoever serves has something to let go of too.
                self.state().inbox.push_back(message);
            }
            ToWorker::Spilled { lease, extent } => {
                let bytes = self.resolve_segment(extent, ())?.private_copy();
                self.release(lease);
                match ToWorker::decode(&bytes)? {
                    ToWorker::Spilled { .. } | ToWorker::Segment { .. } | ToWorker::Ring { .. } => {
                        return Err(violation("a spilled message must be a plain one"));
                    }
                    message => self.take_in((message, None))?,
                }
            }
            message => self.state().inbox.push_back(message),
        }
        Ok(())
    }

    /// Sends a message, waiting for room where it must. Large ones go through the arena.
    ///
    /// # Errors
    /// `HOST_GONE`, or what the arena says.
    pub fn send(&self, message: &ToHost) -> Result<()> {
        self.not_forked()?;
        let bytes = message.encode()?;
        if bytes.len() <= MAX_PACKET {
            return self.send_bytes(&bytes, true);
        }
        let mut block = self.arena.allocate(bytes.len())?;
        block.as_mut_slice().copy_from_slice(&bytes);
        let extent = block.extent();
        let result = self.state().keep(Keep::of_block(block));
        self.send_bytes(&ToHost::Spilled { result, extent }.encode()?, true)
    }

    /// Asks for what only the pool's own thread can give: by the socket, which wakes it, and not by the ring, which a caller reads when he has time.
    fn ask_pool(&self, message: &ToHost) -> Result<()> {
        self.not_forked()?;
        self.packet(&mut self.outward(), &message.encode()?)
    }

    fn outward(&self) -> MutexGuard<'_, Option<RingWriter>> {
        self.outward.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// By the ring, or else by the socket, where it waits for room.
    fn send_bytes(&self, bytes: &[u8], soon: bool) -> Result<()> {
        let mut outward = self.outward();
        let put = outward.as_mut().map_or(Ok(Put::Not), |ring| ring.put(bytes, soon))?;
        match put {
            Put::Seen => Ok(()),
            Put::Unseen => self.packet(&mut outward, &ToHost::Look.encode()?),
            Put::Not => self.packet(&mut outward, bytes),
        }
    }

    fn packet(&self, outward: &mut Option<RingWriter>, bytes: &[u8]) -> Result<()> {
        if let Some(ring) = outward {
            ring.packet();
        }
        self.socket.send(bytes)
    }

    /// Maps one side's segment of the rings; with the second both ways are open.
    fn map_ring(&self, role: Role, len: u64, descriptor: Option<OwnedFd>) -> Result<()> {
        let file = descriptor.ok_or_else(|| violation("a ring came without its descriptor"))?;
        let len = usize::try_from(len).map_err(|_| violation("a ring is larger than the address space"))?;
        // Segments that batches lie in have numbers from 1.
        let segment = Arc::new(Segment::attach(0, role, len, file)?);
        let mut inward = self.inward();
        let Some(mine) = OwnWords::of(segment.clone()) else {
            inward.ring = Some(Words::of(segment));
            return Ok(());
        };
        let theirs = inward.ring.take().ok_or_else(|| violation("a worker's ring came before its host's"))?;
        let mut outward = self.outward();
        self.socket.send(&ToHost::RingMapped.encode()?)?;
        *outward = Some(RingWriter::new(mine.clone(), theirs.clone()));
        inward.reception.open(RingReader::new(mine, theirs));
        inward.reception.wake();
        Ok(())
    }

    /// Whether the descriptor is still that of a link: a function may have closed it, or put another file in its place.
    pub(crate) fn is_open(&self) -> bool {
        rustix::net::sockopt::socket_type(&self.socket).is_ok_and(|kind| kind == rustix::net::SocketType::SEQPACKET)
    }

    fn try_send(&self, outward: &mut Option<RingWriter>, bytes: &[u8]) -> Result<bool> {
        let put = outward.as_mut().map_or(Ok(Put::Not), |ring| ring.put(bytes, true))?;
        let look;
        let bytes = match put {
            Put::Seen => return Ok(true),
            Put::Unseen => {
                look = ToHost::Look.encode()?;
                &look
            }
            Put::Not => bytes,
        };
        let sent = self.socket.try_send(bytes, None)?;
        if let Some(ring) = outward.as_mut().filter(|_| sent) {
            ring.packet();
        }
        // What is in the ring is sent; who has no room for the packet has others in the socket, at which the host will look.
        Ok(sent || put == Put::Unseen)
    }

    fn not_forked(&self) -> Result<()> {
        if process_id() == self.process {
            return Ok(());
        }
        Err(Error::new(Code::ForkedHandle, "this is a forked child: the link to the host belongs to its parent")
            .with_hint("return values to the parent process; only the worker itself can answer"))
    }
}

impl State {
    fn keep(&mut self, keep: Keep) -> u64 {
        self.next_result += 1;
        self.results.insert(self.next_result, keep);
        self.next_result
    }
}

impl AsFd for WorkerLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn host_gone() -> Error {
    Error::new(Code::HostGone, "the host is gone")
}

impl From<RemoteError> for Error {
    fn from(error: RemoteError) -> Self {
        error.into_error()
    }
}
