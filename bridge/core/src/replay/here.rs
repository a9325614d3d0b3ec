//! A replay in this process, without a pool: for debuggers. What the function does to the process, it does to this one.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Schema};

use super::Capsule;
use crate::failure::{Code, Error, Result};
use crate::function::Kind;
use crate::link::RemoteError;
use crate::worker::{Input, Runtime};

/// The number under which the function is defined.
const FUNCTION: u32 = 0;

impl Capsule {
    /// Calls the function in this process, by a language's runtime, and gives what it returns. Nothing is isolated: it is what debuggers are started
    /// on.
    ///
    /// # Errors
    /// What the function raised, with its code.
    pub fn call_here(&self, runtime: &mut dyn Runtime, rows: Option<Range<u64>>) -> Result<Vec<RecordBatch>> {
        let function = self.function()?;
        let (arguments, batch, row) = self.part(rows)?;
        let named = |error: Error| error.with_function(function.name());
        let told = |error: RemoteError| named(error.into_error());
        let signature = runtime.define(FUNCTION, function.source(), function.import_path()).map_err(told)?;
        if signature.kind == Kind::Batches {
            let schema = arguments.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
            let results = runtime.open(FUNCTION, Input::of(schema, arguments)).map_err(told)?;
            return results.map(|batch| batch.map_err(told)).collect();
        }
        let mut results = Vec::new();
        let mut start = row;
        for (number, arguments) in (batch..).zip(arguments) {
            let rows = arguments.num_rows();
            let placed = |error: Error| named(error).with_batch(number).with_rows(start..start + rows as u64);
            let result = runtime.call(FUNCTION, arguments).map_err(|error| match error.row {
                Some(row) if row < rows as u64 => placed(error.into_error()).narrowed_to_rows(start + row..start + row + 1),
                _ => placed(error.into_error()),
            })?;
            if result.len() != rows {
                return Err(placed(Error::new(Code::WrongLength, format!("the function returned {} rows for {rows}", result.len()))));
            }
            let field = signature.result_schema(result.data_type()).field(0).clone().with_nullable(true);
            let wrong = |error: ArrowError| placed(Error::new(Code::WrongType, error.to_string()));
            results.push(RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![result]).map_err(wrong)?);
            start += rows as u64;
        }
        Ok(results)
    }
}
