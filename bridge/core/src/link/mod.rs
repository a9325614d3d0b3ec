//! What joins a host and one worker: a Unix socket for the handshake, segments and messages. `docs/protocol.md` has the bytes.
//!
//! Messages are small, fixed in layout, whole or absent (`SOCK_SEQPACKET`); one that is too large for a packet lies in shared memory and the
//! packet says where. Descriptors of segments travel beside a packet (`SCM_RIGHTS`, `unix(7)`).

mod answer;
mod host;
mod incoming;
mod keep;
mod leases;
mod message;
mod reception;
mod result;
mod ring;
mod socket;
mod spin;
mod suppressed;
mod trace;
mod wire;
mod worker;

pub use host::HostLink;
pub use incoming::Incoming;
pub(crate) use keep::{Keep, within};
pub(crate) use leases::Outgoing;
pub use leases::{Holder, Lease};
pub use message::{Copies, Hello, Ready, RemoteError, ToHost, ToWorker};
pub use result::RawResult;
pub(crate) use ring::{Doze, RING_BYTES};
pub use socket::{Packet, Socket};
pub(crate) use spin::Spin;
pub use suppressed::Suppressed;
pub use trace::{Kept, Tracer};
pub use worker::{Received, WorkerLink};

/// The version of the protocol. Both sides must bear the same; it changes with every change of a message.
pub const PROTOCOL: u32 = 3;

/// The longest packet: longer messages are put in shared memory.
pub const MAX_PACKET: usize = 48 * 1024;
