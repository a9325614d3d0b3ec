//! `docs/protocol.md` is true: every example in it is what the code writes and reads, every message and every limit stands in it, and a worker
//! that was written from it alone works.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use futures::StreamExt;
use support::memory::{Host, Image};
use transom::exchange::{self, Descriptor, Direction, Ledger, MAX_COLUMNS, MAX_DEPTH, MAX_ROWS, Reason};
use transom::function::Source;
use transom::link::{Copies, Hello, MAX_PACKET, PROTOCOL, Ready, RemoteError, Suppressed, ToHost, ToWorker};
use transom::memory::{Extent, Role};
use transom::{Code, Function, Kind, MapOptions, OnError, Parameter, Pool, Signature};

const DOCUMENT: &str = include_str!("../../../docs/protocol.md");

/// The examples of the document, by name: blocks that begin with ```` ```hex NAME ````. Behind a `#` stands what the bytes are, and `<NAME>` is
/// an example before it.
fn examples() -> BTreeMap<&'static str, Vec<u8>> {
    let mut found: BTreeMap<&'static str, Vec<u8>> = BTreeMap::new();
    let mut lines = DOCUMENT.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("```hex ") else { continue };
        let mut bytes = Vec::new();
        for line in lines.by_ref().take_while(|line| *line != "```") {
            match line.strip_prefix('<').and_then(|line| line.strip_suffix('>')) {
                Some(other) => bytes.extend_from_slice(&found[other]),
                None => bytes.extend(line.split('#').next().unwrap_or_default().split_whitespace().map(|text| byte(name, text))),
            }
        }
        assert!(found.insert(name, bytes).is_none(), "two examples are named {name}");
    }
    found
}

fn byte(name: &str, text: &str) -> u8 {
    assert_eq!(text.len(), 2, "{name}: `{text}` is no byte");
    u8::from_str_radix(text, 16).unwrap_or_else(|_| panic!("{name}: `{text}` is no byte"))
}

/// Compares the examples one by one and tells of all that are wrong at once.
struct Comparison {
    examples: BTreeMap<&'static str, Vec<u8>>,
    wrong: String,
}

impl Comparison {
    fn expect(&mut self, name: &str, bytes: &[u8]) {
        let written = self.examples.remove(name);
        if written.as_deref() != Some(bytes) {
            let there = written.map_or("nothing\n".to_owned(), |written| hex(&written));
            _ = write!(self.wrong, "the example `{name}` is\n{there}and must be\n{}", hex(bytes));
        }
    }

    #[track_caller]
    fn finish(mut self) {
        for name in self.examples.keys() {
            _ = writeln!(self.wrong, "nothing checks the example `{name}`");
        }
        assert!(self.wrong.is_empty(), "docs/protocol.md is not true:\n{}", self.wrong);
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(16) {
        line.iter().for_each(|byte| _ = write!(text, "{byte:02x} "));
        text.push('\n');
    }
    text
}

/// The batch of the examples: a number and a word a row, each with a null.
fn batch() -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
    let words: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("bcd"), None]));
    let fields = vec![Field::new("n", DataType::Int64, true), Field::new("word", DataType::Utf8, true)];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![numbers, words]).unwrap()
}

fn schema_bytes() -> Vec<u8> {
    exchange::encode_schema(&result_schema()).unwrap()
}

fn result_schema() -> Schema {
    Schema::new(vec![Field::new("plus_one", DataType::Int64, true)])
}

fn descriptor_bytes() -> Vec<u8> {
    let mut bytes = Vec::new();
    let sent = exchange::export(&batch(), &Host::new(), &Ledger::default(), Direction::Input).unwrap();
    sent.descriptor.encode(&mut bytes);
    bytes
}

/// The descriptor of a batch without columns: the shortest one.
fn short_descriptor(rows: usize) -> Vec<u8> {
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
    let mut bytes = Vec::new();
    exchange::export(&batch, &Host::new(), &Ledger::default(), Direction::Input).unwrap().descriptor.encode(&mut bytes);
    bytes
}

fn error() -> RemoteError {
    RemoteError {
        code: Code::FunctionRaised,
        kind: "ValueError".to_owned(),
        message: "no".to_owned(),
        traceback: "f.py:1".to_owned(),
        row: Some(7),
        hint: None,
    }
}

fn to_worker() -> Vec<ToWorker> {
    let extent = Extent { segment: 1, offset: 4096, len: 50_000 };
    vec![
        ToWorker::Hello(Hello { protocol: 3, version: "0.1.0".to_owned(), sizes: Descriptor::SIZES, worker: 3 }),
        ToWorker::Segment { id: 2, role: Role::Output, len: 4 << 20 },
        ToWorker::NoSegment { error: RemoteError::new(Code::MemoryLimit, "full") },
        ToWorker::TryAgain,
        ToWorker::Define {
            function: 0,
            source: Source::File { path: "/udfs.py".into(), name: "f".to_owned() },
            import_path: vec!["/lib".to_owned()],
        },
        ToWorker::Schema { schema: 0, bytes: schema_bytes() },
        ToWorker::Call { call: 1, function: 0, schema: 0, lease: 1, suppress: false, descriptor: short_descriptor(5) },
        ToWorker::Open { call: 2, function: 1, schema: 0, credit: 2 },
        ToWorker::Input { call: 2, lease: 2, descriptor: short_descriptor(5) },
        ToWorker::End { call: 2, error: None },
        ToWorker::Credit { call: 2, results: 1 },
        ToWorker::Cancel { call: 2 },
        ToWorker::Release { results: vec![1, 2] },
        ToWorker::Forget { segments: vec![4] },
        ToWorker::Spilled { lease: 3, extent },
        ToWorker::Bye,
        ToWorker::Trim,
        ToWorker::Trace { ask: 1, leases: vec![(2, vec![extent])] },
        ToWorker::Ring { role: Role::Output, len: 32 << 10 },
        ToWorker::Look,
    ]
}

fn to_host() -> Vec<ToHost> {
    let extent = Extent { segment: 2, offset: 0, len: 50_000 };
    let copies = Copies { shared: 0, copied: vec![(Reason::ResultNotShared, 40)] };
    let cause = RemoteError { traceback: String::new(), row: None, ..error() };
    let suppressed = Suppressed { causes: vec![cause], rows: vec![(3, 0)] };
    vec![
        ToHost::Ready(Ready { protocol: 3, version: "0.1.0".to_owned(), sizes: Descriptor::SIZES, language: "Python 3.12".to_owned(), rings: true }),
        ToHost::Mapped { segment: 2 },
        ToHost::NeedSegment { len: 1 << 20 },
        ToHost::Defined { function: 0, outcome: Ok(signature()) },
        ToHost::Schema { schema: 0, bytes: schema_bytes() },
        ToHost::Result { call: 1, result: 1, schema: 0, copies, busy: Duration::from_micros(5), suppressed, descriptor: short_descriptor(5) },
        ToHost::Failed { call: 1, error: error() },
        ToHost::Next { call: 2 },
        ToHost::Done { call: 2 },
        ToHost::Release { leases: vec![1] },
        ToHost::Spilled { result: 2, extent },
        ToHost::Discard { segment: 2 },
        ToHost::Traced { ask: 1, keepers: vec![(2, "f.py:1".to_owned())] },
        ToHost::RingMapped,
        ToHost::Look,
    ]
}

fn signature() -> Signature {
    Signature {
        name: "f".to_owned(),
        kind: Kind::Scalar,
        parameters: vec![Parameter { name: "x".to_owned(), data_type: None, optional: false }],
        variadic: false,
        returns: None,
        deadline: Some(Duration::from_secs(2)),
        retries: 1,
        on_error: OnError::Raise,
        deterministic: true,
    }
}

/// The name of a message in the document. A new message does not compile here until it has one.
fn name_to_worker(message: &ToWorker) -> &'static str {
    match message {
        ToWorker::Hello(_) => "Hello",
        ToWorker::Segment { .. } => "Segment",
        ToWorker::NoSegment { .. } => "NoSegment",
        ToWorker::TryAgain => "TryAgain",
        ToWorker::Define { .. } => "Define",
        ToWorker::Schema { .. } => "Schema (to the worker)",
        ToWorker::Call { .. } => "Call",
        ToWorker::Open { .. } => "Open",
        ToWorker::Input { .. } => "Input",
        ToWorker::End { .. } => "End",
        ToWorker::Credit { .. } => "Credit",
        ToWorker::Cancel { .. } => "Cancel",
        ToWorker::Release { .. } => "Release (to the worker)",
        ToWorker::Forget { .. } => "Forget",
        ToWorker::Spilled { .. } => "Spilled (to the worker)",
        ToWorker::Bye => "Bye",
        ToWorker::Trim => "Trim",
        ToWorker::Trace { .. } => "Trace",
        ToWorker::Ring { .. } => "Ring",
        ToWorker::Look => "Look (to the worker)",
    }
}

fn name_to_host(message: &ToHost) -> &'static str {
    match message {
        ToHost::Ready(_) => "Ready",
        ToHost::Mapped { .. } => "Mapped",
        ToHost::NeedSegment { .. } => "NeedSegment",
        ToHost::Defined { .. } => "Defined",
        ToHost::Schema { .. } => "Schema (to the host)",
        ToHost::Result { .. } => "Result",
        ToHost::Failed { .. } => "Failed",
        ToHost::Next { .. } => "Next",
        ToHost::Done { .. } => "Done",
        ToHost::Release { .. } => "Release (to the host)",
        ToHost::Spilled { .. } => "Spilled (to the host)",
        ToHost::Discard { .. } => "Discard",
        ToHost::Traced { .. } => "Traced",
        ToHost::RingMapped => "RingMapped",
        ToHost::Look => "Look (to the host)",
    }
}

#[test]
fn every_example_is_what_the_code_writes_and_reads() {
    let mut comparison = Comparison { examples: examples(), wrong: String::new() };
    for message in to_worker() {
        let bytes = message.encode();
        comparison.expect(name_to_worker(&message), &bytes);
        assert_eq!(ToWorker::decode(&bytes).unwrap(), message);
    }
    for message in to_host() {
        let bytes = message.encode().unwrap();
        comparison.expect(name_to_host(&message), &bytes);
        assert_eq!(ToHost::decode(&bytes).unwrap(), message);
    }
    let refused = ToHost::Defined { function: 0, outcome: Err(RemoteError::new(Code::FunctionNotFound, "no f")) };
    comparison.expect("Defined (refused)", &refused.encode().unwrap());
    comparison.expect("schema message", &schema_bytes());
    comparison.expect("descriptor", &descriptor_bytes());
    comparison.expect("memory of the batch", &memory_of_batch());
    comparison.finish();
}

/// The one block into which the batch is copied.
fn memory_of_batch() -> Vec<u8> {
    let host = Host::new();
    let sent = exchange::export(&batch(), &host, &Ledger::default(), Direction::Input).unwrap();
    let block = sent.blocks[0].extent();
    assert_eq!((block.segment, block.offset), (1, 0));
    Image::of(&host, [1]).bytes_mut(block).to_vec()
}

#[test]
fn every_limit_and_reason_stands_in_the_document() {
    let number = |value: u64| {
        let digits = value.to_string();
        let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
        groups.join(",")
    };
    for (what, limit) in [
        ("Bytes in a packet", MAX_PACKET as u64),
        ("Columns", MAX_COLUMNS as u64),
        ("Levels of nested types", MAX_DEPTH as u64),
        ("Rows in a batch", MAX_ROWS),
    ] {
        let row = format!("| {what} | {} |", number(limit));
        assert!(DOCUMENT.contains(&row), "docs/protocol.md has no row `{row}`");
    }
    assert!(DOCUMENT.contains(&format!("The protocol's version is {PROTOCOL}.")));
    for reason in Reason::ALL {
        let row = format!("| {} | {} |", reason.number(), reason.text());
        assert!(DOCUMENT.contains(&row), "docs/protocol.md has no row `{row}`");
    }
}

/// A pool of the worker beside this file, which knows nothing but the document.
fn pool(workers: usize) -> Pool {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/protocol/worker.py");
    Pool::builder().workers(workers).python(script).build().unwrap()
}

fn function(name: &str) -> Function {
    Function::python(&format!("by_hand:{name}")).unwrap()
}

fn numbers(first: i64, rows: i64) -> RecordBatch {
    RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from_iter_values(first..first + rows)) as ArrayRef)]).unwrap()
}

fn first(batch: &RecordBatch) -> i64 {
    batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(0)
}

#[test]
fn a_worker_written_from_the_document_serves_calls() {
    let pool = pool(2);
    for rows in [1, 10, 1000, 100_000, 2_000_000] {
        let result = pool.call_blocking(&function("plus_one"), numbers(5, rows)).unwrap();
        assert_eq!((result.num_rows() as i64, first(&result)), (rows, 6));
        assert_eq!(result.schema().field(0).name(), "plus_one");
    }
    let result = pool.call_blocking(&function("identity"), numbers(9, 100)).unwrap();
    assert_eq!((first(&result), result.schema().field(0).name().as_str()), (9, "identity"));
    let error = pool.call_blocking(&function("identity"), numbers(0, 13)).unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::FunctionRaised, "13 is too much"));
    assert_eq!(pool.call_blocking(&function("other"), numbers(0, 1)).unwrap_err().code(), Code::FunctionNotFound);
    assert!(pool.stats().workers.iter().all(|worker| worker.restarts == 0));
}

#[test]
fn a_worker_written_from_the_document_serves_streams() {
    let pool = pool(1);
    let source = || (0..50).map(|i| Ok(numbers(i * 10, 10)));
    let firsts = |name| pool.map_blocking(&function(name), source(), MapOptions::default()).unwrap().map(|batch| first(&batch.unwrap()));
    assert!(firsts("stream").eq((0..50).map(|i| i * 10)));
    assert!(firsts("plus_one").eq((0..50).map(|i| i * 10 + 1)));
    let left = transom::pool::wait(async {
        let mut results = pool.map(&function("stream"), futures::stream::iter(source()), MapOptions::default()).await.unwrap();
        results.next().await.unwrap().unwrap().num_rows()
    });
    assert_eq!(left, 10);
    assert_eq!(pool.call_blocking(&function("identity"), numbers(0, 1)).unwrap().num_rows(), 1);
    assert_eq!(pool.stats().workers[0].restarts, 0);
}
