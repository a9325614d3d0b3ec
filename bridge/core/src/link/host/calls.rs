//! What a worker is asked to do: functions, batches, streams, and what it must know before.

use arrow_schema::SchemaRef;

use super::HostLink;
use crate::exchange;
use crate::failure::Result;
use crate::function::Function;
use crate::link::leases::Outgoing;
use crate::link::message::ToWorker;

impl HostLink {
    /// Makes a function known to the worker under a number.
    pub(crate) fn define(&self, number: u32, function: &Function) -> Result<()> {
        self.state().leases.define(number, function.name());
        self.send(&ToWorker::Define { function: number, source: function.source().clone(), import_path: function.import_path().to_vec() })
    }

    /// Sends one batch to a function; with `suppress` the worker may go on behind rows for which it fails.
    pub(crate) fn call(&self, call: u64, function: u32, suppress: bool, batch: &Outgoing) -> Result<()> {
        self.state().leases.begin(call, function, batch.batch, false);
        let (schema, lease) = self.prepare(call, batch).inspect_err(|_| self.state().leases.finish(call))?;
        let sent = self.send(&ToWorker::Call { call, function, schema, lease, suppress, descriptor: batch.descriptor.to_vec() });
        sent.inspect_err(|_| {
            self.state().leases.finish(call);
            self.released(&[lease]);
        })
    }

    /// Opens a stream to a batches function; `credit` results may come before more is given.
    pub(crate) fn open(&self, call: u64, function: u32, schema: &SchemaRef, credit: u32) -> Result<()> {
        let schema = self.schema_number(schema)?;
        self.state().leases.begin(call, function, 0, true);
        self.send(&ToWorker::Open { call, function, schema, credit })
    }

    /// Sends a batch into a stream.
    pub(crate) fn input(&self, call: u64, batch: &Outgoing) -> Result<()> {
        let (_, lease) = self.prepare(call, batch)?;
        let sent = self.send(&ToWorker::Input { call, lease, descriptor: batch.descriptor.to_vec() });
        sent.inspect_err(|_| self.released(&[lease]))
    }

    /// Everything that must be known before a descriptor is: segments, schema, lease.
    fn prepare(&self, call: u64, batch: &Outgoing) -> Result<(u32, u64)> {
        let schema = self.schema_number(&batch.schema)?;
        step!("host::prepare");
        let mut state = self.state();
        state.flush_books(self);
        for segment in batch.segments.iter() {
            state.introduce(self, segment);
        }
        Ok((schema, state.lend(|leases| leases.lend(call, batch))))
    }

    fn schema_number(&self, schema: &SchemaRef) -> Result<u32> {
        if let Some(number) = self.state().schema_known(schema) {
            return Ok(number);
        }
        let bytes = exchange::encode_schema(schema)?;
        // Calls to one worker are sent one at a time (the pool's books are locked), so the number is still free when it is noted.
        let number = self.state().schemas_sent.len() as u32;
        self.send(&ToWorker::Schema { schema: number, bytes })?;
        self.state().schemas_sent.push(schema.clone());
        Ok(number)
    }
}
