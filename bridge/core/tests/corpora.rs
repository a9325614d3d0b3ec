//! What fuzzing has found worth keeping, tried again without a fuzzer: every file under `fuzz/corpus`, and the seeds that the search began with.
//!
//! `TRANSOM_WRITE_SEEDS=1` writes the seeds there, where the fuzzer finds them.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use arrow_schema::{DataType, Schema};
use support::generate::{Nulls, Recipe, Slices};
use support::memory::Host;
use support::trial;
use transom::exchange::{Descriptor, Direction, Ledger, encode_schema, export};
use transom::function::Source;
use transom::link::{Copies, Hello, PROTOCOL, Ready, RemoteError, Suppressed, ToHost, ToWorker};
use transom::memory::{Extent, Role};
use transom::{Code, Kind, OnError, Parameter, Reason, Signature};

/// What is done with one input.
type Trial = fn(&[u8]);

const TARGETS: [(&str, Trial); 4] =
    [("descriptor", trial::descriptor), ("message", trial::message), ("schema", trial::schema), ("batch", trial::batch)];

fn corpus(target: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../../fuzz/corpus", target].iter().collect()
}

#[test]
fn every_input_that_was_kept_passes() {
    for (target, trial) in TARGETS {
        let files: Vec<PathBuf> = fs::read_dir(corpus(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!files.is_empty(), "{target} has no corpus");
        for file in files {
            // Not caught: the harness shows what is printed before a panic.
            eprintln!("{}", file.display());
            trial(&fs::read(&file).unwrap());
        }
    }
}

#[test]
fn the_seeds_pass_and_are_what_they_should_be() {
    for (target, seeds) in seeds() {
        let trial = TARGETS.iter().find(|(name, _)| *name == target).unwrap().1;
        seeds.iter().for_each(|seed| trial(seed));
        if std::env::var_os("TRANSOM_WRITE_SEEDS").is_some() {
            fs::create_dir_all(corpus(target)).unwrap();
            for (number, seed) in seeds.iter().enumerate() {
                fs::write(corpus(target).join(format!("seed-{number:03}")), seed).unwrap();
            }
        }
    }
}

fn seeds() -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    BTreeMap::from([("descriptor", descriptors()), ("message", messages()), ("schema", schemas()), ("batch", batches())])
}

/// A descriptor of each schema, in a memory where it begins at the beginning: most are good for what the trial has there.
fn descriptors() -> Vec<Vec<u8>> {
    let wire = |(number, schema): (usize, &arrow_schema::SchemaRef)| {
        let columns = schema.fields().iter().map(|field| field.data_type().clone()).collect();
        let recipe = Recipe { rows: 3, columns, nulls: Nulls::Some, slices: Slices::default(), seed: 1 };
        let sent = export(&recipe.batch(), &Host::new(), &Ledger::default(), Direction::Result).unwrap();
        let mut bytes = vec![number as u8];
        sent.descriptor.encode(&mut bytes);
        assert!(Descriptor::decode(&bytes[1..]).is_ok());
        bytes
    };
    trial::schemas().iter().enumerate().map(wire).collect()
}

fn schemas() -> Vec<Vec<u8>> {
    trial::schemas().iter().map(|schema| encode_schema(schema).unwrap().split_off(8)).collect()
}

/// Decisions that mean something are short: each byte is one.
fn batches() -> Vec<Vec<u8>> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..100).map(|_| (0..48).map(|_| next()).collect()).collect()
}

fn messages() -> Vec<Vec<u8>> {
    let to_worker = to_worker().into_iter().map(|message| message.encode());
    to_worker.chain(to_host().into_iter().map(|message| message.encode().unwrap())).collect()
}

fn error() -> RemoteError {
    RemoteError {
        traceback: "f.py:1".to_owned(),
        row: Some(7),
        hint: Some("do".to_owned()),
        kind: "ValueError".to_owned(),
        ..RemoteError::new(Code::FunctionRaised, "no")
    }
}

fn to_worker() -> Vec<ToWorker> {
    let extent = Extent { segment: 1, offset: 64, len: 8 };
    let schema = encode_schema(&Schema::empty()).unwrap();
    let define = |source| ToWorker::Define { function: 1, source, import_path: vec!["/a".to_owned()] };
    vec![
        ToWorker::Hello(Hello { protocol: PROTOCOL, sizes: Descriptor::SIZES, worker: 1, version: "0.1.0".to_owned() }),
        ToWorker::Segment { id: 1, role: Role::Output, len: 4096 },
        ToWorker::NoSegment { error: error() },
        ToWorker::TryAgain,
        define(Source::File { path: "a.py".into(), name: "f".to_owned() }),
        define(Source::Module { module: "m".to_owned(), name: "f".to_owned() }),
        define(Source::Pickle { name: "f".to_owned(), bytes: vec![1, 2].into() }),
        ToWorker::Schema { schema: 0, bytes: schema },
        ToWorker::Call { call: 1, function: 1, schema: 0, lease: 1, suppress: false, descriptor: vec![0; 16] },
        ToWorker::Open { call: 2, function: 1, schema: 0, credit: 2 },
        ToWorker::Input { call: 2, lease: 2, descriptor: vec![0; 16] },
        ToWorker::End { call: 2, error: Some(error()) },
        ToWorker::Credit { call: 2, results: 1 },
        ToWorker::Cancel { call: 2 },
        ToWorker::Release { results: vec![1, 2] },
        ToWorker::Forget { segments: vec![1] },
        ToWorker::Trim,
        ToWorker::Trace { ask: 1, leases: vec![(1, vec![extent])] },
        ToWorker::Ring { role: Role::Output, len: 32 << 10 },
        ToWorker::Look,
        ToWorker::Spilled { lease: 3, extent },
        ToWorker::Bye,
    ]
}

fn to_host() -> Vec<ToHost> {
    let signature = Signature {
        name: "f".to_owned(),
        kind: Kind::Batches,
        parameters: vec![Parameter { name: "x".to_owned(), data_type: Some(DataType::Int64), optional: true }],
        variadic: false,
        returns: Some(Schema::empty().into()),
        deadline: Some(Duration::from_secs(2)),
        retries: 1,
        deterministic: true,
        on_error: OnError::Null,
    };
    let copies = Copies { shared: 8, copied: vec![(Reason::StrictMode, 9)] };
    let suppressed = Suppressed { causes: vec![error()], rows: vec![(1, 0)] };
    vec![
        ToHost::Ready(Ready {
            protocol: PROTOCOL,
            version: "0.1.0".to_owned(),
            sizes: Descriptor::SIZES,
            language: "Python".to_owned(),
            rings: true,
        }),
        ToHost::Mapped { segment: 1 },
        ToHost::NeedSegment { len: 4096 },
        ToHost::Defined { function: 1, outcome: Ok(signature) },
        ToHost::Defined { function: 1, outcome: Err(error()) },
        ToHost::Schema { schema: 0, bytes: encode_schema(&Schema::empty()).unwrap() },
        ToHost::Result { call: 1, result: 1, schema: 0, copies, busy: Duration::from_nanos(5), suppressed, descriptor: vec![0; 16] },
        ToHost::Failed { call: 1, error: error() },
        ToHost::Next { call: 2 },
        ToHost::Done { call: 2 },
        ToHost::Release { leases: vec![1] },
        ToHost::Discard { segment: 1 },
        ToHost::Traced { ask: 1, keepers: vec![(1, "f.py:1".to_owned())] },
        ToHost::RingMapped,
        ToHost::Look,
        ToHost::Spilled { result: 2, extent: Extent { segment: 1, offset: 0, len: 16 } },
    ]
}
