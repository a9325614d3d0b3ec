//! Waiting for a future on a thread that has nothing else to do, and so can listen to the workers meanwhile.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::yield_now;
use std::time::{Duration, Instant};

use crate::link::{Doze, Spin};
use crate::memory::{self, Sleep};
use crate::worker::Listen;

type Ear = Arc<dyn Listen>;

thread_local! {
    /// Whom to listen to, said by the future that this thread waits for; `None` where it waits for none.
    static EARS: RefCell<Option<Vec<Ear>>> = const { RefCell::new(None) };
    /// To whom this thread means to listen again.
    static KEPT: RefCell<Vec<Weak<dyn Listen>>> = const { RefCell::new(Vec::new()) };
    /// This thread, among those that wait.
    static NUMBER: u64 = {
        static LAST: AtomicU64 = AtomicU64::new(0);
        LAST.fetch_add(1, Ordering::Relaxed) + 1
    };
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

/// A thread that waits; woken by whoever has what it waits for.
#[derive(Default)]
struct Parked {
    /// One of the three below.
    state: AtomicU32,
}

const WAITS: u32 = 0;
const WOKEN: u32 = 1;
const SLEEPS: u32 = 2;

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::Release) == SLEEPS {
            memory::wake(&self.state, false);
        }
    }
}

impl Parked {
    fn is_woken(&self) -> bool {
        self.state.load(Ordering::Acquire) == WOKEN
    }

    /// Whether it was woken; it waits again from here on.
    fn take(&self) -> bool {
        self.state.swap(WAITS, Ordering::Acquire) == WOKEN
    }

    /// Sleeps until it is woken, or one of the places says something; for no longer than `limit`.
    fn sleep(&self, places: &[Doze], limit: Duration) {
        if self.state.compare_exchange(WAITS, SLEEPS, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let own = Sleep { word: &self.state, expected: SLEEPS, shared: false };
        let words: Vec<Sleep<'_>> = std::iter::once(own).chain(places.iter().map(Doze::word)).collect();
        memory::sleep(&words, limit);
        _ = self.state.compare_exchange(SLEEPS, WAITS, Ordering::Relaxed, Ordering::Relaxed);
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
    let parked = Arc::new(Parked::default());
    let waker = Waker::from(parked.clone());
    let mut context = Context::from_waker(&waker);
    // On a thread of tokio's too: a task that may not go on before it has yielded would wait for ever, since who blocks does not yield.
    let mut future = pin!(tokio::task::unconstrained(future));
    let mut checked = Instant::now();
    loop {
        let (polled, ears) = polled(|| future.as_mut().poll(&mut context));
        if let Poll::Ready(output) = polled {
            return Ok(output);
        }
        let wait = SPIN.with_borrow(Spin::begin);
        let mut attended = Attended::to(&ears);
        attended.look(&parked);
        while !parked.take() {
            attended.sleep(&parked, interval.saturating_sub(checked.elapsed()));
            if checked.elapsed() >= interval {
                // What is called may take its time, and wait for a worker itself.
                drop(attended);
                check()?;
                checked = Instant::now();
                attended = Attended::to(&ears);
            }
        }
        attended.keep();
        SPIN.with_borrow_mut(|spin| spin.slept(&wait));
    }
}

/// Who waits on this thread, as a number of its own; 0 in a future that no thread waits for.
pub(super) fn caller() -> u64 {
    if EARS.with_borrow(Option::is_some) { NUMBER.with(|number| *number) } else { 0 }
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

/// Workers that this thread listens to.
struct Attended<'a>(Vec<&'a Ear>);

impl<'a> Attended<'a> {
    /// Listens to those of these workers to whom nobody else does. Others to whom this thread meant to listen again it does not keep any longer: it may
    /// be about to wait for what others would do with what they say.
    fn to(ears: &'a [Ear]) -> Self {
        let attended = ears.iter().filter(|ear| ear.attend()).collect();
        for kept in KEPT.take().iter().filter_map(Weak::upgrade) {
            kept.make_way(0);
        }
        Self(attended)
    }

    /// Takes in what they say, for a little while and until this thread is woken, where that pays.
    fn look(&mut self, parked: &Parked) {
        if self.0.is_empty() || !SPIN.with_borrow(Spin::pays) {
            return;
        }
        let mut wait = SPIN.with_borrow(Spin::begin);
        while !self.0.is_empty() && !parked.is_woken() && wait.goes_on() {
            self.hear();
        }
        SPIN.with_borrow_mut(|spin| if parked.is_woken() { spin.hit() } else { spin.missed() });
    }

    /// Sleeps until they say something, or this thread is woken; for no longer than `limit`.
    fn sleep(&mut self, parked: &Parked, limit: Duration) {
        if !memory::can_sleep_on(self.0.len() + 1) {
            self.leave();
        }
        let places: Vec<Doze> = self.0.iter().map_while(|ear| ear.doze()).collect();
        if places.len() == self.0.len() {
            parked.sleep(&places, limit);
        } else {
            // Whoever is taking it in may need this core.
            yield_now();
        }
        self.0.iter().for_each(|ear| ear.rouse());
        self.hear();
    }

    fn hear(&mut self) {
        self.0.retain(|ear| {
            let goes_on = ear.hear();
            if !goes_on {
                ear.leave();
            }
            goes_on
        });
    }

    fn leave(&mut self) {
        self.0.drain(..).for_each(|ear| ear.leave());
    }

    /// Listens no more for now: this thread has something to do, and will most likely be back soon.
    fn keep(mut self) {
        let caller = NUMBER.with(|number| *number);
        KEPT.with_borrow_mut(|kept| kept.extend(self.0.iter().map(|ear| Arc::downgrade(ear))));
        // What is heard here may wake somebody who waits on this very thread.
        self.0.drain(..).for_each(|ear| ear.keep(caller));
    }
}

impl Drop for Attended<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_by_the_answer_or_by_the_check() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || sender.send(5));
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
