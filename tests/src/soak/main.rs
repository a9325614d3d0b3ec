//! `make soak`: the fault tests with the counts of a release. It goes on where the last run stopped, stops at the end of its time or at SIGTERM, and
//! writes the table of docs/reliability.md.

mod campaigns;
mod report;
mod state;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Parser;
use support::counted::{Counted, bytes_in_use};

use campaigns::{CAMPAIGNS, Campaign, Soak};
use state::State;

#[global_allocator]
static MEMORY: Counted = Counted;

/// Runs the fault tests with the counts of a release, from the folder of the repository.
#[derive(Parser)]
struct Arguments {
    /// How long; without it, until every count is reached.
    #[arg(long)]
    minutes: Option<u64>,
    /// Only these tests, by their names in the table.
    #[arg(long)]
    only: Vec<String>,
    /// The interpreter of Python workers.
    #[arg(long, default_value = ".venv/bin/python")]
    python: PathBuf,
    /// Only writes the table.
    #[arg(long)]
    report: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.report {
        return finish();
    }
    let soak = Soak::new(arguments.python);
    let over = soak.over.clone();
    ctrlc::set_handler(move || over.store(true, Ordering::Relaxed)).expect("signals can be handled");
    state::keep_panics();
    let end = arguments.minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let chosen: Vec<&Campaign> =
        CAMPAIGNS.iter().filter(|campaign| arguments.only.is_empty() || arguments.only.iter().any(|id| id == campaign.id)).collect();
    for campaign in chosen {
        run(campaign, &soak, end);
    }
    finish()
}

fn finish() -> ExitCode {
    match report::write() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

/// Rounds in a row that do not hold, after which a test waits for somebody to look.
const PATIENCE: u32 = 3;

/// Runs rounds of a campaign until its count is reached.
fn run(campaign: &Campaign, soak: &Soak, end: Option<Instant>) {
    if let Some(reason) = (campaign.missing)(soak) {
        say(&format!("{}: skipped, since {reason}", campaign.id));
        return;
    }
    let mut state = State::load(campaign);
    let mut memory = Memory::default();
    let mut in_a_row = 0;
    while state.count < campaign.aim {
        if end.is_some_and(|end| Instant::now() >= end) {
            soak.over.store(true, Ordering::Relaxed);
        }
        if soak.over.load(Ordering::Relaxed) {
            return;
        }
        let begun = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| (campaign.round)(soak, campaign.aim - state.count))) {
            Ok(round) => {
                state.add(round);
                in_a_row = 0;
            }
            Err(_) => {
                state.anomalies += 1;
                in_a_row += 1;
            }
        }
        state.seconds += begun.elapsed().as_secs_f64();
        if let Some(growth) = memory.growth(&state) {
            state.growth = Some(growth);
        }
        state.save(campaign);
        say(&format!(
            "{}: {} of {} {}, {} anomalies, {:.0} s",
            campaign.id, state.count, campaign.aim, campaign.unit, state.anomalies, state.seconds
        ));
        if in_a_row == PATIENCE {
            say(&format!("{}: {PATIENCE} rounds in a row did not hold; target/soak/anomalies.log says what", campaign.id));
            return;
        }
    }
}

/// How the memory that this process has in use grows once nothing is done for the first time any more.
#[derive(Default)]
struct Memory {
    rounds: u32,
    warm: i64,
}

impl Memory {
    const WARM_UP: u32 = 5;

    fn growth(&mut self, state: &State) -> Option<i64> {
        let now = bytes_in_use() - state.measurements();
        self.rounds += 1;
        if self.rounds <= Self::WARM_UP {
            self.warm = self.warm.max(now);
            return None;
        }
        Some(now - self.warm)
    }
}

#[expect(clippy::print_stdout, reason = "it is what a program has to say")]
fn say(what: &str) {
    println!("{what}");
}

#[expect(clippy::print_stderr, reason = "it is what a program has to say")]
fn fail(what: &str) -> ExitCode {
    eprintln!("soak: {what}");
    ExitCode::FAILURE
}
