//! An output from before its schema is known to its end.

use arrow_schema::SchemaRef;
use transom::Result;

use super::{Output, Prepared, Wanted};

/// The output before and after the first result, which tells the schema.
pub(crate) enum Place {
    Waiting(Prepared),
    Open(Output),
}

impl Place {
    /// The output, for a batch of this schema.
    pub(crate) fn begin(self, schema: &SchemaRef) -> Result<Output> {
        match self {
            Self::Waiting(prepared) => prepared.begin(schema),
            Self::Open(output) => Ok(output),
        }
    }

    /// Ends the output; without any batch it has the columns of `schema`, where that is known.
    pub(crate) fn end(self, schema: Option<SchemaRef>, function: &str) -> Result<Wanted> {
        match (self, schema) {
            (Self::Open(output), _) => output.finish(),
            (Self::Waiting(prepared), Some(schema)) => prepared.begin(&schema)?.finish(),
            (Self::Waiting(prepared), None) => prepared.without_rows(function),
        }
    }
}
