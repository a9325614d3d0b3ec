//! Worker processes: starting them, watching over them from the host, and serving in them.

mod address;
mod exit;
mod hearing;
mod life;
mod lifeline;
mod limits;
mod outfit;
mod output;
mod preload;
mod process;
mod serve;
mod stacks;
mod supervise;
mod watch;
mod watched;
mod zygote;

pub use crate::memory::join as share_heap;
pub use address::write_addresses;
pub(crate) use exit::stopped;
pub use exit::{Ending, decode};
pub(crate) use hearing::Listen;
pub use limits::Limits;
pub use preload::{Preload, preload};
pub(crate) use process::START_LIMIT;
pub use process::{Launch, Process, Started};
pub use serve::{Input, Results, Runtime, serve};
pub use stacks::{use_large_signal_stack, write_stacks};
pub(crate) use supervise::{End, Owner, Sentence, Spawner, Supervisor};
pub(crate) use zygote::nursery;
pub use zygote::{Forking, Newborn, obstacle, split};
