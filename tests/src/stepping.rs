//! A worker run instruction by instruction while it publishes a result and releases its input, and killed on the way.

use std::fs;
use std::sync::Arc;
use std::thread;

use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use transom::{Code, Pool};

use crate::invariants::{Belongings, Tally, assert_settled};
use crate::steps::ARMED;
use crate::{function, native};

/// Each worker stops by itself in its second call, when its result lies in shared memory and nothing was said of it.
const STOP: &str = "worker::exported=1*off->1*return(stop)->off";
/// The instruction `syscall`, as the processor reads it.
const SYSCALL: u64 = 0x050f;

/// Where a worker was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Killed {
    /// After so many instructions as were wanted.
    There,
    /// Before it waited for its next message, which came after so many.
    AtTheEnd(u64),
}

/// Why processes cannot be run instruction by instruction here, if so.
pub fn forbidden(worker: &str) -> Option<String> {
    let pool = pool(worker);
    let pid = pool.stats().workers[0].pid?;
    let refused = ptrace::seize(Pid::from_raw(pid as i32), ptrace::Options::empty()).err()?;
    Some(format!("ptrace is not allowed here: {refused}"))
}

/// A pool for [`kill_after`].
pub fn pool(worker: &str) -> Arc<Pool> {
    let pool = native(worker, 1).env(ARMED, STOP).build().expect("a pool can be made");
    crate::wait_until_idle(&pool);
    Arc::new(pool)
}

/// Kills a worker after its instruction `count` from the moment at which its result is about to be told of. Then the batch was answered rightly, or
/// failed with `WORKER_SIGNALLED`; says where the kill was and whether there was an answer.
pub fn kill_after(pool: &Arc<Pool>, count: u64) -> (Killed, bool) {
    let mut tally = Tally::new(0, 1);
    let (first, batch) = tally.batch(100);
    tally.note(first, &pool.call_blocking(&function("plus_one"), batch), &[]);
    let (first, batch) = tally.batch(100);
    let pid = Pid::from_raw(pool.stats().workers[0].pid.expect("the worker has just answered") as i32);
    let other = pool.clone();
    let caller = thread::spawn(move || other.call_blocking(&function("plus_one"), batch));
    wait_until_stopped(pid);
    let killed = step(pid, count);
    kill(pid, Signal::SIGKILL).expect("the worker is there");
    let answer = caller.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    tally.note(first, &answer, &[Code::WorkerSignalled]);
    tally.settle();
    // Where the kill came after the answer, the next call must not be sent to the worker that is about to go.
    while pool.stats().workers.iter().any(|worker| worker.pid == Some(pid.as_raw() as u32) || worker.state != "idle") {
        thread::yield_now();
    }
    (killed, answer.is_ok())
}

/// Kills workers after each of these counts of instructions, or at the end where there are fewer; then nothing is left. Says how often the batch was
/// answered.
pub fn kill_after_each(worker: &str, counts: impl IntoIterator<Item = u64>) -> u64 {
    let before = Belongings::now();
    let pool = pool(worker);
    let answered = counts.into_iter().filter(|&count| kill_after(&pool, count).1).count();
    assert_settled(&pool);
    drop(pool);
    before.assert_unchanged();
    answered as u64
}

/// How many instructions there are from the moment at which a result is about to be told of until the worker waits for its next message.
pub fn instructions(worker: &str) -> u64 {
    let before = Belongings::now();
    let killed = kill_after(&pool(worker), u64::MAX).0;
    before.assert_unchanged();
    match killed {
        Killed::AtTheEnd(count) => count,
        Killed::There => unreachable!("no worker takes as long"),
    }
}

fn wait_until_stopped(pid: Pid) {
    let stopped = |stat: String| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'));
    while !fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(stopped) {
        thread::yield_now();
    }
}

/// Steps the first thread of a stopped process.
fn step(pid: Pid, count: u64) -> Killed {
    ptrace::seize(pid, ptrace::Options::empty()).expect("the worker is this process's child");
    wait(pid);
    let mut done = 0;
    while done < count {
        if waits_for_a_message(pid) {
            return Killed::AtTheEnd(done);
        }
        ptrace::step(pid, None).expect("the worker is stopped");
        // Its stop, which goes on for its other threads, is told of again; only traps are instructions.
        done += u64::from(matches!(wait(pid), WaitStatus::Stopped(_, Signal::SIGTRAP)));
    }
    Killed::There
}

fn wait(pid: Pid) -> WaitStatus {
    waitpid(pid, Some(WaitPidFlag::__WALL)).expect("the worker is traced")
}

/// Whether the next instruction is the system call by which it waits.
fn waits_for_a_message(pid: Pid) -> bool {
    let registers = ptrace::getregs(pid).expect("the worker is stopped");
    if registers.rax != libc::SYS_recvmsg as u64 {
        return false;
    }
    let next = ptrace::read(pid, registers.rip as ptrace::AddressType).expect("it runs code that is there");
    next as u64 & 0xffff == SYSCALL
}
