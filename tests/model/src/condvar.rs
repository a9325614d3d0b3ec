//! A condition variable over loom's parking. loom's own is of no use from three preemptions on: a thread that goes on by a word meant for an earlier
//! wait stays in its list, and is woken from it while it waits for a lock (tokio-rs/loom#422).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use loom::sync::{Mutex, MutexGuard};
use loom::thread::{self, Thread};

/// One wait; it ends when it was told, whatever else wakes the thread.
struct Wait {
    thread: Thread,
    told: AtomicBool,
}

/// What a wait is entered in under the lock, so that loom need not know of the list: who changes what is waited for has the lock before it tells.
#[derive(Default)]
pub struct Condvar {
    waits: std::sync::Mutex<Vec<Arc<Wait>>>,
}

impl Condvar {
    /// Lets go of the lock until there is word.
    pub fn wait<'a, T>(&self, lock: &'a Mutex<T>, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let wait = Arc::new(Wait { thread: thread::current(), told: AtomicBool::new(false) });
        self.waits().push(wait.clone());
        drop(guard);
        while !wait.told.load(Ordering::Relaxed) {
            thread::park();
        }
        lock.lock().expect("the model does not go on behind a panic")
    }

    pub fn notify_all(&self) {
        let waits = std::mem::take(&mut *self.waits());
        for wait in waits {
            wait.told.store(true, Ordering::Relaxed);
            wait.thread.unpark();
        }
    }

    /// Held for no longer than a statement: loom's threads are one of the system's.
    fn waits(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Wait>>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
