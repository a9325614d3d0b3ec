//! Worker processes: starting them, watching over them from the host, and serving in them.

mod address;
mod exit;
mod life;
mod output;
mod process;
mod serve;
mod supervise;
mod watch;
mod watched;

pub use address::write_addresses;
pub use exit::{Ending, decode};
pub(crate) use process::START_LIMIT;
pub use process::{Launch, Process, Started};
pub use serve::{Input, Results, Runtime, serve};
pub(crate) use supervise::{End, Owner, Sentence, Spawner, Supervisor};
