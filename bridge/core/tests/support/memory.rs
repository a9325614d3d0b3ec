//! Memory to send batches through: a real arena, and resolvers that stand for the other process.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use transom::exchange::{Mapped, Resolve};
use transom::memory::{Arena, Block, Budget, Extent, Role, Segment, Segments, Source, Space};
use transom::{Code, Error, Result};

/// A host's memory: segments that are made as they are needed.
#[derive(Clone)]
pub struct Host {
    pub arena: Arena,
    pub segments: Arc<Segments>,
}

struct Maker {
    budget: Budget,
    segments: Arc<Segments>,
    made: AtomicU32,
}

impl Source for Maker {
    fn segment(&self, len: usize) -> Result<Option<Arc<Segment>>> {
        let id = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        let segment = Arc::new(Segment::create(id, Role::Input, self.budget.reserve(len.max(1 << 20).next_multiple_of(4096))?)?);
        self.segments.insert(segment.clone());
        Ok(Some(segment))
    }

    fn discard(&self, segment: Arc<Segment>) {
        self.segments.remove(segment.id());
    }
}

impl Host {
    pub fn new() -> Self {
        Self::with_limit(1 << 30)
    }

    pub fn with_limit(limit: u64) -> Self {
        let segments = Arc::new(Segments::default());
        let maker = Maker { budget: Budget::new(limit), segments: segments.clone(), made: AtomicU32::new(0) };
        Self { arena: Arena::new(maker), segments }
    }
}

/// A space that finds what lies in its segments.
impl Space for Host {
    fn allocate(&self, len: usize) -> Result<Block> {
        self.arena.allocate(len)
    }

    fn locate(&self, ptr: *const u8, len: usize) -> Option<Extent> {
        self.segments.locate(ptr, len)
    }
}

/// A resolver over the host's own segments, as a peer that maps them sees them.
pub struct Peer {
    pub segments: Arc<Segments>,
    pub peer_writes: bool,
}

impl Resolve for Peer {
    fn resolve(&self, extent: Extent) -> Result<Mapped> {
        let bad = || Error::new(Code::BadDescriptor, format!("{extent:?} is in no segment"));
        let segment = self.segments.get(extent.segment).ok_or_else(bad)?;
        if extent.offset.checked_add(extent.len).is_none_or(|end| end > segment.len() as u64) {
            return Err(bad());
        }
        let ptr = NonNull::new(segment.as_ptr().wrapping_add(extent.offset as usize).cast_mut()).ok_or_else(bad)?;
        Ok(Mapped { ptr, len: extent.len as usize, owner: segment, peer_writes: self.peer_writes })
    }
}

/// A resolver that gives each extent an allocation of its own with nothing behind it, so that a read out of bounds is caught by tools that
/// watch the heap. `shift` bytes before it make it begin at an odd address.
pub struct Exact<'a> {
    pub image: &'a Image,
    pub shift: usize,
    pub peer_writes: bool,
}

/// The content of all segments at one time.
#[derive(Clone, Default)]
pub struct Image {
    pub segments: std::collections::BTreeMap<u32, Vec<u8>>,
}

impl Image {
    /// A copy of what the host's segments with these numbers hold.
    pub fn of(host: &Host, numbers: impl IntoIterator<Item = u32>) -> Self {
        let whole = |id: u32| Extent { segment: id, offset: 0, len: host.segments.get(id).unwrap().len() as u64 };
        Self::of_extents(host, &numbers.into_iter().map(whole).collect::<Vec<_>>())
    }

    /// The same, as far as these extents reach.
    pub fn of_extents(host: &Host, extents: &[Extent]) -> Self {
        let mut image = Self::default();
        for extent in extents {
            let segment = host.segments.get(extent.segment).unwrap();
            let end = (extent.offset + extent.len) as usize;
            let bytes = image.segments.entry(extent.segment).or_default();
            if bytes.len() < end {
                // SAFETY: the mapping is alive and has `end` bytes, and the test writes to it from this thread only.
                *bytes = unsafe { std::slice::from_raw_parts(segment.as_ptr(), end) }.to_vec();
            }
        }
        image
    }

    pub fn bytes_mut(&mut self, extent: Extent) -> &mut [u8] {
        let start = extent.offset as usize;
        &mut self.segments.get_mut(&extent.segment).unwrap()[start..start + extent.len as usize]
    }
}

impl Resolve for Exact<'_> {
    fn resolve(&self, extent: Extent) -> Result<Mapped> {
        let bad = || Error::new(Code::BadDescriptor, format!("{extent:?} is in no segment"));
        let segment = self.image.segments.get(&extent.segment).ok_or_else(bad)?;
        let start = usize::try_from(extent.offset).map_err(|_| bad())?;
        let bytes = start.checked_add(extent.len as usize).and_then(|end| segment.get(start..end)).ok_or_else(bad)?;
        // Vectors of u128 begin at a multiple of 16, which is enough for every type.
        let mut memory = vec![0u128; (self.shift + bytes.len()).div_ceil(16).max(1)];
        let base = NonNull::new(memory.as_mut_ptr().cast::<u8>()).unwrap();
        // SAFETY: the vector has at least `shift + len` bytes and is nobody else's yet.
        let ptr = unsafe {
            let ptr = base.add(self.shift);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), ptr.as_ptr(), bytes.len());
            ptr
        };
        Ok(Mapped { ptr, len: bytes.len(), owner: Arc::new(memory), peer_writes: self.peer_writes })
    }
}
