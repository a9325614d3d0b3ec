//! One run: a caller sends two batches, reads both results and sends the first of them on; the worker copies the first, gives the second back as it
//! lies and dies, or is done, at a step of its own. Compiled once with each bug.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use loom::sync::Mutex;
use loom::thread;
use transom::exchange::{Descriptor, Ledger, Mode, decode_schema, encode_schema};
use transom::link::{Copies, Suppressed, ToHost, ToWorker};
use transom::{Code, Error, Result};

use super::link::host::HostLink;
use super::link::incoming::Incoming;
use super::link::keep::Keep;
use super::link::leases::Outgoing;
use super::link::result::RawResult;
use super::memory::{Arena, Block, Extent, Role, Segment, Segments, Source, Space};
use crate::condvar::Condvar;
use crate::shim::{Socket, Wire};

/// Pieces of 64 bytes in a segment, each a batch of one number.
const PIECES: usize = 2;
const PIECE: usize = 64;
/// The worker's segment.
const OUTPUT: u32 = 100;
/// What a worker writes where nobody may read any more.
const STALE: u64 = 0xdead;

/// Segments for arguments, made as they are needed.
struct Maker {
    segments: Arc<Segments>,
    made: Arc<AtomicUsize>,
    living: Arc<AtomicUsize>,
}

impl Source for Maker {
    fn segment(&self, _len: usize) -> Result<Option<Arc<Segment>>> {
        let id = self.made.fetch_add(1, Ordering::Relaxed) as u32 + 1;
        let segment = Arc::new(Segment::new(id, Role::Input, PIECES * PIECE, self.living.clone()));
        self.segments.insert(segment.clone());
        Ok(Some(segment))
    }

    fn discard(&self, segment: Arc<Segment>) {
        self.segments.remove(segment.id());
    }
}

/// The pool's memory, and what has come of the calls.
struct Host {
    link: Arc<HostLink>,
    arena: Arena,
    segments: Arc<Segments>,
    wire: Arc<Wire>,
    /// The worker's segment.
    output: Arc<Segment>,
    answers: Mutex<Answers>,
    answered: Condvar,
    /// The worker has done everything and said so.
    done: AtomicBool,
}

#[derive(Default)]
struct Answers {
    results: HashMap<u64, RawResult>,
    over: bool,
}

struct Everywhere<'a>(&'a Host);

impl Space for Everywhere<'_> {
    fn allocate(&self, len: usize) -> Result<Block> {
        self.0.arena.allocate(len)
    }

    fn locate(&self, ptr: *const u8, len: usize) -> Option<Extent> {
        self.0.segments.locate(ptr, len)
    }
}

/// Runs it under every schedule of at most so many preemptions as loom is told. The worker ends after `steps` of its messages.
pub fn run(steps: usize) {
    let (wire, living) = (Arc::new(Wire::default()), Arc::new(AtomicUsize::new(0)));
    let segments = Arc::new(Segments::default());
    let maker = Maker { segments: segments.clone(), made: Arc::default(), living: living.clone() };
    let arena = Arena::new(maker);
    let link = Arc::new(HostLink::new(Socket::new(wire.clone()), segments.clone(), arena.clone(), Arc::new(Ledger::default())));
    let output = Arc::new(Segment::new(OUTPUT, Role::Output, PIECES * PIECE, living.clone()));
    link.grant(output.clone());
    let (answers, answered, done) = (Mutex::default(), Condvar::default(), AtomicBool::new(false));
    let host = Arc::new(Host { link, arena, segments, wire, output, answers, answered, done });
    let (supervised, worked) = (host.clone(), host.clone());
    let supervisor = thread::spawn(move || supervise(&supervised));
    let worker = thread::spawn(move || Worker::new(worked).work(steps));
    call(&host);
    worker.join().expect("the worker does what it should");
    supervisor.join().expect("the supervisor does what it should");
    // The worker is gone and nobody reads any more: everything is free, and the host would make no new segment.
    host.arena.discard_idle();
    assert_eq!(host.segments.totals(), (0, 0), "segments are in the pool that nobody uses");
    assert_eq!(host.link.leased(), (0, 0), "a dead worker has leases");
    assert_eq!(living.load(Ordering::Relaxed), 1, "segments live that nobody uses, besides the worker's, which this test has");
}

/// The caller's thread: calls, reads, and lets go.
fn call(host: &Host) {
    let [first, second] = [1, 2].map(|number| outgoing(host, number));
    for (number, batch) in [(1, first), (2, second)] {
        host.link.call(number, 0, false, &batch).expect("there is room");
        if number == 2 {
            // The segment leaves the pool while a batch is lent in it, as that of a worker that has died does.
            host.link.forget(batch.segments[0].id());
        }
    }
    let copied = read(host, 1);
    let forwarded = read(host, 2);
    if let Some(batch) = &forwarded {
        // What is written now must not be where the second result lies, which is the second argument.
        let _others = [outgoing(host, 3), outgoing(host, 5)];
        assert_eq!(value(batch), 2, "memory was used again while it was read");
    }
    drop(forwarded);
    if let Some(batch) = copied {
        assert_eq!(value(&batch), 1, "memory was used again while it was read");
        // A result as an argument, in the memory of the worker that gave it: the last to read it is then the lease.
        let again = shared(host, &batch);
        drop(batch);
        host.link.call(4, 0, false, &again).expect("nothing is to be copied");
    }
    host.link.send_releases();
    host.link.send(&ToWorker::Bye).expect("it is short");
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]))
}

fn outgoing(host: &Host, number: u64) -> Outgoing {
    let mut block = host.arena.allocate(8).expect("there is room");
    block.as_mut_slice().copy_from_slice(&number.to_le_bytes());
    let (extent, segment) = (block.extent(), block.segment().clone());
    batch_of(number, extent, segment, Keep::of_block(block))
}

fn shared(host: &Host, batch: &RecordBatch) -> Outgoing {
    let data = batch.column(0).to_data();
    let extent = Everywhere(host).locate(data.buffers()[0].as_ptr(), 8).unwrap_or(Extent { segment: OUTPUT, offset: 0, len: 8 });
    let keep = Keep::of_export(batch, &Everywhere(host), vec![], &[extent]);
    // The segment of a worker that has died has left the pool, and is not sent.
    let segments: Arc<[Arc<Segment>]> = host.segments.get(extent.segment).into_iter().collect();
    Outgoing { segments, ..parts(4, extent, keep) }
}

fn batch_of(number: u64, extent: Extent, segment: Arc<Segment>, keep: Keep) -> Outgoing {
    Outgoing { segments: [segment].into(), ..parts(number, extent, keep) }
}

fn parts(number: u64, extent: Extent, keep: Keep) -> Outgoing {
    Outgoing { batch: number, schema: schema(), descriptor: wire_form(extent).into(), extents: [extent].into(), segments: [].into(), keep: Arc::new(keep) }
}

/// A descriptor of one row of one column without nulls (docs/protocol.md, section 6).
fn wire_form(extent: Extent) -> Vec<u8> {
    let numbers = [1, 1 | 2 << 32, 1, 0, 0, 2, u64::from(u32::MAX), 0, 0, u64::from(extent.segment), extent.offset, extent.len];
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn value(batch: &RecordBatch) -> i64 {
    batch.column(0).as_primitive::<Int64Type>().value(0)
}

/// Waits for a result; none comes when the worker has died before it.
fn read(host: &Host, number: u64) -> Option<RecordBatch> {
    let mut answers = host.answers.lock().expect("the model does not go on behind a panic");
    loop {
        if let Some(result) = answers.results.remove(&number) {
            drop(answers);
            let batch = result.import(Mode::Guarded).expect("the worker is honest");
            assert_eq!(value(&batch), number as i64, "a result is not the one that was given");
            assert!(host.output.closed.load(Ordering::Relaxed), "a result lies where others than its worker may write");
            return Some(batch);
        }
        if answers.over {
            return None;
        }
        answers = host.answered.wait(&host.answers, answers);
    }
}

/// The supervisor's thread: takes in what comes, and closes the books when the worker is gone.
fn supervise(host: &Host) {
    loop {
        match host.link.receive(true).expect("the worker is honest") {
            Some(Incoming::Result(call, result)) => {
                host.answers.lock().expect("the model does not go on behind a panic").results.insert(call, result);
                host.answered.notify_all();
            }
            Some(Incoming::HungUp) => break,
            Some(_) => {}
            None => {
                host.link.flush();
                host.wire.wait(host.link.wants_room());
            }
        }
    }
    let held = host.link.leased().0;
    assert!(held == 0 || !host.done.load(Ordering::Relaxed), "{held} leases that the worker has given back have not ended");
    host.link.close();
    let left = {
        let mut answers = host.answers.lock().expect("the model does not go on behind a panic");
        answers.over = true;
        host.answered.notify_all();
        answers.results.remove(&4)
    };
    drop(left);
}

/// An honest worker, which looks whether its host is honest too.
struct Worker {
    host: Arc<Host>,
    /// What it was lent and reads: where, and what stands there.
    lent: HashMap<u64, (Extent, u64)>,
    /// Its results that the host reads: where they lie in its segment, if they do.
    given: HashMap<u64, Option<u64>>,
    released: Vec<u64>,
    schema_sent: bool,
    steps: usize,
}

impl Worker {
    fn new(host: Arc<Host>) -> Self {
        Self { host, lent: HashMap::new(), given: HashMap::new(), released: Vec::new(), schema_sent: false, steps: 0 }
    }

    fn work(mut self, steps: usize) {
        self.steps = steps;
        while let Some(bytes) = self.host.wire.take() {
            let going_on = match ToWorker::decode(&bytes).expect("the host sends whole messages") {
                ToWorker::Segment { id: OUTPUT, .. } => self.send(&ToHost::Mapped { segment: OUTPUT }),
                ToWorker::Call { call, lease, descriptor, .. } => self.answer(call, lease, &descriptor),
                ToWorker::Release { results } => {
                    results.iter().for_each(|result| self.take_back(*result));
                    true
                }
                ToWorker::Forget { segments } => {
                    assert!(self.lent.values().all(|(extent, _)| !segments.contains(&extent.segment)), "a segment went while it was lent");
                    true
                }
                ToWorker::Bye => {
                    let kept: Vec<u64> = self.lent.keys().copied().collect();
                    let done = kept.into_iter().all(|lease| self.give_back(lease));
                    self.host.done.store(done, Ordering::Relaxed);
                    false
                }
                _ => true,
            };
            if !going_on {
                break;
            }
        }
        self.host.wire.close();
    }

    /// Sends, if it lives to do so.
    fn send(&mut self, message: &ToHost) -> bool {
        let Some(left) = self.steps.checked_sub(1) else { return false };
        self.steps = left;
        self.host.wire.give(message.encode().expect("it can be encoded"));
        true
    }

    fn answer(&mut self, call: u64, lease: u64, descriptor: &[u8]) -> bool {
        let extent = Descriptor::decode(descriptor).expect("the host is honest").extents().next().expect("it has values");
        let number = self.number_at(extent);
        assert!(call == 4 || number == call, "an argument is not the one that was sent");
        assert!(self.lent.insert(lease, (extent, number)).is_none(), "two leases have one number");
        if !self.schema_sent {
            self.schema_sent = true;
            let bytes = encode_schema(&schema()).expect("a plain schema");
            if !self.send(&ToHost::Schema { schema: 0, bytes }) {
                return false;
            }
        }
        // The second argument goes back as it lies.
        let (at, place) = if call == 2 { (extent, None) } else { self.copy(number) };
        self.given.insert(call, place);
        let result = ToHost::Result {
            call,
            result: call,
            schema: 0,
            copies: Copies::default(),
            busy: Duration::ZERO,
            suppressed: Suppressed::default(),
            descriptor: wire_form(at),
        };
        if !self.send(&result) {
            return false;
        }
        // The first argument it keeps to the end.
        call == 1 || self.give_back(lease)
    }

    /// It has read its argument until now.
    fn give_back(&mut self, lease: u64) -> bool {
        let (extent, number) = self.lent.remove(&lease).expect("it was put there");
        assert_eq!(self.number_at(extent), number, "memory was used again while it was lent");
        self.send(&ToHost::Release { leases: vec![lease] })
    }

    fn copy(&self, number: u64) -> (Extent, Option<u64>) {
        let taken: Vec<u64> = self.given.values().flatten().copied().collect();
        let place = (0..PIECES as u64).map(|piece| piece * PIECE as u64).find(|place| !taken.contains(place)).expect("two results at most");
        self.host.output.write(place, number);
        (Extent { segment: OUTPUT, offset: place, len: 8 }, Some(place))
    }

    fn take_back(&mut self, result: u64) {
        assert!(!self.released.contains(&result), "a result was given back twice");
        self.released.push(result);
        // Used again at once.
        if let Some(Some(place)) = self.given.remove(&result) {
            self.host.output.write(place, STALE);
        }
    }

    fn number_at(&self, extent: Extent) -> u64 {
        match extent.segment {
            OUTPUT => self.host.output.read(extent.offset),
            other => self.host.segments.get(other).expect("the segment is in the pool").read(extent.offset),
        }
    }
}
