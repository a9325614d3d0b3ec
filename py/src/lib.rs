//! The native half of the Python package `transom`: Python as a host of workers, and as a worker.
//!
//! It is thin. Python objects become Arrow arrays by the C data interface (`capsule`), waits let go of the interpreter's lock and
//! look for signals (`wait`), errors become exceptions (`errors`), functions are called for whole columns (`arrays`) or for each row (`rows`); everything
//! else is in the core.

mod arrays;
mod batches;
mod capsule;
mod errors;
mod pool;
mod replay;
mod rows;
mod signature;
mod wait;
mod worker;

use pyo3::prelude::*;

#[pymodule(gil_used = true)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<pool::Pool>()?;
    module.add_class::<pool::Function>()?;
    module.add_class::<batches::Batches>()?;
    module.add_class::<arrays::Arrays>()?;
    module.add_class::<rows::Rows>()?;
    module.add_function(wrap_pyfunction!(pool::bytes_in, module)?)?;
    module.add_function(wrap_pyfunction!(worker::serve, module)?)?;
    module.add_function(wrap_pyfunction!(worker::split, module)?)?;
    module.add_function(wrap_pyfunction!(worker::obstacle_to_forks, module)?)?;
    module.add_function(wrap_pyfunction!(worker::write_stacks, module)?)?;
    module.add_function(wrap_pyfunction!(replay::replay, module)?)?;
    module.add_function(wrap_pyfunction!(replay::replay_here, module)?)?;
    module.add_function(wrap_pyfunction!(replay::replay_command, module)?)?;
    module.add_function(wrap_pyfunction!(worker::write_addresses, module)?)?;
    module.add_function(wrap_pyfunction!(worker::share_heap, module)?)?;
    Ok(())
}
