//! A model of who may use which memory: the books of the host's end of a link, of its arena and of its segments, with a caller, a supervisor and a
//! worker that dies at any of its steps. Not a copy of those books but their source; only the system under them is replaced (`shim`).
#![allow(
    dead_code,
    unused_imports,
    unused_variables,
    unreachable_code,
    clippy::all,
    reason = "the core's files are linted where they are, and the model uses a part of them"
)]

/// Steps for fault injection, which the model does not need.
macro_rules! step {
    ($($step:tt)*) => {};
}

pub mod condvar;
pub mod shim;

include!(concat!(env!("OUT_DIR"), "/variants.rs"));
