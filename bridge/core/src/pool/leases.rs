//! Who holds the pool's shared memory.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Inner;
use crate::failure::{Code, Error};
use crate::link::{Holder, HostLink, Lease};

/// Holders that an error names.
const NAMED: usize = 4;
/// Lines that it names for each of them.
const KEEPERS: usize = 2;
/// How long to wait for memory where all that is lent was answered: nobody works on it any more, so little hope is left.
const RETAINED_WAIT: Duration = Duration::from_secs(1);

/// What the same holder holds in the same way.
#[derive(Clone, Copy, Default)]
struct Sum {
    batches: usize,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, lease: &Lease) {
        self.batches += 1;
        self.bytes += lease.bytes;
    }
}

/// Whose hands memory is in, and why it is not free.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Hands {
    Kept { function: String, worker: usize, process: Option<u32> },
    UnderWay { worker: usize },
    Results { function: String },
}

impl Hands {
    fn of(lease: &Lease) -> Self {
        match (lease.holder, lease.answered) {
            (Holder::Host, _) => Hands::Results { function: lease.function.clone() },
            (Holder::Worker, true) => Hands::Kept { function: lease.function.clone(), worker: lease.worker, process: lease.process },
            (Holder::Worker, false) => Hands::UnderWay { worker: lease.worker },
        }
    }

    fn describe(&self, Sum { batches, bytes }: Sum) -> String {
        match self {
            Hands::Kept { function, worker, process } => {
                let process = process.map_or_else(String::new, |process| format!(" (process {process})"));
                format!("{bytes} bytes: {batches} answered batches that function `{function}` keeps in worker {worker}{process}")
            }
            Hands::UnderWay { worker } => format!("{bytes} bytes: {batches} batches under way in worker {worker}"),
            Hands::Results { function } => format!("{bytes} bytes: {batches} results of function `{function}` that this process keeps"),
        }
    }
}

impl Inner {
    /// All leases with their numbers, those of each worker together.
    pub(super) fn leases(&self) -> Vec<(u64, Lease)> {
        let workers: Vec<(usize, Option<u32>, Arc<HostLink>)> = {
            let state = self.places.state();
            let at_work = state.places.iter().enumerate();
            at_work.filter_map(|(worker, place)| Some((worker, place.pid, place.link.clone()?))).collect()
        };
        workers.iter().flat_map(|(worker, process, link)| link.leases(*worker, *process)).collect()
    }

    /// Whether the wait for memory has lasted long enough: `usual` is for where workers are at work and may give some back.
    pub(super) fn is_over(&self, since: Instant, usual: Duration) -> bool {
        let waited = since.elapsed();
        let hopeless = || {
            let standing = Standing::of(&self.leases());
            standing.is_kept(self.memory.budget.used()) && standing.under_way == 0
        };
        waited > usual || (waited > RETAINED_WAIT && hopeless())
    }

    /// A shortage with the report of who holds what; where functions that keep their arguments are the reason, it says that instead. Other errors
    /// stay as they are.
    pub(super) fn explained(&self, error: Error) -> Error {
        if error.code() != Code::MemoryLimit {
            return error;
        }
        let leases = self.leases();
        let error = error.with_hint(self.holders(&leases));
        let standing = Standing::of(&leases);
        match &standing.most {
            Some((function, Sum { batches, bytes })) if standing.is_kept(self.memory.budget.used()) => {
                let message = format!("function `{function}` keeps {batches} batches of {bytes} bytes that it has answered, and {}", error.message());
                error.with_code(Code::InputRetained).with_message(message)
            }
            _ => error,
        }
    }

    /// The largest holders, in words.
    fn holders(&self, leases: &[(u64, Lease)]) -> String {
        let mut sums: BTreeMap<Hands, Sum> = BTreeMap::new();
        leases.iter().for_each(|(_, lease)| sums.entry(Hands::of(lease)).or_default().add(lease));
        let mut sums: Vec<(Hands, Sum)> = sums.into_iter().collect();
        sums.sort_by_key(|(_, sum)| Reverse(sum.bytes));
        let line = |(hands, sum): &(Hands, Sum)| hands.describe(*sum) + &keepers(leases, hands);
        let mut lines: Vec<String> = sums.iter().take(NAMED).map(line).collect();
        if sums.len() > NAMED {
            let rest: u64 = sums[NAMED..].iter().map(|(_, sum)| sum.bytes).sum();
            lines.push(format!("{rest} bytes: {} other holders", sums.len() - NAMED));
        }
        let (segments, total) = self.memory.segments.totals();
        let outside = self.memory.budget.used().saturating_sub(total);
        if outside > 0 {
            lines.push(format!("{outside} bytes: segments of workers that have ended, which results keep"));
        }
        let named: u64 = sums.iter().map(|(_, sum)| sum.bytes).sum();
        lines.push(format!("{} bytes: shared batches, and free room in {segments} segments", total.saturating_sub(named)));
        format!("held now:\n    {}", lines.join("\n    "))
    }
}

/// The lines that keep what these hands hold, those of the most batches first, where workers were asked for them.
fn keepers(leases: &[(u64, Lease)], hands: &Hands) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, lease) in leases.iter().filter(|(_, lease)| lease.kept_by.is_some() && Hands::of(lease) == *hands) {
        *counts.entry(lease.kept_by.as_deref().unwrap_or_default()).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, batches)| Reverse(*batches));
    let lines: Vec<&str> = counts.iter().take(KEEPERS).map(|(line, _)| *line).collect();
    if lines.is_empty() { String::new() } else { format!("; kept by {}", lines.join(", and by ")) }
}

/// What is held for which reason, in bytes.
struct Standing {
    /// The function that keeps the most of its arguments, and what it keeps.
    most: Option<(String, Sum)>,
    kept: u64,
    under_way: u64,
    results: u64,
}

impl Standing {
    fn of(leases: &[(u64, Lease)]) -> Self {
        let mut functions: BTreeMap<&str, Sum> = BTreeMap::new();
        let (mut under_way, mut results) = (0, 0);
        for (_, lease) in leases {
            match (lease.holder, lease.answered) {
                (Holder::Worker, true) => functions.entry(&lease.function).or_default().add(lease),
                (Holder::Worker, false) => under_way += lease.bytes,
                (Holder::Host, _) => results += lease.bytes,
            }
        }
        let kept = functions.values().map(|sum| sum.bytes).sum();
        let most = functions.into_iter().max_by_key(|(_, sum)| sum.bytes).map(|(function, sum)| (function.to_owned(), sum));
        Self { most, kept, under_way, results }
    }

    /// Whether more is held by functions that keep their arguments than for any other reason, and a good part of all `used` bytes: the rest are
    /// batches that the host shares, and free room that is too small.
    fn is_kept(&self, used: u64) -> bool {
        self.kept >= self.under_way && self.kept >= self.results && self.kept >= used / 3
    }
}
