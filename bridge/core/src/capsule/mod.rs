//! Failure capsules: what is needed to see a failure again, in a folder that only its owner may read. `docs/capsules.md` has the format.
//!
//! A capsule is written whole or not at all, and read with suspicion: replaying it runs the function in it.

pub(crate) mod batches;
mod folder;
mod history;
mod readme;
mod record;
mod save;
#[cfg(test)]
mod tests;
mod versions;

pub(crate) use folder::{Folder, unreadable};
pub(crate) use history::History;
pub(crate) use record::{Environment, FORMAT, LimitsRecord, Policies, RECORD, Record, Runtime, STREAM, SourceRecord, VERSION};
pub(crate) use save::{Failure, Given, save};
pub(crate) use versions::versions;
