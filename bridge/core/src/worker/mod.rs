//! Worker processes: starting them, watching over them from the host, and serving in them.

mod exit;
mod output;
mod process;
mod serve;
mod supervise;
mod watched;

pub use exit::{Ending, decode};
pub use process::{Launch, Process};
pub use serve::{Input, Results, Runtime, serve};
pub(crate) use supervise::{Owner, Sentence, Spawner, Supervisor};
