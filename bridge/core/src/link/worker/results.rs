//! Results: described to the host, kept until it has released them, and releases of what was read meanwhile.

use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::super::MAX_PACKET;
use super::super::answer::Answer;
use super::super::message::{Copies, ToHost};
use super::super::ring::Put;
use super::super::suppressed::Suppressed;
use super::WorkerLink;
use crate::exchange::{self, CopyReport, Direction, Ledger, Reason};
use crate::failure::Result;

/// Wishes for room in the heap that may be in vain.
const MOST_WISHES: u8 = 8;

impl WorkerLink {
    /// From here to the answer, releases are gathered and sent with it.
    pub(crate) fn begin_answer(&self) {
        self.state().answering = true;
        self.open_heap(true);
    }

    /// Sends the releases that were gathered.
    pub(crate) fn end_answer(&self) -> Result<()> {
        if std::mem::take(&mut self.state().answering) {
            self.open_heap(false);
        }
        self.send_gathered()
    }

    pub(super) fn send_gathered(&self) -> Result<()> {
        let mut state = self.state();
        let releases = if state.answering { Vec::new() } else { std::mem::take(&mut state.releases) };
        drop(state);
        self.send_releases(&releases, false)
    }

    /// Releases that were gathered go before the answer where that takes no packet: a host that sleeps sees them when it is woken for that, and need
    /// not be woken for them. Others go behind it.
    fn send_ahead(&self) -> Result<()> {
        let mut state = self.state();
        let mut outward = self.outward();
        let Some(ring) = outward.as_mut().filter(|_| !state.releases.is_empty()) else { return Ok(()) };
        let bytes = ToHost::Release { leases: state.releases.clone() }.encode()?;
        if ring.put(&bytes, false)? != Put::Not {
            state.releases.clear();
        }
        Ok(())
    }

    /// Sends releases. Where the host need not see them `soon`, it sees them with the next message, or before this side sleeps.
    pub(super) fn send_releases(&self, releases: &[u64], soon: bool) -> Result<()> {
        releases.chunks(MAX_PACKET / 16).try_for_each(|leases| self.send_bytes(&ToHost::Release { leases: leases.to_vec() }.encode()?, soon))
    }

    /// Describes a result to the host and keeps its memory until the host has released it.
    ///
    /// # Errors
    /// What the arena says, and `BAD_SCHEMA`.
    pub fn send_result(&self, call: u64, batch: RecordBatch, suppressed: Suppressed, busy: Duration) -> Result<()> {
        // Before the arena is touched, whose pages a forked child does not have.
        self.not_forked()?;
        let ledger = Ledger::default();
        let answer = Answer::new(&self.segments, &self.arena, &self.borrowed);
        let mut export = exchange::export(&batch, &answer, &ledger, Direction::Result)?;
        step!("worker::exported");
        let schema = self.schema_number(&batch.schema())?;
        drop(batch);
        let keep = answer.settle(&mut export, &ledger)?;
        let report = ledger.report();
        self.wish_for_room(&report)?;
        let copies = Copies { shared: report.bytes_shared(), copied: report.reasons().collect() };
        let mut bytes = Vec::new();
        export.descriptor.encode(&mut bytes);
        let result = self.state().keep(keep);
        self.send_ahead()?;
        let sent = self.send(&ToHost::Result { call, result, schema, copies, busy, suppressed, descriptor: bytes });
        if sent.is_err() {
            let unsent = self.state().results.remove(&result);
            // Out of the lock: it may be the last to hold an input, whose release needs the books.
            drop(unsent);
        }
        sent?;
        step!(only "worker::sent");
        if self.state().answering { Ok(()) } else { self.end_answer() }
    }

    /// Where a result had to be copied since the heap had no room for it, the next shall find some. Nobody waits for the answer. What a function keeps,
    /// or brings from elsewhere, is not helped by room: after a few wishes in vain there are no more.
    fn wish_for_room(&self, report: &CopyReport) -> Result<()> {
        let Some(heap) = self.heap else { return Ok(()) };
        let (missed, copied) = (heap.missed(), report.copied_because(Direction::Result, Reason::ResultNotShared));
        let mut state = self.state();
        if report.bytes_shared() > 0 {
            state.wishes = 0;
        }
        if missed.is_none_or(|missed| copied < missed as u64) || state.wishes == MOST_WISHES {
            return Ok(());
        }
        state.wishes += 1;
        drop(state);
        self.ask_pool(&ToHost::NeedSegment { len: copied })
    }

    fn schema_number(&self, schema: &SchemaRef) -> Result<u32> {
        let state = self.state();
        if let Some(number) = state.schemas_sent.iter().position(|sent| exchange::same_schema(sent, schema)) {
            return Ok(number as u32);
        }
        let number = state.schemas_sent.len() as u32;
        drop(state);
        // Noted when it is sent: where there is no room for it, the next result tries again.
        self.send(&ToHost::Schema { schema: number, bytes: exchange::encode_schema(schema)? })?;
        self.state().schemas_sent.push(schema.clone());
        Ok(number)
    }
}
