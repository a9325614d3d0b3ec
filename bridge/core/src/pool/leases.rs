//! Who holds the pool's shared memory.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use crate::failure::{Code, Error};
use crate::link::{Holder, HostLink, Lease};

/// Holders that an error names.
const NAMED: usize = 4;
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

    /// How long to wait for memory, of a time that is enough where workers are at work.
    pub(super) fn patience(&self, usual: Duration) -> Duration {
        let leases = self.leases();
        let kept = leases.iter().any(|(_, lease)| lease.holder == Holder::Worker);
        if kept && leases.iter().all(|(_, lease)| lease.holder == Holder::Worker && lease.answered) { RETAINED_WAIT } else { usual }
    }

    /// A shortage with the report of who holds what; where functions that keep their arguments are the reason, it says that instead. Other errors
    /// stay as they are.
    pub(super) fn explained(&self, error: Error) -> Error {
        if error.code() != Code::MemoryLimit {
            return error;
        }
        let leases = self.leases();
        let error = error.with_hint(self.holders(&leases));
        match retained(&leases) {
            Some(message) => {
                let message = format!("{message}, and {}", error.message());
                error.with_code(Code::InputRetained).with_message(message)
            }
            None => error,
        }
    }

    /// The largest holders, in words.
    fn holders(&self, leases: &[(u64, Lease)]) -> String {
        let mut sums: BTreeMap<Hands, Sum> = BTreeMap::new();
        leases.iter().for_each(|(_, lease)| sums.entry(Hands::of(lease)).or_default().add(lease));
        let mut sums: Vec<(Hands, Sum)> = sums.into_iter().collect();
        sums.sort_by_key(|(_, sum)| Reverse(sum.bytes));
        let mut lines: Vec<String> = sums.iter().take(NAMED).map(|(hands, sum)| hands.describe(*sum)).collect();
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

/// What to say where functions keep more of their arguments than is held for any other reason.
fn retained(leases: &[(u64, Lease)]) -> Option<String> {
    let mut kept: BTreeMap<&str, Sum> = BTreeMap::new();
    let (mut under_way, mut results) = (0, 0);
    for (_, lease) in leases {
        match (lease.holder, lease.answered) {
            (Holder::Worker, true) => kept.entry(&lease.function).or_default().add(lease),
            (Holder::Worker, false) => under_way += lease.bytes,
            (Holder::Host, _) => results += lease.bytes,
        }
    }
    let all: u64 = kept.values().map(|sum| sum.bytes).sum();
    let (function, sum) = kept.into_iter().max_by_key(|(_, sum)| sum.bytes)?;
    (all >= under_way && all >= results && sum.bytes > 0)
        .then(|| format!("function `{function}` keeps {} batches of {} bytes that it has answered", sum.batches, sum.bytes))
}
