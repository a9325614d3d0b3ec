//! The books of the host's end: what the worker knows, has and is to be told, and the way out.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use arrow_schema::SchemaRef;

use super::HostLink;
use crate::exchange::same_schema;
use crate::failure::{Code, Error};
use crate::link::MAX_PACKET;
use crate::link::leases::Leases;
use crate::link::message::ToWorker;
use crate::link::result::Owned;
use crate::link::ring::{Put, RingWriter};
use crate::link::wire::violation;
use crate::memory::{Role, Segment};

/// Packets that may wait for a worker to read; it is sent few at a time, so more means that it does not.
const LONGEST_BACKLOG: usize = 4096;

/// What is kept under one lock.
#[derive(Default)]
pub(super) struct State {
    pub(super) closed: bool,
    /// The supervisor was told that it has to look after the link, and has not yet.
    pub(super) unsettled: bool,
    pub(super) backlog: VecDeque<(Vec<u8>, Option<Arc<Segment>>)>,
    pub(super) ring: Option<RingWriter>,
    /// Both segments of the rings, the host's first, until the worker has mapped them.
    pub(super) offered: Option<[Arc<Segment>; 2]>,
    pub(super) known: HashSet<u32>,
    pub(super) granted: HashMap<u32, Arc<Segment>>,
    /// Segments that the worker writes and that are sealed against others. Shared with the results that may lie in them.
    pub(super) owned: Owned,
    pub(super) schemas_sent: Vec<SchemaRef>,
    pub(super) schemas_received: HashMap<u32, SchemaRef>,
    pub(super) leases: Leases,
    pub(super) releases: Vec<u64>,
    /// Segments that the worker is to forget when nothing lent lies in them any more.
    pub(super) leaving: Vec<u32>,
    pub(super) forgotten: Vec<u32>,
    /// It was asked to trim and has said nothing since.
    pub(super) trimmed: bool,
    /// Questions about leases that it was asked, and those that it has answered.
    pub(super) asked: u64,
    pub(super) traced: u64,
    /// Why the link is no use any more.
    pub(super) failure: Option<Error>,
    /// A message was lost, so those behind it must not arrive: they may name what it said.
    pub(super) cut: bool,
    pub(super) hung_up: bool,
}

impl State {
    pub(super) fn schema_known(&self, schema: &SchemaRef) -> Option<u32> {
        self.schemas_sent.iter().position(|sent| same_schema(sent, schema)).map(|number| number as u32)
    }

    /// Sends the segment to the worker if it does not have it yet.
    pub(super) fn introduce(&mut self, link: &HostLink, segment: &Arc<Segment>) {
        let id = segment.id();
        if !self.known.insert(id) {
            return;
        }
        // To this worker every segment that it does not write is an input, whoever wrote it.
        let message = ToWorker::Segment { id, role: Role::Input, len: segment.len() as u64 }.encode();
        self.post(link, message, Some(segment.clone()));
    }

    pub(super) fn lend(&mut self, lend: impl FnOnce(&mut Leases) -> u64) -> u64 {
        // To a worker that is gone nothing is lent: nobody would ever give it back.
        if self.closed { self.leases.number() } else { lend(&mut self.leases) }
    }

    /// Takes leave of the segments that are to go and that no lease names any more: messages that name them may still lie unread in the worker.
    pub(super) fn part_with_leaving(&mut self, link: &HostLink) {
        let leases = &self.leases;
        let (stay, go): (Vec<u32>, Vec<u32>) = self.leaving.iter().partition(|&&segment| leases.name(segment));
        self.leaving = stay;
        go.iter().for_each(|segment| _ = self.known.remove(segment));
        if !go.is_empty() {
            self.forgotten.extend(go);
            self.unsettle(link);
        }
    }

    pub(super) fn post(&mut self, link: &HostLink, mut bytes: Vec<u8>, segment: Option<Arc<Segment>>) {
        if self.closed || self.cut {
            return;
        }
        // In a forked child the socket is the parent's: nothing must be said on it.
        if link.is_forked() {
            return;
        }
        if segment.is_none() {
            match self.put_in_ring(&bytes) {
                Put::Seen => return,
                Put::Unseen => bytes = ToWorker::Look.encode(),
                Put::Not => {}
            }
        }
        if let Some(ring) = &mut self.ring {
            ring.packet();
        }
        self.backlog.push_back((bytes, segment));
        if self.backlog.len() > LONGEST_BACKLOG {
            self.failure.get_or_insert_with(|| violation("a worker does not read its messages"));
        }
        if !self.flush(link) || self.failure.is_some() {
            link.wake.notify_one();
        }
    }

    fn put_in_ring(&mut self, bytes: &[u8]) -> Put {
        self.ring.as_mut().map_or(Ok(Put::Not), |ring| ring.put(bytes, true)).unwrap_or_else(|error| {
            self.failure.get_or_insert(error);
            Put::Not
        })
    }

    pub(super) fn flush(&mut self, link: &HostLink) -> bool {
        while let Some((bytes, segment)) = self.backlog.front() {
            match link.socket.try_send(bytes, segment.as_ref().map(|segment| segment.descriptor())) {
                Ok(true) => _ = self.backlog.pop_front(),
                Ok(false) => return false,
                Err(error) => {
                    // A worker that is gone or going is told of by its pidfd; of anything else its supervisor must hear, or calls would be lost.
                    self.failure = (error.code() != Code::HostGone).then_some(error);
                    self.cut = true;
                    self.backlog.clear();
                }
            }
        }
        true
    }

    /// Has the supervisor look after the link, unless it was told already: nobody else sends what finds no packet to go with.
    pub(super) fn unsettle(&mut self, link: &HostLink) {
        if !std::mem::replace(&mut self.unsettled, true) {
            link.wake.notify_one();
        }
    }

    pub(super) fn flush_books(&mut self, link: &HostLink) {
        for results in std::mem::take(&mut self.releases).chunks(MAX_PACKET / 16) {
            self.post(link, ToWorker::Release { results: results.to_vec() }.encode(), None);
        }
        for segments in std::mem::take(&mut self.forgotten).chunks(MAX_PACKET / 16) {
            self.post(link, ToWorker::Forget { segments: segments.to_vec() }.encode(), None);
        }
    }
}
