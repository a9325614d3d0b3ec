//! What a worker may try on purpose, and what it may not reach. Its lies in messages are in `lies.rs`, noise is in `garbled.rs`; those of numbers
//! of segments, calls, results and leases that are not its own are there.
//!
//! A worker of the same user may still trace the host, or kill it: see `SECURITY.md`.

use std::fs;

use arrow_array::RecordBatch;
use support::{Listener, checked, function, native, numbers, values, wait_until_idle};
use transom::{Code, Error, Pool};

const ROGUE: &str = env!("CARGO_BIN_EXE_rogue-worker");

fn call(pool: &Pool, name: &str) -> Result<RecordBatch, Error> {
    pool.call_blocking(&function(name), numbers(0, 3))
}

#[test]
fn an_input_cannot_be_cut_emptied_written_or_mapped_for_writing() {
    checked(|| {
        let pool = native(ROGUE, 1).build().unwrap();
        // What comes back is the input itself: the same memory, named by the worker.
        let given_back = call(&pool, "attacks_its_input").unwrap();
        assert_eq!(values(&given_back), [0, 1, 2]);
        // So it is for a batch that lies in shared memory already.
        let shared = RecordBatch::try_from_iter([("x", given_back.column(0).clone())]).unwrap();
        let again = pool.call_blocking(&function("attacks_its_input"), shared).unwrap();
        assert_eq!((values(&given_back), values(&again)), (vec![0, 1, 2], vec![0, 1, 2]));
    });
}

#[test]
fn an_output_cannot_be_cut_emptied_or_opened_to_other_writers() {
    checked(|| {
        let pool = native(ROGUE, 1).build().unwrap();
        let before = call(&pool, "gives_its_own").unwrap();
        assert_eq!(before.num_rows(), 3);
        assert_eq!(values(&call(&pool, "attacks_its_output").unwrap()), [0, 1, 2]);
        // Readable still: a cut would be a SIGBUS here.
        values(&before);
    });
}

#[test]
fn a_segment_that_a_worker_made_is_refused_sealed_or_not_and_not_kept() {
    checked(|| {
        let pool = native(ROGUE, 1).build().unwrap();
        for name in ["attacks_with_a_segment_of_its_own", "attacks_with_a_sealed_segment_of_its_own"] {
            let mut listener = Listener::to(&pool);
            assert_eq!(call(&pool, name).unwrap_err().code(), Code::ProtocolViolation, "{name}");
            assert_eq!(listener.wait_for_end().code(), Code::ProtocolViolation, "{name}");
            assert_eq!(values(&call(&pool, "honest").unwrap()), [0, 1, 2]);
        }
    });
}

#[test]
fn nothing_of_a_pool_has_a_name_that_could_be_squatted_or_connected_to() {
    checked(|| {
        let named = || fs::read_dir("/dev/shm").map(|entries| entries.count()).unwrap_or(0);
        let before = named();
        let pool = native(ROGUE, 2).build().unwrap();
        let held = call(&pool, "honest").unwrap();
        wait_until_idle(&pool);
        assert_eq!(named(), before, "segments have names");
        let targets = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        let sockets: Vec<String> =
            targets.filter_map(|target| Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect();
        // Number, references, protocol, flags, type, state, inode; then the path of those that have one (`proc(5)`).
        let table = fs::read_to_string("/proc/net/unix").unwrap();
        let ours: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        let ours: Vec<&Vec<&str>> = ours.iter().filter(|fields| fields.len() > 6 && sockets.iter().any(|inode| inode == fields[6])).collect();
        let links = ours.iter().filter(|fields| fields[4] == "0005").count();
        assert!(links >= 2, "each worker's link is a SOCK_SEQPACKET: {ours:?}");
        // A pair that is connected from birth and has no name: no process of any user can take its place or join it.
        assert!(ours.iter().all(|fields| fields[4] != "0005" || (fields.len() == 7 && fields[5] == "03")), "{ours:?}");
        drop(held);
    });
}
