//! Transom from a Rust host, as one of the driver's contestants: the same requests and answers as in
//! `benches/contestants/base.py`, a line of JSON each.

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::io::{BufReader, BufWriter, Write, stdin, stdout};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, RecordBatch, make_array};
use arrow_data::transform::MutableArrayData;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::ArrowError;
use serde::Deserialize;
use serde_json::{Value, json};
use transom::{BlockingBatches, Function, MapOptions, Pool};

use crate::checksum;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Calls before counting starts, as in Python.
const WARM_UP_CALLS: usize = 200;

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Request {
    /// Results of the first batches to a file, for the driver to compare.
    Check { function: String, rows: usize, batches: usize, out: PathBuf },
    /// A stream of batches, timed.
    Stream { function: String, rows: usize, batches: usize },
    /// Single calls of one row, each timed.
    Calls { function: String, calls: usize },
}

/// Answers requests until standard input ends. The batches lie in shared memory beforehand where `shared` says so, and else on the heap.
pub(crate) fn serve(folder: &Path, functions: &str, python: &Path, workers: usize, shared: bool) -> Outcome<()> {
    let pool = Pool::builder().workers(workers).python(python).build()?;
    let mut host = Host { pool, folder, functions, shared, loaded: HashMap::new() };
    for line in stdin().lines() {
        let answer = serde_json::from_str(&line?).map_err(Into::into).and_then(|request| host.answer(request));
        let answer = answer.unwrap_or_else(|error| json!({ "error": error.to_string() }));
        writeln!(stdout(), "{answer}")?;
    }
    host.pool.close();
    Ok(())
}

struct Host<'a> {
    pool: Pool,
    folder: &'a Path,
    functions: &'a str,
    shared: bool,
    loaded: HashMap<(usize, String), Vec<RecordBatch>>,
}

impl Host<'_> {
    fn answer(&mut self, request: Request) -> Outcome<Value> {
        match request {
            Request::Check { function, rows, batches, out } => self.check(&function, rows, batches, &out),
            Request::Stream { function, rows, batches } => self.stream(&function, rows, batches),
            Request::Calls { function, calls } => self.calls(&function, calls),
        }
    }

    /// The function and the batches of one size with its columns; both are loaded on first use and kept.
    fn prepare(&mut self, name: &str, rows: usize) -> Outcome<(Function, Vec<RecordBatch>)> {
        let function = Function::python(&format!("{}:{name}", self.functions))?;
        let key = (rows, name.to_owned());
        if let Some(batches) = self.loaded.get(&key) {
            return Ok((function, batches.clone()));
        }
        let signature = self.pool.describe_blocking(&function)?;
        let names: Vec<&str> = signature.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        let mut batches = load(&self.folder.join(format!("{rows}.arrows")), &names)?;
        if self.shared {
            batches = batches.iter().map(|batch| self.pool.share(batch)).collect::<Result<_, _>>()?;
        }
        self.loaded.insert(key, batches.clone());
        Ok((function, batches))
    }

    fn run(&self, function: &Function, source: impl Iterator<Item = RecordBatch> + Send + 'static) -> Outcome<BlockingBatches> {
        Ok(self.pool.map_blocking(function, source.map(Ok), MapOptions::default())?)
    }

    fn check(&mut self, name: &str, rows: usize, batches: usize, out: &Path) -> Outcome<Value> {
        let (function, source) = self.prepare(name, rows)?;
        let results: Vec<RecordBatch> = self.run(&function, source.into_iter().take(batches))?.collect::<Result<_, _>>()?;
        let schema = results.first().ok_or("no result")?.schema();
        let mut writer = StreamWriter::try_new(BufWriter::new(File::create(out)?), &schema)?;
        results.iter().try_for_each(|result| writer.write(result))?;
        writer.finish()?;
        Ok(json!({ "batches": results.len() }))
    }

    fn stream(&mut self, name: &str, rows: usize, batches: usize) -> Outcome<Value> {
        let (function, source) = self.prepare(name, rows)?;
        let workers: Vec<u32> = self.pool.stats().workers.iter().filter_map(|worker| worker.pid).collect();
        let times = || Ok::<_, Box<dyn Error>>((cpu_time(std::process::id())?, workers.iter().map(|pid| cpu_time(*pid)).sum::<Outcome<Duration>>()?));
        let (mut read, mut rows_out, mut checking) = (0, 0, Duration::ZERO);
        let copied = self.pool.copies().bytes_copied();
        let (host_before, workers_before) = times()?;
        let start = Instant::now();
        for result in self.run(&function, source.into_iter().cycle().take(batches))? {
            let result = result?;
            let received = Instant::now();
            read += black_box(checksum::batch(&result)).1;
            rows_out += result.num_rows();
            checking += received.elapsed();
        }
        let seconds = start.elapsed();
        let (host_after, workers_after) = times()?;
        if rows_out != rows * batches {
            return Err(format!("{rows_out} rows came back instead of {}", rows * batches).into());
        }
        Ok(json!({
            "seconds": seconds.as_secs_f64(),
            "cpu_host": (host_after - host_before).as_secs_f64(),
            "cpu_workers": (workers_after - workers_before).as_secs_f64(),
            "checksum_seconds": checking.as_secs_f64(),
            "bytes_read": read,
            "bytes_copied": self.pool.copies().bytes_copied() - copied,
        }))
    }

    fn calls(&mut self, name: &str, calls: usize) -> Outcome<Value> {
        let (function, source) = self.prepare(name, 1)?;
        let (mut nanoseconds, mut checking) = (Vec::with_capacity(calls), Vec::with_capacity(calls));
        for (place, batch) in source.iter().cycle().take(WARM_UP_CALLS + calls).enumerate() {
            let start = Instant::now();
            let result = self.pool.call_blocking(&function, batch.clone())?;
            let received = Instant::now();
            black_box(checksum::batch(&result));
            let end = Instant::now();
            if place >= WARM_UP_CALLS {
                nanoseconds.push((end - start).as_nanos() as u64);
                checking.push((end - received).as_nanos() as u64);
            }
        }
        Ok(json!({ "nanoseconds": nanoseconds, "checksum_nanoseconds": checking }))
    }
}

/// Reads batches and rebuilds each column on the ordinary heap: what the reader gives are slices of one buffer a batch.
/// A batches function has parameters that are no columns: it gets all.
fn load(path: &Path, names: &[&str]) -> Outcome<Vec<RecordBatch>> {
    let reader = StreamReader::try_new(BufReader::new(File::open(path)?), None)?;
    let schema = reader.schema();
    let wanted: Vec<usize> = names.iter().filter_map(|name| schema.index_of(name).ok()).collect();
    let wanted = if wanted.is_empty() { (0..schema.fields().len()).collect() } else { wanted };
    let rebuild = |column: &ArrayRef| {
        let data = column.to_data();
        let mut copy = MutableArrayData::new(vec![&data], false, data.len());
        copy.try_extend(0, 0, data.len())?;
        Ok::<_, ArrowError>(make_array(copy.freeze()))
    };
    let rebuilt = |batch: RecordBatch| {
        let batch = batch.project(&wanted)?;
        let columns = batch.columns().iter().map(rebuild).collect::<Result<_, _>>()?;
        RecordBatch::try_new(batch.schema(), columns)
    };
    Ok(reader.map(|batch| batch.and_then(rebuilt)).collect::<Result<_, _>>()?)
}

/// User and system time of a whole process.
fn cpu_time(pid: u32) -> Outcome<Duration> {
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both calls write one value each, to a variable of the right type that lives through the call.
    let failed = unsafe { libc::clock_getcpuclockid(pid.try_into()?, &raw mut clock) != 0 || libc::clock_gettime(clock, &raw mut time) != 0 };
    if failed {
        return Err(format!("process {pid} has no clock: it is gone").into());
    }
    Ok(Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?))
}
