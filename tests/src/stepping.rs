//! A worker run instruction by instruction while it publishes a result and releases its input, and killed on the way.
//!
//! A step takes some microseconds, and there are thousands: a worker runs by itself to the last place before its end that it comes by once, and is
//! stepped from there.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
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
/// The instruction `int3`, which stops whoever comes to it.
const BREAKPOINT: i64 = 0xcc;

/// What a worker does from the moment at which a result is about to be told of until it waits for its next message.
pub struct Course {
    /// How many instructions.
    pub instructions: u64,
    /// Those that it executes just once, in their order.
    marks: Vec<Mark>,
}

/// An instruction, wherever the program lies in memory this time.
struct Mark {
    /// Instructions before it.
    after: u64,
    file: PathBuf,
    offset: u64,
}

/// The files whose code a process has in its memory: first and last address, file, and where in it.
struct Program(Vec<(u64, u64, PathBuf, u64)>);

/// Why processes cannot be run instruction by instruction here, if so.
pub fn forbidden(worker: &str) -> Option<String> {
    let pool = pool(worker);
    let pid = pool.stats().workers[0].pid?;
    let refused = ptrace::seize(Pid::from_raw(pid as i32), ptrace::Options::empty()).err()?;
    Some(format!("ptrace is not allowed here: {refused}"))
}

fn pool(worker: &str) -> Arc<Pool> {
    let pool = native(worker, 1).env(ARMED, STOP).build().expect("a pool can be made");
    crate::wait_until_idle(&pool);
    Arc::new(pool)
}

/// Kills a worker after its instruction `count` from the moment at which its result is about to be told of, or before it waits for its next message
/// where it does so sooner. Then the batch was answered rightly, or failed with `WORKER_SIGNALLED`; says whether there was an answer.
fn kill_after(pool: &Arc<Pool>, course: &Course, count: u64) -> bool {
    kill_when(pool, |pid| {
        let mark = course.marks.iter().rfind(|mark| mark.after <= count);
        if mark.is_none_or(|mark| run_to(pid, mark)) {
            step(pid, count - mark.map_or(0, |mark| mark.after), |_| ());
        }
    })
}

/// Has a batch answered, and kills the worker in the midst of the next, when `reached` returns. Says whether there was an answer.
fn kill_when(pool: &Arc<Pool>, reached: impl FnOnce(Pid)) -> bool {
    let mut tally = Tally::new(0, 1);
    let (first, batch) = tally.batch(100);
    tally.note(first, &pool.call_blocking(&function("plus_one"), batch), &[]);
    let (first, batch) = tally.batch(100);
    let pid = Pid::from_raw(pool.stats().workers[0].pid.expect("the worker has just answered") as i32);
    let other = pool.clone();
    let caller = thread::spawn(move || other.call_blocking(&function("plus_one"), batch));
    wait_until_stopped(pid);
    ptrace::seize(pid, ptrace::Options::PTRACE_O_TRACESYSGOOD).expect("the worker is this process's child");
    wait(pid);
    reached(pid);
    kill(pid, Signal::SIGKILL).expect("the worker is there");
    let answer = caller.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    tally.note(first, &answer, &[Code::WorkerSignalled]);
    tally.settle();
    // Where the kill came after the answer, the next call must not be sent to the worker that is about to go.
    while pool.stats().workers.iter().any(|worker| worker.pid == Some(pid.as_raw() as u32) || worker.state != "idle") {
        thread::yield_now();
    }
    answer.is_ok()
}

/// Kills workers after each of these counts of instructions, or at the end where there are fewer; then nothing is left. Says how often the batch was
/// answered.
pub fn kill_after_each(worker: &str, course: &Course, counts: impl IntoIterator<Item = u64>) -> u64 {
    let before = Belongings::now();
    let pool = pool(worker);
    let answered = counts.into_iter().filter(|&count| kill_after(&pool, course, count)).count();
    assert_settled(&pool);
    drop(pool);
    before.assert_unchanged();
    answered as u64
}

impl Course {
    /// That of a worker that is run to the end, step by step.
    pub fn of(worker: &str) -> Self {
        let before = Belongings::now();
        let mut places = Vec::new();
        let mut program = Program(Vec::new());
        kill_when(&pool(worker), |pid| {
            program = Program::of(pid);
            step(pid, u64::MAX, |address| places.push(address));
        });
        before.assert_unchanged();
        let mut visits = HashMap::<u64, u32>::new();
        places.iter().for_each(|place| *visits.entry(*place).or_default() += 1);
        let once = places.iter().enumerate().filter(|(_, place)| visits[place] == 1);
        let marks = once.filter_map(|(after, place)| program.mark(after as u64, *place)).collect();
        Self { instructions: places.len() as u64, marks }
    }
}

impl Program {
    fn of(pid: Pid) -> Self {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the worker is there");
        let parsed = maps.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (range, rights, offset, path) = (words.next()?, words.next()?, words.next()?, words.nth(2)?);
            let (from, to) = range.split_once('-')?;
            let number = |digits| u64::from_str_radix(digits, 16).ok();
            (rights.contains('x') && path.starts_with('/')).then_some((number(from)?, number(to)?, path.into(), number(offset)?))
        });
        Self(parsed.collect())
    }

    fn mark(&self, after: u64, address: u64) -> Option<Mark> {
        let (from, _, file, offset) = self.0.iter().find(|(from, to, ..)| (*from..*to).contains(&address))?;
        Some(Mark { after, file: file.clone(), offset: address - from + offset })
    }

    fn address(&self, mark: &Mark) -> Option<u64> {
        let here = |(from, to, file, offset): &&(u64, u64, PathBuf, u64)| *file == mark.file && (*offset..offset + to - from).contains(&mark.offset);
        self.0.iter().find(here).map(|(from, _, _, offset)| from + mark.offset - offset)
    }
}

fn wait_until_stopped(pid: Pid) {
    let stopped = |stat: String| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'));
    while !fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(stopped) {
        thread::yield_now();
    }
}

/// Steps the first thread of a stopped process, until it is about to wait for its next message.
fn step(pid: Pid, count: u64, mut seen: impl FnMut(u64)) {
    let mut done = 0;
    while done < count {
        let registers = ptrace::getregs(pid).expect("the worker is stopped");
        if waits_for_a_message(pid, &registers) {
            return;
        }
        ptrace::step(pid, None).expect("the worker is stopped");
        // Its stop, which goes on for its other threads, is told of again; only traps are instructions.
        if matches!(wait(pid), WaitStatus::Stopped(_, Signal::SIGTRAP)) {
            seen(registers.rip);
            done += 1;
        }
    }
}

/// Lets it run until it comes by a mark; `false` where it is about to wait for its next message before.
fn run_to(pid: Pid, mark: &Mark) -> bool {
    let address = Program::of(pid).address(mark).expect("the program is the same");
    let place = address as ptrace::AddressType;
    let before = ptrace::read(pid, place).expect("there is code");
    ptrace::write(pid, place, before & !0xff | BREAKPOINT).expect("the worker is stopped");
    loop {
        ptrace::syscall(pid, None).expect("the worker is stopped");
        let stop = wait(pid);
        let mut registers = ptrace::getregs(pid).expect("the worker is stopped");
        match stop {
            WaitStatus::PtraceSyscall(_) if registers.orig_rax == libc::SYS_recvmsg as u64 => return false,
            WaitStatus::Stopped(_, Signal::SIGTRAP) if registers.rip == address + 1 => {
                ptrace::write(pid, place, before).expect("the worker is stopped");
                registers.rip = address;
                ptrace::setregs(pid, registers).expect("the worker is stopped");
                return true;
            }
            _ => {}
        }
    }
}

fn wait(pid: Pid) -> WaitStatus {
    waitpid(pid, Some(WaitPidFlag::__WALL)).expect("the worker is traced")
}

/// Whether the next instruction is the system call by which it waits.
fn waits_for_a_message(pid: Pid, registers: &libc::user_regs_struct) -> bool {
    if registers.rax != libc::SYS_recvmsg as u64 {
        return false;
    }
    let next = ptrace::read(pid, registers.rip as ptrace::AddressType).expect("it runs code that is there");
    next as u64 & 0xffff == SYSCALL
}
