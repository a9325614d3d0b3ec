//! There and back between two processes, for each way to tell the other side that something is there.
//!
//! No wait here has a time-out: the driver gives the whole program one, and the child dies with its parent.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;
use rustix::io::{Errno, read, write};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use rustix::process::{Pid, Signal as KernelSignal, WaitOptions, set_parent_process_death_signal, waitpid};
use rustix::thread::{CpuSet, futex, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

use crate::region::Region;
use crate::statistics::quantile;

/// Trips before counting starts: the first ones fault pages in and move the processes to their cores.
const WARM_UP: u32 = 200;

/// A spinning pair on one core needs two turns of the scheduler for each trip, milliseconds: a few are enough.
const SPINS_TOGETHER: u32 = 20;

/// Times of round trips, in nanoseconds.
#[derive(Serialize)]
pub(crate) struct PingPong {
    way: &'static str,
    placement: Placement,
    p50: u64,
    p99: u64,
    p999: u64,
}

/// Where the two processes run.
#[derive(Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Placement {
    /// Each bound to a core of its own.
    Apart,
    /// Both bound to one core.
    Together,
    /// Where the scheduler puts them.
    Any,
}

/// One direction: one process raises it, the other waits for it.
trait Signal {
    fn raise(&self, trip: u32) -> io::Result<()>;
    fn wait(&self, trip: u32) -> io::Result<()>;
}

/// A word in shared memory and nothing else.
struct Spin<'a>(&'a AtomicU32);

impl Signal for Spin<'_> {
    fn raise(&self, trip: u32) -> io::Result<()> {
        self.0.store(trip, Ordering::Release);
        Ok(())
    }

    fn wait(&self, trip: u32) -> io::Result<()> {
        while self.0.load(Ordering::Acquire) != trip {
            std::hint::spin_loop();
        }
        Ok(())
    }
}

/// A word in shared memory on which the kernel lets the other side sleep.
struct Futex<'a>(&'a AtomicU32);

impl Signal for Futex<'_> {
    fn raise(&self, trip: u32) -> io::Result<()> {
        self.0.store(trip, Ordering::Release);
        futex::wake(self.0, futex::Flags::empty(), 1)?;
        Ok(())
    }

    fn wait(&self, trip: u32) -> io::Result<()> {
        loop {
            let seen = self.0.load(Ordering::Acquire);
            if seen == trip {
                return Ok(());
            }
            match futex::wait(self.0, futex::Flags::empty(), seen, None) {
                // The word changed before the sleep began, or something else woke it: look again.
                Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The kernel's counter.
struct Eventfd(OwnedFd);

impl Signal for Eventfd {
    fn raise(&self, _trip: u32) -> io::Result<()> {
        write(&self.0, &1_u64.to_ne_bytes())?;
        Ok(())
    }

    fn wait(&self, _trip: u32) -> io::Result<()> {
        read(&self.0, &mut [0; 8])?;
        Ok(())
    }
}

/// Messages of 64 bytes over a Unix socket that keeps their bounds: the first end raises, the second waits.
struct Socket(OwnedFd, OwnedFd);

impl Signal for Socket {
    fn raise(&self, trip: u32) -> io::Result<()> {
        let mut message = [0; 64];
        message[..4].copy_from_slice(&trip.to_ne_bytes());
        send(&self.0, &message, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    fn wait(&self, _trip: u32) -> io::Result<()> {
        recv(&self.1, &mut [0_u8; 64], RecvFlags::empty())?;
        Ok(())
    }
}

/// Measures every way in every placement that the machine has cores for; `trips` in each round.
pub(crate) fn measure(rounds: usize, trips: u32) -> io::Result<Vec<PingPong>> {
    let memory = Region::shared(4096)?;
    // SAFETY: both words lie in a page-aligned mapping of 4096 bytes that outlives the references and starts as zeros;
    // parent and child only reach it through these atomics. They are on different cache lines.
    let (there, back) = unsafe { (&*memory.as_ptr().cast::<AtomicU32>(), &*memory.as_ptr().add(128).cast::<AtomicU32>()) };
    let events = || eventfd(0, EventfdFlags::CLOEXEC).map(Eventfd);
    let sockets = || {
        let kind = (AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        socketpair(kind.0, kind.1, kind.2, None).map(|(one, other)| Socket(one, other))
    };
    let ways: [(&'static str, Pair<'_>); 4] = [
        ("spin", pair(Spin(there), Spin(back))),
        ("futex", pair(Futex(there), Futex(back))),
        ("eventfd", pair(events()?, events()?)),
        ("socket", pair(sockets()?, sockets()?)),
    ];

    let home = sched_getaffinity(None)?;
    let placements: Vec<(Placement, [CpuSet; 2])> = placements(&home);
    let mut times: Vec<Vec<u64>> = vec![Vec::new(); ways.len() * placements.len()];
    for _ in 0..rounds {
        let mut times = times.iter_mut();
        for (way, pair) in &ways {
            for (placement, cores) in &placements {
                let Some(times) = times.next() else { continue };
                let starved = *way == "spin" && *placement == Placement::Together;
                let trips = if starved { SPINS_TOGETHER.min(trips) } else { trips };
                there.store(0, Ordering::Relaxed);
                back.store(0, Ordering::Relaxed);
                let outcome = bounce(pair, cores, trips, times);
                sched_setaffinity(None, &home)?;
                outcome?;
            }
        }
    }
    let names = ways.iter().flat_map(|(way, _)| placements.iter().map(move |(placement, _)| (*way, *placement)));
    let rows = names.zip(&mut times).map(|((way, placement), times)| {
        times.sort_unstable();
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| quantile(times, share));
        PingPong { way, placement, p50, p99, p999 }
    });
    Ok(rows.collect())
}

/// The two directions of one way.
type Pair<'a> = [Box<dyn Signal + 'a>; 2];

fn pair<'a, S: Signal + 'a>(there: S, back: S) -> Pair<'a> {
    [Box::new(there), Box::new(back)]
}

/// The cores for parent and child in each placement.
fn placements(home: &CpuSet) -> Vec<(Placement, [CpuSet; 2])> {
    let only = |core: usize| {
        let mut set = CpuSet::new();
        set.set(core);
        set
    };
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| home.is_set(*core));
    let mut placements = vec![(Placement::Any, [*home, *home])];
    if let Some(first) = cores.next() {
        placements.push((Placement::Together, [only(first), only(first)]));
        placements.extend(cores.next().map(|second| (Placement::Apart, [only(first), only(second)])));
    }
    placements
}

/// Forks a child that answers, and adds the time of each round trip to `times`.
fn bounce([there, back]: &Pair<'_>, cores: &[CpuSet; 2], trips: u32, times: &mut Vec<u64>) -> io::Result<()> {
    let warm_up = WARM_UP.min(trips);
    let last = warm_up + trips;
    // SAFETY: this program has no second thread, so the child may go on with everything it has; it leaves by `_exit`,
    // which runs no destructor of the parent's.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let answered = answer(there.as_ref(), back.as_ref(), &cores[1], last);
        // SAFETY: ends this process only.
        unsafe { libc::_exit(i32::from(answered.is_err())) };
    }
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    sched_setaffinity(None, &cores[0])?;
    for trip in 1..=last {
        let start = Instant::now();
        there.raise(trip)?;
        back.wait(trip)?;
        if trip > warm_up {
            times.push(start.elapsed().as_nanos() as u64);
        }
    }
    waitpid(Pid::from_raw(child), WaitOptions::empty())?;
    Ok(())
}

fn answer(there: &dyn Signal, back: &dyn Signal, cores: &CpuSet, last: u32) -> io::Result<()> {
    set_parent_process_death_signal(Some(KernelSignal::KILL))?;
    sched_setaffinity(None, cores)?;
    (1..=last).try_for_each(|trip| {
        there.wait(trip)?;
        back.raise(trip)
    })
}
