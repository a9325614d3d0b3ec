//! Waiting for a future on a thread that has nothing else to do.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

struct Parked {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}

/// Waits for a future. Unlike most executors' way to block it can be used on any thread, inside another runtime's too.
pub fn wait<F: Future>(future: F) -> F::Output {
    match wait_with(future, Duration::MAX, || Ok::<(), Infallible>(())) {
        Ok(output) => output,
        Err(never) => match never {},
    }
}

/// Waits for a future and looks in between, each `interval`, whether to go on: for signals that an interpreter only notes down.
///
/// # Errors
/// What `check` says; the future is dropped then, which cancels it.
pub fn wait_with<F: Future, E>(future: F, interval: Duration, mut check: impl FnMut() -> Result<(), E>) -> Result<F::Output, E> {
    let parked = Arc::new(Parked { thread: thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(parked.clone());
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let mut checked = Instant::now();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Ok(output);
        }
        while !parked.woken.swap(false, Ordering::Acquire) {
            if interval == Duration::MAX {
                thread::park();
                continue;
            }
            thread::park_timeout(interval.saturating_sub(checked.elapsed()));
            if checked.elapsed() >= interval {
                check()?;
                checked = Instant::now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_by_the_answer_or_by_the_check() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let thread = thread::spawn(move || sender.send(5));
        assert_eq!(wait(receiver), Ok(5));
        _ = thread.join();
        let mut left = 3;
        let stopped = wait_with(std::future::pending::<()>(), Duration::from_millis(1), || {
            left -= 1;
            if left == 0 { Err("stop") } else { Ok(()) }
        });
        assert_eq!(stopped, Err("stop"));
    }
}
