//! The conformance kit's host in Rust: answers requests, one line of JSON each. `docs/conformance.md` has the contract.

use std::error::Error;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, StructArray, UInt32Array};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::take::take;
use serde::Deserialize;
use serde_json::{Value, json};
use transom::{Function, Language, MapOptions, Pool};

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Request {
    Open(Worker),
    Run(Run),
    Held,
    Close,
}

#[derive(Deserialize)]
struct Worker {
    language: String,
    program: String,
    class_path: Vec<String>,
    options: Vec<String>,
}

#[derive(Deserialize)]
struct Run {
    function: String,
    file: String,
    inputs: Vec<Input>,
    column: Option<usize>,
    output: String,
}

#[derive(Deserialize)]
struct Input {
    batch: usize,
    #[serde(default)]
    steps: Vec<Vec<Value>>,
}

/// A pool, and how functions of its workers are named.
struct Open {
    pool: Pool,
    language: Language,
}

fn main() -> Outcome<()> {
    let mut open = None;
    for line in std::io::stdin().lines() {
        let answer = match (serde_json::from_str(&line?)?, &open) {
            (Request::Open(worker), _) => {
                open = Some(worker.open()?);
                json!({"host": "Rust, arrow 59"})
            }
            (Request::Run(run), Some(open)) => match open.run(&run) {
                Ok(batches) => json!({"batches": batches}),
                Err(error) => json!({"failed": failed(&*error)}),
            },
            (Request::Held, Some(open)) => {
                let leases: usize = open.pool.stats().workers.iter().map(|worker| worker.leases).sum();
                json!({"leases": leases, "allocated": 0})
            }
            (Request::Close, _) => {
                open = None;
                json!({})
            }
            _ => return Err("there is no pool".into()),
        };
        let mut output = std::io::stdout().lock();
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    Ok(())
}

fn failed(error: &(dyn Error + 'static)) -> Value {
    let Some(ours) = error.downcast_ref::<transom::Error>() else { return json!({"code": "", "message": error.to_string()}) };
    json!({"code": ours.code().id(), "message": ours.to_string(), "parts": {
        "name": ours.code().name(),
        "message": ours.message(),
        "function": ours.function(),
        "batch": ours.batch(),
        "rows": ours.rows().map(|rows| [rows.start, rows.end]),
        "worker": ours.worker(),
        "remote": ours.remote().map(|remote| [&remote.kind, &remote.message, &remote.traceback]),
        "output": ours.output(),
        "stack": ours.stack(),
        "hint": ours.hint(),
    }})
}

impl Worker {
    fn open(self) -> transom::Result<Open> {
        let builder = Pool::builder().workers(1);
        let (builder, language) = match self.language.as_str() {
            "native" => (builder.native_worker(self.program), Language::Native),
            "java" => (builder.java(self.program).java_class_path(self.class_path).java_options(self.options), Language::Java),
            _ => (builder.python(self.program), Language::Python),
        };
        Ok(Open { pool: builder.prestart([language]).build()?, language })
    }
}

impl Open {
    fn function(&self, reference: &str) -> transom::Result<Function> {
        match self.language {
            Language::Native => {
                let (library, name) = reference.rsplit_once(':').unwrap_or((reference, ""));
                Function::native(library, name)
            }
            Language::Java => Function::java(reference),
            _ => Function::python(reference),
        }
    }

    fn run(&self, run: &Run) -> Outcome<usize> {
        let results = self.pool.map_blocking(&self.function(&run.function)?, self.source(run)?.into_iter().map(Ok), MapOptions::default())?;
        let mut output = BufWriter::new(File::create(&run.output)?);
        let mut writer = None;
        let mut count = 0;
        for batch in results {
            let batch = writable(&batch?)?;
            if writer.is_none() {
                writer = Some(StreamWriter::try_new(&mut output, batch.schema_ref())?);
            }
            writer.as_mut().expect("it was made above").write(&batch)?;
            count += 1;
        }
        match writer {
            Some(mut writer) => writer.finish()?,
            None => StreamWriter::try_new(&mut output, &Schema::empty())?.finish()?,
        }
        output.flush()?;
        Ok(count)
    }

    /// The batches of a request.
    fn source(&self, run: &Run) -> Outcome<Vec<RecordBatch>> {
        let golden = StreamReader::try_new(BufReader::new(File::open(&run.file)?), None)?.collect::<Result<Vec<_>, _>>()?;
        let prepared = |input: &Input| {
            let mut batch = golden[input.batch].clone();
            for step in &input.steps {
                batch = self.applied(&batch, step)?;
            }
            run.column.map_or(Ok(batch.clone()), |column| only(&batch, column))
        };
        run.inputs.iter().map(prepared).collect()
    }

    fn applied(&self, batch: &RecordBatch, step: &[Value]) -> Outcome<RecordBatch> {
        let number = |index: usize| step.get(index).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
        match (step.first().and_then(Value::as_str), number(1), number(2)) {
            (Some("slice"), Some(offset), Some(length)) => Ok(batch.slice(offset, length)),
            (Some("share"), ..) => Ok(self.pool.share(batch)?),
            (Some("nest"), ..) => nested(batch),
            _ => Err(format!("there is no step {step:?}").into()),
        }
    }
}

/// The batch for a file. arrow-ipc 59.3.2 writes the wrong part of the unions in lists whose offsets do not begin at 0, so those are made anew.
fn writable(batch: &RecordBatch) -> Outcome<RecordBatch> {
    let rows = UInt32Array::from_iter_values((0..).take(batch.num_rows()));
    let whole = |column: &ArrayRef| match column.data_type().to_string().contains("Union(") {
        true => take(column, &rows, None),
        false => Ok(column.clone()),
    };
    assembled(batch.schema(), batch.columns().iter().map(whole).collect::<Result<_, _>>()?, batch.num_rows())
}

/// One column `nested` of structs, whose fields are the columns.
fn nested(batch: &RecordBatch) -> Outcome<RecordBatch> {
    let fields = batch.schema().fields().clone();
    let rows = StructArray::try_new_with_length(fields.clone(), batch.columns().to_vec(), None, batch.num_rows())?;
    let schema = Schema::new_with_metadata(vec![Field::new("nested", DataType::Struct(fields), true)], batch.schema().metadata().clone());
    assembled(Arc::new(schema), vec![Arc::new(rows)], batch.num_rows())
}

/// One column, under the name `x`.
fn only(batch: &RecordBatch, column: usize) -> Outcome<RecordBatch> {
    let field = batch.schema().field(column).clone().with_name("x");
    let schema = Schema::new_with_metadata(vec![field], batch.schema().metadata().clone());
    assembled(Arc::new(schema), vec![batch.column(column).clone()], batch.num_rows())
}

fn assembled(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Outcome<RecordBatch> {
    Ok(RecordBatch::try_new_with_options(schema, columns, &RecordBatchOptions::new().with_row_count(Some(rows)))?)
}
