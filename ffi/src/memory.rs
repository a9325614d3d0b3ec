//! Memory for arguments, and batches that are put there.

use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use transom::memory::Block;

use crate::abi::{transom_error_t, transom_memory_t, transom_pool_t};
use crate::data::answered;
use crate::entry::{Place, entry, quietly};
use crate::handle::{self, Handle, Object};
use crate::pool::Host;

/// A piece of shared memory that its owner fills.
pub struct Memory(Mutex<Block>);

impl Object for Memory {
    type Opaque = transom_memory_t;
    const NOUN: &'static str = "memory";
}

/// Shared memory of `length` bytes for buffers of arguments, aligned to 64: an array whose buffers lie in it crosses without a copy. `data` is its first byte,
/// and its content is whatever was there before. Nothing may write to it while a call reads it. It belongs to the caller until
/// `transom_memory_free`, which is best called by the `release` of the array that lies in it; it may outlive the pool.
///
/// # Safety
/// `data` and `out` may be written; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_pool_allocate(
    pool: *const transom_pool_t,
    length: usize,
    data: *mut *mut c_void,
    out: *mut *mut transom_memory_t,
    error: *mut *mut transom_error_t,
) -> i32 {
    let run = || {
        // SAFETY: the caller's promises.
        let (data, out) = unsafe { (Place::new(data, "data")?, Place::new(out, "out")?) };
        let memory = Memory(Mutex::new(Host::pool(pool)?.allocate(length)?));
        data.put(memory.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut_slice().as_mut_ptr().cast());
        out.put(Handle::new(memory).into_raw());
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

/// Gives memory back. No array may lie in it any more. NULL, and memory that was given back before, do nothing. Any thread may do it.
#[unsafe(no_mangle)]
pub extern "C" fn transom_memory_free(memory: *mut transom_memory_t) {
    quietly((), || handle::take::<Memory>(memory).map(drop));
}

/// The same batch in shared memory: it is copied once, here, and calls with it copy nothing. What is moved and what is written is as for
/// `transom_pool_call`.
///
/// # Safety
/// As `transom_pool_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_pool_share(
    pool: *const transom_pool_t,
    array: *mut FFI_ArrowArray,
    schema: *const FFI_ArrowSchema,
    out_array: *mut FFI_ArrowArray,
    out_schema: *mut FFI_ArrowSchema,
    error: *mut *mut transom_error_t,
) -> i32 {
    let share = |batch| Host::pool(pool)?.share(&batch);
    // SAFETY: the caller's promises.
    unsafe { answered(array, schema, out_array, out_schema, error, share) }
}
