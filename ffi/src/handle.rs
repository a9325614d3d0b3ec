//! Handles: what the caller holds is not an address but a number that was never given before, for an object in a table of this process.
//!
//! So a handle that was freed, is of another kind, was made up, or came over a fork is found out, in every build and at every call. Nothing here
//! follows a pointer, and nothing here is unsafe. An object that is in use by one thread stays until that use ends, also where another frees it.
//!
//! A handle in Rust is owned by whoever holds it, and not given twice:
//!
//! ```compile_fail,E0599
//! # use transom_ffi::{error::Failure, handle::Handle};
//! let error = Handle::new(Failure::from(transom::Error::new(transom::Code::Internal, "")));
//! let twice = error.clone();
//! ```
//!
//! Once its number is the caller's, it is not this side's any more:
//!
//! ```compile_fail,E0382
//! # use transom_ffi::{error::Failure, handle::Handle};
//! let error = Handle::new(Failure::from(transom::Error::new(transom::Code::Internal, "")));
//! let number = error.into_raw();
//! let again = error.into_raw();
//! ```
//!
//! It does not wander to another thread: what may is the object behind it, and the caller's number.
//!
//! ```compile_fail,E0277
//! # use transom_ffi::{error::Failure, handle::Handle};
//! let error = Handle::new(Failure::from(transom::Error::new(transom::Code::Internal, "")));
//! std::thread::spawn(move || drop(error));
//! ```
//!
//! The number of one kind of object does not find another kind:
//!
//! ```compile_fail,E0308
//! # use transom_ffi::{error::Failure, function::Target, handle::{self, Handle}};
//! let error = Handle::new(Failure::from(transom::Error::new(transom::Code::Internal, "")));
//! let function = handle::get::<Target>(error.into_raw());
//! ```
//!
//! What cannot be used from any thread cannot be in the table:
//!
//! ```compile_fail,E0277
//! # use transom_ffi::{abi::transom_error_t, handle::Object};
//! struct Local(std::rc::Rc<u8>);
//! impl Object for Local {
//!     type Opaque = transom_error_t;
//!     const NOUN: &'static str = "something local";
//! }
//! ```
//!
//! And this is right:
//!
//! ```
//! use transom_ffi::{error::Failure, handle::{self, Handle}};
//! let error = Handle::new(Failure::from(transom::Error::new(transom::Code::Internal, "")));
//! let number = error.into_raw();
//! assert!(handle::get::<Failure>(number).is_ok());
//! drop(handle::take::<Failure>(number));
//! assert!(handle::get::<Failure>(number).is_err());
//! ```

use std::any::Any;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use transom::{Code, Error, Result};

/// What handles may stand for.
pub trait Object: Any + Send + Sync {
    /// The type that the header has for it.
    type Opaque;
    /// What it is, for errors: "a pool".
    const NOUN: &'static str;
}

/// The first number, and the distance to the next: handles look like addresses to languages that want them to, and no small number is one.
const FIRST: usize = 1 << 20;
const STEP: usize = 16;

static NEXT: AtomicUsize = AtomicUsize::new(FIRST);

/// The objects of one process.
struct Table {
    process: u32,
    /// The first number that was given in this process; those before it are of the process that it was forked from.
    first: usize,
    objects: RwLock<HashMap<usize, Arc<dyn Any + Send + Sync>>>,
    /// The table of a child: it must not wait for a lock that a thread of the parent held at the fork.
    child: OnceLock<Box<Table>>,
}

impl Table {
    fn new() -> Self {
        Self { process: std::process::id(), first: NEXT.load(Ordering::Relaxed), objects: RwLock::default(), child: OnceLock::new() }
    }

    fn current() -> &'static Self {
        static ROOT: OnceLock<Table> = OnceLock::new();
        let process = std::process::id();
        let mut table = ROOT.get_or_init(Self::new);
        while table.process != process {
            table = table.child.get_or_init(|| Box::new(Self::new()));
        }
        table
    }

    fn missing(&self, noun: &str, number: usize) -> Error {
        let given = (FIRST..NEXT.load(Ordering::Relaxed)).contains(&number) && number.is_multiple_of(STEP);
        if number == 0 {
            Error::new(Code::BadArgument, format!("{noun} is needed, not NULL"))
        } else if given && number < self.first {
            Error::new(Code::ForkedHandle, format!("{noun} that belongs to the process from which this one was forked"))
                .with_hint("make pools in the child, or use them in the parent only")
        } else if given {
            Error::new(Code::BadArgument, format!("{noun} is needed, and this handle was freed already"))
        } else {
            Error::new(Code::BadArgument, format!("{noun} is needed, and {number:#x} is no handle of this library"))
        }
    }
}

/// An object in the table, which leaves it when this is dropped.
#[must_use]
pub struct Handle<T: Object> {
    number: usize,
    object: PhantomData<*mut T>,
}

impl<T: Object> Handle<T> {
    /// Puts an object into the table.
    pub fn new(object: T) -> Self {
        let number = NEXT.fetch_add(STEP, Ordering::Relaxed);
        let mut objects = Table::current().objects.write().unwrap_or_else(PoisonError::into_inner);
        objects.insert(number, Arc::new(object));
        Self { number, object: PhantomData }
    }

    /// The number for the caller, who owns the object from now on.
    pub fn into_raw(self) -> *mut T::Opaque {
        std::mem::ManuallyDrop::new(self).as_raw()
    }

    /// The number, lent to the caller.
    pub fn as_raw(&self) -> *mut T::Opaque {
        std::ptr::without_provenance_mut(self.number)
    }
}

impl<T: Object> Drop for Handle<T> {
    fn drop(&mut self) {
        drop(take::<T>(self.as_raw()));
    }
}

/// The object of a handle.
///
/// # Errors
/// `BAD_ARGUMENT` where the handle stands for no object of this kind, or for none any more; `FORKED_HANDLE` where it is another process's.
pub fn get<T: Object>(handle: *const T::Opaque) -> Result<Arc<T>> {
    let table = Table::current();
    let found = table.objects.read().unwrap_or_else(PoisonError::into_inner).get(&handle.addr()).cloned();
    cast(found.ok_or_else(|| table.missing(T::NOUN, handle.addr()))?)
}

/// Takes the object of a handle out of the table: from now on the handle is none.
///
/// # Errors
/// As [`get`].
pub fn take<T: Object>(handle: *mut T::Opaque) -> Result<Arc<T>> {
    get::<T>(handle)?;
    let table = Table::current();
    let found = table.objects.write().unwrap_or_else(PoisonError::into_inner).remove(&handle.addr());
    // Of two threads that free the same handle one comes too late.
    cast(found.ok_or_else(|| table.missing(T::NOUN, handle.addr()))?)
}

fn cast<T: Object>(object: Arc<dyn Any + Send + Sync>) -> Result<Arc<T>> {
    object.downcast().map_err(|_| Error::new(Code::BadArgument, format!("{} is needed, and this handle is of another kind", T::NOUN)))
}
