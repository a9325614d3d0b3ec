//! Takes the core's source as it is, with loom's locks in the place of the standard library's, once whole and once with each seeded bug. A bug
//! that no longer fits the source fails the build: the list is kept alike with the code.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

/// The files that are run, in their rooms.
const FILES: [(&str, &str); 13] = [
    ("memory", "arena"),
    ("memory", "free_list"),
    ("memory", "segments"),
    ("link", "host"),
    ("link/host", "calls"),
    ("link/host", "state"),
    ("link/host", "trace"),
    ("link", "incoming"),
    ("link", "keep"),
    ("link", "leases"),
    ("link", "reception"),
    ("link", "result"),
    ("link", "ring"),
];

/// What the core keeps to itself, and the model does not use; and what is smaller there.
const INSIDE: [(&str, &str, &str); 4] = [
    (
        "ring",
        "const WRITTEN: usize = 0;\nconst READ: usize = 8;\nconst AWAKE: usize = 16;\nconst PACKETS_SENT: usize = 24;\nconst PACKETS_READ: usize = 32;\n",
        "const WRITTEN: usize = 0;\nconst READ: usize = 1;\nconst AWAKE: usize = 2;\nconst PACKETS_SENT: usize = 3;\nconst PACKETS_READ: usize = 4;\n",
    ),
    ("ring", "const MESSAGES: usize = 64;", "const MESSAGES: usize = 5;"),
    (
        "calls",
        "self.send(&ToWorker::Define { function: number, source: function.source().clone(), import_path: function.import_path().to_vec() })",
        "Ok(())",
    ),
    ("leases", "Descriptor::decode(&self.descriptor).ok()?.column_at(&self.schema, extent)?", "{ _ = extent; None::<usize>? }"),
];

/// Each bug: its name, the file, what stands there, and what stands there wrongly.
const BUGS: [(&str, &str, &str, &str); 21] = [
    ("a_release_ends_nothing", "leases", "numbers.iter().filter_map(", "numbers.iter().skip(1).filter_map("),
    ("numbers_of_leases_are_used_again", "leases", "self.last += 1;", "self.last = 1;"),
    ("a_forwarded_input_is_not_kept", "leases", "segment.clone(), loan.keep.clone()", "segment.clone(), Arc::new(Keep::default())"),
    ("a_dead_worker_keeps_its_leases", "host", "std::mem::take(&mut state.leases)", "super::leases::Leases::default()"),
    ("a_dead_worker_is_lent_more", "state", "if self.closed { self.leases.number() } else { lend(&mut self.leases) }", "lend(&mut self.leases)"),
    ("a_segment_of_the_dead_stays", "host", "let owned = std::mem::take(&mut state.owned);", "let owned = Owned::default();"),
    ("a_result_may_lie_in_an_open_segment", "host", "segment.close_to_writers()?;", ""),
    ("memory_is_dropped_behind_the_lock", "host", "drop(state);\n        drop(ended);", "drop(ended);\n        drop(state);"),
    ("a_message_is_lost_when_the_link_is_full", "state", "Ok(false) => return false,", "Ok(false) => _ = self.backlog.pop_front(),"),
    ("a_segment_is_forgotten_while_it_is_lent", "state", "partition(|&&segment| leases.name(segment))", "partition(|_| leases.name(u32::MAX))"),
    ("a_result_is_given_back_twice", "result", "link.give_back(self.result);", "link.give_back(self.result); link.give_back(self.result);"),
    ("a_reader_falls_asleep_unseen", "ring", "fence(Ordering::SeqCst);\n        Ok(if soon", "Ok(if soon"),
    ("a_sleeper_does_not_look_once_more", "ring", "self.theirs.load(WRITTEN) == self.read\n", "true\n"),
    ("nobody_wakes_the_reader", "ring", "Ok(if soon && !self.reach() { Put::Unseen } else { Put::Seen })", "Ok(Put::Seen)"),
    ("nobody_wakes_who_dozes", "ring", "self.mine.wake(WRITTEN);", ""),
    (
        "a_reader_dozes_over_a_message",
        "ring",
        "(self.theirs.load(WRITTEN) == self.read).then(|| Doze { theirs: self.theirs.clone(), read: self.read })",
        "Some(Doze { theirs: self.theirs.clone(), read: self.theirs.load(WRITTEN) })",
    ),
    ("a_message_can_be_seen_before_it_is_written", "ring", "fence(Ordering::Release);\n        self.mine.store(WRITTEN", "self.mine.store(WRITTEN"),
    ("a_message_overtakes_a_packet", "ring", "self.theirs.load(PACKETS_READ) == self.packets\n", "true\n"),
    ("messages_are_written_over", "ring", "if needed > capacity - used {", "if needed > capacity {"),
    ("a_packet_overtakes_messages", "reception", "match ring.take()? {", "match None::<Vec<u8>> {"),
    ("pieces_overlap", "free_list", "self.ranges[index] = (offset + len, free - len);", "self.ranges[index] = (offset, free - len);"),
];

fn main() {
    let core = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../../bridge/core/src");
    let out = env::var("OUT_DIR").expect("cargo sets it");
    let mut variants = String::new();
    let mut list = String::new();
    for bug in std::iter::once(None).chain(BUGS.map(Some)) {
        let name = bug.map_or("unchanged", |bug| bug.0);
        let folder = Path::new(&out).join(name);
        fs::create_dir_all(&folder).expect("the build folder can be written");
        for (room, file) in FILES {
            let path = core.join(room).join(format!("{file}.rs"));
            println!("cargo::rerun-if-changed={}", path.display());
            let source = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            fs::write(folder.join(format!("{file}.rs")), prepared(&source, name, file, bug)).expect("the build folder can be written");
        }
        module(&mut variants, name, &folder);
        let run = if bug.is_some_and(|bug| matches!(bug.1, "ring" | "reception")) { "rings" } else { "scenario" };
        _ = writeln!(list, "    ({name:?}, {name}::{run}::run),");
    }
    _ = writeln!(variants, "/// The core as it is, and with each bug.\npub const VARIANTS: [(&str, fn(usize)); {}] = [\n{list}];", BUGS.len() + 1);
    fs::write(Path::new(&out).join("variants.rs"), variants).expect("the build folder can be written");
}

fn prepared(source: &str, name: &str, file: &str, bug: Option<(&str, &str, &str, &str)>) -> String {
    let mut source = source.split("\n#[cfg(test)]").next().expect("a split has a first part").to_owned();
    for (_, from, to) in INSIDE.iter().filter(|inside| inside.0 == file) {
        source = replaced(&source, file, from, to);
    }
    if let Some((_, _, from, to)) = bug.filter(|bug| bug.1 == file) {
        source = replaced(&source, file, from, to);
    }
    source
        .replace("use std::sync::{Arc, Mutex, MutexGuard};", "use std::sync::Arc;\nuse loom::sync::{Mutex, MutexGuard};")
        .replace("use std::sync::atomic::{Ordering, fence};", "use loom::sync::atomic::{Ordering, fence};")
        .replace("use std::sync::{Arc, RwLock};", "use std::sync::Arc;\nuse loom::sync::RwLock;")
        .replace("crate::", &format!("crate::{name}::"))
        // What a room keeps to itself the scenarios use.
        .replace("pub(super) ", "pub(crate) ")
        .replace("use tokio::sync::Notify;", "use crate::shim::Notify;")
}

fn replaced(source: &str, file: &str, from: &str, to: &str) -> String {
    assert_eq!(source.matches(from).count(), 1, "{file}.rs has changed: `{from}` does not stand there once. Change tests/model/build.rs with it");
    source.replace(from, to)
}

/// The rooms around the files, as far as they are needed.
fn module(out: &mut String, name: &str, folder: &Path) {
    let file = |file: &str| format!("#[path = {:?}]", folder.join(format!("{file}.rs")));
    let scenario = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("src/scenario.rs");
    let rings = scenario.with_file_name("rings.rs");
    let (arena, free_list, segments) = (file("arena"), file("free_list"), file("segments"));
    let (host, incoming, keep, leases, result) = (file("host"), file("incoming"), file("keep"), file("leases"), file("result"));
    let (reception, ring) = (file("reception"), file("ring"));
    _ = write!(
        out,
        "pub mod {name} {{
    pub mod memory {{
        {arena} mod arena;
        {free_list} mod free_list;
        {segments} mod segments;
        pub use arena::{{Arena, Block, Source, Space}};
        pub use segments::Segments;
        mod heap {{ pub use crate::shim::{{Heap, Share}}; }}
        pub use crate::shim::{{Claim, OwnWords, Segment, Sleep, Words, process_id}};
        pub use transom::memory::{{Extent, Role}};
    }}
    pub mod exchange {{ pub use transom::exchange::*; }}
    pub mod failure {{ pub use transom::failure::*; }}
    pub mod function {{ pub use transom::function::*; }}
    pub mod link {{
        {host} pub mod host;
        {incoming} pub mod incoming;
        {keep} pub mod keep;
        {leases} pub mod leases;
        {reception} pub mod reception;
        {result} pub mod result;
        {ring} pub mod ring;
        mod message {{ pub use transom::link::{{Copies, Ready, RemoteError, ToHost, ToWorker}}; }}
        mod socket {{ pub use crate::shim::{{Packet, Socket}}; }}
        mod worker {{ pub use crate::shim::InputLease; }}
        mod suppressed {{ pub use transom::link::Suppressed; }}
        mod wire {{ pub use crate::shim::violation; }}
        use transom::link::MAX_PACKET;
    }}
    #[path = {scenario:?}] pub mod scenario;
    #[path = {rings:?}] pub mod rings;
}}
"
    );
}
