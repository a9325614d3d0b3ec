//! What the tests of several rooms share: batches of every type, memory to put them in, and a reader of every value.
#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(unreachable_pub, reason = "test programs have no outside")]

pub mod generate;
pub mod memory;
pub mod oracle;
pub mod show;
