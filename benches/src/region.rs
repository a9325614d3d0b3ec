//! A piece of memory straight from the kernel, private or shared, unmapped on drop.

use std::io;
use std::os::fd::OwnedFd;
use std::ptr::null_mut;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

/// A writable mapping that nobody else in this process uses.
pub(crate) struct Region {
    start: *mut u8,
    len: usize,
}

impl Region {
    /// Fresh memory of this process alone, as a large allocation gets it.
    pub(crate) fn private(len: usize) -> io::Result<Self> {
        Self::anonymous(len, MapFlags::PRIVATE)
    }

    /// Fresh memory that a forked child shares.
    pub(crate) fn shared(len: usize) -> io::Result<Self> {
        Self::anonymous(len, MapFlags::SHARED)
    }

    fn anonymous(len: usize, flags: MapFlags) -> io::Result<Self> {
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no memory in use.
        let start = unsafe { mmap_anonymous(null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, flags)? };
        Ok(Self { start: start.cast(), len })
    }

    /// A fresh memfd, mapped; the file lives as long as the mapping.
    pub(crate) fn memfd(len: usize) -> io::Result<Self> {
        let file: OwnedFd = memfd_create("transom-bench", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, len as u64)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; the file was made here, has the length that is
        // mapped, and its only descriptor is closed below, so nobody can shorten it.
        let start = unsafe { mmap(null_mut(), len, access, MapFlags::SHARED, &file, 0)? };
        Ok(Self { start: start.cast(), len })
    }

    /// The memory; zeros where nothing was written yet.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: `start` is a mapping of `len` bytes that lives as long as `self`, readable, writable and initialised
        // by the kernel; `&mut self` makes this the only slice. Regions that a child shares are not read as slices.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }

    /// Where the memory begins.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.start
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by this value and its slices borrow from it, so nothing points into it any more.
        // An error would mean that it is not mapped: nothing is left to do then.
        let _ = unsafe { munmap(self.start.cast(), self.len) };
    }
}
