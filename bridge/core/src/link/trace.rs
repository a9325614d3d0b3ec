//! What a worker's language is asked about leases that its functions keep.

use std::ops::Range;

/// An argument that a function has answered and keeps.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its lease.
    pub lease: u64,
    /// Where its buffers lie in this process, as addresses.
    pub memory: Vec<Range<usize>>,
}

/// Finds what keeps arguments: for each lease for which it is known, a few words with the line, such as `udfs.py:12 in keep: global `CACHE``. Called on
/// whatever thread waits for messages, without any lock.
pub type Tracer = Box<dyn Fn(Vec<Kept>) -> Vec<(u64, String)> + Send + Sync>;
