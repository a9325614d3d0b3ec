//! The worker's side: the loop that every language's worker runs. A language brings a [`Runtime`]; all of the protocol is here.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Schema, SchemaRef};

use super::watch::{end_without_link, watch};
use crate::exchange::{Descriptor, is_plain, same_schema};
use crate::failure::{Code, Error, Result};
use crate::function::{Kind, Signature, Source};
use crate::link::{PROTOCOL, Ready, Received, RemoteError, Suppressed, ToHost, ToWorker, Tracer, WorkerLink};

/// What a language brings to its workers: loading functions and calling them.
///
/// All methods are called on the thread that called [`serve`]. None may keep its arguments' memory from being released for ever: an input is the
/// host's until the last array over it is dropped.
pub trait Runtime {
    /// The language and its version, such as `Python 3.11.7`.
    fn language(&self) -> String;

    /// Loads a function and remembers it under a number.
    ///
    /// # Errors
    /// What keeps it from being loaded; told to every caller of the function.
    fn define(&mut self, function: u32, source: &Source, import_path: &[String]) -> Result<Signature, RemoteError>;

    /// Calls a scalar or row function with one batch of arguments, in the order of its parameters; gives one array.
    ///
    /// # Errors
    /// What the function raised, or why its result cannot be used.
    fn call(&mut self, function: u32, arguments: RecordBatch) -> Result<ArrayRef, RemoteError>;

    /// Calls a row function whose failing rows are to be null instead of failing the batch, and says which they are. A language that does not bring
    /// this fails the batch, and the host looks for the rows.
    ///
    /// # Errors
    /// As [`Runtime::call`].
    fn call_suppressing(&mut self, function: u32, arguments: RecordBatch) -> Result<(ArrayRef, Suppressed), RemoteError> {
        self.call(function, arguments).map(|result| (result, Suppressed::default()))
    }

    /// Shared memory is short: lets go of arguments that nobody can reach any more and that wait to be collected.
    fn collect(&mut self) {}

    /// What tells which line keeps an argument, in a language that can find out. The host asks only where its user wants to know.
    fn tracer(&self) -> Option<Tracer> {
        None
    }

    /// Opens a batches function over its input; what the iterator gives is sent to the host.
    ///
    /// # Errors
    /// What the function raised before its first result.
    fn open(&mut self, function: u32, input: Input) -> Result<Results, RemoteError>;
}

/// The results of a batches function.
pub type Results = Box<dyn Iterator<Item = Result<RecordBatch, RemoteError>>>;

/// Serves the host at the other end of `descriptor` until it says goodbye.
///
/// A thread of its own watches the link: when the host is gone the process ends at once, whatever the interpreter is doing.
///
/// # Errors
/// `PROTOCOL_VIOLATION` and its like; a host that is gone is no error.
pub fn serve(descriptor: OwnedFd, runtime: &mut dyn Runtime) -> Result<()> {
    // What the function starts must not inherit the link: it would keep it open after this process's death.
    rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC).map_err(|error| Error::system(Code::System, "the link is not open", error))?;
    let link = WorkerLink::new(descriptor);
    watch(&link)?;
    let Received::Message(ToWorker::Hello(_)) = link.receive()? else {
        return Err(Error::new(Code::ProtocolViolation, "the first message is not a hello"));
    };
    step!("worker::hello");
    // The host compares: it is the one who can tell its user.
    let ready = Ready {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sizes: Descriptor::SIZES,
        language: runtime.language(),
        rings: true,
    };
    link.send(&ToHost::Ready(ready))?;
    step!("worker::ready");
    runtime.tracer().into_iter().for_each(|tracer| link.set_tracer(tracer));
    let mut server = Server { link, runtime, functions: HashMap::new() };
    let served = server.serve();
    if served.is_err() && !server.link.is_open() {
        end_without_link();
    }
    served
}

struct Server<'a> {
    link: Arc<WorkerLink>,
    runtime: &'a mut dyn Runtime,
    functions: HashMap<u32, Loaded>,
}

struct Loaded {
    signature: Result<Signature, RemoteError>,
    /// The schema of the last result, which the next one most likely has.
    schema: Option<SchemaRef>,
}

impl Server<'_> {
    fn serve(&mut self) -> Result<()> {
        loop {
            match self.link.receive()? {
                Received::End | Received::Message(ToWorker::Bye) => {
                    step!("worker::bye");
                    return Ok(());
                }
                Received::Message(message) => self.handle(message)?,
            }
        }
    }

    fn handle(&mut self, message: ToWorker) -> Result<()> {
        match message {
            ToWorker::Define { function, source, import_path } => {
                step!("worker::define");
                let runtime = &mut *self.runtime;
                let outcome = caught(|| runtime.define(function, &source, &import_path));
                self.still_linked()?;
                self.functions.insert(function, Loaded { signature: outcome.clone(), schema: None });
                step!("worker::defined");
                self.link.send(&ToHost::Defined { function, outcome })
            }
            ToWorker::Call { call, function, schema, lease, suppress, descriptor } => {
                step!("worker::call");
                let began = Instant::now();
                self.link.begin_answer();
                let outcome = self.call(function, schema, lease, suppress, &descriptor);
                self.still_linked()?;
                let send = |(result, suppressed)| self.link.send_result(call, result, suppressed, began.elapsed()).map_err(RemoteError::from);
                let outcome = outcome.and_then(send);
                if let Err(error) = outcome {
                    self.link.send(&ToHost::Failed { call, error })?;
                }
                step!("worker::answered");
                self.link.end_answer()
            }
            ToWorker::Open { call, function, schema, credit } => {
                step!("worker::open");
                self.link.set_stream(Some(call));
                let outcome = self.stream(call, function, schema, credit);
                self.link.set_stream(None);
                self.still_linked()?;
                step!("worker::end");
                let said = match outcome {
                    Ok(()) => ToHost::Done { call },
                    Err(error) => ToHost::Failed { call, error },
                };
                self.link.send(&said)
            }
            // Left over from a stream that has ended on this side.
            ToWorker::Input { lease, .. } => {
                self.link.release(lease);
                Ok(())
            }
            ToWorker::End { .. } | ToWorker::Credit { .. } | ToWorker::Cancel { .. } => Ok(()),
            ToWorker::Trim => {
                self.runtime.collect();
                Ok(())
            }
            // Answers to wishes for memory that were fulfilled meanwhile.
            ToWorker::TryAgain | ToWorker::NoSegment { .. } => Ok(()),
            other => Err(Error::new(Code::ProtocolViolation, format!("{other:?} is not expected here"))),
        }
    }

    /// Whether the function has left the link alone. Rings would still carry its answer, and the next function be blamed for the end.
    fn still_linked(&self) -> Result<()> {
        if self.link.is_open() { Ok(()) } else { Err(Error::new(Code::HostGone, "the link to the host is closed")) }
    }

    fn signature(&self, function: u32, kind: impl Fn(Kind) -> bool) -> Result<&Signature, RemoteError> {
        let unknown = || RemoteError::new(Code::ProtocolViolation, format!("function {function} was not defined"));
        let signature = self.functions.get(&function).ok_or_else(unknown)?.signature.as_ref().map_err(Clone::clone)?;
        if kind(signature.kind) { Ok(signature) } else { Err(RemoteError::new(Code::ProtocolViolation, "the call does not fit the function's kind")) }
    }

    fn call(&mut self, function: u32, schema: u32, lease: u64, suppress: bool, descriptor: &[u8]) -> Result<(RecordBatch, Suppressed), RemoteError> {
        self.signature(function, |kind| kind != Kind::Batches)?;
        let arguments = self.link.import(schema, lease, descriptor)?;
        let rows = arguments.num_rows();
        let runtime = &mut *self.runtime;
        step!("worker::arguments");
        let (result, suppressed) = caught(|| match suppress {
            true => runtime.call_suppressing(function, arguments),
            false => runtime.call(function, arguments).map(|result| (result, Suppressed::default())),
        })?;
        step!("worker::returned");
        if result.len() != rows {
            let message = format!("the function returned {} rows for {rows}", result.len());
            return Err(RemoteError::new(Code::WrongLength, message));
        }
        let schema = self.result_schema(function, &result)?;
        // Nulls in a field declared as without are for the host to judge: it must check anyway.
        let schema = if result.null_count() > 0 && !schema.field(0).is_nullable() { nullable(&schema) } else { schema };
        let batch = RecordBatch::try_new(schema, vec![result]).map_err(|error| RemoteError::new(Code::InvalidData, error.to_string()))?;
        Ok((batch, suppressed))
    }

    fn result_schema(&mut self, function: u32, result: &ArrayRef) -> Result<SchemaRef, RemoteError> {
        let signature = self.signature(function, |_| true)?;
        let kind = result.data_type();
        if let Some(known) = self.functions.get(&function).and_then(|loaded| loaded.schema.as_ref()).filter(|_| is_plain(kind))
            && known.field(0).data_type() == kind
        {
            return Ok(known.clone());
        }
        let declared = signature.result_schema(kind);
        let fresh = if declared.field(0).data_type() == kind {
            declared
        } else {
            let field = declared.field(0).clone().with_data_type(kind.clone());
            Arc::new(Schema::new(vec![field]))
        };
        let loaded = self.functions.get_mut(&function).expect("the signature was found above");
        match &loaded.schema {
            // The same pointer each time makes the search for its number one comparison.
            Some(known) if same_schema(known, &fresh) => Ok(known.clone()),
            _ => Ok(loaded.schema.insert(fresh).clone()),
        }
    }

    fn stream(&mut self, call: u64, function: u32, schema: u32, mut credit: u32) -> Result<(), RemoteError> {
        self.signature(function, |kind| kind == Kind::Batches)?;
        let input = Input { feed: Feed::Link { link: self.link.clone(), call, schema }, ended: false };
        let runtime = &mut *self.runtime;
        let mut results = caught(|| runtime.open(function, input))?;
        let mut began = Instant::now();
        while let Some(batch) = caught(|| results.next().transpose())? {
            while credit == 0 {
                match self
                    .link
                    .wait_for_next(|message| matches!(message, ToWorker::Credit { call: c, .. } | ToWorker::Cancel { call: c } if *c == call))?
                {
                    ToWorker::Credit { results, .. } => credit += results,
                    _ => return Err(RemoteError::new(Code::Cancelled, "the call was cancelled")),
                }
            }
            credit -= 1;
            step!("worker::yielded");
            self.link.send_result(call, batch, Suppressed::default(), began.elapsed())?;
            began = Instant::now();
        }
        Ok(())
    }
}

fn nullable(schema: &SchemaRef) -> SchemaRef {
    Arc::new(Schema::new(vec![schema.field(0).clone().with_nullable(true)]))
}

/// A panic in a worker is a failed batch, not the end of the worker.
fn caught<T>(run: impl FnOnce() -> Result<T, RemoteError>) -> Result<T, RemoteError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(RemoteError::new(Code::Internal, format!("panic in the worker: {}", text.unwrap_or("without a message"))))
    })
}

/// The input of a batches function: each `next` takes a batch that is there, or waits for the host to send one.
pub struct Input {
    feed: Feed,
    ended: bool,
}

/// Where the input of a batches function comes from.
enum Feed {
    Link {
        link: Arc<WorkerLink>,
        call: u64,
        schema: u32,
    },
    /// Batches that are here already.
    Kept(SchemaRef, std::vec::IntoIter<RecordBatch>),
}

impl Input {
    /// The schema of the batches.
    ///
    /// # Errors
    /// `PROTOCOL_VIOLATION` where the host did not send it.
    pub fn schema(&self) -> Result<SchemaRef> {
        match &self.feed {
            Feed::Link { link, schema, .. } => link.schema(*schema),
            Feed::Kept(schema, _) => Ok(schema.clone()),
        }
    }

    /// An input of batches that are here already.
    pub(crate) fn of(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        Self { feed: Feed::Kept(schema, batches.into_iter()), ended: false }
    }

    fn take(&mut self) -> Result<Option<RecordBatch>, RemoteError> {
        let (link, call, schema) = match &mut self.feed {
            Feed::Link { link, call, schema } => (link, *call, *schema),
            Feed::Kept(_, batches) => return Ok(batches.next()),
        };
        let mine = |message: &ToWorker| match message {
            ToWorker::Input { call: c, .. } | ToWorker::End { call: c, .. } | ToWorker::Cancel { call: c } => *c == call,
            _ => false,
        };
        step!("worker::ask");
        // Also where an input is there already: it tells the host that there is room for one more.
        if !link.ask(call)? {
            return Err(RemoteError::new(Code::Cancelled, "the function has ended"));
        }
        match link.wait_for_next(mine)? {
            ToWorker::Input { lease, descriptor, .. } => Ok(Some(link.import(schema, lease, &descriptor)?)),
            ToWorker::End { error: Some(error), .. } => Err(error),
            ToWorker::End { error: None, .. } => Ok(None),
            _ => Err(RemoteError::new(Code::Cancelled, "the call was cancelled")),
        }
    }
}

impl Iterator for Input {
    type Item = Result<RecordBatch, RemoteError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.take().transpose();
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}
