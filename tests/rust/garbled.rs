//! Noise on the link, in both directions: cut, stretched, changed, doubled and stale messages, with up to 253 descriptors beside them. Whoever
//! receives them ends the link with a code or goes on as before, and keeps nothing of what came.
//!
//! Each round is a seed; `TEST_ROUNDS` and `TEST_FIRST_ROUND` choose others.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use support::garble::{Garbler, rounds};
use support::{checked, function, native, numbers, values};
use transom::exchange::{Descriptor, Direction, Ledger, encode_schema, export};
use transom::function::Source as FunctionSource;
use transom::link::{Hello, PROTOCOL, Packet, RemoteError, Socket, ToHost, ToWorker};
use transom::memory::{Arena, Block, Budget, Extent, Role, Segment, Source, Space};
use transom::{Code, Error};

const ROGUE: &str = env!("CARGO_BIN_EXE_rogue-worker");
const NATIVE: &str = env!("CARGO_BIN_EXE_native-worker");

#[test]
fn noise_from_a_worker_is_a_code_for_its_call_and_nothing_for_the_next() {
    checked(|| {
        let pool = native(ROGUE, 1).deadline(Duration::from_secs(20)).build().unwrap();
        let mut answers = BTreeMap::new();
        for seed in rounds(400) {
            let answer = match pool.call_blocking(&function(&format!("garble_{seed}")), numbers(0, 3)) {
                Ok(batch) => {
                    assert_eq!(batch.num_rows(), 3, "round {seed}");
                    values(&batch);
                    "a result"
                }
                Err(error) => {
                    assert!(may_follow_noise(&error), "round {seed}: {error}");
                    error.code().name()
                }
            };
            *answers.entry(answer).or_insert(0) += 1;
            // Noise behind an answer is heard during one of the next calls, which it may cost. Behind that call there is none.
            let honest = || pool.call_blocking(&function("honest"), numbers(0, 3));
            let costs = [honest(), honest()].into_iter().filter_map(|answer| match answer {
                Ok(batch) => {
                    assert_eq!(values(&batch), [0, 1, 2], "after round {seed}");
                    None
                }
                Err(error) => Some(error),
            });
            let costs: Vec<Error> = costs.collect();
            assert!(costs.len() <= 1 && costs.iter().all(may_follow_noise), "after round {seed}: {costs:?}");
        }
        println!("{answers:?}, {} workers", pool.stats().workers[0].restarts + 1);
        assert!(answers.len() > 3, "the noise is too uniform: {answers:?}");
    });
}

/// A deadline or a defect of the host is no answer to noise.
fn may_follow_noise(error: &Error) -> bool {
    let too_large = error.code() == Code::BatchTooLarge;
    too_large || (matches!(error.code().family(), 2..=4) && error.code() != Code::DeadlineExceeded)
}

#[test]
fn noise_from_a_host_ends_a_worker_by_itself_and_never_by_a_signal() {
    checked(|| {
        for seed in rounds(150) {
            let host = RogueHost::start();
            let (status, said) = host.garble(seed);
            assert_eq!(status.signal(), None, "round {seed}: {said}");
            assert!(!said.contains("panicked"), "round {seed}: {said}");
        }
    });
}

/// A host that starts a worker in good order and then talks nonsense to it.
struct RogueHost {
    worker: Child,
    socket: Socket,
    input: Arc<Segment>,
    _blocks: Vec<Block>,
    call: Vec<u8>,
}

struct Once(Arc<Segment>);

impl Source for Once {
    fn segment(&self, _len: usize) -> transom::Result<Option<Arc<Segment>>> {
        Ok(Some(self.0.clone()))
    }

    fn discard(&self, _segment: Arc<Segment>) {}
}

struct Room(Arena);

impl Space for Room {
    fn allocate(&self, len: usize) -> transom::Result<Block> {
        self.0.allocate(len)
    }

    fn locate(&self, _ptr: *const u8, _len: usize) -> Option<Extent> {
        None
    }
}

fn segment(id: u32, role: Role) -> Arc<Segment> {
    Arc::new(Segment::create(id, role, Budget::new(1 << 20).reserve(1 << 16).unwrap()).unwrap())
}

impl RogueHost {
    fn start() -> Self {
        let (socket, end) = Socket::pair().unwrap();
        fcntl_setfd(&end, FdFlags::empty()).unwrap();
        let mut command = Command::new(NATIVE);
        command.arg(end.as_fd().as_raw_fd().to_string()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let worker = command.spawn().unwrap();
        let (input, output) = (segment(1, Role::Input), segment(2, Role::Output));
        let sent = export(&numbers(0, 3), &Room(Arena::new(Once(input.clone()))), &Ledger::default(), Direction::Input).unwrap();
        let mut descriptor = Vec::new();
        sent.descriptor.encode(&mut descriptor);
        let call = ToWorker::Call { call: 1, function: 0, schema: 0, lease: 1, suppress: false, descriptor }.encode();
        let host = Self { worker, socket, input, _blocks: sent.blocks, call };
        host.send(&ToWorker::Hello(Hello { protocol: PROTOCOL, sizes: Descriptor::SIZES, worker: 1, version: String::new() }), None);
        host.send(&ToWorker::Segment { id: 2, role: Role::Output, len: output.len() as u64 }, Some(&output));
        host.send(&ToWorker::Segment { id: 1, role: Role::Input, len: host.input.len() as u64 }, Some(&host.input));
        host.send(&ToWorker::Schema { schema: 0, bytes: encode_schema(&numbers(0, 1).schema()).unwrap() }, None);
        let source = FunctionSource::Module { module: "native".to_owned(), name: "plus_one".to_owned() };
        host.send(&ToWorker::Define { function: 0, source, import_path: vec![] }, None);
        // It works before it is disturbed.
        host.socket.send(&host.call).unwrap();
        while !matches!(host.answer(), ToHost::Result { call: 1, .. }) {}
        host
    }

    fn send(&self, message: &ToWorker, segment: Option<&Segment>) {
        assert!(self.socket.try_send(&message.encode(), segment.map(Segment::descriptor)).unwrap());
    }

    fn answer(&self) -> ToHost {
        let Ok(Packet::Data(bytes, None)) = self.socket.receive() else { panic!("the worker is gone") };
        ToHost::decode(&bytes).unwrap()
    }

    /// Says what it likes, hangs up, and gives the end of the worker and its last words.
    fn garble(mut self, seed: u64) -> (ExitStatus, String) {
        let mut garbler = Garbler::new(seed);
        let honest = self.what_it_may_say();
        for _ in 0..garbler.below(30) {
            if !garbler.message(&honest).send(&self.socket) {
                break;
            }
            // So that the worker never waits for room.
            while let Ok(Packet::Data(..)) = self.socket.try_receive() {}
        }
        _ = self.socket.try_send(&ToWorker::Bye.encode(), None);
        drop(self.socket);
        let mut said = String::new();
        self.worker.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.worker.wait().unwrap(), said)
    }

    fn what_it_may_say(&self) -> Vec<Vec<u8>> {
        let error = RemoteError::new(Code::MemoryLimit, "no");
        let messages = [
            ToWorker::NoSegment { error: error.clone() },
            ToWorker::TryAgain,
            ToWorker::Open { call: 2, function: 0, schema: 0, credit: 1 },
            ToWorker::Input { call: 2, lease: 2, descriptor: vec![0; 16] },
            ToWorker::End { call: 2, error: Some(error) },
            ToWorker::Credit { call: 2, results: 1 },
            ToWorker::Cancel { call: 2 },
            ToWorker::Release { results: vec![1, 2, u64::MAX] },
            ToWorker::Forget { segments: vec![3] },
            ToWorker::Trim,
            ToWorker::Trace { ask: 1, leases: vec![(1, vec![Extent { segment: 1, offset: 0, len: u64::MAX }])] },
            ToWorker::Look,
            ToWorker::Ring { role: Role::Input, len: self.input.len() as u64 },
            ToWorker::Ring { role: Role::Output, len: self.input.len() as u64 },
            ToWorker::Spilled { lease: 3, extent: Extent { segment: 1, offset: 0, len: 64 } },
            ToWorker::Segment { id: 3, role: Role::Input, len: self.input.len() as u64 },
            ToWorker::Hello(Hello { protocol: 3, sizes: [0; 3], worker: 9, version: String::new() }),
            ToWorker::Define {
                function: 1,
                source: FunctionSource::Module { module: "native".to_owned(), name: "identity".to_owned() },
                import_path: vec![],
            },
        ];
        messages.iter().map(ToWorker::encode).chain([self.call.clone()]).collect()
    }
}
