//! Callbacks of the caller's: what happens in a pool, and the outcomes of calls. Each is called by a thread of the library's.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use arrow_array::RecordBatch;
use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::oneshot;
use transom::pool::wait;
use transom::{Code, Error, Event, Pool, Result};

use crate::abi::{
    TRANSOM_EVENT_BATCH_DONE, TRANSOM_EVENT_BATCH_FAILED, TRANSOM_EVENT_MISSED, TRANSOM_EVENT_PRINTED, TRANSOM_EVENT_WORKER_ENDED,
    TRANSOM_EVENT_WORKER_READY, TRANSOM_EVENT_WORKER_STARTED, transom_event_fn, transom_event_t, transom_outcome_fn,
};
use crate::data::{export_batch, export_schema};
use crate::entry::bad;
use crate::error::Failure;
use crate::handle::Handle;
use crate::stats::nanoseconds;

thread_local! {
    static IN_A_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// # Errors
/// `BAD_ARGUMENT` on a thread that is in a callback: what waits for callbacks must not be called there.
pub(crate) fn not_in_a_callback() -> Result<()> {
    if IN_A_CALLBACK.get() { Err(bad("a pool cannot be closed in a callback: closing waits until callbacks have returned")) } else { Ok(()) }
}

fn in_a_callback(run: impl FnOnce()) {
    let before = IN_A_CALLBACK.replace(true);
    run();
    IN_A_CALLBACK.set(before);
}

/// What the caller wants to be given back in each callback.
#[derive(Clone, Copy)]
struct UserData(*mut c_void);

// SAFETY: it is never followed here, and the header says that callbacks are called with it on threads of the library's.
unsafe impl Send for UserData {}

impl UserData {
    // A method, so that closures take the whole of it.
    fn get(self) -> *mut c_void {
        self.0
    }
}

/// Who is told of events.
#[derive(Clone, Copy)]
pub(crate) struct Listener {
    callback: unsafe extern "C" fn(*mut c_void, *const transom_event_t),
    user_data: UserData,
}

impl Listener {
    pub(crate) fn new(callback: transom_event_fn, user_data: *mut c_void) -> Option<Self> {
        callback.map(|callback| Self { callback, user_data: UserData(user_data) })
    }

    fn tell(&self, event: &Event) {
        let mut told = transom_event_t {
            size: size_of::<transom_event_t>(),
            kind: 0,
            pid: 0,
            worker: 0,
            rows: 0,
            busy_nanoseconds: 0,
            text: null(),
            text_length: 0,
            error: null(),
        };
        let mut failure = None;
        (told.kind, told.worker) = match event {
            Event::WorkerStarted { worker, pid } => {
                told.pid = *pid;
                (TRANSOM_EVENT_WORKER_STARTED, *worker)
            }
            Event::WorkerReady { worker } => (TRANSOM_EVENT_WORKER_READY, *worker),
            Event::WorkerEnded { worker, reason } => {
                failure = Some(reason);
                (TRANSOM_EVENT_WORKER_ENDED, *worker)
            }
            Event::Printed { worker, text } => {
                (told.text, told.text_length) = (text.as_ptr().cast(), text.len());
                (TRANSOM_EVENT_PRINTED, *worker)
            }
            Event::BatchDone { worker, rows, busy } => {
                (told.rows, told.busy_nanoseconds) = (*rows, nanoseconds(*busy));
                (TRANSOM_EVENT_BATCH_DONE, *worker)
            }
            Event::BatchFailed { worker, reason } => {
                failure = Some(reason);
                (TRANSOM_EVENT_BATCH_FAILED, *worker)
            }
            // An event that this version of the ABI has no number for.
            _ => return,
        };
        // Lent for as long as the callback runs.
        let failure = failure.map(|reason| Handle::new(Failure::from(reason.clone())));
        told.error = failure.as_ref().map_or(null(), |failure| failure.as_raw().cast_const());
        self.call(&told);
    }

    fn missed(&self, events: u64) {
        self.call(&transom_event_t {
            size: size_of::<transom_event_t>(),
            kind: TRANSOM_EVENT_MISSED,
            pid: 0,
            worker: 0,
            rows: events,
            busy_nanoseconds: 0,
            text: null(),
            text_length: 0,
            error: null(),
        });
    }

    fn call(&self, event: &transom_event_t) {
        // SAFETY: the caller of `transom_options_set_events` promised that it may be called so until the pool is closed; `event` lives that long.
        in_a_callback(|| unsafe { (self.callback)(self.user_data.get(), event) });
    }
}

/// A thread that tells a listener what happens in a pool.
pub(crate) struct Events {
    running: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Events {
    /// Begins to listen.
    ///
    /// # Errors
    /// `SYSTEM` where there is no thread to be had.
    pub(crate) fn start(pool: &Pool, listener: Listener) -> Result<Self> {
        let mut events = pool.events();
        let (end, mut ended) = oneshot::channel();
        let run = move || {
            loop {
                // Events that are there come before the end.
                let next = async {
                    tokio::select! {
                        biased;
                        event = events.recv() => Some(event),
                        _ = &mut ended => None,
                    }
                };
                match wait(next) {
                    Some(Ok(event)) => listener.tell(&event),
                    Some(Err(RecvError::Lagged(events))) => listener.missed(events),
                    Some(Err(RecvError::Closed)) | None => return,
                }
            }
        };
        let thread = std::thread::Builder::new().name("transom-events".to_owned()).spawn(run);
        let thread = thread.map_err(|error| Error::system(Code::System, "cannot start a thread", error))?;
        Ok(Self { running: Mutex::new(Some((end, thread))) })
    }

    /// Waits until all that happened was told.
    pub(crate) fn close(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((end, thread)) = running {
            _ = end.send(());
            _ = thread.join();
        }
    }
}

/// Who is given the outcome of a call.
pub(crate) struct Outcome {
    callback: unsafe extern "C" fn(*mut c_void, i32, *mut FFI_ArrowArray, *mut FFI_ArrowSchema, *mut crate::abi::transom_error_t),
    user_data: UserData,
}

impl Outcome {
    /// # Errors
    /// `BAD_ARGUMENT` where there is no callback.
    pub(crate) fn new(callback: transom_outcome_fn, user_data: *mut c_void) -> Result<Self> {
        let callback = callback.ok_or_else(|| bad("`callback` is NULL"))?;
        Ok(Self { callback, user_data: UserData(user_data) })
    }

    pub(crate) fn tell(self, result: Result<RecordBatch>) {
        let exported = result.and_then(|batch| Ok((export_schema(batch.schema_ref())?, export_batch(&batch))));
        // What the callback leaves is released when these are dropped.
        let (mut schema, mut array) = (FFI_ArrowSchema::empty(), FFI_ArrowArray::empty());
        let (code, error) = match exported {
            Ok(filled) => {
                (schema, array) = filled;
                (0, null_mut())
            }
            Err(error) => (i32::from(error.code().number()), Handle::new(Failure::from(error)).into_raw()),
        };
        // SAFETY: the caller of `transom_pool_call_then` promised that it may be called so, once; the structs live until it returns.
        in_a_callback(|| unsafe { (self.callback)(self.user_data.get(), code, &raw mut array, &raw mut schema, error) });
    }
}
