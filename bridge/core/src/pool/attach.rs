//! What a running pool tells `transom doctor --pool`: asked over a private socket, answered with JSON, changing nothing.
//!
//! The socket has an abstract name (`unix(7)`): it is no file, and is gone with the last process that has it, however that ends. Such names have no
//! rights, so both ends ask the kernel who the other is (`SO_PEERCRED`): a pool answers its own user alone, and who asks believes only the process
//! and the user that it meant. Nothing is read from who asks.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use serde_json::{Value, json};

use super::Inner;
use crate::failure::{Code, Error, Result};
use crate::memory::Role;

/// Before the process and the random part of a name.
const PREFIX: &str = "transom-pool-";
/// Says that pools are not to be asked, where it is `0`.
const SWITCH: &str = "TRANSOM_DOCTOR";
/// Leases that are told; the rest is counted.
const LEASES: usize = 1000;
/// The longest answer that is read.
const LONGEST: u64 = 4 << 20;
/// How long one who asks may take to read, and a pool to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Answers whoever asks, one at a time, for as long as it is polled.
pub(super) async fn answer_all(inner: Arc<Inner>) {
    // A pool works without it, so what fails here is nobody's error.
    let Some(listener) = listen() else { return std::future::pending().await };
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Such as for want of descriptors: later there may be some.
            tokio::time::sleep(PATIENCE).await;
            continue;
        };
        if stream.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw()) {
            inner.find_who_keeps(PATIENCE / 2).await;
            let answer = report(&inner).to_string();
            _ = tokio::time::timeout(PATIENCE, write(&stream, answer.as_bytes())).await;
        }
    }
}

async fn write(stream: &tokio::net::UnixStream, mut text: &[u8]) -> std::io::Result<()> {
    while !text.is_empty() {
        stream.writable().await?;
        match stream.try_write(text) {
            Ok(count) => text = &text[count..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn listen() -> Option<tokio::net::UnixListener> {
    if std::env::var_os(SWITCH).is_some_and(|value| value == "0") {
        return None;
    }
    let mut random = [0; 16];
    std::fs::File::open("/dev/urandom").ok()?.read_exact(&mut random).ok()?;
    // Nobody can take a name before its pool that nobody can guess.
    let name = format!("{PREFIX}{}-{:032x}", std::process::id(), u128::from_ne_bytes(random));
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).ok()?).ok()?;
    listener.set_nonblocking(true).ok()?;
    tokio::net::UnixListener::from_std(listener).ok()
}

fn report(inner: &Inner) -> Value {
    let leases = inner.leases();
    let free = inner.arena.free_bytes();
    let workers = inner.places.stats();
    let workers = workers.iter().enumerate().map(|(worker, stats)| {
        json!({
            "worker": worker, "language": stats.language.name(), "pid": stats.pid, "state": stats.state, "batches": stats.batches, "rows": stats.rows,
            "failures": stats.failures, "restarts": stats.restarts, "busy_seconds": stats.busy.as_secs_f64(), "leases": stats.leases,
        })
    });
    let told = leases.iter().take(LEASES).map(|(_, lease)| {
        json!({
            "holder": lease.holder.name(), "worker": lease.worker, "pid": lease.process, "function": lease.function, "batch": lease.batch,
            "call": lease.call, "bytes": lease.bytes, "age_seconds": lease.age.as_secs_f64(), "answered": lease.answered,
            "kept_by": lease.kept_by,
        })
    });
    let segments = inner.memory.segments.all();
    let segments = segments.iter().map(|segment| {
        let role = if segment.role() == Role::Input { "input" } else { "output" };
        // Only who writes a segment knows what is free in it.
        json!({"segment": segment.id(), "role": role, "bytes": segment.len(), "free": free.get(&segment.id())})
    });
    json!({
        "transom": env!("CARGO_PKG_VERSION"),
        "pid": inner.process,
        "memory_used": inner.memory.budget.used(),
        "memory_limit": inner.memory.budget.limit(),
        "workers": workers.collect::<Vec<_>>(),
        "leases": told.collect::<Vec<_>>(),
        "leases_left_out": leases.len().saturating_sub(LEASES),
        "segments": segments.collect::<Vec<_>>(),
    })
}

/// What the pools of one process say, or those of all processes of this user that can be seen from here, each as JSON: `pid`, `memory_used`,
/// `memory_limit`, and lists of `workers`, `leases` and `segments` in the words of [`super::Stats`] and [`crate::Lease`].
///
/// Pools in another network namespace, such as a container's, cannot be seen, nor those that were told not to answer (`TRANSOM_DOCTOR=0`).
///
/// ```
/// for report in transom::pool::reports(None)? {
///     println!("{report}");
/// }
/// # Ok::<(), transom::Error>(())
/// ```
///
/// # Errors
/// `SYSTEM` where the system does not say which sockets there are, or a pool of the process asked for does not answer.
pub fn reports(process: Option<u32>) -> Result<Vec<String>> {
    let table = std::fs::read("/proc/net/unix").map_err(|error| Error::system(Code::System, "cannot read /proc/net/unix", error))?;
    let mut reports = Vec::new();
    for (owner, name) in names(&String::from_utf8_lossy(&table)) {
        if process.is_some_and(|process| process != owner) {
            continue;
        }
        match ask(owner, &name) {
            Ok(report) => reports.extend(report),
            Err(error) if process.is_some() => return Err(Error::system(Code::System, &format!("process {owner} does not answer"), error)),
            // One that is just ending is no reason to say nothing of the others.
            Err(_) => {}
        }
    }
    Ok(reports)
}

/// The pools in the kernel's list of sockets: process and name. Each connection has a line of its own.
fn names(table: &str) -> BTreeSet<(u32, String)> {
    let name = |line: &str| {
        let name = line.split_ascii_whitespace().nth(7)?.strip_prefix('@')?;
        let process = name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()?;
        Some((process, name.to_owned()))
    };
    table.lines().filter_map(name).collect()
}

/// Asks one pool; `None` where who listens there is not the process that the name says, or another user's.
fn ask(process: u32, name: &str) -> std::io::Result<Option<String>> {
    let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?;
    let peer = socket_peercred(&stream)?;
    if peer.pid.as_raw_nonzero().get().unsigned_abs() != process || peer.uid != rustix::process::geteuid() {
        return Ok(None);
    }
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = String::new();
    (&stream).take(LONGEST).read_to_string(&mut text)?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pools_are_found_among_all_sockets() {
        let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
                     0000000000000000: 00000002 00000000 00010000 0001 01 12 @transom-pool-77-0a\n\
                     0000000000000000: 00000003 00000000 00000000 0001 03 13 @transom-pool-77-0a\n\
                     0000000000000000: 00000002 00000000 00010000 0001 01 14 /run/transom-pool-5-aa\n\
                     0000000000000000: 00000002 00000000 00010000 0001 01 15 @transom-pool-x-aa\n\
                     0000000000000000: 00000002 00000000 00010000 0001 01 16\n";
        assert_eq!(names(table), BTreeSet::from([(77, "transom-pool-77-0a".to_owned())]));
    }

    #[test]
    fn who_took_the_name_of_another_process_is_not_believed() {
        let name = format!("{PREFIX}1-squatter-{}", std::process::id());
        let _squatter = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        assert_eq!(ask(1, &name).unwrap(), None);
    }
}
