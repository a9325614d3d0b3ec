//! The native library of the Java package `io.transom`: the JVM as a host of functions, and as a worker.
//!
//! One file for each Java class that has natives. Batches cross in [`codec`], as numbers that say where their buffers lie; nothing of a
//! column goes through JNI. What Java holds of Rust are handles, looked up in tables ([`handles`]), never addresses of Rust's own structures:
//! a handle that was closed is an error, not a crash.
//!
//! No thread of Rust's ever enters Java, so none has to be attached: Java asks, on its own threads, and gets an answer. What Rust wants to tell
//! of its own accord, such as that a buffer of Java's is no longer read, lies ready until Java asks next.
#![expect(unreachable_pub, reason = "natives are exported by name, and the attribute that names them wants them public")]

mod batches;
mod calls;
mod codec;
mod failure;
mod function;
mod handles;
mod layout;
mod memory;
mod normal;
mod options;
mod pool;
mod types;
mod wait;
mod worker;
