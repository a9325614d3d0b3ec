//! Calls that nobody waits for: their outcome is told to a callback, or lies in a future with a descriptor to poll.

use std::ffi::{c_int, c_void};
use std::future::Future;
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use futures::FutureExt;
use futures::future::{AbortHandle, abortable};
use rustix::event::{EventfdFlags, eventfd};
use tokio::runtime::{Builder, Runtime};
use transom::{Code, Error, Result};

use crate::abi::{transom_error_t, transom_function_t, transom_future_t, transom_outcome_fn, transom_pool_t};
use crate::data::{Answer, moved_array, read_batch};
use crate::entry::{Place, bad, entry, quietly};
use crate::events::Outcome;
use crate::function::Target;
use crate::handle::{self, Handle, Object};
use crate::pool::Host;

/// The calls of a pool that run on threads of its own. The threads are there from the first such call on.
#[derive(Default)]
pub struct Calls {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    runtime: Option<Runtime>,
    under_way: usize,
    closed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Calls {
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let mut state = self.shared.state();
        if state.closed {
            return Err(Error::new(Code::PoolClosed, "the pool is closed"));
        }
        let runtime = match &mut state.runtime {
            Some(runtime) => runtime,
            none => none.insert(threads()?),
        };
        let runtime = runtime.handle().clone();
        state.under_way += 1;
        let over = Over(self.shared.clone());
        runtime.spawn(async move {
            work.await;
            drop(over);
        });
        Ok(())
    }

    /// Waits until every call has ended and was told, and lets the threads go.
    pub(crate) fn close(&self) {
        let mut state = self.shared.state();
        state.closed = true;
        while state.under_way > 0 {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let runtime = state.runtime.take();
        drop(state);
        drop(runtime);
    }
}

fn threads() -> Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(available_parallelism().map_or(1, usize::from))
        .thread_name("transom-calls")
        .build()
        .map_err(|error| Error::system(Code::System, "cannot start threads for calls", error))
}

/// One call less, whichever way it ended.
struct Over(Arc<Shared>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.state().under_way -= 1;
        self.0.changed.notify_all();
    }
}

/// Starts a call, whose outcome is given to `tell`. The handle cancels it.
///
/// # Safety
/// `schema` is NULL or filled by the rules of the Arrow C data interface, and `array` by it.
unsafe fn start(
    pool: *const transom_pool_t,
    function: *const transom_function_t,
    array: FFI_ArrowArray,
    schema: *const FFI_ArrowSchema,
    tell: impl FnOnce(Result<RecordBatch>) + Send + 'static,
) -> Result<AbortHandle> {
    // SAFETY: the caller's promise.
    let batch = unsafe { read_batch(array, schema) }?;
    let (host, function) = (handle::get::<Host>(pool)?, Target::function(function)?);
    let (pool, calls) = host.parts();
    let pool = pool.clone();
    let (call, abort) = abortable(async move { pool.call(&function, batch).await });
    calls.spawn(async move {
        let outcome = AssertUnwindSafe(call).catch_unwind().await;
        tell(match outcome {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::new(Code::Cancelled, "the call was cancelled")),
            Err(_) => Err(Error::new(Code::Internal, "panic in the library, while a call was under way")),
        });
    })?;
    Ok(abort)
}

/// Starts a call as `transom_pool_call` does, and returns at once. Where 0 is returned, `callback` is called once with the outcome, maybe before this
/// returns; otherwise it is not called. `user_data` is given to it.
///
/// # Safety
/// `array` and `schema` are filled by the rules of the Arrow C data interface; `callback` may be called with `user_data` from any thread; `error` is NULL or
/// may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_pool_call_then(
    pool: *const transom_pool_t,
    function: *const transom_function_t,
    array: *mut FFI_ArrowArray,
    schema: *const FFI_ArrowSchema,
    callback: transom_outcome_fn,
    user_data: *mut c_void,
    error: *mut *mut transom_error_t,
) -> i32 {
    let run = || {
        // SAFETY: the caller's promise.
        let array = unsafe { moved_array(array, "array") }?;
        let outcome = Outcome::new(callback, user_data)?;
        // SAFETY: the caller's promise.
        unsafe { start(pool, function, array, schema, move |result| outcome.tell(result)) }.map(drop)
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

/// A call, and where its outcome lies once it is there.
pub struct Pending {
    landing: Arc<Landing>,
    abort: AbortHandle,
}

struct Landing {
    outcome: Mutex<Outcomes>,
    changed: Condvar,
    /// Readable once the outcome is there; nobody reads it.
    ready: OwnedFd,
}

enum Outcomes {
    None,
    Here(Result<RecordBatch>),
    Taken,
}

impl Object for Pending {
    type Opaque = transom_future_t;
    const NOUN: &'static str = "a future";
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl Landing {
    fn new() -> Result<Self> {
        let ready = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| Error::system(Code::DescriptorLimit, "cannot make a descriptor to poll", error))?;
        Ok(Self { outcome: Mutex::new(Outcomes::None), changed: Condvar::new(), ready })
    }

    fn outcome(&self) -> MutexGuard<'_, Outcomes> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn land(&self, result: Result<RecordBatch>) {
        *self.outcome() = Outcomes::Here(result);
        self.changed.notify_all();
        // A counter of 0 has room for 1.
        _ = rustix::io::write(&self.ready, &1u64.to_ne_bytes());
    }

    /// Waits until the outcome is there, or until `until`.
    fn wait(&self, until: Option<Instant>) -> MutexGuard<'_, Outcomes> {
        let mut outcome = self.outcome();
        while matches!(*outcome, Outcomes::None) {
            outcome = match until {
                None => self.changed.wait(outcome).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    self.changed.wait_timeout(outcome, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        outcome
    }
}

/// Starts a call as `transom_pool_call` does, and returns at once. The future is to be freed with `transom_future_free`.
///
/// # Safety
/// `array` and `schema` are filled by the rules of the Arrow C data interface; `out` may be written; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_pool_call_start(
    pool: *const transom_pool_t,
    function: *const transom_function_t,
    array: *mut FFI_ArrowArray,
    schema: *const FFI_ArrowSchema,
    out: *mut *mut transom_future_t,
    error: *mut *mut transom_error_t,
) -> i32 {
    let run = || {
        // SAFETY: the caller's promise.
        let (array, out) = unsafe { (moved_array(array, "array")?, Place::new(out, "out")?) };
        let landing = Landing::new().map(Arc::new)?;
        let there = landing.clone();
        // SAFETY: the caller's promise.
        let abort = unsafe { start(pool, function, array, schema, move |result| there.land(result)) }?;
        let pending = Pending { landing, abort };
        out.put(Handle::new(pending).into_raw());
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

/// A descriptor that becomes readable when the outcome is there, for poll, epoll and event loops. It is borrowed: it must be neither read nor closed,
/// and is closed when the future is freed. -1 for what is not a future.
#[unsafe(no_mangle)]
pub extern "C" fn transom_future_descriptor(future: *const transom_future_t) -> c_int {
    quietly(-1, || Ok(handle::get::<Pending>(future)?.landing.ready.as_raw_fd()))
}

/// Waits until the outcome is there, for `timeout_ms` milliseconds at most: 0 only asks, -1 waits for ever. `ready` says whether it is there.
///
/// # Safety
/// `ready` may be written; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_future_wait(
    future: *const transom_future_t,
    timeout_ms: i64,
    ready: *mut bool,
    error: *mut *mut transom_error_t,
) -> i32 {
    let run = || {
        // SAFETY: the caller's promise.
        let ready = unsafe { Place::new(ready, "ready") }?;
        let pending = handle::get::<Pending>(future)?;
        // A time that no clock reaches is for ever.
        let until = u64::try_from(timeout_ms).ok().and_then(|timeout| Instant::now().checked_add(Duration::from_millis(timeout)));
        ready.put(!matches!(*pending.landing.wait(until), Outcomes::None));
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

/// Takes the outcome, and waits for it where it is not there yet: the result of the call, or its error. It can be taken once.
///
/// # Safety
/// `out_array` may be written; `out_schema` and `error` are NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_future_take(
    future: *const transom_future_t,
    out_array: *mut FFI_ArrowArray,
    out_schema: *mut FFI_ArrowSchema,
    error: *mut *mut transom_error_t,
) -> i32 {
    let run = || {
        // SAFETY: the caller's promises.
        let answer = unsafe { Answer::new(out_array, out_schema) }?;
        let pending = handle::get::<Pending>(future)?;
        let outcome = std::mem::replace(&mut *pending.landing.wait(None), Outcomes::Taken);
        match outcome {
            Outcomes::Here(result) => answer.put(&result?),
            Outcomes::None | Outcomes::Taken => Err(bad("the outcome of this call was taken already")),
        }
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

/// Cancels a call that is under way: its outcome is `CANCELLED`, and comes soon. The worker may still work on it. Does nothing to a call that has ended.
///
/// # Safety
/// `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_future_cancel(future: *const transom_future_t, error: *mut *mut transom_error_t) -> i32 {
    let run = || {
        handle::get::<Pending>(future)?.abort.abort();
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

/// Frees a future and its descriptor; a call that is under way is cancelled. NULL, and a future that was freed before, do nothing.
#[unsafe(no_mangle)]
pub extern "C" fn transom_future_free(future: *mut transom_future_t) {
    quietly((), || handle::take::<Pending>(future).map(drop));
}
