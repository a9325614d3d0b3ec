//! The lease books of one link: what its worker has been lent, what this host reads of that worker's results, and since when.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_schema::SchemaRef;

use super::keep::Keep;
use super::message::ToHost;
use super::result::Lent;
use crate::exchange::Descriptor;
use crate::memory::{Extent, Segment};

/// Buffers of one argument that a worker is asked to look for: who keeps one of many columns keeps the batch's lease.
const EXTENTS_ASKED: usize = 64;
/// The most characters of a worker's words on what keeps a lease.
const LONGEST_KEEPER: usize = 300;

/// A batch ready to be sent: its descriptor, and what must live while a worker reads it. It can be sent to one worker after another.
#[derive(Clone)]
pub(crate) struct Outgoing {
    /// Its number in its stream.
    pub(crate) batch: u64,
    pub(crate) schema: SchemaRef,
    pub(crate) descriptor: Arc<[u8]>,
    pub(crate) extents: Arc<[Extent]>,
    /// The segments of the extents. They may leave the pool before the batch is sent: a batch can lie in the memory of a worker that has died since.
    pub(crate) segments: Arc<[Arc<Segment>]>,
    pub(crate) keep: Arc<Keep>,
}

/// Who reads what a lease names, and so has to let go of it before its memory is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A worker: it was lent an argument.
    Worker,
    /// This process: it has a result.
    Host,
}

impl Holder {
    /// The word for it: `worker` or `host`.
    pub fn name(self) -> &'static str {
        match self {
            Holder::Worker => "worker",
            Holder::Host => "host",
        }
    }
}

/// One batch in shared memory, and who holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who has to let go of it.
    pub holder: Holder,
    /// The worker that was lent the argument, or gave the result.
    pub worker: usize,
    /// Its process.
    pub process: Option<u32>,
    /// The function that was called. Empty for a message of the pool's own.
    pub function: String,
    /// The batch's number in its stream, counted from 0: of the argument, or of the result.
    pub batch: u64,
    /// The call's number in its pool.
    pub call: u64,
    /// Bytes that it names. Several leases may name the same bytes.
    pub bytes: u64,
    /// How long ago it was lent, or came.
    pub age: Duration,
    /// Whether the function has answered, or in a stream has asked for the batch after it: an argument that is still held then was kept.
    pub answered: bool,
    /// What keeps it in the worker, with the line where that is known: `udfs.py:12 in keep: global `CACHE``. Only where the pool traces leases, the
    /// worker's language can tell, and it has; these are the worker's words.
    pub kept_by: Option<String>,
}

/// The right of the worker to read `extents`; `keep` holds the memory meanwhile.
pub(super) struct Loan {
    extents: Arc<[Extent]>,
    segments: Arc<[Arc<Segment>]>,
    keep: Arc<Keep>,
    about: About,
    answered: bool,
    argument: Option<Argument>,
    keeper: Option<String>,
}

/// Whose a lease is, and since when; all empty for a message of the pool's own.
struct About {
    call: u64,
    batch: u64,
    function: Arc<str>,
    since: Instant,
}

/// An argument of a worker's: what it is, and where it lies.
struct Argument {
    schema: SchemaRef,
    descriptor: Arc<[u8]>,
}

impl Argument {
    /// The name of the column that has a buffer there.
    fn column_at(&self, extent: &Extent) -> Option<&str> {
        let column = Descriptor::decode(&self.descriptor).ok()?.column_at(&self.schema, extent)?;
        Some(self.schema.field(column).name())
    }
}

/// A call that is under way.
struct Call {
    function: Arc<str>,
    stream: bool,
    /// Its batches that are not answered yet, in the order in which the worker has them.
    open: VecDeque<u64>,
    /// How often a stream's function has asked for a batch.
    asked: u64,
    results: u64,
    first: u64,
}

/// A result that this host reads.
struct Held {
    about: About,
    bytes: u64,
}

/// What a worker has been lent and has not given back, and what it has given and not been given back.
#[derive(Default)]
pub(super) struct Leases {
    lent: HashMap<u64, Loan>,
    last: u64,
    strays: u64,
    /// The names of the functions that the worker knows.
    functions: HashMap<u32, Arc<str>>,
    calls: HashMap<u64, Call>,
    results: HashMap<u64, Held>,
}

impl Leases {
    /// A number for a lease; numbers are never used twice.
    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The worker is told of a function.
    pub(super) fn define(&mut self, number: u32, name: &str) {
        self.functions.insert(number, name.into());
    }

    /// A call begins: one with one batch, or a stream.
    pub(super) fn begin(&mut self, call: u64, function: u32, first: u64, stream: bool) {
        let function = self.functions.get(&function).cloned().unwrap_or_else(nameless);
        self.calls.insert(call, Call { function, stream, open: VecDeque::new(), asked: 0, results: 0, first });
    }

    /// Lends a batch to a call that has begun.
    pub(super) fn lend(&mut self, call: u64, batch: &Outgoing) -> u64 {
        let number = self.number();
        let function = self.calls.get_mut(&call).map_or_else(nameless, |call| {
            call.open.push_back(number);
            call.function.clone()
        });
        let about = About { call, batch: batch.batch, function, since: Instant::now() };
        let argument = Argument { schema: batch.schema.clone(), descriptor: batch.descriptor.clone() };
        let (extents, segments, keep) = (batch.extents.clone(), batch.segments.clone(), batch.keep.clone());
        self.lent.insert(number, Loan { extents, segments, keep, about, answered: false, argument: Some(argument), keeper: None });
        number
    }

    /// Lends the memory of a message.
    pub(super) fn lend_message(&mut self, extent: Extent, segment: Arc<Segment>, keep: Keep) -> u64 {
        let number = self.number();
        let about = About { call: 0, batch: 0, function: nameless(), since: Instant::now() };
        let (extents, segments, keep) = ([extent].into(), [segment].into(), Arc::new(keep));
        let loan = Loan { extents, segments, keep, about, answered: false, argument: None, keeper: None };
        self.lent.insert(number, loan);
        number
    }

    /// What a message says of leases.
    pub(super) fn hear(&mut self, message: &ToHost) {
        match message {
            ToHost::Failed { call, .. } | ToHost::Done { call } => self.finish(*call),
            ToHost::Next { call } => self.asked(*call),
            _ => {}
        }
    }

    /// The function of a stream asks for a batch: it has done with those that it had.
    fn asked(&mut self, number: u64) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        call.asked += 1;
        // The first wish is for the first batch.
        if call.asked > 1
            && let Some(passed) = call.open.pop_front()
        {
            self.answered(passed);
        }
    }

    /// A call gave a result of so many bytes.
    pub(super) fn result(&mut self, number: u64, result: u64, bytes: u64) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let about = About { call: number, batch: call.first + call.results, function: call.function.clone(), since: Instant::now() };
        call.results += 1;
        let stream = call.stream;
        self.results.insert(result, Held { about, bytes });
        if !stream {
            self.finish(number);
        }
    }

    /// A call is at its end.
    pub(super) fn finish(&mut self, number: u64) {
        let call = self.calls.remove(&number);
        call.into_iter().flat_map(|call| call.open).for_each(|lease| self.answered(lease));
    }

    fn answered(&mut self, number: u64) {
        if let Some(loan) = self.lent.get_mut(&number) {
            loan.answered = true;
        }
    }

    /// The host does not read a result any more.
    pub(super) fn drop_result(&mut self, result: u64) {
        self.results.remove(&result);
    }

    /// Ends leases, and gives them for their holder to drop without a lock: what they keep may be the last reader of another link's result, whose
    /// books are behind a lock too.
    pub(super) fn end(&mut self, numbers: &[u64]) -> Vec<Loan> {
        let ended: Vec<Loan> = numbers.iter().filter_map(|number| self.lent.remove(number)).collect();
        // A number is never used again, so a stale or doubled release can only be dropped.
        self.strays += (numbers.len() - ended.len()) as u64;
        ended
    }

    /// Whether a lease names a segment.
    pub(super) fn name(&self, segment: u32) -> bool {
        self.lent.values().any(|loan| loan.extents.iter().any(|extent| extent.segment == segment))
    }

    /// What keeps a range of memory that the worker was lent.
    pub(super) fn lent(&self, extent: Extent) -> Option<Lent> {
        let loan = self.lent.values().find(|loan| loan.names(&extent))?;
        let segment = loan.segments.iter().find(|segment| segment.id() == extent.segment)?;
        Some((extent, segment.clone(), loan.keep.clone()))
    }

    /// The argument that lies at a place in the segment with this inode, in words; where several do, one that is not answered.
    pub(super) fn written_to(&self, inode: u64, offset: u64) -> Option<String> {
        let segment = self.lent.values().flat_map(|loan| loan.segments.iter()).find(|segment| segment.inode() == Some(inode))?;
        let extent = Extent { segment: segment.id(), offset, len: 1 };
        let found = self.lent.values().filter(|loan| loan.names(&extent)).min_by_key(|loan| (loan.answered, loan.about.batch));
        let column = found.and_then(|loan| loan.argument.as_ref()?.column_at(&extent));
        Some(match (found, column) {
            (Some(loan), Some(column)) if loan.answered => format!("column `{column}` of batch {}, which it had kept", loan.about.batch),
            (_, Some(column)) => format!("its input column `{column}`"),
            (_, None) => "shared memory beside its input".to_owned(),
        })
    }

    /// How many arguments are lent, and their bytes.
    pub(super) fn totals(&self) -> (usize, u64) {
        (self.lent.len(), self.lent.values().map(Loan::bytes).sum())
    }

    /// All of it, with the number of each; that of a result is no lease of the worker's.
    pub(super) fn list(&self, worker: usize, process: Option<u32>) -> Vec<(u64, Lease)> {
        let lease = |holder, about: &About, bytes, answered, keeper: Option<&String>| Lease {
            holder,
            worker,
            process,
            function: about.function.to_string(),
            batch: about.batch,
            call: about.call,
            bytes,
            age: about.since.elapsed(),
            answered,
            kept_by: keeper.cloned(),
        };
        let lent =
            self.lent.iter().map(|(&number, loan)| (number, lease(Holder::Worker, &loan.about, loan.bytes(), loan.answered, loan.keeper.as_ref())));
        let results = self.results.iter().map(|(&number, held)| (number, lease(Holder::Host, &held.about, held.bytes, true, None)));
        lent.chain(results).collect()
    }

    /// Arguments that were answered and are still held, the oldest first, as many as a message of so many bytes can name.
    pub(super) fn kept(&self, most_bytes: usize) -> Vec<(u64, Vec<Extent>)> {
        let mut kept: Vec<_> = self.lent.iter().filter(|(_, loan)| loan.answered && loan.argument.is_some()).collect();
        kept.sort_unstable_by_key(|(number, _)| **number);
        let mut bytes = 0;
        let named = kept.into_iter().map(|(&number, loan)| (number, loan.extents.iter().take(EXTENTS_ASKED).copied().collect::<Vec<_>>()));
        let fits = |named: &(u64, Vec<Extent>)| {
            bytes += 12 + 20 * named.1.len();
            bytes <= most_bytes
        };
        named.take_while(fits).collect()
    }

    /// A worker's words on what keeps a lease; what is not held any more needs no keeper.
    pub(super) fn note_keeper(&mut self, number: u64, keeper: &str) {
        if let Some(loan) = self.lent.get_mut(&number) {
            loan.keeper = Some(keeper.chars().filter(|letter| !letter.is_control()).take(LONGEST_KEEPER).collect());
        }
    }

    /// Releases that named no lease.
    pub(super) fn strays(&self) -> u64 {
        self.strays
    }
}

impl Loan {
    fn names(&self, extent: &Extent) -> bool {
        self.extents.iter().any(|lent| lent.contains(extent))
    }

    fn bytes(&self) -> u64 {
        self.extents.iter().map(|extent| extent.len).sum()
    }
}

fn nameless() -> Arc<str> {
    "".into()
}
