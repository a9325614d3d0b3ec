//! `transom run`: the one file that uses the pool.

use std::env;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use transom::{Code, CopyReport, Error, Function, Kind, Language, MapOptions, Pool, PoolBuilder, Result, Signature};

use crate::columns::{self, Choice};
use crate::failed::{self, Letters};
use crate::input::{self, Inputs};
use crate::interpreter::Interpreter;
use crate::output::{self, Place, Prepared, Target, Wanted};
use crate::printed::Printed;
use crate::progress::{Progress, number, seconds, size};
use crate::{args, interpreter, interrupt};

/// Runs a function over files. What can be wrong is looked for in the order of what it costs: options, output, inputs, interpreter, function.
pub(crate) fn run(args: &args::Run) -> Result<()> {
    interrupt::watch()?;
    let started = Instant::now();
    let target = Target::choose(args.output.as_deref(), args.output_format)?;
    let function = function(args)?;
    let inputs = Inputs::open(&args.inputs, args.format, args.infer_rows)?;
    let prepared = output::prepare(target, inputs.paths())?;
    let letters = Letters::prepare(args, inputs.paths())?;
    let function = letters.policy_for(function);
    let python = (function.language() == Language::Python).then(|| interpreter::find(args.python.as_deref())).transpose()?;
    let workers = workers(args, &inputs);
    let pool = pool(args, workers, &function, python.as_ref())?;
    let mut progress = Progress::start(inputs.meter.clone(), args.limit);
    let printed = Printed::follow(&pool, progress.bar())?;
    let files = (prepared, letters);
    let done = over(args, &pool, &function, python.as_ref(), inputs, files, &mut progress);
    progress.clear();
    let (copies, failed) = (pool.copies(), failed::summary(&pool.stats(), args.dead_letters.as_deref()));
    let time = started.elapsed();
    drop(pool);
    // What functions said comes before what became of them.
    printed.finish();
    let (rows, kind) = done?;
    let workers = if kind == Kind::Batches { 1 } else { workers };
    progress.note(&format!("{}{failed}", summary(rows, progress.rows(), time, workers, &copies)));
    Ok(())
}

/// Loads the function and runs it over all inputs; gives the number of input rows, and the kind of the function.
fn over(
    args: &args::Run,
    pool: &Pool,
    function: &Function,
    python: Option<&Interpreter>,
    inputs: Inputs,
    files: (Prepared, Letters),
    progress: &mut Progress,
) -> Result<(u64, Kind)> {
    let signature = pool.describe_blocking(function).map_err(|error| match python {
        Some(python) => python.blamed(error),
        None => error,
    })?;
    check(args, &signature, &inputs.schema)?;
    files.1.check(&signature)?;
    let choice = columns::choose(&inputs.schema, &signature, args.columns.as_deref(), args.append)?;
    let rows = map(args, pool, function, inputs, choice, files, progress)?;
    Ok((rows, signature.kind))
}

fn function(args: &args::Run) -> Result<Function> {
    if let Some((library, name)) = args.function.rsplit_once(':').filter(|(library, _)| library.ends_with(".so")) {
        return Function::native(library, name);
    }
    let function = Function::python(&args.function)?;
    // As with `python -m`, modules of the current folder can be named.
    let here = env::current_dir().ok().map(|here| here.display().to_string());
    Ok(function.with_import_path(here))
}

/// As many workers as were asked for; else one for each core, and none that would have no batch.
fn workers(args: &args::Run, inputs: &Inputs) -> usize {
    args.workers.map_or_else(
        || {
            let cores = thread::available_parallelism().map_or(1, usize::from);
            let batches = inputs.most_batches(args.batch_rows.get(), args.limit);
            batches.and_then(|batches| usize::try_from(batches).ok()).map_or(cores, |batches| batches.clamp(1, cores))
        },
        usize::from,
    )
}

fn pool(args: &args::Run, workers: usize, function: &Function, python: Option<&Interpreter>) -> Result<Pool> {
    let mut builder = Pool::builder().workers(workers).prestart([function.language()]);
    if let Some(python) = python {
        builder = builder.python(&python.path);
    }
    for (key, value) in &args.env {
        builder = builder.env(key, value);
    }
    if let Some(deadline) = args.deadline {
        builder = builder.deadline(deadline);
    }
    builder = args.worker_memory.into_iter().fold(builder, PoolBuilder::worker_memory);
    builder = args.worker_descriptors.into_iter().fold(builder, PoolBuilder::worker_descriptors);
    builder = args.worker_processes.into_iter().fold(builder, PoolBuilder::worker_processes);
    builder = args.result_limit.into_iter().fold(builder, PoolBuilder::result_limit);
    if let Some(folder) = &args.capsules {
        builder = builder.capsules(folder);
    }
    builder.build()
}

/// What the kind of function does not allow.
fn check(args: &args::Run, signature: &Signature, schema: &Schema) -> Result<()> {
    let refuse = |message: String| Err(Error::new(Code::BadOption, message).with_function(&signature.name));
    if signature.kind == Kind::Batches {
        if args.append || args.name.is_some() {
            return refuse("--append and --as are for functions that give one column; a batches function names its own".to_owned());
        }
        return Ok(());
    }
    let name = args.name.as_ref().unwrap_or(&signature.name);
    if args.append && schema.column_with_name(name).is_some() {
        return refuse(format!("the result would have two columns `{name}`; --as gives the function's another name"));
    }
    Ok(())
}

/// Sends all rows through the function and into the output; gives the number of input rows.
fn map(
    args: &args::Run,
    pool: &Pool,
    function: &Function,
    inputs: Inputs,
    choice: Choice,
    files: (Prepared, Letters),
    progress: &mut Progress,
) -> Result<u64> {
    let rows = input::Counter::default();
    let batches = rows.count(inputs.read(choice.read, args.batch_rows.get(), args.limit));
    let options = MapOptions { columns: choice.call, append: args.append, ordered: true };
    let mut results = pool.map_blocking(function, input::ahead(batches)?, options)?;
    let (mut place, mut letters) = (Place::Waiting(files.0), files.1);
    while let Some(batch) = results.next() {
        let batch = named(batch?, args.name.as_deref())?;
        letters = letters.write(results.dead_letters())?;
        let mut output = place.begin(&batch.schema())?;
        let wanted = output.write(&batch)?;
        progress.add(batch.num_rows(), input::bytes(&batch));
        place = Place::Open(output);
        if wanted == Wanted::Nothing {
            return Ok(rows.get());
        }
    }
    let schema = results.schema().map(|schema| with_name(&schema, args.name.as_deref()));
    progress.clear();
    // Where there is a result, its dead letters are there too.
    letters.finish(results.dead_letters(), function.name())?;
    place.end(schema, function.name())?;
    Ok(rows.get())
}

/// Gives the function's column, which is the last one, the name that was asked for.
fn with_name(schema: &SchemaRef, name: Option<&str>) -> SchemaRef {
    let Some(name) = name else { return schema.clone() };
    let mut fields = schema.fields().to_vec();
    if let Some(last) = fields.last_mut() {
        *last = Arc::new(last.as_ref().clone().with_name(name));
    }
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn named(batch: RecordBatch, name: Option<&str>) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(with_name(&batch.schema(), name), batch.columns().to_vec(), &options)
        .map_err(|error| Error::new(Code::Internal, error.to_string()))
}

/// The closing line.
fn summary(read: u64, given: u64, time: Duration, workers: usize, copies: &CopyReport) -> String {
    let rows = if read == given { format!("{} rows", number(read)) } else { format!("{} rows in, {} rows out", number(read), number(given)) };
    let workers = if workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") };
    format!("{rows}, {}, {workers}, {} shared, {} copied", seconds(time), size(copies.bytes_shared()), size(copies.bytes_copied()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::{DataType, Field};

    #[test]
    fn only_the_functions_column_is_renamed() {
        let fields = vec![Field::new("a", DataType::Int64, true), Field::new("f", DataType::Int64, true)];
        let schema = with_name(&Arc::new(Schema::new(fields)), Some("net"));
        assert_eq!((schema.field(0).name().as_str(), schema.field(1).name().as_str()), ("a", "net"));
    }

    #[test]
    fn the_closing_line_says_rows_in_and_out_where_they_differ() {
        let copies = CopyReport::default();
        assert_eq!(summary(1000, 1000, Duration::from_millis(1500), 2, &copies), "1,000 rows, 1.50 s, 2 workers, 0 B shared, 0 B copied");
        assert!(summary(1000, 1, Duration::ZERO, 1, &copies).starts_with("1,000 rows in, 1 rows out, 0.00 s, 1 worker, "));
    }
}
