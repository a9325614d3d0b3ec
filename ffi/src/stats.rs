//! What a pool has done: sums, and the copy ledger.

use std::ffi::{CStr, c_char};
use std::ptr::null;
use std::time::Duration;

use transom::{CopyReport, Direction, Reason, Result, WorkerStats};

use crate::abi::{
    TRANSOM_DIRECTION_INPUT, TRANSOM_DIRECTION_RESULT, TRANSOM_WORKER_BUSY, TRANSOM_WORKER_GONE, TRANSOM_WORKER_IDLE, TRANSOM_WORKER_STARTING,
    transom_copies_t, transom_error_t, transom_pool_t, transom_stats_t, transom_worker_stats_t,
};
use crate::entry::{Place, bad, entry, sized_place};
use crate::options::language_bit;
use crate::pool::Host;

/// Fills `out`, whose `size` the caller has set.
///
/// # Safety
/// `out` may be written as far as its size says; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_pool_stats(pool: *const transom_pool_t, out: *mut transom_stats_t, error: *mut *mut transom_error_t) -> i32 {
    let run = || {
        // SAFETY: the caller's promise.
        let out = unsafe { sized_place(out, "out") }?;
        let stats = Host::pool(pool)?.stats();
        out.put(transom_stats_t {
            size: size_of::<transom_stats_t>(),
            workers: stats.workers.len(),
            memory_used: stats.memory_used,
            memory_limit: stats.memory_limit,
        });
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

/// Fills `out`, whose `size` the caller has set, with what one worker has done; workers are counted from 0.
///
/// # Safety
/// `out` may be written as far as its size says; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_pool_worker_stats(
    pool: *const transom_pool_t,
    worker: usize,
    out: *mut transom_worker_stats_t,
    error: *mut *mut transom_error_t,
) -> i32 {
    let run = || {
        // SAFETY: the caller's promise.
        let out = unsafe { sized_place(out, "out") }?;
        let workers = Host::pool(pool)?.stats().workers;
        out.put(worker_stats(workers.get(worker).ok_or_else(|| bad(format!("there is no worker {worker}, but {}", workers.len())))?));
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

fn worker_stats(worker: &WorkerStats) -> transom_worker_stats_t {
    transom_worker_stats_t {
        size: size_of::<transom_worker_stats_t>(),
        pid: worker.pid.unwrap_or_default(),
        state: match worker.state {
            "starting" => TRANSOM_WORKER_STARTING,
            "idle" => TRANSOM_WORKER_IDLE,
            "busy" => TRANSOM_WORKER_BUSY,
            _ => TRANSOM_WORKER_GONE,
        },
        language: language_bit(worker.language),
        batches: worker.batches,
        rows: worker.rows,
        failures: worker.failures,
        restarts: worker.restarts,
        busy_nanoseconds: nanoseconds(worker.busy),
        leases: worker.leases as u64,
    }
}

/// A time for C.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Fills `out`, whose `size` the caller has set, with the sums of the copy ledger.
///
/// # Safety
/// `out` may be written as far as its size says; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_pool_copies(pool: *const transom_pool_t, out: *mut transom_copies_t, error: *mut *mut transom_error_t) -> i32 {
    let run = || {
        // SAFETY: the caller's promise.
        let out = unsafe { sized_place(out, "out") }?;
        let report = Host::pool(pool)?.copies();
        out.put(transom_copies_t {
            size: size_of::<transom_copies_t>(),
            input_shared: report.shared(Direction::Input),
            input_copied: report.copied(Direction::Input),
            result_shared: report.shared(Direction::Result),
            result_copied: report.copied(Direction::Result),
        });
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

/// How many bytes were copied in one direction, a `TRANSOM_DIRECTION_*`, for one reason. Reasons are counted from 0; `transom_copy_reason` names them.
///
/// # Safety
/// `bytes` may be written; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_pool_copied(
    pool: *const transom_pool_t,
    direction: i32,
    reason: u32,
    bytes: *mut u64,
    error: *mut *mut transom_error_t,
) -> i32 {
    let run = || {
        // SAFETY: the caller's promise.
        let bytes = unsafe { Place::new(bytes, "bytes") }?;
        bytes.put(copied(&Host::pool(pool)?.copies(), direction, reason)?);
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

fn copied(report: &CopyReport, direction: i32, reason: u32) -> Result<u64> {
    let direction = match direction {
        TRANSOM_DIRECTION_INPUT => Direction::Input,
        TRANSOM_DIRECTION_RESULT => Direction::Result,
        other => return Err(bad(format!("there is no direction {other}"))),
    };
    let known = u8::try_from(reason).ok().and_then(Reason::from_number);
    Ok(report.copied_because(direction, known.ok_or_else(|| bad(format!("there is no reason {reason}")))?))
}

/// A reason for copying in words, borrowed for ever; NULL where there is none with this number, as behind the last.
#[unsafe(no_mangle)]
pub extern "C" fn transom_copy_reason(reason: u32) -> *const c_char {
    let text: Option<&CStr> = match u8::try_from(reason).ok().and_then(Reason::from_number) {
        Some(Reason::InputNotShared) => Some(c"input was not in shared memory"),
        Some(Reason::ResultNotShared) => Some(c"result was not in shared memory"),
        Some(Reason::Rewritten) => Some(c"slice was only partly in shared memory"),
        Some(Reason::StructureChecked) => Some(c"structure copied before it was checked"),
        Some(Reason::StrictMode) => Some(c"strict mode"),
        Some(Reason::Aligned) => Some(c"aligned"),
        Some(Reason::Unsliced) => Some(c"reader knows no slices"),
        Some(Reason::StillHeld) => Some(c"result was still held by its function"),
        _ => None,
    };
    text.map_or(null(), CStr::as_ptr)
}
