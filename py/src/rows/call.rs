//! Calls without tuples: CPython's vectorcall (PEP 590), over arrays of arguments that are used again.
//!
//! It is public since Python 3.9 and in the stable ABI since 3.12. The functions are looked up when the first call is made, so that one module serves
//! all versions: `PyObject_Vectorcall` is a function since 3.11; before it, `PyObject_VectorcallDict` does the same where no keyword is given.

use std::ffi::CStr;
use std::iter::{Skip, StepBy};
use std::{ptr, slice};

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

/// Where the values of a column go.
pub(super) type Places<'a, 'py> = StepBy<Skip<slice::IterMut<'a, Option<Bound<'py, PyAny>>>>>;

/// The arguments of some calls, each call's in a row. One behind the other the calls are made, and let go of what they were given.
pub(crate) struct Arguments<'py> {
    function: Bound<'py, PyAny>,
    vectorcall: Vectorcall,
    /// Of one call.
    count: usize,
    /// For each call a place for the callee, and behind it the arguments.
    places: Vec<Option<Bound<'py, PyAny>>>,
}

// What the interpreter is given as an array of pointers.
const _: () = assert!(size_of::<Option<Bound<'_, PyAny>>>() == size_of::<*mut ffi::PyObject>());

impl<'py> Arguments<'py> {
    /// For calls of `function` with `count` arguments, `calls` at a time.
    pub(crate) fn new(function: Bound<'py, PyAny>, count: usize, calls: usize) -> PyResult<Self> {
        let vectorcall = vectorcall(function.py())?;
        let mut places = Vec::new();
        places.resize_with((count + 1) * calls, || None);
        Ok(Self { function, vectorcall, count, places })
    }

    /// Puts one argument of one call into its place.
    #[inline]
    pub(crate) fn put(&mut self, call: usize, number: usize, value: Bound<'py, PyAny>) {
        self.places[call * (self.count + 1) + 1 + number] = Some(value);
    }

    /// The places for the argument of this number, one for each call.
    pub(super) fn column(&mut self, number: usize) -> Places<'_, 'py> {
        self.places.iter_mut().skip(1 + number).step_by(self.count + 1)
    }

    /// Makes this call, whose arguments are all in their places, and lets go of them.
    #[inline]
    pub(crate) fn call(&mut self, number: usize) -> PyResult<Bound<'py, PyAny>> {
        let places = &mut self.places[number * (self.count + 1)..][..=self.count];
        assert!(places[1..].iter().all(Option::is_some), "an argument was never put");
        let arguments = places.as_mut_ptr().cast::<*mut ffi::PyObject>();
        // SAFETY: as in `call`. An option of an object is a pointer that may be null (`Bound` is transparent, over a pointer that is not), and the slice has a
        // place before `count` of them, which nobody else reads.
        let result = unsafe { (self.vectorcall)(self.function.as_ptr(), arguments.add(1), self.count | ARGUMENTS_OFFSET, ptr::null_mut()) };
        // SAFETY: as in `call`. The exception is taken first: what is let go of below may run code of its own.
        let outcome = unsafe { Bound::from_owned_ptr_or_err(self.function.py(), result) };
        for place in &mut places[1..] {
            *place = None;
        }
        outcome
    }
}
