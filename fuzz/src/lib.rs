//! The trials of the core's own tests, for the fuzz targets: one file of each, used by both.
#![allow(dead_code, unreachable_pub, reason = "the tests use more of these files")]

pub mod around;

#[path = "../../bridge/core/tests/support/change.rs"]
mod change;
#[path = "../../bridge/core/tests/support/generate.rs"]
mod generate;
#[path = "../../bridge/core/tests/support/memory.rs"]
mod memory;
#[path = "../../bridge/core/tests/support/show.rs"]
mod show;
#[path = "../../bridge/core/tests/support/trial.rs"]
pub mod trial;
