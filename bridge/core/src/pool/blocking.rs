//! Waiting for a future on a thread that has nothing else to do, and so can listen to the workers meanwhile.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::link::Spin;
use crate::worker::Listen;

type Ear = Arc<dyn Listen>;

thread_local! {
    /// Whom to listen to, said by the future that this thread waits for; `None` where it waits for none.
    static EARS: RefCell<Option<Vec<Ear>>> = const { RefCell::new(None) };
    /// What this thread has learnt of its waits.
    static SPIN: RefCell<Spin> = RefCell::default();
}

/// A future of something that a worker says: a thread that has nothing to do but wait for it listens to that worker itself.
pub(super) async fn heard<F: Future>(future: F, ear: impl Fn() -> Option<Ear>) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let polled = future.as_mut().poll(context);
        if polled.is_pending() {
            offer(&ear);
        }
        polled
    })
    .await
}

/// Names workers to listen to, where this thread waits.
pub(super) fn offer<E: IntoIterator<Item = Ear>>(ears: impl FnOnce() -> E) {
    EARS.with_borrow_mut(|offered| {
        if let Some(offered) = offered {
            for ear in ears() {
                if !offered.iter().any(|other| Arc::ptr_eq(other, &ear)) {
                    offered.push(ear);
                }
            }
        }
    });
}

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
        let (polled, ears) = polled(|| future.as_mut().poll(&mut context));
        if let Poll::Ready(output) = polled {
            return Ok(output);
        }
        let wait = SPIN.with_borrow(Spin::begin);
        listen(&ears, &parked.woken);
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
        SPIN.with_borrow_mut(|spin| spin.slept(&wait));
    }
}

/// Polls a future, and gives whom it names to be listened to. What it does may be a wait of its own.
fn polled<T>(poll: impl FnOnce() -> T) -> (T, Vec<Ear>) {
    /// Puts back what the wait around this one had, however this one ends.
    struct Outer(Option<Vec<Ear>>);
    impl Drop for Outer {
        fn drop(&mut self) {
            EARS.set(self.0.take());
        }
    }
    let outer = Outer(EARS.replace(Some(Vec::new())));
    let output = poll();
    let ears = EARS.take().unwrap_or_default();
    drop(outer);
    (output, ears)
}

/// Takes in what workers say, for a little while and until the future is woken, where that pays.
fn listen(ears: &[Ear], woken: &AtomicBool) {
    if ears.is_empty() || !SPIN.with_borrow(Spin::pays) {
        return;
    }
    let mut attended = Attended(ears.iter().filter(|ear| ear.attend()).collect());
    if attended.0.is_empty() {
        return;
    }
    let mut wait = SPIN.with_borrow(Spin::begin);
    let is_over = || woken.load(Ordering::Acquire);
    while !attended.0.is_empty() && !is_over() && wait.goes_on() {
        attended.hear();
    }
    drop(attended);
    SPIN.with_borrow_mut(|spin| if is_over() { spin.hit() } else { spin.missed() });
}

/// Workers that this thread listens to.
struct Attended<'a>(Vec<&'a Ear>);

impl Attended<'_> {
    fn hear(&mut self) {
        self.0.retain(|ear| {
            let goes_on = ear.hear();
            if !goes_on {
                ear.leave();
            }
            goes_on
        });
    }
}

impl Drop for Attended<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|ear| ear.leave());
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
