//! Calls that nobody waits for: futures that are polled on the Java thread that begins them, and then on the one that asks which have finished.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use arrow_array::RecordBatch;
use futures::future::BoxFuture;
use transom::Result;

type Outcome = Result<RecordBatch>;

/// The calls of one pool that are under way.
#[derive(Default)]
pub(crate) struct Calls {
    books: Mutex<Books>,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Books {
    running: HashMap<i64, Arc<Mutex<Option<BoxFuture<'static, Outcome>>>>>,
    finished: HashMap<i64, Outcome>,
}

/// The calls that want to be polled.
#[derive(Default)]
struct Woken {
    queue: Mutex<Queue>,
    told: Condvar,
}

#[derive(Default)]
struct Queue {
    calls: VecDeque<i64>,
    closed: bool,
}

impl Woken {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct WakeCall {
    woken: Arc<Woken>,
    call: i64,
}

impl Wake for WakeCall {
    fn wake(self: Arc<Self>) {
        self.woken.queue().calls.push_back(self.call);
        self.woken.told.notify_one();
    }
}

impl Calls {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call: it goes as far as it can here and now, so that a batch is on its way, or copied, when its caller goes on.
    pub(crate) fn begin(&self, call: i64, future: BoxFuture<'static, Outcome>) {
        self.books().running.insert(call, Arc::new(Mutex::new(Some(future))));
        if self.poll(call) {
            Arc::new(WakeCall { woken: self.woken.clone(), call }).wake();
        }
    }

    /// Polls a call, and says whether it has finished now.
    fn poll(&self, call: i64) -> bool {
        let Some(running) = self.books().running.get(&call).cloned() else { return false };
        // Two threads may poll at the same time: the one that begins the call, and the one that it is to be finished on.
        let mut future = running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pinned) = future.as_mut() else { return false };
        let waker = Waker::from(Arc::new(WakeCall { woken: self.woken.clone(), call }));
        let Poll::Ready(outcome) = pinned.as_mut().poll(&mut Context::from_waker(&waker)) else { return false };
        *future = None;
        drop(future);
        let mut books = self.books();
        if books.running.remove(&call).is_some() {
            books.finished.insert(call, outcome);
        }
        true
    }

    /// Waits for a call to finish. `None` when the calls are closed and none is under way.
    pub(crate) fn finished(&self) -> Option<i64> {
        loop {
            let call = self.next_woken()?;
            if self.poll(call) || self.books().finished.contains_key(&call) {
                return Some(call);
            }
        }
    }

    fn next_woken(&self) -> Option<i64> {
        let mut queue = self.woken.queue();
        loop {
            if let Some(call) = queue.calls.pop_front() {
                return Some(call);
            }
            if queue.closed && self.books().running.is_empty() {
                return None;
            }
            queue = self.woken.told.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How a call ended. `None` where it was cancelled.
    pub(crate) fn take(&self, call: i64) -> Option<Outcome> {
        self.books().finished.remove(&call)
    }

    /// Gives a call up.
    pub(crate) fn cancel(&self, call: i64) {
        let mut books = self.books();
        let dropped = (books.running.remove(&call), books.finished.remove(&call));
        drop(books);
        if let Some(running) = &dropped.0 {
            // Taken out, since the thread that polls it may hold it too.
            let future = running.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(future);
        }
        self.woken.told.notify_all();
    }

    /// No more calls will begin. Who asks for finished ones is told when the last has ended.
    pub(crate) fn close(&self) {
        self.woken.queue().closed = true;
        self.woken.told.notify_all();
    }
}
