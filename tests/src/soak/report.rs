//! The table of docs/reliability.md, from the files of docs/reliability: one test a line, as JSON.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::campaigns::CAMPAIGNS;
use super::state::{State, answer};

const FOLDER: &str = "docs/reliability";
const DOCUMENT: &str = "docs/reliability.md";
const BEGIN: &str = "<!-- counts: written by `make soak` -->\n";
const END: &str = "<!-- end of counts -->\n";

/// A line of the table. Whoever else has counts writes lines of this form into a file of their own in the folder.
#[derive(Serialize, Deserialize)]
struct Row {
    /// The test's name in the plan, such as `T2`.
    id: String,
    /// What is done.
    what: String,
    /// What is counted.
    unit: String,
    /// How many there were.
    count: u64,
    /// How many a release is to reach.
    aim: u64,
    /// How many did not hold.
    anomalies: u64,
    /// The first day and the last.
    since: String,
    until: String,
    /// On what.
    kernel: String,
    rust: String,
    /// Further figures, for people.
    details: String,
}

/// Writes this program's lines, and the table from all.
pub(crate) fn write() -> io::Result<()> {
    fs::create_dir_all(FOLDER)?;
    let release = answer("uname", &["-r"]);
    // Without what the machine's owner calls it.
    let kernel = release.split('-').next().unwrap_or_default().to_owned();
    let rust = answer("rustc", &["-V"]).split_whitespace().nth(1).unwrap_or_default().to_owned();
    let mut lines = String::new();
    for campaign in CAMPAIGNS {
        let state = State::load(campaign);
        if state.count + state.anomalies == 0 {
            continue;
        }
        let row = Row {
            id: campaign.id.to_owned(),
            what: campaign.what.to_owned(),
            unit: campaign.unit.to_owned(),
            count: state.count,
            aim: campaign.aim,
            anomalies: state.anomalies,
            since: state.since.clone(),
            until: state.until.clone(),
            kernel: kernel.clone(),
            rust: rust.clone(),
            details: details(&state),
        };
        lines += &serde_json::to_string(&row)?;
        lines.push('\n');
    }
    if !lines.is_empty() {
        fs::write(Path::new(FOLDER).join("soak.json"), lines)?;
    }
    let document = fs::read_to_string(DOCUMENT)?;
    let missing = || io::Error::other(format!("{DOCUMENT} has no marks for the table"));
    let (before, rest) = document.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    fs::write(DOCUMENT, format!("{before}{BEGIN}{}{END}{after}", table()?))
}

fn details(state: &State) -> String {
    let mut parts: Vec<String> = state.details.iter().map(|(name, count)| format!("{} {name}", grouped(*count))).collect();
    for (name, samples) in &state.samples {
        let mut sorted = samples.clone();
        sorted.sort_unstable();
        let at = |share: usize| sorted[(sorted.len() * share / 1000).min(sorted.len() - 1)] as f64 / 1000.0;
        parts.push(format!("{name}: p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms", at(500), at(990), at(1000)));
    }
    parts.push(format!("{} s", grouped(state.seconds as u64)));
    if let Some(growth) = state.growth {
        parts.push(format!("memory in use by the host after its first rounds: {growth:+} bytes"));
    }
    parts.join("; ")
}

fn table() -> io::Result<String> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(FOLDER)?.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    files.sort();
    let mut rows: Vec<Row> = Vec::new();
    for file in files {
        for line in fs::read_to_string(&file)?.lines() {
            rows.push(serde_json::from_str(line).map_err(|error| io::Error::other(format!("{}: {error}", file.display())))?);
        }
    }
    rows.sort_by(|one, other| one.id.cmp(&other.id));
    let mut text =
        "| test | what | done | for a release | anomalies | when, on what | besides |\n| --- | --- | --- | --- | --- | --- | --- |\n".to_owned();
    for row in rows {
        let when = if row.since == row.until { row.until } else { format!("{} to {}", row.since, row.until) };
        text += &format!(
            "| {} | {} | {} {} | {} | {} | {when}, Linux {}, Rust {} | {} |\n",
            row.id,
            row.what,
            grouped(row.count),
            row.unit,
            grouped(row.aim),
            row.anomalies,
            row.kernel,
            row.rust,
            row.details
        );
    }
    Ok(text)
}

/// With commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).expect("digits are ASCII")).collect();
    groups.join(",")
}
