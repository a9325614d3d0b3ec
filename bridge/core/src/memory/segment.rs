//! One sealed memfd and this process's mapping of it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::mm::Advice;

use super::budget::Reservation;
use crate::failure::{Code, Error, Result};

/// What a segment is for, which says who may write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The host writes, workers read.
    Input,
    /// One worker writes, the host reads.
    Output,
}

const SIZE_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);
const CLOSING_SEALS: SealFlags = SealFlags::FUTURE_WRITE.union(SealFlags::SEAL);

/// A memfd of fixed size, mapped in this process for as long as the value lives.
///
/// Whether the mapping can be written depends on [`Role`] and on the side: [`Segment::create`] makes a host's mapping,
/// [`Segment::attach`] a worker's.
pub struct Segment {
    id: u32,
    role: Role,
    file: OwnedFd,
    map: MmapRaw,
    writable: bool,
    // Gives the bytes back to the pool's limit when the mapping is gone.
    _reservation: Option<Reservation>,
}

impl Segment {
    /// A number that no segment of this process has had.
    pub(crate) fn new_id() -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes a segment of `reservation`'s size in the host: pages reserved, size sealed, mapped writable for inputs and read-only
    /// for outputs. An input segment is closed to every later writer here and now.
    ///
    /// # Errors
    /// `SHARED_MEMORY_FULL` where the system has no room, `DESCRIPTOR_LIMIT` where this process has no descriptor left.
    pub fn create(id: u32, role: Role, reservation: Reservation) -> Result<Self> {
        let len = reservation.len();
        let name = match role {
            Role::Input => "transom-input",
            Role::Output => "transom-output",
        };
        step!("system::memfd_create", errno => shortage("cannot make a shared memory segment", len, errno));
        let file = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
            .map_err(|error| shortage("cannot make a shared memory segment", len, error))?;
        step!("system::ftruncate", errno => shortage("cannot size a shared memory segment", len, errno));
        rustix::fs::ftruncate(&file, len as u64).map_err(|error| shortage("cannot size a shared memory segment", len, error))?;
        reserve_pages(&file, len)?;
        step!("system::seal", errno => unsealed("cannot seal a segment's size", errno));
        rustix::fs::fcntl_add_seals(&file, SIZE_SEALS).map_err(|error| unsealed("cannot seal a segment's size", error))?;
        let file = File::from(file);
        let mut options = MmapOptions::new();
        options.len(len);
        let writable = role == Role::Input;
        step!("system::mmap", errno => Error::system(Code::SharedMemoryFull, "cannot map a shared memory segment", errno));
        let map = if writable { options.map_raw(&file) } else { options.map_raw_read_only(&file) }
            .map_err(|error| Error::system(Code::SharedMemoryFull, "cannot map a shared memory segment", error))?;
        let segment = Self { id, role, file: file.into(), map, writable, _reservation: Some(reservation) };
        if writable {
            segment.close_to_writers()?;
        }
        segment.warm();
        Ok(segment)
    }

    /// Maps a segment that the host sent: read-only for inputs, writable for this worker's own outputs. The seals and the size are
    /// checked first, so that no other process can make a read here fault.
    ///
    /// # Errors
    /// `SEALS_MISSING` where the descriptor is not what the host's message says.
    pub fn attach(id: u32, role: Role, len: usize, file: OwnedFd) -> Result<Self> {
        let seals = rustix::fs::fcntl_get_seals(&file).map_err(|error| Error::system(Code::SealsMissing, "segment cannot carry seals", error))?;
        let needed = match role {
            Role::Input => SIZE_SEALS | CLOSING_SEALS,
            Role::Output => SIZE_SEALS,
        };
        if !seals.contains(needed) {
            return Err(Error::new(Code::SealsMissing, format!("segment {id} carries the seals {seals:?} and must carry {needed:?}")));
        }
        let size = rustix::fs::fstat(&file).map_err(|error| Error::system(Code::System, "cannot read a segment's size", error))?.st_size;
        if u64::try_from(size).ok() != Some(len as u64) || len == 0 {
            return Err(Error::new(Code::SealsMissing, format!("segment {id} has {size} bytes where {len} were announced")));
        }
        let file = File::from(file);
        let mut options = MmapOptions::new();
        options.len(len);
        let writable = role == Role::Output;
        step!("system::mmap", errno => Error::system(Code::SharedMemoryFull, "cannot map a shared memory segment", errno));
        let map = if writable { options.map_raw(&file) } else { options.map_raw_read_only(&file) }
            .map_err(|error| Error::system(Code::SharedMemoryFull, "cannot map a shared memory segment", error))?;
        let segment = Self { id, role, file: file.into(), map, writable, _reservation: None };
        if writable {
            segment.hide_from_children();
        }
        segment.warm();
        Ok(segment)
    }

    /// Forbids every writable mapping from now on; those that exist stay. For an output segment the host calls it once the worker has
    /// mapped the segment, before anybody else gets the descriptor.
    ///
    /// # Errors
    /// `SEALS_MISSING` where the kernel refuses.
    pub fn close_to_writers(&self) -> Result<()> {
        step!("system::close_to_writers", errno => unsealed("cannot seal a segment against writers", errno));
        rustix::fs::fcntl_add_seals(&self.file, CLOSING_SEALS).map_err(|error| unsealed("cannot seal a segment against writers", error))
    }

    /// The number by which host and workers name the segment.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The number of its file in the kernel, by which other processes' mappings of it can be told; `None` where the kernel does not say.
    pub fn inode(&self) -> Option<u64> {
        rustix::fs::fstat(&self.file).ok().map(|status| status.st_ino)
    }

    /// Who may write it.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The size in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a segment is never empty")]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// The address of the first byte in this process.
    pub fn as_ptr(&self) -> *const u8 {
        self.map.as_ptr()
    }

    /// The first byte, for writing, where this process is the segment's writer.
    pub(super) fn as_mut_ptr(&self) -> Option<*mut u8> {
        self.writable.then(|| self.map.as_mut_ptr())
    }

    /// How far behind the first byte an address lies, if it lies in the segment.
    pub(super) fn offset_of(&self, ptr: *const u8) -> Option<usize> {
        (ptr as usize).checked_sub(self.as_ptr() as usize).filter(|&offset| offset < self.len())
    }

    /// The descriptor, to be sent to a worker.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// A forked child does not have the mapping, so it cannot write what this process shares with others.
    pub(super) fn hide_from_children(&self) {
        self.advise(Advice::LinuxDontFork);
    }

    /// Asks for huge pages where the kernel allows them and brings the pages in at once: one system call costs a fraction of a
    /// fault for each page, and it reports a shortage as an error where a touch would be a signal.
    fn warm(&self) {
        self.advise(Advice::LinuxHugepage);
        self.advise(if self.writable { Advice::LinuxPopulateWrite } else { Advice::LinuxPopulateRead });
    }

    /// Advice is advice: an older kernel that refuses it leaves a slower segment, not a broken one.
    fn advise(&self, advice: Advice) {
        // SAFETY: the range is exactly the mapping that `self` owns. None of the kinds used here changes content that was written or takes
        // pages away from this process.
        _ = unsafe { rustix::mm::madvise(self.map.as_mut_ptr().cast(), self.map.len(), advice) };
    }
}

fn reserve_pages(file: &OwnedFd, len: usize) -> Result<()> {
    step!("system::fallocate", errno => shortage("cannot reserve shared memory", len, errno));
    loop {
        match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len as u64) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(shortage("cannot reserve shared memory", len, error)),
        }
    }
}

fn unsealed(doing: &str, error: rustix::io::Errno) -> Error {
    Error::system(Code::SealsMissing, doing, error)
        .with_hint("run `transom doctor`; Linux 5.1 or later is needed, and a container that lets `fcntl` seal")
}

fn shortage(doing: &str, len: usize, error: rustix::io::Errno) -> Error {
    use rustix::io::Errno;
    match error {
        Errno::MFILE | Errno::NFILE => {
            Error::system(Code::DescriptorLimit, doing, error).with_hint("raise the limit on open files (`ulimit -n`), or use fewer workers")
        }
        _ => Error::system(Code::SharedMemoryFull, &format!("{doing} of {len} bytes"), error)
            .with_hint("free memory, or lower the pool's memory limit so that it stays under what the machine has"),
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Segment({} {:?} {} bytes)", self.id, self.role, self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Budget;

    fn segment(role: Role) -> Segment {
        Segment::create(1, role, Budget::new(1 << 30).reserve(1 << 16).unwrap()).unwrap()
    }

    fn copy_of(segment: &Segment) -> OwnedFd {
        segment.descriptor().try_clone_to_owned().unwrap()
    }

    #[test]
    fn an_input_segment_can_be_read_and_not_written_by_who_receives_it() {
        let host = segment(Role::Input);
        let file = File::from(copy_of(&host));
        assert!(MmapOptions::new().map_raw(&file).is_err(), "a writable mapping must be refused");
        assert!(rustix::fs::ftruncate(&file, 1).is_err());
        let worker = Segment::attach(1, Role::Input, host.len(), file.into()).unwrap();
        assert!(worker.as_mut_ptr().is_none());
        // SAFETY: both mappings are alive and at least one byte long, and nothing else touches them.
        unsafe {
            host.as_mut_ptr().unwrap().write(7);
            assert_eq!(worker.as_ptr().read_volatile(), 7);
        }
    }

    #[test]
    fn an_output_segment_is_closed_once_its_worker_has_it() {
        let host = segment(Role::Output);
        assert!(host.as_mut_ptr().is_none());
        let worker = Segment::attach(1, Role::Output, host.len(), copy_of(&host)).unwrap();
        host.close_to_writers().unwrap();
        assert!(MmapOptions::new().map_raw(&File::from(copy_of(&host))).is_err());
        // SAFETY: both mappings are alive and at least one byte long, and nothing else touches them.
        unsafe {
            worker.as_mut_ptr().unwrap().write(9);
            assert_eq!(host.as_ptr().read_volatile(), 9);
        }
    }

    #[test]
    fn an_unsealed_or_wrongly_sized_descriptor_is_refused() {
        let bare = rustix::fs::memfd_create("x", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&bare, 4096).unwrap();
        assert_eq!(Segment::attach(1, Role::Input, 4096, bare).unwrap_err().code(), Code::SealsMissing);
        let host = segment(Role::Input);
        assert_eq!(Segment::attach(1, Role::Input, host.len() * 2, copy_of(&host)).unwrap_err().code(), Code::SealsMissing);
    }
}
