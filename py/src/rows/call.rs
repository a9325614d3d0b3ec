//! Calls without tuples: CPython's vectorcall (PEP 590), over an array of arguments that is used again.
//!
//! It is public since Python 3.9 and in the stable ABI since 3.12. The functions are looked up when the first call is made, so that one module serves
//! all versions: `PyObject_Vectorcall` is a function since 3.11; before it, `PyObject_VectorcallDict` does the same where no keyword is given.

use std::ffi::CStr;
use std::ptr;

use pyo3::exceptions::PySystemError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// The callable, the arguments, how many, and no keywords.
type Vectorcall = unsafe extern "C" fn(*mut ffi::PyObject, *const *mut ffi::PyObject, usize, *mut ffi::PyObject) -> *mut ffi::PyObject;

/// Says that the callee may use the place before the first argument while it runs, as bound methods do for `self`.
const ARGUMENTS_OFFSET: usize = 1 << (usize::BITS - 1);

static VECTORCALL: PyOnceLock<Vectorcall> = PyOnceLock::new();

fn vectorcall(py: Python<'_>) -> PyResult<Vectorcall> {
    VECTORCALL.get_or_try_init(py, look_up).copied()
}

fn look_up() -> PyResult<Vectorcall> {
    let find = |name: &CStr| {
        // SAFETY: looking a name up among the libraries that are loaded has no precondition; the name ends with a null.
        unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }
    };
    let found = [c"PyObject_Vectorcall", c"PyObject_VectorcallDict"].into_iter().map(find).find(|address| !address.is_null());
    let found = found.ok_or_else(|| PySystemError::new_err("this interpreter has no vectorcall; CPython from 3.10 on has"))?;
    // SAFETY: both functions have this signature in every version of CPython that has them; their last parameter differs, and is null here always.
    Ok(unsafe { std::mem::transmute::<*mut libc::c_void, Vectorcall>(found) })
}

/// Calls with a few arguments.
pub(super) fn call<'py, const N: usize>(function: &Bound<'py, PyAny>, values: [Bound<'py, PyAny>; N]) -> PyResult<Bound<'py, PyAny>> {
    let py = function.py();
    let vectorcall = vectorcall(py)?;
    let pointers = values.each_ref().map(Bound::as_ptr);
    // SAFETY: the interpreter's lock is held (`py`); function and arguments are owned objects that outlive the call.
    let result = unsafe { vectorcall(function.as_ptr(), pointers.as_ptr(), N, ptr::null_mut()) };
    // SAFETY: a call gives a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, result) }
}

/// The arguments of one call after the other, in the same place.
pub(crate) struct Arguments<'py> {
    function: Bound<'py, PyAny>,
    vectorcall: Vectorcall,
    /// A place for the callee, and behind it owned references.
    room: Vec<*mut ffi::PyObject>,
}

impl<'py> Arguments<'py> {
    /// For calls of `function` with up to so many arguments.
    pub(crate) fn new(function: Bound<'py, PyAny>, most: usize) -> PyResult<Self> {
        let vectorcall = vectorcall(function.py())?;
        let mut room = Vec::with_capacity(most + 1);
        room.push(ptr::null_mut());
        Ok(Self { function, vectorcall, room })
    }

    /// One argument more for the next call.
    #[inline]
    pub(crate) fn push(&mut self, value: Bound<'py, PyAny>) {
        self.room.push(value.into_ptr());
    }

    /// Calls with what was pushed, and lets go of it.
    #[inline]
    pub(crate) fn call(&mut self) -> PyResult<Bound<'py, PyAny>> {
        let count = (self.room.len() - 1) | ARGUMENTS_OFFSET;
        // SAFETY: as in `call`; the place before the arguments is there, and nobody else reads it.
        let result = unsafe { (self.vectorcall)(self.function.as_ptr(), self.room.as_mut_ptr().add(1), count, ptr::null_mut()) };
        // SAFETY: as in `call`. The exception is taken first: what is let go of below may run code of its own.
        let outcome = unsafe { Bound::from_owned_ptr_or_err(self.function.py(), result) };
        self.clear();
        outcome
    }

    /// Lets go of what was pushed.
    #[inline]
    pub(crate) fn clear(&mut self) {
        for &value in &self.room[1..] {
            // SAFETY: each pointer behind the first was pushed as an owned reference, and leaves the room below; the interpreter's lock is held.
            unsafe { ffi::Py_DECREF(value) };
        }
        self.room.truncate(1);
    }
}

impl Drop for Arguments<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}
