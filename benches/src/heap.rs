//! What a block of the shared heap costs beside one of the system's, and beside the copy that it saves: from which size on it is worth it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::hint::black_box;
use std::io::{Write, stdout};
use std::time::Instant;

use serde::Serialize;
use transom::SharedAlloc;

use crate::statistics::median;

static SHARED: SharedAlloc = SharedAlloc::new();
const ROUNDS: usize = 15;
const BLOCKS: usize = 200;

/// Nanoseconds for a block of one size, the middle of several rounds; each block is written from end to end where it says so.
#[derive(Serialize)]
struct Cost {
    bytes: usize,
    shared: f64,
    system: f64,
    shared_written: f64,
    system_written: f64,
    /// Copying so many bytes between blocks that are warm.
    copy: f64,
}

/// Measures, and prints one line of JSON for each size.
pub(crate) fn print() -> Result<(), Box<dyn Error>> {
    for bytes in [32 << 10, 64 << 10, 256 << 10, 512 << 10, 4 << 20] {
        let (source, mut target) = (vec![1u8; bytes], vec![0u8; bytes]);
        let cost = Cost {
            bytes,
            shared: time(|| block(&SHARED, bytes, false)),
            system: time(|| block(&System, bytes, false)),
            shared_written: time(|| block(&SHARED, bytes, true)),
            system_written: time(|| block(&System, bytes, true)),
            copy: time(|| black_box(&mut target).copy_from_slice(black_box(&source))),
        };
        writeln!(stdout(), "{}", serde_json::to_string(&cost)?)?;
    }
    Ok(())
}

fn block(allocator: &impl GlobalAlloc, bytes: usize, written: bool) {
    let layout = Layout::from_size_align(bytes, 64).expect("64 is a power of two");
    // SAFETY: the layout is not empty; the block is written within its size where there is one, and given back once, to where it came from.
    unsafe {
        let block = allocator.alloc(layout);
        if !block.is_null() {
            if written {
                block.write_bytes(1, bytes);
            }
            allocator.dealloc(black_box(block), layout);
        }
    }
}

fn time(mut action: impl FnMut()) -> f64 {
    let round = |_| {
        let start = Instant::now();
        (0..BLOCKS).for_each(|_| action());
        start.elapsed().as_nanos() as f64 / BLOCKS as f64
    };
    median((0..ROUNDS).map(round).collect())
}
