//! A call that was made before, once more: the same arguments, at the same place of their stream.

use std::sync::{Arc, OnceLock};

use arrow_array::RecordBatch;
use futures::{StreamExt, TryStreamExt};

use super::call::Position;
use super::{Pool, stream};
use crate::failure::Result;
use crate::function::{Function, Kind};

impl Pool {
    /// Calls a function with arguments as it was given them before, of which the first batch and row had these numbers.
    pub(crate) async fn again(&self, function: &Function, arguments: Vec<RecordBatch>, batch: u64, row: u64) -> Result<Vec<RecordBatch>> {
        self.inner.usable()?;
        let known = self.inner.known(function).await?;
        if known.signature().kind == Kind::Batches {
            let source = futures::stream::iter(arguments.into_iter().map(Ok)).boxed();
            let schema = Arc::new(known.signature().returns.clone().map_or_else(OnceLock::new, OnceLock::from));
            return stream::open(self.inner.clone(), known, source, None, schema, (batch, row)).try_collect().await;
        }
        let mut results = Vec::new();
        let mut position = Position { batch, rows: row..row };
        for arguments in arguments {
            position.rows = position.rows.end..position.rows.end + arguments.num_rows() as u64;
            results.push(self.inner.call_apart(&known, arguments, position.clone()).await?);
            position.batch += 1;
        }
        Ok(results)
    }
}
