//! Record batches as portable descriptors, and back.
//!
//! [`export`] describes a batch by (segment, offset, length) instead of by address: what lies in shared memory is named where it
//! is, the rest is copied there once. [`import`] believes nothing of what it gets: bounds, lengths and content are checked before
//! an Arrow array exists. The [`Ledger`] counts every byte that crossed, in place or by copy, and says why it was copied.
//!
//! ```
//! # use std::{ptr::NonNull, sync::Arc};
//! # use arrow_array::{Int64Array, RecordBatch};
//! # use transom::memory::{Arena, Block, Budget, Extent, Role, Segment, Segments, Source, Space};
//! # use transom::exchange::{Mapped, Resolve};
//! use transom::exchange::{Direction, Ledger, Mode, export, import};
//! # struct Host(Budget, Arc<Segments>);
//! # impl Source for Host {
//! #     fn segment(&self, len: usize) -> transom::Result<Option<Arc<Segment>>> {
//! #         let segment = Arc::new(Segment::create(1, Role::Input, self.0.reserve(len.max(1 << 20))?)?);
//! #         self.1.insert(segment.clone());
//! #         Ok(Some(segment))
//! #     }
//! #     fn discard(&self, _: Arc<Segment>) {}
//! # }
//! # struct Memory(Arena, Arc<Segments>);
//! # impl Space for Memory {
//! #     fn allocate(&self, len: usize) -> transom::Result<Block> {
//! #         self.0.allocate(len)
//! #     }
//! #     fn locate(&self, ptr: *const u8, len: usize) -> Option<Extent> {
//! #         self.1.locate(ptr, len)
//! #     }
//! # }
//! # impl Resolve for Memory {
//! #     fn resolve(&self, extent: Extent) -> transom::Result<Mapped> {
//! #         let segment = self.1.get(extent.segment).unwrap();
//! #         let ptr = NonNull::new(segment.as_ptr().wrapping_add(extent.offset as usize).cast_mut()).unwrap();
//! #         Ok(Mapped { ptr, len: extent.len as usize, owner: segment, peer_writes: true })
//! #     }
//! # }
//! # let segments = Arc::new(Segments::default());
//! # let here = Memory(Arena::new(Host(Budget::new(1 << 30), segments.clone())), segments.clone());
//! # let there = &here;
//! let batch = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1, 2, 3])) as _)])?;
//! let ledger = Ledger::default();
//! let sent = export(&batch, &here, &ledger, Direction::Input)?;
//! let received = import(&sent.descriptor, &batch.schema(), there, Mode::Guarded, &ledger, Direction::Input)?;
//! assert_eq!(received, batch);
//! assert_eq!(ledger.report().bytes_copied(), 3 * 8);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod buffers;
mod copy;
mod descriptor;
mod export;
mod fault;
mod flags;
mod import;
mod ipc;
mod ledger;
mod plan;
mod schema;
mod schema_message;
mod settle;
mod shapes;
mod validate;

pub use buffers::{Mapped, Resolve};
pub use descriptor::Descriptor;
pub use export::{Export, export};
pub(crate) use flags::is_plain;
pub use flags::{c_field, c_schema, same_schema};
pub use import::import;
pub(crate) use ipc::{from_ipc, to_ipc};
pub use ledger::{CopyReport, Direction, Ledger, Reason};
pub use schema::{check_schema, fixed_width};
pub use schema_message::{decode_schema, encode_schema};
pub use settle::settled;

/// How much an importer believes of what another process sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Mode {
    /// What shapes the data (validity, offsets, sizes, views, type ids, run ends, dictionary keys) is copied to private memory and the
    /// copy is checked; plain values and text bytes stay where they are. Memory-safe against a peer with defects. Text is checked
    /// once: a peer that goes on writing after it has answered can still change it.
    #[default]
    Guarded,
    /// Everything is copied to private memory first and then checked: nothing that the peer does later can be seen.
    Strict,
    /// Only bounds are checked. For a peer that is believed as code in this process would be.
    Trusted,
}

/// The most top-level columns of a batch.
pub const MAX_COLUMNS: usize = 10_000;
/// The most levels of nested types, a top-level column being the first.
pub const MAX_DEPTH: usize = 64;
/// The most rows of a batch.
pub const MAX_ROWS: u64 = i32::MAX as u64;

/// The most fields of a schema, nested ones counted, and so the most nodes of a descriptor.
const MAX_NODES: usize = 1 << 17;
/// The most buffers of a descriptor. View arrays may have many each.
const MAX_BUFFERS: usize = 1 << 20;
