//! How far a run is, on standard error: a bar while it runs (on a terminal only), and one line at the end.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::input::Meter;

/// The bar's resolution.
const STEPS: u64 = 10_000;

/// The progress of one run.
pub(crate) struct Progress {
    bar: ProgressBar,
    meter: Arc<Meter>,
    limit: Option<u64>,
    started: Instant,
    rows: u64,
    bytes: u64,
}

impl Progress {
    /// Begins to count; the bar shows on a terminal only.
    pub(crate) fn start(meter: Arc<Meter>, limit: Option<u64>) -> Self {
        let known = meter.part().is_some() || limit.is_some();
        let bar = if io::stderr().is_terminal() {
            ProgressBar::with_draw_target(known.then_some(STEPS), ProgressDrawTarget::stderr())
        } else {
            ProgressBar::hidden()
        };
        bar.set_style(style(known));
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { bar, meter, limit, started: Instant::now(), rows: 0, bytes: 0 }
    }

    /// Counts a batch of results.
    pub(crate) fn add(&mut self, rows: usize, bytes: usize) {
        self.rows += rows as u64;
        self.bytes += bytes as u64;
        let by_rows = self.limit.map(|limit| self.rows as f64 / limit.max(1) as f64);
        if let Some(part) = self.meter.part().into_iter().chain(by_rows).reduce(f64::max) {
            self.bar.set_position((part.min(1.0) * STEPS as f64) as u64);
        }
        let seconds = self.started.elapsed().as_secs_f64().max(1e-3);
        self.bar.set_message(format!(
            "{} rows  {} rows/s  {}/s",
            number(self.rows),
            number((self.rows as f64 / seconds) as u64),
            size((self.bytes as f64 / seconds) as u64)
        ));
    }

    /// What draws, for others that write to standard error meanwhile.
    pub(crate) fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// Shows a line that is not the bar's, above it.
    pub(crate) fn note(&self, line: &str) {
        // Nobody can be told where standard error itself fails.
        self.bar.suspend(|| _ = writeln!(io::stderr(), "{line}"));
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// The rows of the result.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }
}

fn style(known: bool) -> ProgressStyle {
    let template = if known { "{bar:30.cyan/dim} {percent:>3}%  {msg}  {elapsed}" } else { "{spinner:.cyan} {msg}  {elapsed}" };
    ProgressStyle::with_template(template).map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("━━─"))
}

/// A number with its thousands apart.
pub(crate) fn number(value: u64) -> String {
    let digits = value.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(",")
}

/// A number of bytes in the unit that suits it.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A time in seconds, as exact as it is of use.
pub(crate) fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 10.0 { format!("{seconds:.2} s") } else { format!("{seconds:.1} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_easy_to_read() {
        assert_eq!([0, 999, 1000, 600_572, 1_000_001].map(number), ["0", "999", "1,000", "600,572", "1,000,001"]);
        assert_eq!([12, 999, 1000, 19_218_304, 999_960, u64::MAX].map(size), ["12 B", "999 B", "1.0 kB", "19.2 MB", "1.0 MB", "18446744.1 TB"]);
        assert_eq!(seconds(Duration::from_millis(1234)), "1.23 s");
    }

    #[test]
    fn without_a_terminal_nothing_is_drawn() {
        let mut progress = Progress::start(Arc::new(Meter::new(Some(10))), None);
        progress.add(5, 100);
        progress.clear();
        assert_eq!(progress.rows(), 5);
    }
}
