//! `transom doctor --pool`: what running pools say of themselves, for people.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::Value;
use transom::{Code, Error, Result};

/// Leases that are shown, the largest first.
const SHOWN: usize = 20;

/// Prints what the pools of a process say, or those of all processes of this user.
pub(crate) fn show(process: Option<u32>, json: bool) -> Result<ExitCode> {
    let reports = transom::pool::reports(process)?;
    if let (Some(process), []) = (process, reports.as_slice()) {
        return Err(Error::new(Code::BadOption, format!("process {process} has no pool that answers"))
            .with_hint("`transom doctor --pool` lists the pools of this user; with TRANSOM_DOCTOR=0 a process keeps its pools to itself"));
    }
    let mut text = String::new();
    for report in &reports {
        if json {
            _ = writeln!(text, "{report}");
        } else {
            let report: Value = serde_json::from_str(report).map_err(|error| Error::system(Code::System, "a pool's answer cannot be read", error))?;
            text.push_str(&of_pool(&report));
        }
    }
    if reports.is_empty() && !json {
        text.push_str("no process of this user has a pool\n");
    }
    // A reader who leaves early has seen what they wanted.
    _ = io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

fn of_pool(report: &Value) -> String {
    let number = |name: &str| report[name].as_u64().unwrap_or_default();
    let (used, limit) = (size(number("memory_used")), size(number("memory_limit")));
    let mut text = format!("process {} (transom {}): {used} of {limit} shared memory\n", shown(&report["pid"]), shown(&report["transom"]));
    let workers = report["workers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut rows =
        vec![["worker", "process", "language", "state", "batches", "restarts", "leases", "own memory", "up for"].map(str::to_owned).to_vec()];
    rows.extend(workers.iter().map(|worker| {
        let process = worker["pid"].as_u64();
        let mut row: Vec<String> = ["worker", "pid", "language", "state", "batches", "restarts", "leases"].map(|name| shown(&worker[name])).into();
        row.push(process.and_then(own_memory).map_or_else(|| "-".to_owned(), size));
        row.push(process.and_then(uptime).map_or_else(|| "-".to_owned(), duration));
        row
    }));
    text.push_str(&table(&rows));
    text.push_str(&leases(report));
    let segments = report["segments"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut rows = vec![["segment", "role", "size", "free"].map(str::to_owned).to_vec()];
    rows.extend(segments.iter().map(|segment| {
        let bytes = |name: &str| segment[name].as_u64().map_or_else(|| "-".to_owned(), size);
        vec![shown(&segment["segment"]), shown(&segment["role"]), bytes("bytes"), bytes("free")]
    }));
    text.push_str(&table(&rows));
    text
}

fn leases(report: &Value) -> String {
    let mut leases: Vec<&Value> = report["leases"].as_array().into_iter().flatten().collect();
    leases.sort_by_key(|lease| std::cmp::Reverse(lease["bytes"].as_u64()));
    let mut rows = vec![["held by", "function", "batch", "size", "for", ""].map(str::to_owned).to_vec()];
    rows.extend(leases.iter().take(SHOWN).map(|lease| {
        let worker = lease["holder"] == "worker";
        vec![
            if worker { format!("worker {}", shown(&lease["worker"])) } else { "host".to_owned() },
            shown(&lease["function"]),
            shown(&lease["batch"]),
            size(lease["bytes"].as_u64().unwrap_or_default()),
            duration(lease["age_seconds"].as_f64().unwrap_or_default()),
            match (worker, lease["answered"] == true) {
                (true, true) => match lease["kept_by"].as_str() {
                    Some(_) => format!("kept after its answer: {}", shown(&lease["kept_by"])),
                    None => "kept after its answer".to_owned(),
                },
                (true, false) => "under way".to_owned(),
                (false, _) => format!("result of worker {}", shown(&lease["worker"])),
            },
        ]
    }));
    let mut text = table(&rows);
    let more = leases.len().saturating_sub(SHOWN) as u64 + report["leases_left_out"].as_u64().unwrap_or_default();
    if more > 0 {
        _ = writeln!(text, "  and {more} more");
    }
    text
}

/// A table with its titles, under each other; of titles alone nothing.
fn table(rows: &[Vec<String>]) -> String {
    if rows.len() < 2 {
        return String::new();
    }
    let widths: Vec<usize> = (0..rows[0].len()).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("  {}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.chars().filter(|letter| !letter.is_control()).collect(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

fn size(bytes: u64) -> String {
    if bytes < 1 << 20 { format!("{} KiB", bytes.div_ceil(1 << 10)) } else { format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)) }
}

fn duration(seconds: f64) -> String {
    if seconds < 120.0 { format!("{seconds:.1} s") } else { format!("{:.0} min", seconds / 60.0) }
}

/// The memory that a process has for itself: `RssAnon` of `/proc/PID/status` (`proc(5)`), which shared segments are no part of.
fn own_memory(process: u64) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// How long ago a process was started, in seconds: the 22nd field of `/proc/PID/stat`, in ticks after the machine's start (`proc(5)`).
fn uptime(process: u64) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may contain anything.
    let started: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let now: f64 = fs::read_to_string("/proc/uptime").ok()?.split_whitespace().next()?.parse().ok()?;
    Some((now - started as f64 / rustix::param::clock_ticks_per_second() as f64).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_shown_with_all_that_it_says() {
        let report = serde_json::json!({
            "transom": "1.2.3", "pid": 7, "memory_used": 5 << 20, "memory_limit": 64 << 20,
            "workers": [{"worker": 0, "language": "Python", "pid": null, "state": "starting", "batches": 2, "restarts": 1, "leases": 1}],
            "leases": [
                {"holder": "worker", "worker": 0, "function": "hoard", "batch": 4, "bytes": 2 << 20, "age_seconds": 1.25, "answered": true},
                {
                    "holder": "worker", "worker": 0, "function": "hoard", "batch": 5, "bytes": 1 << 20, "age_seconds": 0.5, "answered": true,
                    "kept_by": "udfs.py:12 in hoard: global `CACHE`\n",
                },
                {"holder": "host", "worker": 0, "function": "f", "batch": 9, "bytes": 100, "age_seconds": 300.0, "answered": true},
            ],
            "leases_left_out": 3,
            "segments": [{"segment": 1, "role": "input", "bytes": 4 << 20, "free": 1 << 20}],
        });
        let text = of_pool(&report);
        assert!(text.starts_with("process 7 (transom 1.2.3): 5.0 MiB of 64.0 MiB shared memory\n"), "{text}");
        for line in [
            "  0       -        Python    starting  2        1         1       -           -\n",
            "  worker 0  hoard     4      2.0 MiB  1.2 s  kept after its answer\n",
            "  worker 0  hoard     5      1.0 MiB  0.5 s  kept after its answer: udfs.py:12 in hoard: global `CACHE`\n",
            "  host      f         9      1 KiB    5 min  result of worker 0\n",
            "  and 3 more\n",
            "  1        input  4.0 MiB  1.0 MiB\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }

    #[test]
    fn this_process_has_memory_and_an_age() {
        let process = u64::from(std::process::id());
        assert!(own_memory(process).unwrap() > 0);
        assert!(uptime(process).unwrap() >= 0.0);
    }
}
