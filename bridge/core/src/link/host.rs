//! The host's end of a link: what the worker has been sent, what it may read, and what of its memory is still read here.

mod calls;
mod state;
mod trace;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard};

use arrow_buffer::Buffer;
use arrow_schema::SchemaRef;
use tokio::sync::Notify;

use self::state::State;
use super::MAX_PACKET;
use super::incoming::Incoming;
use super::keep::{Keep, within};
use super::leases::Lease;
use super::message::{ToHost, ToWorker};
use super::reception::Reception;
use super::result::{Lent, Owned, RawResult, ResultLease, ResultMemory};
use super::ring::{Doze, RingReader, RingWriter};
use super::socket::{Packet, Socket};
use super::wire::violation;
use crate::exchange::{self, Descriptor, Ledger};
use crate::failure::{Error, Result};
use crate::memory::{Arena, Extent, OwnWords, Role, Segment, Segments, Words, process_id};

/// Messages for the link alone that are taken in in one go.
const MOST_AFFAIRS: usize = 64;
/// Schemas that a worker may announce.
const MOST_SCHEMAS: usize = 65_536;

/// The host's end. Any thread may send; one task receives.
pub struct HostLink {
    socket: Socket,
    segments: Arc<Segments>,
    arena: Arena,
    ledger: Arc<Ledger>,
    /// Woken when packets wait for room in the socket or releases wait for a packet.
    pub(crate) wake: Notify,
    /// Told when the worker has said what keeps its leases, or is gone.
    told: Notify,
    process: u32,
    /// Taken before the state, where both are.
    reception: Mutex<Reception>,
    state: Mutex<State>,
}

impl HostLink {
    pub(crate) fn new(socket: Socket, segments: Arc<Segments>, arena: Arena, ledger: Arc<Ledger>) -> Self {
        Self {
            socket,
            segments,
            arena,
            ledger,
            wake: Notify::new(),
            told: Notify::new(),
            process: process_id(),
            reception: Mutex::default(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Sends a message, or keeps it until the socket has room: order is kept, and nobody waits.
    ///
    /// # Errors
    /// Where the message is too large for a packet and there is no shared memory for it.
    pub fn send(&self, message: &ToWorker) -> Result<()> {
        let bytes = message.encode();
        if bytes.len() <= MAX_PACKET {
            self.state().post(self, bytes, None);
            return Ok(());
        }
        let mut block = self.arena.allocate(bytes.len())?;
        block.as_mut_slice().copy_from_slice(&bytes);
        let extent = block.extent();
        let segment = block.segment().clone();
        let mut state = self.state();
        state.introduce(self, &segment);
        let lease = state.lend(|leases| leases.lend_message(extent, segment, Keep::of_block(block)));
        state.post(self, ToWorker::Spilled { lease, extent }.encode(), None);
        Ok(())
    }

    /// Gives the worker a new segment for its results.
    pub(crate) fn grant(&self, segment: Arc<Segment>) {
        let message = ToWorker::Segment { id: segment.id(), role: Role::Output, len: segment.len() as u64 }.encode();
        step!(only "host::grant");
        let mut state = self.state();
        if state.closed {
            return;
        }
        state.known.insert(segment.id());
        state.granted.insert(segment.id(), segment.clone());
        state.post(self, message, Some(segment));
    }

    /// Offers a worker that knows rings two segments for them: the host's, and the worker's.
    pub(crate) fn offer_ring(&self, segments: [Arc<Segment>; 2]) {
        let Some(mine) = OwnWords::of(segments[0].clone()) else { return };
        let mut state = self.state();
        for segment in &segments {
            state.post(self, ToWorker::Ring { role: segment.role(), len: segment.len() as u64 }.encode(), Some(segment.clone()));
        }
        state.ring = Some(RingWriter::new(mine, Words::of(segments[1].clone())));
        state.offered = Some(segments);
    }

    /// Whether this is a forked child's copy: the rings and the socket are the parent's.
    pub(crate) fn is_forked(&self) -> bool {
        process_id() != self.process
    }

    /// From here on somebody looks for what the worker says, so that it need not wake anybody.
    pub(crate) fn attend(&self) -> bool {
        let reception = self.reception();
        reception.wake();
        reception.has_ring()
    }

    /// Nobody looks any more. `false` where something came meanwhile.
    pub(crate) fn leave(&self) -> bool {
        self.reception().sleep()
    }

    /// Nobody looks until there is something in the ring; there is where to sleep for that, unless there is something now.
    pub(crate) fn doze(&self) -> Option<Doze> {
        self.reception().doze()
    }

    fn reception(&self) -> MutexGuard<'_, Reception> {
        self.reception.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Sends the releases that wait; says whether there were any.
    pub(crate) fn send_releases(&self) -> bool {
        let mut state = self.state();
        let any = !state.releases.is_empty();
        state.flush_books(self);
        any
    }

    /// Has the supervisor look after the link soon: it was not there when something was heard.
    pub(crate) fn unsettle(&self) {
        self.state().unsettle(self);
    }

    /// Sends releases that no packet took along; from here on the first new one asks for attention.
    pub(crate) fn settle(&self) {
        let mut state = self.state();
        state.flush_books(self);
        state.unsettled = false;
    }

    /// Why nothing can be sent any more, if that is so and is not the worker's death.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.state().failure.take()
    }

    /// Asks the worker to give up what it does not use, unless it has not even answered since it was last asked.
    pub(crate) fn trim(&self) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.trimmed, true) {
            state.post(self, ToWorker::Trim.encode(), None);
        }
        // It may have let go of something without a word.
        state.unsettle(self);
    }

    /// Whether packets wait for room in the socket.
    pub(crate) fn wants_room(&self) -> bool {
        !self.state().backlog.is_empty()
    }

    /// Sends what waited for room; says whether all is gone.
    pub(crate) fn flush(&self) -> bool {
        self.state().flush(self)
    }

    /// Tells the worker to let go of a segment that the host has given up, once nothing that was lent to it lies there.
    pub(crate) fn forget(&self, segment: u32) {
        let mut state = self.state();
        if state.known.contains(&segment) {
            state.leaving.push(segment);
            state.part_with_leaving(self);
        }
    }

    /// The next message that is not the link's own affair, or `None` when nothing more is there now: nothing that the worker says it has sent, or with
    /// `thorough` nothing at all. Who calls it sees to it that messages are dealt with in the order in which they are taken here.
    ///
    /// # Errors
    /// Whatever the worker sent that the protocol does not allow.
    pub(crate) fn receive(self: &Arc<Self>, thorough: bool) -> Result<Option<Incoming>> {
        for _ in 0..MOST_AFFAIRS {
            let packet = self.reception().next(&self.socket, thorough)?;
            match packet {
                Packet::Empty => return Ok(None),
                Packet::Closed => {
                    let mut state = self.state();
                    // Nothing more is said to it by either way: it is about to die, or to be ended.
                    state.ring = None;
                    return Ok((!std::mem::replace(&mut state.hung_up, true)).then_some(Incoming::HungUp));
                }
                Packet::Data(_, Some(_)) => return Err(violation("a worker sent a descriptor: only hosts make segments")),
                Packet::Data(bytes, None) => {
                    self.state().trimmed = false;
                    if let Some(incoming) = self.take_in(ToHost::decode(&bytes)?)? {
                        return Ok(Some(incoming));
                    }
                }
            }
        }
        Ok(Some(Incoming::Affairs))
    }

    fn take_in(self: &Arc<Self>, message: ToHost) -> Result<Option<Incoming>> {
        self.state().leases.hear(&message);
        Ok(match message {
            ToHost::Ready(ready) => Some(Incoming::Ready(ready)),
            ToHost::NeedSegment { len } => {
                Some(Incoming::NeedSegment(usize::try_from(len).map_err(|_| violation("a worker asks for more than there can be"))?))
            }
            ToHost::Defined { function, outcome } => Some(Incoming::Defined(function, outcome)),
            ToHost::Failed { call, error } => Some(Incoming::Failed(call, error)),
            ToHost::Next { call } => Some(Incoming::Next(call)),
            ToHost::Done { call } => Some(Incoming::Done(call)),
            ToHost::Mapped { segment } => {
                self.mapped(segment)?;
                None
            }
            ToHost::Discard { segment } => {
                self.discarded(segment)?;
                Some(Incoming::Discarded(segment))
            }
            ToHost::Traced { ask, keepers } => {
                self.take_keepers(ask, keepers)?;
                None
            }
            ToHost::Schema { schema, bytes } => {
                let schema_ref = exchange::decode_schema(&bytes)?;
                let mut state = self.state();
                if state.schemas_received.len() >= MOST_SCHEMAS {
                    return Err(violation("a worker announces more schemas than any function has"));
                }
                state.schemas_received.insert(schema, schema_ref);
                None
            }
            ToHost::Release { leases } => {
                self.released(&leases);
                None
            }
            ToHost::RingMapped => {
                self.ring_mapped()?;
                None
            }
            // What it is about was taken in before it.
            ToHost::Look => None,
            ToHost::Result { call, result, schema, copies, busy, suppressed, descriptor } => {
                step!("host::result");
                let descriptor = Descriptor::decode(&descriptor);
                let (schema, owned, lent) = self.readable(schema, descriptor.as_ref().ok())?;
                let own = |extent: &Extent| owned.iter().any(|segment| segment.id() == extent.segment);
                let bytes = descriptor.iter().flat_map(Descriptor::extents).filter(own).map(|extent| extent.len).sum();
                self.state().leases.result(call, result, bytes);
                let memory = ResultMemory { lease: Arc::new(ResultLease::new(self, result)), owned, lent };
                Some(Incoming::Result(call, RawResult { schema, descriptor, ledger: self.ledger.clone(), memory, copies, suppressed, busy }))
            }
            ToHost::Spilled { result, extent } => {
                let bytes = self.read_spilled(extent)?;
                self.give_back(result);
                match ToHost::decode(&bytes)? {
                    ToHost::Spilled { .. } => return Err(violation("a spilled message names another")),
                    message => self.take_in(message)?,
                }
            }
        })
    }

    /// The worker has mapped its segment: from here on nobody else can write it, and results may lie in it.
    fn mapped(&self, id: u32) -> Result<()> {
        step!("host::mapped");
        let mut state = self.state();
        let segment = state.granted.remove(&id).ok_or_else(|| violation("a worker mapped a segment that it was not given"))?;
        segment.close_to_writers()?;
        let mut owned = state.owned.to_vec();
        owned.push(segment.clone());
        state.owned = Arc::new(owned);
        drop(state);
        self.segments.insert(segment);
        Ok(())
    }

    /// The worker has mapped the rings: from here on nobody else can write its own.
    fn ring_mapped(&self) -> Result<()> {
        let offered = self.state().offered.take();
        let [mine, theirs] = offered.ok_or_else(|| violation("a worker mapped rings that it was not given"))?;
        theirs.close_to_writers()?;
        if let Some(mine) = OwnWords::of(mine) {
            self.reception().open(RingReader::new(mine, Words::of(theirs)));
        }
        Ok(())
    }

    fn discarded(&self, id: u32) -> Result<()> {
        let mut state = self.state();
        let mut owned = state.owned.to_vec();
        let index = owned.iter().position(|segment| segment.id() == id);
        owned.remove(index.ok_or_else(|| violation("a worker gave up a segment that is not its own"))?);
        state.owned = Arc::new(owned);
        state.known.remove(&id);
        drop(state);
        self.segments.remove(id);
        Ok(())
    }

    fn released(&self, leases: &[u64]) {
        step!(only "host::released");
        let mut state = self.state();
        let ended = state.leases.end(leases);
        state.part_with_leaving(self);
        drop(state);
        drop(ended);
    }

    /// What a result may read: its schema, its worker's own segments, and what of the memory that the worker was lent it names. That memory stays
    /// the lender's, and must be held from this moment: the worker's release of it may be the very next message.
    fn readable(&self, schema: u32, descriptor: Option<&Descriptor>) -> Result<(SchemaRef, Owned, Vec<Lent>)> {
        let state = self.state();
        let schema = state.schemas_received.get(&schema).cloned().ok_or_else(|| violation("a result bears an unknown schema"))?;
        let owned = state.owned.clone();
        let foreign = descriptor.into_iter().flat_map(Descriptor::extents).filter(|extent| owned.iter().all(|own| own.id() != extent.segment));
        let lent = foreign.filter_map(|extent| state.leases.lent(extent)).collect();
        Ok((schema, owned, lent))
    }

    fn read_spilled(&self, extent: Extent) -> Result<Buffer> {
        let owned = self.state().owned.clone();
        let segment = owned.iter().find(|segment| segment.id() == extent.segment);
        let segment = segment.ok_or_else(|| violation("a message lies in a segment that is not its sender's"))?;
        Ok(within(segment, extent, (), true)?.private_copy())
    }

    /// Queues the release of a result; it goes at once where the worker looks, or else with the next packet, or soon.
    pub(super) fn give_back(&self, result: u64) {
        // In a forked child the books are a copy and the socket is the parent's: nothing must be said on it.
        if self.is_forked() {
            return;
        }
        let mut state = self.state();
        state.leases.drop_result(result);
        if !state.closed {
            state.releases.push(result);
            step!(only "host::give_back");
            if state.ring.as_ref().is_some_and(RingWriter::is_watched) {
                state.flush_books(self);
            } else {
                state.unsettle(self);
            }
        }
    }

    /// The worker is gone: every lease it had has ended, and its segments leave the pool. Gives the numbers of those segments.
    pub(crate) fn close(&self) -> Vec<u32> {
        step!(only "host::close");
        let mut state = self.state();
        state.closed = true;
        let leases = std::mem::take(&mut state.leases);
        state.backlog.clear();
        (state.ring, state.offered) = (None, None);
        state.granted.clear();
        let owned = std::mem::take(&mut state.owned);
        drop(state);
        self.told.notify_waiters();
        drop(leases);
        for segment in owned.iter() {
            self.segments.remove(segment.id());
        }
        owned.iter().map(|segment| segment.id()).collect()
    }

    /// Whether a segment is on its way to the worker.
    pub(crate) fn has_granted(&self) -> bool {
        !self.state().granted.is_empty()
    }

    /// Bytes of the segments that the worker writes.
    pub(crate) fn owned_bytes(&self) -> usize {
        self.state().owned.iter().map(|segment| segment.len()).sum()
    }

    /// Arguments that the worker was lent, and their bytes.
    pub fn leased(&self) -> (usize, u64) {
        self.state().leases.totals()
    }

    /// What the worker was lent, and what this host reads of its results, for the worker of this place and process.
    pub(crate) fn leases(&self, worker: usize, process: Option<u32>) -> Vec<(u64, Lease)> {
        self.state().leases.list(worker, process)
    }

    /// What of the worker's arguments lies at a place in the segment with this inode, in words.
    pub(crate) fn written_to(&self, inode: u64, offset: u64) -> Option<String> {
        self.state().leases.written_to(inode, offset)
    }

    /// Releases that named no lease of this worker: stale, doubled or made up.
    pub fn strays(&self) -> u64 {
        self.state().leases.strays()
    }
}

impl AsRawFd for HostLink {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_fd().as_raw_fd()
    }
}

impl AsFd for HostLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
