//! Transom runs user-defined functions over Arrow record batches in worker processes: isolated like a process, as cheap as a call.
//!
//! Batches cross through sealed shared memory, described by pointer-free descriptors, with no serialisation. A function that
//! crashes, hangs or lies about its result becomes an [`Error`] in the host, and nothing else.
//!
//! The rooms are a ladder; each knows only those under it: [`memory`], [`exchange`], [`link`], [`worker`], `capsule`, [`pool`], [`mod@replay`]; beside them
//! [`function`] (what a function is) and [`failure`] (typed errors). `docs/architecture.md` has the picture.
//!
//! A call is some hundred small functions of several crates: build releases with `lto = "fat"`, which takes a tenth off a call of one row.
#![cfg(target_os = "linux")]

#[macro_use]
mod failpoints;

mod capsule;
pub mod exchange;
pub mod failure;
pub mod function;
pub mod link;
pub mod memory;
pub mod pool;
pub mod replay;
pub mod worker;

pub use exchange::{CopyReport, Direction, Mode, Reason};
pub use failure::{Code, Error, Result};
pub use function::{Function, Kind, Language, OnError, Parameter, Signature};
pub use link::{Holder, Lease};
pub use memory::SharedAlloc;
pub use pool::{Batches, BlockingBatches, DeadLetters, Event, FunctionStats, MapOptions, Pool, PoolBuilder, Stats, WorkerStats};
pub use replay::{Capsule, replay};
