//! What was done so far, kept in files so that a run goes on where the last one stopped.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use serde::{Deserialize, Serialize};
use support::Round;

use super::campaigns::Campaign;

/// Where the state lies.
const FOLDER: &str = "target/soak";

/// How far a campaign is.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) count: u64,
    /// Rounds in which something did not hold; what, is in `target/soak/anomalies.log`.
    pub(crate) anomalies: u64,
    pub(crate) seconds: f64,
    /// Bytes by which the memory that this process has in use grew after its first rounds, without the measurements below.
    #[serde(default)]
    pub(crate) growth: Option<i64>,
    pub(crate) since: String,
    pub(crate) until: String,
    /// Sums.
    pub(crate) details: BTreeMap<String, u64>,
    /// Measurements in microseconds.
    pub(crate) samples: BTreeMap<String, Vec<u64>>,
}

impl State {
    pub(crate) fn load(campaign: &Campaign) -> Self {
        fs::read(path(campaign)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    pub(crate) fn add(&mut self, round: Round) {
        self.count += round.count;
        round.details.into_iter().for_each(|(name, count)| *self.details.entry(name.to_owned()).or_default() += count);
        round.samples.into_iter().for_each(|(name, samples)| self.samples.entry(name.to_owned()).or_default().extend(samples));
    }

    /// Bytes that the measurements take.
    pub(crate) fn measurements(&self) -> i64 {
        self.samples.values().map(|samples| samples.capacity() * size_of::<u64>()).sum::<usize>() as i64
    }

    /// Written beside and renamed, so that a run that is killed leaves a whole file.
    pub(crate) fn save(&mut self, campaign: &Campaign) {
        self.until = answer("date", &["-u", "+%F"]);
        if self.since.is_empty() {
            self.since.clone_from(&self.until);
        }
        fs::create_dir_all(FOLDER).expect("the folder of the state can be made");
        let beside = path(campaign).with_extension("new");
        fs::write(&beside, serde_json::to_vec(self).expect("numbers make JSON")).expect("the state can be written");
        fs::rename(beside, path(campaign)).expect("the state can be renamed");
    }
}

fn path(campaign: &Campaign) -> PathBuf {
    PathBuf::from(FOLDER).join(format!("{}.json", campaign.id))
}

/// What a command prints.
pub(crate) fn answer(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// From here on every panic is noted where it can be read later.
pub(crate) fn keep_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload().downcast_ref::<String>().is_some_and(|text| text == "as asked") {
            // Of a step, where it belongs to the test.
            return;
        }
        usual(panic);
        _ = fs::create_dir_all(FOLDER);
        let log = fs::OpenOptions::new().create(true).append(true).open(format!("{FOLDER}/anomalies.log"));
        if let Ok(mut log) = log {
            _ = writeln!(log, "{} {panic}", answer("date", &["-u", "+%FT%TZ"]));
        }
    }));
}
