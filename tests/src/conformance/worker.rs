//! The conformance kit's worker in Rust: a program of its own around the core's `serve`. `docs/conformance.md` says what its functions do.

mod describe;

use std::collections::HashMap;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use transom::function::Source;
use transom::link::RemoteError;
use transom::worker::{Input, Results, Runtime, serve};
use transom::{Code, Kind, OnError, Parameter, Signature};

fn main() {
    let descriptor = std::env::args().next_back().and_then(|text| text.parse().ok()).expect("the last argument is a descriptor");
    // SAFETY: the host opened the descriptor for this process alone and says its number; nothing else here uses it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let outcome = serve(descriptor, &mut Worker::default());
    std::process::exit(i32::from(outcome.is_err()));
}

#[derive(Clone, Copy)]
enum Function {
    Identity,
    IdentityBatches,
    Describe,
}

#[derive(Default)]
struct Worker {
    functions: HashMap<u32, Function>,
}

impl Runtime for Worker {
    fn language(&self) -> String {
        "Rust".to_owned()
    }

    fn define(&mut self, function: u32, source: &Source, _import_path: &[String]) -> Result<Signature, RemoteError> {
        let (Source::File { name, .. } | Source::Module { name, .. } | Source::Pickle { name, .. }) = source;
        let found = match name.as_str() {
            "identity" => Function::Identity,
            "identity_batches" => Function::IdentityBatches,
            "describe" => Function::Describe,
            _ => return Err(RemoteError::new(Code::FunctionNotFound, format!("there is no {name}"))),
        };
        self.functions.insert(function, found);
        let text = || Arc::new(Schema::new(vec![Field::new(name, DataType::Utf8, false)]));
        let x = Parameter { name: "x".to_owned(), data_type: None, optional: false };
        Ok(Signature {
            name: name.clone(),
            kind: if matches!(found, Function::IdentityBatches) { Kind::Batches } else { Kind::Scalar },
            parameters: if matches!(found, Function::IdentityBatches) { vec![] } else { vec![x] },
            variadic: false,
            returns: matches!(found, Function::Describe).then(text),
            deadline: None,
            retries: 0,
            on_error: OnError::Raise,
            deterministic: true,
        })
    }

    fn call(&mut self, function: u32, arguments: RecordBatch) -> Result<ArrayRef, RemoteError> {
        let column = arguments.column(0);
        match self.functions[&function] {
            Function::Describe => Ok(Arc::new(StringArray::from_iter_values(describe::described(column).iter().map(ToString::to_string)))),
            _ => Ok(column.clone()),
        }
    }

    fn open(&mut self, _function: u32, input: Input) -> Result<Results, RemoteError> {
        Ok(Box::new(input))
    }
}
