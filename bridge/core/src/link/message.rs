//! The messages, and how they are written and read. Unknown kinds, flags and left-over bytes are refused.

use std::time::Duration;

use arrow_schema::{DataType, Field, Schema};

use super::suppressed::Suppressed;
use super::wire::{Reader, Writer, violation};
use crate::exchange::{self, Reason};
use crate::failure::{Code, Error, Remote, Result};
use crate::function::{Kind, OnError, Parameter, Signature, Source};
use crate::memory::{Extent, Role};

/// The first message: what the host speaks. Everything is checked before anything else is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// [`super::PROTOCOL`] of the sender.
    pub protocol: u32,
    /// The version of the sender's crate.
    pub version: String,
    /// Bytes of a descriptor's header, node and buffer entry.
    pub sizes: [u32; 3],
    /// The worker's number in its pool.
    pub worker: u32,
}

/// The answer: what the worker speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// [`super::PROTOCOL`] of the sender.
    pub protocol: u32,
    /// The version of the sender's crate.
    pub version: String,
    /// Bytes of a descriptor's header, node and buffer entry.
    pub sizes: [u32; 3],
    /// The language and its version, such as `Python 3.11.7`.
    pub language: String,
    /// Whether it takes messages through a ring in shared memory. Left out by a worker that knows of none.
    pub rings: bool,
}

/// A failure inside a worker, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteError {
    /// The code that the host's error will bear.
    pub code: Code,
    /// The exception's type; empty where there was none.
    pub kind: String,
    /// What happened.
    pub message: String,
    /// The traceback, cut to the user's frames; empty where there is none.
    pub traceback: String,
    /// The row in the batch, where one row is to blame.
    pub row: Option<u64>,
    /// What to do, where that is known.
    pub hint: Option<String>,
}

impl RemoteError {
    /// A failure without an exception.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, kind: String::new(), message: message.into(), traceback: String::new(), row: None, hint: None }
    }

    /// The host's error for it.
    pub fn into_error(self) -> Error {
        // Only an exception of the user's is its own sentence; other failures already say what failed and how.
        let raised = self.code.family() == 3 && !self.kind.is_empty();
        let message = match (raised, self.message.is_empty()) {
            (false, _) => self.message.clone(),
            (true, true) => self.kind.clone(),
            (true, false) => format!("{}: {}", self.kind, self.message),
        };
        let mut error = Error::new(self.code, message);
        if !self.kind.is_empty() {
            error = error.with_remote(Remote { kind: self.kind, message: self.message, traceback: self.traceback });
        }
        match self.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

impl From<Error> for RemoteError {
    fn from(error: Error) -> Self {
        Self { hint: error.hint().map(str::to_owned), ..Self::new(error.code(), error.message()) }
    }
}

/// What a worker's part of the copy ledger says of one result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// Bytes that were in shared memory already.
    pub shared: u64,
    /// Bytes that were copied, by reason.
    pub copied: Vec<(Reason, u64)>,
}

/// From the host to a worker. `docs/protocol.md` says when each may be sent.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are described in docs/protocol.md")]
pub enum ToWorker {
    Hello(Hello),
    /// A segment; its descriptor comes beside the packet.
    Segment {
        id: u32,
        role: Role,
        len: u64,
    },
    /// There is no room for the segment that was asked for.
    NoSegment {
        error: RemoteError,
    },
    /// The answer to a wish for memory that releases on their way fulfil: look again.
    TryAgain,
    Define {
        function: u32,
        source: Source,
        import_path: Vec<String>,
    },
    Schema {
        schema: u32,
        bytes: Vec<u8>,
    },
    Call {
        call: u64,
        function: u32,
        schema: u32,
        lease: u64,
        /// Whether rows for which the function fails may be null instead of failing the batch.
        suppress: bool,
        descriptor: Vec<u8>,
    },
    Open {
        call: u64,
        function: u32,
        schema: u32,
        credit: u32,
    },
    Input {
        call: u64,
        lease: u64,
        descriptor: Vec<u8>,
    },
    End {
        call: u64,
        error: Option<RemoteError>,
    },
    Credit {
        call: u64,
        results: u32,
    },
    Cancel {
        call: u64,
    },
    /// Results that nobody in the host reads any more.
    Release {
        results: Vec<u64>,
    },
    /// Segments that the host has given up.
    Forget {
        segments: Vec<u32>,
    },
    /// Memory is short: segments of the worker's own in which nothing lies are to be given up.
    Trim,
    /// What keeps the memory of these leases? Each is named with the extents to look for.
    Trace {
        ask: u64,
        leases: Vec<(u64, Vec<Extent>)>,
    },
    /// A message that lies in shared memory.
    Spilled {
        lease: u64,
        extent: Extent,
    },
    /// One side's segment of the rings, whose descriptor comes beside the packet: the host's, or the worker's own.
    Ring {
        role: Role,
        len: u64,
    },
    /// There are messages in the ring for a reader who has fallen asleep.
    Look,
    Bye,
}

/// From a worker to the host.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are described in docs/protocol.md")]
pub enum ToHost {
    Ready(Ready),
    Mapped {
        segment: u32,
    },
    NeedSegment {
        len: u64,
    },
    Defined {
        function: u32,
        outcome: Result<Signature, RemoteError>,
    },
    Schema {
        schema: u32,
        bytes: Vec<u8>,
    },
    Result {
        call: u64,
        result: u64,
        schema: u32,
        copies: Copies,
        busy: Duration,
        suppressed: Suppressed,
        descriptor: Vec<u8>,
    },
    Failed {
        call: u64,
        error: RemoteError,
    },
    /// A batches function asks for an input.
    Next {
        call: u64,
    },
    Done {
        call: u64,
    },
    Release {
        leases: Vec<u64>,
    },
    /// A segment of the worker's own in which nothing lies any more.
    Discard {
        segment: u32,
    },
    /// The answer to a question about leases: what keeps them, as far as it was found.
    Traced {
        ask: u64,
        keepers: Vec<(u64, String)>,
    },
    Spilled {
        result: u64,
        extent: Extent,
    },
    /// Both segments of the rings are mapped.
    RingMapped,
    /// There are messages in the ring for a reader who has fallen asleep.
    Look,
}

impl ToWorker {
    /// The bytes of the message.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        match self {
            Self::Hello(hello) => {
                w.u16(1).u32(hello.protocol);
                hello.sizes.iter().for_each(|&size| _ = w.u32(size));
                w.u32(hello.worker).text(&hello.version);
            }
            Self::Segment { id, role, len } => _ = w.u16(2).u32(*id).u8(u8::from(*role == Role::Output)).u64(*len),
            Self::NoSegment { error } => put_error(w.u16(3), error),
            Self::TryAgain => _ = w.u16(4),
            Self::Define { function, source, import_path } => {
                put_source(w.u16(5).u32(*function), source);
                w.list(import_path, |w, folder| _ = w.text(folder));
            }
            Self::Schema { schema, bytes } => _ = w.u16(6).u32(*schema).blob(bytes),
            Self::Call { call, function, schema, lease, suppress, descriptor } => {
                w.u16(7).u64(*call).u32(*function).u32(*schema).u64(*lease).u8(u8::from(*suppress)).blob(descriptor);
            }
            Self::Open { call, function, schema, credit } => _ = w.u16(8).u64(*call).u32(*function).u32(*schema).u32(*credit),
            Self::Input { call, lease, descriptor } => _ = w.u16(9).u64(*call).u64(*lease).blob(descriptor),
            Self::End { call, error } => _ = w.u16(10).u64(*call).option(error.as_ref(), put_error),
            Self::Credit { call, results } => _ = w.u16(11).u64(*call).u32(*results),
            Self::Cancel { call } => _ = w.u16(12).u64(*call),
            Self::Release { results } => _ = w.u16(13).list(results, |w, id| _ = w.u64(*id)),
            Self::Forget { segments } => _ = w.u16(14).list(segments, |w, id| _ = w.u32(*id)),
            Self::Spilled { lease, extent } => put_extent(w.u16(15).u64(*lease), extent),
            Self::Bye => _ = w.u16(16),
            Self::Trim => _ = w.u16(17),
            Self::Trace { ask, leases } => {
                w.u16(18).u64(*ask).list(leases, |w, (lease, extents)| _ = w.u64(*lease).list(extents, put_extent));
            }
            Self::Ring { role, len } => _ = w.u16(19).u8(u8::from(*role == Role::Output)).u64(*len),
            Self::Look => _ = w.u16(20),
        }
        w.bytes
    }

    /// The message in these bytes.
    ///
    /// # Errors
    /// `PROTOCOL_VIOLATION` for anything but exactly one message.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let message = match r.u16()? {
            1 => {
                let protocol = r.u32()?;
                let sizes = [r.u32()?, r.u32()?, r.u32()?];
                // A later version may say more: only what every version has is read before the versions are compared.
                return Ok(Self::Hello(Hello { protocol, sizes, worker: r.u32()?, version: r.text()? }));
            }
            2 => Self::Segment { id: r.u32()?, role: if r.flag()? { Role::Output } else { Role::Input }, len: r.u64()? },
            3 => Self::NoSegment { error: get_error(&mut r)? },
            4 => Self::TryAgain,
            5 => Self::Define { function: r.u32()?, source: get_source(&mut r)?, import_path: r.list(Reader::text)? },
            6 => Self::Schema { schema: r.u32()?, bytes: r.blob()? },
            7 => Self::Call { call: r.u64()?, function: r.u32()?, schema: r.u32()?, lease: r.u64()?, suppress: r.flag()?, descriptor: r.blob()? },
            8 => Self::Open { call: r.u64()?, function: r.u32()?, schema: r.u32()?, credit: r.u32()? },
            9 => Self::Input { call: r.u64()?, lease: r.u64()?, descriptor: r.blob()? },
            10 => Self::End { call: r.u64()?, error: r.option(get_error)? },
            11 => Self::Credit { call: r.u64()?, results: r.u32()? },
            12 => Self::Cancel { call: r.u64()? },
            13 => Self::Release { results: r.list(Reader::u64)? },
            14 => Self::Forget { segments: r.list(Reader::u32)? },
            15 => Self::Spilled { lease: r.u64()?, extent: get_extent(&mut r)? },
            16 => Self::Bye,
            17 => Self::Trim,
            18 => Self::Trace { ask: r.u64()?, leases: r.list(|r| Ok((r.u64()?, r.list(get_extent)?)))? },
            19 => Self::Ring { role: if r.flag()? { Role::Output } else { Role::Input }, len: r.u64()? },
            20 => Self::Look,
            other => return Err(violation(&format!("a worker knows no message {other}"))),
        };
        r.end()?;
        Ok(message)
    }
}

impl ToHost {
    /// The bytes of the message.
    ///
    /// # Errors
    /// `BAD_SCHEMA` for a signature with a type that cannot be sent.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut w = Writer::default();
        match self {
            Self::Ready(ready) => {
                w.u16(101).u32(ready.protocol);
                ready.sizes.iter().for_each(|&size| _ = w.u32(size));
                w.text(&ready.version).text(&ready.language).u8(u8::from(ready.rings));
            }
            Self::Mapped { segment } => _ = w.u16(102).u32(*segment),
            Self::NeedSegment { len } => _ = w.u16(103).u64(*len),
            Self::Defined { function, outcome } => {
                w.u16(104).u32(*function).u8(u8::from(outcome.is_ok()));
                match outcome {
                    Ok(signature) => put_signature(&mut w, signature)?,
                    Err(error) => put_error(&mut w, error),
                }
            }
            Self::Schema { schema, bytes } => _ = w.u16(105).u32(*schema).blob(bytes),
            Self::Result { call, result, schema, copies, busy, suppressed, descriptor } => {
                w.u16(106).u64(*call).u64(*result).u32(*schema).u64(busy.as_nanos() as u64).u64(copies.shared);
                w.list(&copies.copied, |w, (reason, bytes)| _ = w.u8(reason.number()).u64(*bytes));
                suppressed.put(&mut w);
                w.blob(descriptor);
            }
            Self::Failed { call, error } => put_error(w.u16(107).u64(*call), error),
            Self::Next { call } => _ = w.u16(108).u64(*call),
            Self::Done { call } => _ = w.u16(109).u64(*call),
            Self::Release { leases } => _ = w.u16(110).list(leases, |w, id| _ = w.u64(*id)),
            Self::Discard { segment } => _ = w.u16(112).u32(*segment),
            Self::Spilled { result, extent } => put_extent(w.u16(111).u64(*result), extent),
            Self::Traced { ask, keepers } => _ = w.u16(113).u64(*ask).list(keepers, |w, (lease, keeper)| _ = w.u64(*lease).text(keeper)),
            Self::RingMapped => _ = w.u16(114),
            Self::Look => _ = w.u16(115),
        }
        Ok(w.bytes)
    }

    /// The message in these bytes.
    ///
    /// # Errors
    /// `PROTOCOL_VIOLATION` for anything but exactly one message, `BAD_SCHEMA` for a signature whose types do not hold together.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let message = match r.u16()? {
            101 => {
                let protocol = r.u32()?;
                let sizes = [r.u32()?, r.u32()?, r.u32()?];
                let (version, language) = (r.text()?, r.text()?);
                // What an older worker does not say it does not have.
                return Ok(Self::Ready(Ready { protocol, sizes, version, language, rings: r.flag().unwrap_or(false) }));
            }
            102 => Self::Mapped { segment: r.u32()? },
            103 => Self::NeedSegment { len: r.u64()? },
            104 => Self::Defined { function: r.u32()?, outcome: if r.flag()? { Ok(get_signature(&mut r)?) } else { Err(get_error(&mut r)?) } },
            105 => Self::Schema { schema: r.u32()?, bytes: r.blob()? },
            106 => Self::Result {
                call: r.u64()?,
                result: r.u64()?,
                schema: r.u32()?,
                busy: Duration::from_nanos(r.u64()?),
                copies: get_copies(&mut r)?,
                suppressed: Suppressed::get(&mut r)?,
                descriptor: r.blob()?,
            },
            107 => Self::Failed { call: r.u64()?, error: get_error(&mut r)? },
            108 => Self::Next { call: r.u64()? },
            109 => Self::Done { call: r.u64()? },
            110 => Self::Release { leases: r.list(Reader::u64)? },
            112 => Self::Discard { segment: r.u32()? },
            111 => Self::Spilled { result: r.u64()?, extent: get_extent(&mut r)? },
            113 => Self::Traced { ask: r.u64()?, keepers: r.list(|r| Ok((r.u64()?, r.text()?)))? },
            114 => Self::RingMapped,
            115 => Self::Look,
            other => return Err(violation(&format!("a host knows no message {other}"))),
        };
        r.end()?;
        Ok(message)
    }
}

fn get_copies(r: &mut Reader<'_>) -> Result<Copies> {
    let shared = r.u64()?;
    let copied = r.list(|r| {
        let number = r.u8()?;
        let reason = Reason::from_number(number).ok_or_else(|| violation(&format!("there is no reason {number} to copy")))?;
        Ok((reason, r.u64()?))
    })?;
    Ok(Copies { shared, copied })
}

fn put_extent(w: &mut Writer, extent: &Extent) {
    w.u32(extent.segment).u64(extent.offset).u64(extent.len);
}

fn get_extent(r: &mut Reader<'_>) -> Result<Extent> {
    Ok(Extent { segment: r.u32()?, offset: r.u64()?, len: r.u64()? })
}

pub(super) fn put_error(w: &mut Writer, error: &RemoteError) {
    w.u16(error.code.number()).text(&error.kind).text(&error.message).text(&error.traceback);
    w.option(error.row, |w, row| _ = w.u64(row)).option(error.hint.as_deref(), |w, hint| _ = w.text(hint));
}

pub(super) fn get_error(r: &mut Reader<'_>) -> Result<RemoteError> {
    let number = r.u16()?;
    Ok(RemoteError {
        code: Code::from_number(number).ok_or_else(|| violation(&format!("there is no code {number}")))?,
        kind: r.text()?,
        message: r.text()?,
        traceback: r.text()?,
        row: r.option(Reader::u64)?,
        hint: r.option(Reader::text)?,
    })
}

fn put_source(w: &mut Writer, source: &Source) {
    match source {
        Source::File { path, name } => _ = w.u8(1).text(&path.to_string_lossy()).text(name),
        Source::Module { module, name } => _ = w.u8(2).text(module).text(name),
        Source::Pickle { name, bytes } => _ = w.u8(3).text(name).blob(bytes),
    }
}

fn get_source(r: &mut Reader<'_>) -> Result<Source> {
    match r.u8()? {
        1 => Ok(Source::File { path: r.text()?.into(), name: r.text()? }),
        2 => Ok(Source::Module { module: r.text()?, name: r.text()? }),
        3 => Ok(Source::Pickle { name: r.text()?, bytes: r.blob()?.into() }),
        other => Err(violation(&format!("there is no function source {other}"))),
    }
}

fn put_signature(w: &mut Writer, signature: &Signature) -> Result<()> {
    let kind = match signature.kind {
        Kind::Scalar => 1,
        Kind::Row => 2,
        Kind::Batches => 3,
    };
    // A type travels as a schema of one field, so that there is one encoding of types only.
    let types = signature.parameters.iter().map(|parameter| parameter.data_type.as_ref().map(type_to_schema).transpose());
    let types = types.collect::<Result<Vec<_>>>()?;
    let returns = signature.returns.as_ref().map(|schema| exchange::encode_schema(schema)).transpose()?;
    w.text(&signature.name).u8(kind).u8(u8::from(signature.variadic));
    w.u32(signature.parameters.len() as u32);
    for (parameter, data_type) in signature.parameters.iter().zip(types) {
        w.text(&parameter.name).u8(u8::from(parameter.optional)).option(data_type, |w, bytes| _ = w.blob(&bytes));
    }
    w.option(returns, |w, bytes| _ = w.blob(&bytes));
    w.option(signature.deadline, |w, deadline| _ = w.u64(deadline.as_nanos() as u64)).u32(signature.retries);
    w.u8(policy_number(signature.on_error)).u8(u8::from(signature.deterministic));
    Ok(())
}

fn type_to_schema(data_type: &DataType) -> Result<Vec<u8>> {
    exchange::encode_schema(&Schema::new(vec![Field::new("", data_type.clone(), true)]))
}

fn schema_to_type(bytes: &[u8]) -> Result<DataType> {
    match exchange::decode_schema(bytes)?.fields().as_ref() {
        [field] => Ok(field.data_type().clone()),
        _ => Err(violation("a parameter has not exactly one type")),
    }
}

fn get_signature(r: &mut Reader<'_>) -> Result<Signature> {
    let name = r.text()?;
    let kind = match r.u8()? {
        1 => Kind::Scalar,
        2 => Kind::Row,
        3 => Kind::Batches,
        other => return Err(violation(&format!("there is no function kind {other}"))),
    };
    let variadic = r.flag()?;
    let parameters = r.list(|r| {
        let (name, optional) = (r.text()?, r.flag()?);
        let data_type = r.option(|r| schema_to_type(&r.blob()?))?;
        Ok(Parameter { name, data_type, optional })
    })?;
    let returns = r.option(|r| exchange::decode_schema(&r.blob()?))?;
    let deadline = r.option(|r| Ok(Duration::from_nanos(r.u64()?)))?;
    let retries = r.u32()?;
    let number = r.u8()?;
    let on_error = OnError::ALL.iter().copied().find(|&policy| policy_number(policy) == number);
    let on_error = on_error.ok_or_else(|| violation(&format!("there is no policy {number} for errors")))?;
    Ok(Signature { name, kind, parameters, variadic, returns, deadline, retries, on_error, deterministic: r.flag()? })
}

fn policy_number(policy: OnError) -> u8 {
    match policy {
        OnError::Raise => 0,
        OnError::Null => 1,
        OnError::DeadLetter => 2,
    }
}
