//! The first program: a Python function over a batch. Run it in the repository's folder: `cargo run -p transom --example first`.
#![allow(clippy::print_stdout, reason = "it is there to print")]

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch};
use transom::{Function, Pool};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::builder().python(".venv/bin/python").build()?;
    let batch = RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from(vec![1, 2, 3])) as _)])?;
    println!("{:?}", pool.call_blocking(&Function::python("examples/first.py:plus_one")?, batch)?);
    Ok(())
}
