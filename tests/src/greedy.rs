//! Functions of the native worker that take more than they should.

use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::sync::Arc;
use std::thread::Builder;

use arrow_array::{Array, ArrayRef, Int64Array, StringArray};
use transom::Code;
use transom::link::RemoteError;

/// Calls one of them: its name is followed by how much, as in `eat_64`. `None` where there is no such function.
pub(crate) fn call(name: &str, column: &ArrayRef) -> Option<Result<ArrayRef, RemoteError>> {
    let (name, many) = name.rsplit_once('_').and_then(|(name, many)| Some((name, many.parse::<usize>().ok()?))).unwrap_or((name, 0));
    Some(match name {
        "eat" => eat(many),
        "file" => file(many).map(|()| column.clone()).map_err(raised),
        "stop_self" => stop_self(column),
        "text" => Ok(Arc::new(StringArray::from_iter_values((0..column.len()).map(|_| "x".repeat(many << 20))))),
        "open" => (0..many).map(|_| File::open("/dev/null")).collect::<Result<Vec<File>, _>>().map(|_| column.clone()).map_err(raised),
        "threads" => threads(many).map(|()| column.clone()).map_err(raised),
        "chatter" => chatter(many),
        "escape" => escape(column),
        _ => return None,
    })
}

fn raised(error: std::io::Error) -> RemoteError {
    RemoteError { kind: "OSError".to_owned(), ..RemoteError::new(Code::FunctionRaised, error.to_string()) }
}

/// Takes so many MiB and keeps them until it is ended.
fn eat(mebibytes: usize) -> ! {
    let eaten = std::hint::black_box(vec![1_u8; mebibytes << 20]);
    loop {
        std::thread::park();
        std::hint::black_box(&eaten);
    }
}

/// Writes so many MiB to a file in memory: the worker's, and of no process in particular.
fn file(mebibytes: usize) -> std::io::Result<()> {
    let mut file = File::from(rustix::fs::memfd_create("greedy", rustix::fs::MemfdFlags::CLOEXEC)?);
    (0..mebibytes).try_for_each(|_| file.write_all(&[1; 1 << 20]))
}

fn stop_self(column: &ArrayRef) -> Result<ArrayRef, RemoteError> {
    // SAFETY: sends a signal to this thread, so that it stops right here and not after its answer.
    unsafe { libc::raise(libc::SIGSTOP) };
    Ok(column.clone())
}

/// Has so many threads at a time.
fn threads(many: usize) -> std::io::Result<()> {
    let gate = Arc::new(std::sync::RwLock::new(()));
    let closed = gate.write();
    let wait = |gate: Arc<std::sync::RwLock<()>>| move || drop(gate.read());
    let started: Vec<_> = (0..many).map(|_| Builder::new().stack_size(64 << 10).spawn(wait(gate.clone()))).collect();
    drop(closed);
    started.into_iter().try_for_each(|thread| thread.map(|thread| _ = thread.join()))
}

/// Prints so many MiB, and dies.
fn chatter(mebibytes: usize) -> ! {
    let line = format!("{}\n", "x".repeat(1023));
    let mut out = std::io::stdout().lock();
    for _ in 0..mebibytes << 10 {
        _ = out.write_all(line.as_bytes());
    }
    _ = out.flush();
    std::process::abort();
}

/// Starts a process that leaves the worker's session and process group, and says which.
fn escape(column: &ArrayRef) -> Result<ArrayRef, RemoteError> {
    let child = Command::new("setsid").args(["sleep", "1000"]).spawn().map_err(raised)?;
    Ok(Arc::new(Int64Array::from(vec![i64::from(child.id()); column.len()])))
}
