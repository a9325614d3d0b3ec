//! Sleeping until a word changes, in this process or another: `futex(2)`, and for several words at once `futex_waitv`, which Linux has since 5.16.

use std::ffi::c_void;
use std::ptr::from_ref;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, Wait, WaitFlags, WaitPtr, WaitvFlags};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// A word, and what stands in it as long as nothing has happened.
pub(crate) struct Sleep<'a> {
    pub(crate) word: &'a AtomicU32,
    pub(crate) expected: u32,
    /// Whether another process is to wake.
    pub(crate) shared: bool,
}

/// How many words can be waited for at once.
const MOST: usize = 128;

/// Whether the system has `futex_waitv`. One that forbids it (a filter of system calls) counts as one that has it not.
static SEVERAL: AtomicBool = AtomicBool::new(true);

/// Whether so many words can be waited for at once.
pub(crate) fn can_sleep_on(words: usize) -> bool {
    words == 1 || (words <= MOST && SEVERAL.load(Ordering::Relaxed))
}

/// Sleeps until somebody wakes one of the words, or one is not as expected, or for no reason; at most for so long.
pub(crate) fn sleep(words: &[Sleep<'_>], limit: Duration) {
    if let [one] = words {
        let flags = if one.shared { Flags::empty() } else { Flags::PRIVATE };
        // Longer than the clock counts is for ever. It ends for no reason that the caller would not look into.
        _ = futex::wait(one.word, flags, one.expected, Timespec::try_from(limit).ok().as_ref());
        return;
    }
    let waits: Vec<Wait> = words.iter().map(Sleep::wait).collect();
    if matches!(wait_for_any(&waits, limit), Err(Errno::NOSYS | Errno::PERM | Errno::INVAL)) {
        SEVERAL.store(false, Ordering::Relaxed);
    }
}

fn wait_for_any(waits: &[Wait], limit: Duration) -> rustix::io::Result<()> {
    step!("system::futex_waitv", errno => errno);
    futex::waitv(waits, WaitvFlags::empty(), after(limit).as_ref(), ClockId::Monotonic).map(drop)
}

/// Wakes who sleeps on a word.
pub(crate) fn wake(word: &AtomicU32, shared: bool) {
    // It fails for no word that exists.
    _ = futex::wake(word, if shared { Flags::empty() } else { Flags::PRIVATE }, i32::MAX as u32);
}

impl Sleep<'_> {
    fn wait(&self) -> Wait {
        let mut wait = Wait::new();
        wait.val = u64::from(self.expected);
        wait.uaddr = WaitPtr::new(from_ref(self.word).cast_mut().cast::<c_void>());
        wait.flags = if self.shared { WaitFlags::SIZE_U32 } else { WaitFlags::SIZE_U32 | WaitFlags::PRIVATE };
        wait
    }
}

/// The moment so long after now, by the clock that `futex_waitv` goes by.
fn after(limit: Duration) -> Option<Timespec> {
    let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).ok()?;
    Timespec::try_from(now.checked_add(limit)?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_sleep_ends_when_it_is_told_or_its_time_is_over() {
        let (first, second) = (AtomicU32::new(0), AtomicU32::new(0));
        let on = |word, expected| Sleep { word, expected, shared: false };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                second.store(1, Ordering::Release);
                wake(&second, false);
            });
            while second.load(Ordering::Acquire) == 0 {
                sleep(&[on(&first, 0), on(&second, 0)], Duration::MAX);
            }
        });
        let until = Instant::now() + Duration::from_millis(2);
        while Instant::now() < until {
            sleep(&[on(&first, 0)], Duration::from_millis(1));
            sleep(&[on(&first, 0), on(&second, 1)], Duration::from_millis(1));
        }
        // A word that is another already is not waited for.
        sleep(&[on(&first, 5)], Duration::MAX);
        sleep(&[on(&first, 0), on(&second, 5)], Duration::MAX);
    }

    #[test]
    fn words_are_waited_for_as_far_as_the_system_can() {
        assert!(can_sleep_on(1) && can_sleep_on(MOST) && !can_sleep_on(MOST + 1));
    }
}
