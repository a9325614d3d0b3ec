//! The C ABI of Transom: any language that speaks C can call functions in workers, and can be a worker.
//!
//! `include/transom.h` is the interface, and `docs/abi.md` has its rules. Entry points are thin: each is an `extern` function that gives its arguments to
//! safe Rust and turns what comes back into a code ([`entry`]). A handle is a number that stands in a table ([`handle`]), so a handle that was freed,
//! is of another kind, or came over a fork is found and never followed. Data crosses as structs of the Arrow C data interface ([`data`]).
#![cfg(target_os = "linux")]

pub mod abi;
pub mod data;
pub mod entry;
pub mod error;
pub mod events;
pub mod function;
pub mod future;
pub mod handle;
pub mod letters;
pub mod library;
pub mod memory;
pub mod options;
pub mod pool;
pub mod signature;
pub mod stats;
pub mod stream;
pub mod table;
pub mod worker;

mod bounds;
