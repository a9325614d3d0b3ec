//! A host whose memory allocator is Transom's: what it builds crosses without a copy, and nothing else about its memory changes.

use std::alloc::System;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow_array::builder::{Int64Builder, StringBuilder};
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch};
use support::{checked, function, native, numbers, values};
use transom::{Direction, MapOptions, Pool, Reason, SharedAlloc};

const WORKER: &str = env!("CARGO_BIN_EXE_native-worker");
const MIB: usize = 1 << 20;
const LIMIT: usize = 128 * MIB;
/// As many rows as the program `transom` puts into a batch.
const ROWS: usize = 64 << 10;

#[global_allocator]
static ALLOCATOR: SharedAlloc = SharedAlloc::with(System, Some(LIMIT as u64));

/// The heap keeps a segment meanwhile, so that what a test leaves behind can be told from it.
fn with_heap(test: impl FnOnce() + Send + 'static) {
    let first = vec![1u8; 64 << 10];
    checked(test);
    assert!(first.iter().all(|&byte| byte == 1));
}

fn pool(workers: usize) -> Pool {
    native(WORKER, workers).build().unwrap()
}

fn one(column: impl Array + 'static) -> RecordBatch {
    RecordBatch::try_from_iter([("x", Arc::new(column) as ArrayRef)]).unwrap()
}

#[test]
fn what_the_host_builds_crosses_without_a_copy() {
    with_heap(|| {
        let (pool, other) = (pool(2), pool(1));
        let mut builder = Int64Builder::new();
        let mut texts = StringBuilder::new();
        for row in 0..ROWS as i64 {
            builder.append_value(row);
            texts.append_value(format!("row {row}"));
        }
        let (grown, text) = (one(builder.finish()), one(texts.finish()));
        for pool in [&pool, &other] {
            assert!(values(&pool.call_blocking(&function("plus_one"), grown.clone()).unwrap()).into_iter().eq(1..=ROWS as i64));
            assert_eq!(pool.call_blocking(&function("identity"), text.clone()).unwrap().column(0), text.column(0));
            assert_eq!(pool.call_blocking(&function("plus_one"), numbers(0, ROWS).slice(77, 1000)).unwrap().num_rows(), 1000);
            assert_eq!(pool.copies().copied(Direction::Input), 0);
        }
        // Function to function, and a stream: nothing of the arguments is copied, and what comes back as it was is copied nowhere.
        let again = pool.call_blocking(&function("identity"), grown.clone()).unwrap();
        let before = pool.copies().bytes_copied();
        for batch in pool.map_blocking(&function("identity"), (0..50).map(|_| Ok(numbers(7, ROWS))), MapOptions::default()).unwrap() {
            assert_eq!(values(&batch.unwrap())[ROWS - 1], 6 + ROWS as i64);
        }
        assert_eq!(values(&pool.call_arrays_blocking(&function("identity"), again.columns().to_vec()).unwrap()), values(&grown));
        assert_eq!(pool.copies().bytes_copied(), before);
    });
}

#[test]
fn small_buffers_are_copied_and_said() {
    with_heap(|| {
        let pool = pool(1);
        // A bit for each row: 8 KiB beside 512 KiB.
        let nulls: Int64Array = (0..ROWS as i64).map(|row| (row % 3 > 0).then_some(row)).collect();
        pool.call_blocking(&function("identity"), one(nulls)).unwrap();
        let copies = pool.copies();
        assert_eq!(copies.copied(Direction::Input), ROWS as u64 / 8);
        assert_eq!(copies.copied_because(Direction::Input, Reason::InputNotShared), ROWS as u64 / 8);
        // Given back as it was: the host wrote those bits itself, and need not copy them to believe them.
        assert_eq!(copies.copied(Direction::Result), 0);
    });
}

#[test]
fn a_lease_outlives_the_batch() {
    with_heap(|| {
        let pool = pool(1);
        for round in 0..4 {
            // The function keeps its argument: the block must not be handed out again while the worker can read it.
            let batch = numbers(round * 1000, ROWS);
            let address = batch.column(0).to_data().buffers()[0].as_ptr();
            pool.call_blocking(&function("keep"), batch).unwrap();
            assert_eq!(pool.leases().len(), usize::try_from(round).unwrap() + 1);
            assert_ne!(numbers(-1, ROWS).column(0).to_data().buffers()[0].as_ptr(), address);
        }
    });
}

#[test]
fn beyond_the_limit_the_systems_memory_is_used() {
    with_heap(|| {
        let pool = pool(1);
        let many: Vec<RecordBatch> = (0..3 * LIMIT / (8 * MIB)).map(|i| numbers(i as i64, MIB)).collect();
        assert!(SharedAlloc::bytes() <= LIMIT as u64);
        for (i, batch) in many.iter().enumerate() {
            assert_eq!(values(&pool.call_blocking(&function("plus_one"), batch.clone()).unwrap())[0], i as i64 + 1);
        }
        let copied = pool.copies().copied(Direction::Input);
        assert!(copied >= (2 * LIMIT) as u64 && copied < (3 * LIMIT) as u64, "{copied} bytes were copied");
        drop(many);
        // There is room again.
        let before = pool.copies().copied(Direction::Input);
        pool.call_blocking(&function("plus_one"), numbers(0, MIB)).unwrap();
        assert_eq!(pool.copies().copied(Direction::Input), before);
        // One that could never fit.
        let huge = vec![3u8; 2 * LIMIT];
        assert!(huge.iter().all(|&byte| byte == 3) && SharedAlloc::bytes() <= LIMIT as u64);
    });
}

/// A vector whose content tells its seed and length.
fn pattern(seed: usize, len: usize) -> Vec<u64> {
    (0..len as u64).map(|i| i.wrapping_mul(seed as u64 | 1)).collect()
}

fn assert_pattern(vec: &[u64], seed: usize, len: usize) {
    assert!(vec[..len].iter().enumerate().all(|(i, &value)| value == (i as u64).wrapping_mul(seed as u64 | 1)), "seed {seed}");
}

#[test]
fn blocks_are_apart_grow_and_shrink_under_many_threads() {
    with_heap(|| {
        // Gives idle memory back at its end, which comes last.
        let _last = pool(1);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for thread in 1..=4usize {
                let stop = &stop;
                scope.spawn(move || {
                    let mut random = thread;
                    let mut kept: Vec<(usize, usize, Vec<u64>)> = Vec::new();
                    for round in 0..400 {
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        let (seed, len) = (thread * 1000 + round, 1000 + (random >> 40) % 20_000);
                        let mut vec = pattern(seed, len);
                        // Over the size from which blocks are shared, and back under it.
                        vec.reserve((random >> 50) % 9000);
                        assert_pattern(&vec, seed, len);
                        let len = len - len / 2 * (round % 2) - len / 3 * (round % 3 / 2);
                        vec.truncate(len);
                        vec.shrink_to_fit();
                        assert_pattern(&vec, seed, len);
                        let zeros = vec![0u64; len];
                        assert!(zeros.iter().all(|&value| value == 0));
                        kept.push((seed, len, vec));
                        if kept.len() > 20 {
                            let (seed, len, vec) = kept.swap_remove(random % 20);
                            assert_pattern(&vec, seed, len);
                        }
                    }
                    kept.iter().for_each(|(seed, len, vec)| assert_pattern(vec, *seed, *len));
                    stop.store(true, Ordering::Relaxed);
                });
            }
            // Segments come and go meanwhile, in a pool's hands.
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let pool = pool(1);
                    pool.call_blocking(&function("plus_one"), numbers(0, MIB)).unwrap();
                }
            });
        });
    });
}

/// Runs `child` in a forked child and gives its exit status.
fn in_child(child: impl FnOnce() -> bool) -> i32 {
    // SAFETY: the child does what is here and leaves without running anything of the parent's. Of the parent's locks it takes only the allocator's,
    // which the system's own allocator hands over at a fork.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let right = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(false);
        // SAFETY: as above.
        unsafe { libc::_exit(i32::from(!right)) };
    }
    let mut status = -1;
    // SAFETY: `status` is a place for the answer, and the child is this test's own.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    status
}

#[test]
fn a_forked_child_writes_its_own_memory() {
    with_heap(|| {
        let pool = pool(1);
        let mut vec = pattern(5, 100_000);
        let before = SharedAlloc::bytes();
        let status = in_child(|| {
            assert_pattern(&vec, 5, 100_000);
            vec.fill(7);
            // New blocks, grown ones and freed ones are the child's own.
            vec.resize(200_000, 7);
            drop(pattern(9, 50_000));
            // A child of the child has what the child wrote.
            let inner = in_child(|| vec.iter().all(|&value| value == 7));
            inner == 0 && vec.iter().all(|&value| value == 7) && SharedAlloc::bytes() == before
        });
        assert_eq!(status, 0, "the child's exit status");
        assert_pattern(&vec, 5, 100_000);
        let result = pool.call_blocking(&function("plus_one"), numbers(0, ROWS)).unwrap();
        assert!(values(&result).into_iter().eq(1..=ROWS as i64));
    });
}

#[test]
fn a_program_is_started_with_arguments_that_are_large_blocks() {
    with_heap(|| {
        let (text, many) = ("x".repeat(100_000), vec!["y"; 40_000]);
        let mut command = Command::new("sh");
        command.arg("-c").arg("echo ${#0} $#").arg(&text).args(&many);
        // SAFETY: the closure does nothing. With one, the program is started by a fork and not by `posix_spawn`.
        unsafe { command.pre_exec(|| Ok(())) };
        let output = command.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "100000 40000");
    });
}

/// Segments of Transom's that a process has mapped.
fn mapped(pid: i64) -> usize {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    maps.lines().filter(|line| line.contains("memfd:transom")).map(|line| line.split(' ').next().map_or(0, size)).sum()
}

/// The bytes of a range of addresses.
fn size(range: &str) -> usize {
    let bound = |text: &str| usize::from_str_radix(text, 16).unwrap();
    range.split_once('-').map_or(0, |(from, to)| bound(to) - bound(from))
}

#[test]
fn memory_goes_back_to_the_system_once_it_has_been_idle() {
    with_heap(|| {
        let pool = pool(1);
        let pid = values(&pool.call_blocking(&function("pid"), numbers(0, 1)).unwrap())[0];
        let before = (SharedAlloc::bytes(), mapped(pid));
        let batch = numbers(0, 6 * MIB);
        pool.call_blocking(&function("identity"), batch).unwrap();
        assert!(SharedAlloc::bytes() >= before.0 + 48 * MIB as u64 && mapped(pid) >= before.1 + 48 * MIB, "the batch lies in a segment of its own");
        let begun = Instant::now();
        while SharedAlloc::bytes() > before.0 || mapped(pid) > before.1 {
            assert!(begun.elapsed() < Duration::from_secs(100), "{} bytes here, {} there; {before:?}", SharedAlloc::bytes(), mapped(pid));
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}
