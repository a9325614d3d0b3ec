//! A Rust host and a native worker: `benches/native.py` compares it with `benches/native/host.c`, which does the same by the C ABI.

use std::error::Error;
use std::hint::black_box;
use std::io::{Write, stdout};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use serde_json::json;
use transom::{Function, Language, MapOptions, Pool};

use crate::checksum;

const WARM_UP_CALLS: usize = 200;
const CALLS: usize = 4000;
const ROWS: i64 = 64 << 10;
/// Different batches that a stream goes through in turn, 40 MB of them: they do not lie in a cache.
const DIFFERENT: i64 = 80;
const BATCHES: usize = 320;

/// Measures `plus_one` of a library, and prints one line of JSON.
pub(crate) fn print(library: &Path, worker: &Path) -> Result<(), Box<dyn Error>> {
    let pool = Pool::builder().workers(1).native_worker(worker).prestart([Language::Native]).build()?;
    let function = Function::native(library, "plus_one")?;
    let one = batch(0, 1)?;
    let mut nanoseconds = Vec::with_capacity(CALLS);
    for call in 0..WARM_UP_CALLS + CALLS {
        let start = Instant::now();
        let result = pool.call_blocking(&function, one.clone())?;
        black_box(checksum::batch(&result));
        if call >= WARM_UP_CALLS {
            nanoseconds.push(start.elapsed().as_nanos() as u64);
        }
    }
    let batches = (0..DIFFERENT).map(|number| batch(number, ROWS)).collect::<Result<Vec<_>, _>>()?;
    // The first round makes the segments.
    stream(&pool, &function, &batches, batches.len())?;
    let seconds = stream(&pool, &function, &batches, BATCHES)?;
    pool.close();
    nanoseconds.sort_unstable();
    let (p50, p99) = (nanoseconds[CALLS / 2], nanoseconds[CALLS * 99 / 100]);
    writeln!(stdout(), "{}", json!({ "p50": p50, "p99": p99, "rows_per_second": (ROWS as f64) * (BATCHES as f64) / seconds }))?;
    Ok(())
}

fn batch(number: i64, rows: i64) -> Result<RecordBatch, Box<dyn Error>> {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|row| number * rows + row)));
    Ok(RecordBatch::try_from_iter([("x", column)])?)
}

/// How long a stream takes, until every byte of its results was read.
fn stream(pool: &Pool, function: &Function, batches: &[RecordBatch], count: usize) -> Result<f64, Box<dyn Error>> {
    let source: Vec<RecordBatch> = batches.iter().cycle().take(count).cloned().collect();
    let start = Instant::now();
    for result in pool.map_blocking(function, source.into_iter().map(Ok), MapOptions::default())? {
        black_box(checksum::batch(&result?));
    }
    Ok(start.elapsed().as_secs_f64())
}
