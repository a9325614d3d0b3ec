//! Measurements in Rust: what the machine can do at most, and Transom from a Rust host.
//!
//! `transom-bench limits [--quick]` prints one JSON object. `transom-bench host FOLDER FUNCTIONS.py PYTHON [WORKERS|shared]` answers the
//! driver, `benches/bench.py`, line by line. People run the driver: `make bench`. `transom-bench native LIBRARY WORKER` is the Rust host of
//! `benches/native.py`. `transom-bench exchange` and `transom-bench heap` measure parts of the core, beside a copy of the same bytes.

mod checksum;
mod copying;
mod exchange;
mod heap;
mod host;
mod limits;
mod native;
mod pingpong;
mod region;
mod statistics;

use std::error::Error;
use std::io::{Write, stderr};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: transom-bench limits [--quick]
       transom-bench host FOLDER FUNCTIONS.py PYTHON [WORKERS|shared]
       transom-bench native LIBRARY WORKER
       transom-bench exchange
       transom-bench heap";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome: Result<(), Box<dyn Error>> = match arguments[..] {
        ["limits"] => limits::print(false),
        ["limits", "--quick"] => limits::print(true),
        ["host", folder, functions, python] => host::serve(Path::new(folder), functions, Path::new(python), 1, false),
        ["host", folder, functions, python, "shared"] => host::serve(Path::new(folder), functions, Path::new(python), 1, true),
        ["host", folder, functions, python, workers] => {
            workers.parse().map_err(Into::into).and_then(|workers| host::serve(Path::new(folder), functions, Path::new(python), workers, false))
        }
        ["native", library, worker] => native::print(Path::new(library), Path::new(worker)),
        ["exchange"] => exchange::print(),
        ["heap"] => heap::print(),
        _ => Err(USAGE.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when standard error is closed too.
            let _ = writeln!(stderr(), "transom-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
