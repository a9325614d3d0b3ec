//! libtransom: the C ABI, which is [`transom_ffi`], as the library that C programs link.
//!
//! A crate of its own, since a library that Rust programs use as well is not optimised together with what it is made of.

pub use transom_ffi::*;
