//! A replay in this process, without a pool: for debuggers. What the function does to the process, it does to this one.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema;

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
        let (arguments, _, _) = self.part(rows)?;
        let told = |error: RemoteError| error.into_error().with_function(function.name());
        let signature = runtime.define(FUNCTION, function.source(), function.import_path()).map_err(told)?;
        if signature.kind == Kind::Batches {
            let schema = arguments.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
            let results = runtime.open(FUNCTION, Input::of(schema, arguments)).map_err(told)?;
            return results.map(|batch| batch.map_err(told)).collect();
        }
        let call = |arguments: RecordBatch| {
            let rows = arguments.num_rows();
            let result = runtime.call(FUNCTION, arguments).map_err(told)?;
            if result.len() != rows {
                let message = format!("the function returned {} rows for {rows}", result.len());
                return Err(Error::new(Code::WrongLength, message).with_function(function.name()));
            }
            let schema = Arc::new(Schema::new(vec![signature.result_schema(result.data_type()).field(0).clone().with_nullable(true)]));
            RecordBatch::try_new(schema, vec![result]).map_err(|error| Error::new(Code::WrongType, error.to_string()).with_function(function.name()))
        };
        arguments.into_iter().map(call).collect()
    }
}
