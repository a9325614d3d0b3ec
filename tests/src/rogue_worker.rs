//! A worker that lies, for tests: the name of each function says how. A pool starts it like an interpreter, with the link's descriptor as the last
//! argument.

mod attacks;
mod rings;

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::{DataType, Field, Schema};
use support::garble::Garbler;
use transom::exchange::{Descriptor, encode_schema};
use transom::link::{Copies, MAX_PACKET, PROTOCOL, Packet, Ready, RemoteError, Socket, Suppressed, ToHost, ToWorker};
use transom::memory::{Arena, Block, Extent, Role, Segment, Source};
use transom::{Code, Error, Kind, OnError, Parameter, Reason, Signature, function};

/// The number of a segment that no pool comes to.
const NOWHERE: Extent = Extent { segment: 4_000_000_000, offset: 0, len: 8 };

fn main() {
    let descriptor = std::env::args().next_back().and_then(|text| text.parse().ok()).expect("the last argument is a descriptor");
    // SAFETY: the host opened the descriptor for this process alone and says its number; nothing else here uses it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let mut rogue = Rogue {
        socket: Socket::from_descriptor(descriptor),
        inbox: VecDeque::new(),
        names: HashMap::new(),
        streams: HashMap::new(),
        inputs: Vec::new(),
        input: None,
        arena: Arena::new(NoMore),
        own: Vec::new(),
        ring: None,
    };
    loop {
        let message = rogue.receive();
        rogue.handle(message);
    }
}

struct Rogue {
    socket: Socket,
    inbox: VecDeque<ToWorker>,
    names: HashMap<u32, String>,
    /// The name of the function of each open stream.
    streams: HashMap<u64, String>,
    /// The segments of the host that this worker was sent.
    inputs: Vec<u32>,
    /// The descriptor of the last of them.
    input: Option<OwnedFd>,
    arena: Arena,
    own: Vec<Arc<Segment>>,
    /// Its own segment of the rings.
    ring: Option<Block>,
}

struct NoMore;

impl Source for NoMore {
    fn segment(&self, _len: usize) -> transom::Result<Option<Arc<Segment>>> {
        Err(Error::new(Code::MemoryLimit, "one segment is enough for lies"))
    }

    fn discard(&self, _segment: Arc<Segment>) {}
}

/// A call, and what it brought.
struct Call<'a> {
    number: u64,
    name: &'a str,
    lease: u64,
    rows: u64,
    /// The memory of its column.
    lent: Extent,
}

impl Rogue {
    fn receive(&mut self) -> ToWorker {
        self.inbox.pop_front().unwrap_or_else(|| self.receive_new())
    }

    fn receive_new(&mut self) -> ToWorker {
        let Ok(Packet::Data(bytes, descriptor)) = self.socket.receive() else { std::process::exit(0) };
        let message = ToWorker::decode(&bytes).expect("the host sends whole messages");
        match message {
            ToWorker::Segment { id, role: Role::Input, .. } => {
                self.inputs.push(id);
                self.input = descriptor;
            }
            ToWorker::Segment { id, role: Role::Output, len } => {
                self.adopt(id, len as usize, descriptor.expect("a segment comes with its descriptor"))
            }
            ToWorker::Ring { role: Role::Output, len } => self.map_ring(len as usize, descriptor.expect("a ring comes with its descriptor")),
            _ => {}
        }
        message
    }

    fn adopt(&mut self, id: u32, len: usize, file: OwnedFd) {
        let segment = Arc::new(Segment::attach(id, Role::Output, len, file).expect("the host's segments are whole"));
        self.send(ToHost::Mapped { segment: id });
        self.arena.adopt(segment.clone());
        self.own.push(segment);
    }

    fn send(&self, message: ToHost) {
        self.send_bytes(&message.encode().expect("lies are well-formed"));
    }

    fn send_bytes(&self, bytes: &[u8]) {
        // A host that has heard enough has closed the link.
        if self.socket.send(bytes).is_err() {
            std::process::exit(0);
        }
    }

    fn handle(&mut self, message: ToWorker) {
        match message {
            ToWorker::Hello(_) => self.greet(&std::env::var("ROGUE_GREETING").unwrap_or_default()),
            ToWorker::Define { function, source, .. } => {
                let function::Source::Module { name, .. } = source else { panic!("only native:NAME is here") };
                self.define(function, &name);
                self.names.insert(function, name);
            }
            ToWorker::Call { call, function, lease, descriptor, .. } => {
                let descriptor = Descriptor::decode(&descriptor).expect("the host sends whole descriptors");
                let (rows, lent) = (descriptor.rows(), descriptor.extents().next().expect("the argument has values"));
                let name = self.names[&function].clone();
                self.call(&Call { number: call, name: &name, lease, rows, lent });
            }
            ToWorker::Open { call, function, .. } => {
                let name = self.names[&function].clone();
                self.open(call, &name);
                self.streams.insert(call, name);
            }
            ToWorker::Input { call, descriptor, .. } => {
                let descriptor = Descriptor::decode(&descriptor).expect("the host sends whole descriptors");
                let lent = descriptor.extents().next().expect("the argument has values");
                let name = self.streams[&call].clone();
                self.input(&Call { number: call, name: &name, lease: 0, rows: descriptor.rows(), lent });
            }
            ToWorker::Bye => std::process::exit(0),
            _ => {}
        }
    }

    fn greet(&self, greeting: &str) {
        let honest = Ready {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sizes: Descriptor::SIZES,
            language: "Lies".to_owned(),
            rings: false,
        };
        if greeting == "answers before the greeting" {
            self.send(ToHost::Done { call: 1 });
        }
        self.send(ToHost::Ready(match greeting {
            "newer version" => Ready { version: "99.1.2".to_owned(), ..honest },
            "newer protocol" => Ready { protocol: PROTOCOL + 1, version: "99.1.2".to_owned(), ..honest },
            "other sizes" => Ready { sizes: [16, 32, 32], ..honest },
            "rings" => Ready { rings: true, ..honest },
            _ => honest,
        }));
    }

    fn define(&self, number: u32, name: &str) {
        match name {
            "define_another" => self.send(ToHost::Defined { function: number + 1, outcome: Ok(signature(name)) }),
            "define_with_a_result" => self.announce_and_give(0, name, 0, &[]),
            "define_with_a_failure" => self.send(ToHost::Failed { call: 0, error: RemoteError::new(Code::FunctionRaised, "no") }),
            "define_with_a_wish" => self.send(ToHost::Next { call: 0 }),
            "define_with_an_end" => self.send(ToHost::Done { call: 0 }),
            _ => self.send(ToHost::Defined { function: number, outcome: Ok(signature(name)) }),
        }
    }

    fn call(&mut self, call: &Call<'_>) {
        let &Call { number, name, lent, rows, .. } = call;
        match name {
            // Answers to what was not asked.
            "answers_another_call" => self.announce_and_give(number + 1, name, rows, &[lent]),
            "bears_an_unknown_schema" => self.give(number, 77, rows, &[lent]),
            "fails_another_call" => self.send(ToHost::Failed { call: number + 1, error: RemoteError::new(Code::FunctionRaised, "no") }),
            "ends_a_call_like_a_stream" => self.send(ToHost::Done { call: number }),
            "asks_for_the_input_of_a_call" => self.send(ToHost::Next { call: number }),
            "defines_unasked" => self.send(ToHost::Defined { function: 1, outcome: Ok(signature(name)) }),
            "is_ready_again" => self.greet(""),
            // Segments that are not its own.
            "maps_what_it_was_not_given" => self.send(ToHost::Mapped { segment: NOWHERE.segment }),
            "maps_twice" => {
                let segment = self.own_segment().id();
                self.send(ToHost::Mapped { segment });
            }
            "gives_up_what_is_not_there" => self.send(ToHost::Discard { segment: NOWHERE.segment }),
            "gives_up_an_input" => self.send(ToHost::Discard { segment: self.inputs[0] }),
            "answers_a_question_that_nobody_asked" => self.send(ToHost::Traced { ask: 1, keepers: vec![(1, "me".to_owned())] }),
            // Messages that are nowhere, or endless.
            "spills_nowhere" => self.send(ToHost::Spilled { result: 1, extent: NOWHERE }),
            "spills_into_an_input" => self.send(ToHost::Spilled { result: 1, extent: lent }),
            "spills_beyond_its_segment" => {
                let segment = self.own_segment();
                let extent = Extent { segment: segment.id(), offset: segment.len() as u64 - 4, len: 8 };
                self.send(ToHost::Spilled { result: 1, extent });
            }
            "spills_a_spill" => {
                self.own_segment();
                let inner = ToHost::Spilled { result: 1, extent: NOWHERE }.encode().expect("lies are well-formed");
                let mut block = self.arena.allocate(inner.len()).expect("the segment has room");
                block.as_mut_slice().copy_from_slice(&inner);
                self.send(ToHost::Spilled { result: 2, extent: block.extent() });
                std::mem::forget(block);
            }
            // Packets that are no messages.
            "sends_a_descriptor" => {
                let bytes = ToHost::Done { call: number }.encode().expect("lies are well-formed");
                _ = self.socket.try_send(&bytes, Some(self.socket.as_fd()));
            }
            "sends_too_long_a_packet" => self.send_bytes(&[0; MAX_PACKET + 1]),
            "sends_an_unknown_message" => self.send_bytes(&[0xff, 0xff, 1, 2, 3]),
            "sends_half_a_message" => self.send_bytes(&ToHost::Done { call: number }.encode().expect("lies are well-formed")[..6]),
            "sends_an_empty_packet" => self.send_bytes(&[]),
            // Results that are none.
            "gives_no_column" => self.announce_and_give(number, name, rows, &[]),
            "gives_five_columns" => self.announce_and_give(number, name, rows, &[lent; 5]),
            "gives_fewer_rows" => self.announce_and_give(number, name, rows - 1, &[Extent { len: lent.len - 8, ..lent }]),
            "gives_too_many_rows" => self.announce_and_give(number, name, u64::MAX, &[lent]),
            "gives_what_was_never_lent" => self.announce_and_give(number, name, rows, &[Extent { len: lent.len, ..NOWHERE }]),
            "gives_more_than_was_lent" => self.announce_and_give(number, name, rows, &[Extent { offset: lent.offset + 64, ..lent }]),
            "gives_what_it_released" => {
                self.send(ToHost::Release { leases: vec![call.lease] });
                self.announce_and_give(number, name, rows, &[lent]);
            }
            "gives_beyond_its_segment" => {
                let segment = self.own_segment();
                self.announce_and_give(number, name, rows, &[Extent { segment: segment.id(), offset: segment.len() as u64 - 8, len: lent.len }]);
            }
            "gives_its_own" => {
                let segment = self.own_segment().id();
                self.announce_and_give(number, name, rows, &[Extent { segment, offset: 0, len: lent.len }]);
            }
            _ if name.starts_with("gives_segment_") => {
                let segment = name["gives_segment_".len()..].parse().expect("gives_segment_NUMBER");
                // Far from the argument, which this worker may name.
                self.announce_and_give(number, name, rows, &[Extent { segment, offset: 1 << 20, len: lent.len }]);
            }
            _ if name.starts_with("ring_") => self.lie_in_the_ring(name),
            _ if name.starts_with("attacks_") => self.attack(call),
            _ if name.starts_with("garble_") => self.garble(call),
            _ if name.starts_with("flood_") => {
                // While a segment is on its way, the host takes it for the answer to every wish.
                self.own_segment();
                self.flood(name)
            }
            _ => self.answer_after(call),
        }
    }

    /// Lies that cost nothing: an answer follows.
    fn answer_after(&mut self, call: &Call<'_>) {
        let &Call { number, name, rows, lent, lease } = call;
        match name {
            "blames_a_row_far_away" => {
                let error = RemoteError { row: Some(u64::MAX), ..RemoteError::new(Code::FunctionRaised, "no") };
                return self.send(ToHost::Failed { call: number, error });
            }
            "fails_twice" => {
                self.send(ToHost::Failed { call: number, error: RemoteError::new(Code::FunctionRaised, "no") });
                return self.send(ToHost::Failed { call: number, error: RemoteError::new(Code::FunctionRaised, "no") });
            }
            "releases_what_it_does_not_hold" => self.send(ToHost::Release { leases: vec![0, lease + 1, 1 << 40, u64::MAX] }),
            "releases_twice" => {
                self.announce_and_give(number, name, rows, &[lent]);
                return self.send(ToHost::Release { leases: vec![lease, lease] });
            }
            "wants_more_than_there_is" => {
                // While the first is on its way, that is the answer.
                self.own_segment();
                self.send(ToHost::NeedSegment { len: u64::MAX });
                self.wait_for(|message| matches!(message, ToWorker::NoSegment { .. }));
            }
            "counts_without_end" => {
                let copied = vec![(Reason::StrictMode, u64::MAX), (Reason::Rewritten, u64::MAX)];
                self.send(self.schema_of(1, name));
                let (copies, busy) = (Copies { shared: u64::MAX, copied }, Duration::from_nanos(u64::MAX));
                let suppressed = Suppressed::default();
                return self.send(ToHost::Result { call: number, result: 1, schema: 1, copies, busy, suppressed, descriptor: wire(rows, &[lent]) });
            }
            "suppresses_unasked" | "suppresses_what_has_a_value" => return self.suppress(call, &[(1, 0)]),
            "suppresses_a_row_far_away" => return self.suppress(call, &[(u64::MAX, 0)]),
            "suppresses_a_row_twice" => return self.suppress(call, &[(1, 0), (1, 0)]),
            "suppresses_for_no_reason" => return self.suppress(call, &[(1, 1)]),
            _ => {}
        }
        self.announce_and_give(number, name, rows, &[lent]);
    }

    /// Says that rows have failed, and gives values for all.
    fn suppress(&self, call: &Call<'_>, failed: &[(u64, u32)]) {
        let suppressed = Suppressed { causes: vec![RemoteError::new(Code::FunctionRaised, "no")], rows: failed.to_vec() };
        self.send(self.schema_of(1, call.name));
        let (copies, busy, descriptor) = (Copies::default(), Duration::ZERO, wire(call.rows, &[call.lent]));
        self.send(ToHost::Result { call: call.number, result: 1, schema: 1, copies, busy, suppressed, descriptor });
    }

    /// Talks nonsense, and then answers: whatever was not noticed must not have changed anything.
    fn garble(&mut self, call: &Call<'_>) {
        let &Call { number, name, lease, rows, lent } = call;
        let own = self.own_segment().id();
        let seed = name.rsplit('_').next().and_then(|seed| seed.parse().ok()).expect("garble_SEED");
        let honest = self.what_it_may_say(number, lease, rows, lent, own);
        let mut garbler = Garbler::new(seed);
        for _ in 0..garbler.below(30) {
            if !garbler.message(&honest).send(&self.socket) {
                std::process::exit(0);
            }
        }
        self.announce_and_give(number, name, rows, &[lent]);
    }

    /// All kinds of messages, about this call and what belongs to it.
    fn what_it_may_say(&self, call: u64, lease: u64, rows: u64, lent: Extent, segment: u32) -> Vec<Vec<u8>> {
        let error = RemoteError { row: Some(1), hint: Some("do".to_owned()), ..RemoteError::new(Code::FunctionRaised, "no") };
        let mine = Extent { segment, offset: 0, len: lent.len };
        let result = |descriptor| {
            let (copies, busy, suppressed) = (Copies::default(), Duration::ZERO, Suppressed::default());
            ToHost::Result { call, result: 2, schema: 1, copies, busy, suppressed, descriptor }
        };
        let messages = [
            self.schema_of(1, "x"),
            result(wire(rows, &[lent])),
            result(wire(rows, &[mine])),
            ToHost::Failed { call, error: error.clone() },
            ToHost::Next { call },
            ToHost::Done { call },
            ToHost::Release { leases: vec![lease] },
            ToHost::Release { leases: vec![lease + 1, 0, u64::MAX] },
            ToHost::NeedSegment { len: 64 },
            ToHost::Mapped { segment },
            ToHost::RingMapped,
            ToHost::Look,
            ToHost::Discard { segment },
            ToHost::Traced { ask: 1, keepers: vec![(lease, "me".to_owned())] },
            ToHost::Spilled { result: 3, extent: mine },
            ToHost::Defined { function: 0, outcome: Err(error) },
            ToHost::Defined { function: 0, outcome: Ok(signature("x")) },
        ];
        messages.iter().map(|message| message.encode().expect("lies are well-formed")).collect()
    }

    fn flood(&self, name: &str) -> ! {
        let bytes = encode_schema(&Schema::new(vec![Field::new("x", DataType::Int64, true)])).expect("a plain schema");
        for number in 0.. {
            self.send(match name {
                "flood_of_great_wishes" => ToHost::NeedSegment { len: 1 << 50 },
                "flood_of_small_wishes" => ToHost::NeedSegment { len: 1 },
                "flood_of_releases" => ToHost::Release { leases: vec![1 << 40, number] },
                _ => ToHost::Schema { schema: number as u32, bytes: bytes.clone() },
            });
        }
        std::process::exit(0);
    }

    fn open(&self, call: u64, name: &str) {
        match name {
            "stream_asks_without_end" => loop {
                self.send(ToHost::Next { call });
            },
            "stream_asks_for_another" => self.send(ToHost::Next { call: call + 1 }),
            "stream_ends_another" => self.send(ToHost::Done { call: call + 1 }),
            "stream_ends_twice" => {
                self.send(ToHost::Done { call });
                self.send(ToHost::Done { call });
            }
            _ => {}
        }
    }

    fn input(&self, call: &Call<'_>) {
        match call.name {
            // It asks for its last input after it has it: the two messages cross on the link.
            "stream_takes_and_is_silent" => self.send(ToHost::Next { call: call.number }),
            "stream_gives_without_end" => loop {
                self.announce_and_give(call.number, call.name, call.rows, &[call.lent]);
            },
            _ => {}
        }
    }

    fn wait_for(&mut self, wanted: impl Fn(&ToWorker) -> bool) {
        loop {
            let message = self.receive_new();
            if wanted(&message) {
                return;
            }
            self.inbox.push_back(message);
        }
    }

    /// The segment for results, which comes unasked soon after the greeting.
    fn own_segment(&mut self) -> Arc<Segment> {
        if self.own.is_empty() {
            self.wait_for(|message| matches!(message, ToWorker::Segment { role: Role::Output, .. }));
        }
        self.own[0].clone()
    }

    fn schema_of(&self, columns: usize, name: &str) -> ToHost {
        let names = std::iter::once(name.to_owned()).chain((1..columns).map(|column| column.to_string()));
        let fields: Vec<Field> = names.take(columns).map(|name| Field::new(name, DataType::Int64, true)).collect();
        ToHost::Schema { schema: columns as u32, bytes: encode_schema(&Schema::new(fields)).expect("a plain schema") }
    }

    fn announce_and_give(&self, call: u64, name: &str, rows: u64, columns: &[Extent]) {
        self.send(self.schema_of(columns.len(), name));
        self.give(call, columns.len() as u32, rows, columns);
    }

    fn give(&self, call: u64, schema: u32, rows: u64, columns: &[Extent]) {
        let (copies, busy, suppressed) = (Copies::default(), Duration::ZERO, Suppressed::default());
        self.send(ToHost::Result { call, result: 1, schema, copies, busy, suppressed, descriptor: wire(rows, columns) });
    }
}

fn signature(name: &str) -> Signature {
    let streams = name.starts_with("stream");
    let suppresses = name.starts_with("suppresses_") && name != "suppresses_unasked";
    Signature {
        name: name.to_owned(),
        kind: match name {
            _ if streams => Kind::Batches,
            _ if suppresses => Kind::Row,
            _ => Kind::Scalar,
        },
        parameters: if streams { vec![] } else { vec![Parameter { name: "x".to_owned(), data_type: None, optional: false }] },
        variadic: false,
        returns: None,
        deadline: None,
        retries: 0,
        on_error: if suppresses { OnError::Null } else { OnError::Raise },
        // So that a lie is told at once.
        deterministic: false,
    }
}

/// The wire form of a batch of whole numbers without nulls. By hand, since an exporter would not write what is not so.
fn wire(rows: u64, columns: &[Extent]) -> Vec<u8> {
    let mut bytes = rows.to_le_bytes().to_vec();
    bytes.extend((columns.len() as u32).to_le_bytes());
    bytes.extend((2 * columns.len() as u32).to_le_bytes());
    for _ in columns {
        for field in [rows, 0, 0] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend(2_u32.to_le_bytes());
        bytes.extend([0; 4]);
    }
    for values in columns {
        for field in [u64::from(u32::MAX), 0, 0, u64::from(values.segment), values.offset, values.len] {
            bytes.extend(field.to_le_bytes());
        }
    }
    bytes
}
