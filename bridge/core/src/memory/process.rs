//! Which process this is, without a system call each time: handles are asked often whether they were forked away from their owner.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use memmap2::MmapRaw;
use rustix::mm::Advice;

/// One page that a forked child finds empty (`MADV_WIPEONFORK`, `madvise(2)`), however it was forked.
struct Page(MmapRaw);

impl Page {
    fn new() -> Option<Self> {
        let page = MmapRaw::from(memmap2::MmapMut::map_anon(size_of::<AtomicU32>()).ok()?);
        // SAFETY: the range is exactly the mapping, which nobody refers to yet, and the advice changes nothing of it in this process.
        unsafe { rustix::mm::madvise(page.as_mut_ptr().cast(), page.len(), Advice::LinuxWipeOnFork) }.ok()?;
        Some(Self(page))
    }

    fn id(&self) -> &AtomicU32 {
        // SAFETY: the mapping begins at a page, has room for one number, and is never unmapped while `self` lives; nothing else refers to it.
        unsafe { &*self.0.as_ptr().cast() }
    }
}

/// The number of this process.
pub(crate) fn process_id() -> u32 {
    static PAGE: OnceLock<Option<Page>> = OnceLock::new();
    let Some(page) = PAGE.get_or_init(Page::new) else { return std::process::id() };
    match page.id().load(Ordering::Relaxed) {
        0 => {
            let id = std::process::id();
            page.id().store(id, Ordering::Relaxed);
            id
        }
        id => id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_knows_that_it_is_another() {
        assert_eq!(process_id(), std::process::id());
        // SAFETY: the child does nothing but compare numbers, and leaves by `_exit`.
        let status = unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::_exit(i32::from(process_id() != std::process::id()));
            }
            let mut status = -1;
            libc::waitpid(child, &raw mut status, 0);
            status
        };
        assert_eq!(status, 0);
        assert_eq!(process_id(), std::process::id());
    }
}
