//! What a worker says that is not the link's own affair.

use super::message::{Ready, RemoteError};
use super::result::RawResult;
use crate::failure::Result;
use crate::function::Signature;

/// What the link leaves to its owner.
pub enum Incoming {
    /// The answer to the hello.
    Ready(Ready),
    /// The worker's arena is full; the host gives it a segment.
    NeedSegment(usize),
    /// A function was loaded, or not.
    Defined(u32, Result<Signature, RemoteError>),
    /// A result for a call.
    Result(u64, RawResult),
    /// A call failed.
    Failed(u64, RemoteError),
    /// A batches function asks for an input.
    Next(u64),
    /// A batches function ended.
    Done(u64),
    /// So many of the link's own affairs that somebody else should have a turn before the next.
    Affairs,
    /// The worker closed its end of the link.
    HungUp,
    /// The worker gave up a segment of its own; the pool's other links must hear of it.
    Discarded(u32),
}

impl Incoming {
    /// Whether it concerns the worker's life and memory, and no call.
    pub(crate) fn is_for_supervisor(&self) -> bool {
        matches!(self, Self::Ready(_) | Self::NeedSegment(_) | Self::HungUp | Self::Discarded(_))
    }
}
