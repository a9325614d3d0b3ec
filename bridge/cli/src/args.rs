//! What can be said on the command line.

use std::num::{NonZeroU64, NonZeroUsize};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::failed::Policy;
use crate::input::Format;
use crate::output;

/// Runs functions over files, in isolated worker processes, through shared memory.
#[derive(Parser, Debug)]
#[command(name = "transom", version, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Run(Box<Run>),
    Replay(Replay),
    Doctor(Doctor),
}

/// Runs a function over files.
///
/// A scalar or row function takes the columns that its parameters are named after, and gives one column named after itself.
/// A batches function takes whole batches and gives batches of its own.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Run {
    /// The function: `path/file.py:name`, `package.module:name`, or `path/library.so:name`
    pub(crate) function: String,

    /// Parquet (.parquet), Arrow (.arrow, .arrows, .feather, .ipc), CSV (.csv, .tsv), JSON lines (.jsonl, .ndjson, .json) or text
    /// (.txt, .log) files, folders and globs of them; `-` for an Arrow stream on standard input
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<String>,

    /// The columns to call the function with, in order [default: those named as its parameters]
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub(crate) columns: Option<Vec<String>>,

    /// The name of the result column [default: the function's]
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Give the input's columns too, before the result
    #[arg(long)]
    pub(crate) append: bool,

    /// Where the result goes: a .parquet, .arrow, .arrows, .csv, .tsv or .jsonl file, or `-` for an Arrow stream on standard output
    /// [default: a table of the first rows on standard output]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<String>,

    /// What the inputs are, where their names do not tell
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,

    /// What the output is to be, where its name does not tell
    #[arg(long, value_enum, value_name = "FORMAT", requires = "output")]
    pub(crate) output_format: Option<output::Format>,

    /// What becomes of rows for which the function fails [default: as the function's definition says]
    #[arg(long, value_enum, value_name = "POLICY")]
    pub(crate) on_error: Option<Policy>,

    /// Where rows go for which the function fails, with the reason, instead of into the result: a file as for --output
    #[arg(long, value_name = "FILE")]
    pub(crate) dead_letters: Option<String>,

    /// Worker processes [default: one for each core, and no more than there are batches]
    #[arg(long, short, value_name = "N")]
    pub(crate) workers: Option<NonZeroUsize>,

    /// The most rows in one batch
    #[arg(long, value_name = "N", default_value = "65536")]
    pub(crate) batch_rows: NonZeroUsize,

    /// Read only the first N rows
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,

    /// How many rows of each CSV and JSON file are looked at to find its types; 0 for all
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(crate) infer_rows: usize,

    /// The Python interpreter [default: $TRANSOM_PYTHON, the active virtual environment, a .venv here or by the program, python3]
    #[arg(long, value_name = "PATH")]
    pub(crate) python: Option<PathBuf>,

    /// The longest that one batch may take
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) deadline: Option<Duration>,

    /// The most memory that each worker may have of its own, such as 512MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) worker_memory: Option<u64>,

    /// The most descriptors that each worker may have open
    #[arg(long, value_name = "N", value_parser = above_zero)]
    pub(crate) worker_descriptors: Option<u64>,

    /// The most processes and threads that the function may start in each worker
    #[arg(long, value_name = "N", value_parser = above_zero)]
    pub(crate) worker_processes: Option<u64>,

    /// The most bytes of the result for one batch, such as 1GiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) result_limit: Option<u64>,

    /// An environment variable for the workers; may be given many times
    #[arg(long, value_name = "KEY=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,

    /// A folder in which the input of every failure is saved, for `transom replay` [default: $TRANSOM_CAPSULES, or none]
    #[arg(long, value_name = "DIR")]
    pub(crate) capsules: Option<PathBuf>,
}

/// Runs the function of a failure capsule once more, over the input with which it failed.
///
/// The function runs alone, in a fresh worker of the interpreter in which it failed. A replay runs the code in the capsule: replay only what is yours.
#[derive(clap::Args, Debug)]
#[command(after_help = REPLAYS)]
pub(crate) struct Replay {
    /// The capsule's folder, as the error says it
    pub(crate) capsule: PathBuf,

    /// Only these rows, by the numbers that errors have; B is not one of them
    #[arg(long, value_name = "A..B", value_parser = rows)]
    pub(crate) rows: Option<Range<u64>>,

    /// Start Python's debugger where the exception was raised; the function runs in a process of its own, without a host
    #[arg(long, conflicts_with = "gdb")]
    pub(crate) pdb: bool,

    /// Run the function under gdb: on a terminal it waits for you, otherwise it prints the stacks where the process dies
    #[arg(long)]
    pub(crate) gdb: bool,

    /// Another Python interpreter than the one in which it failed
    #[arg(long, value_name = "PATH")]
    pub(crate) python: Option<PathBuf>,

    /// Another deadline for the batch than it had
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with_all = ["pdb", "gdb"])]
    pub(crate) deadline: Option<Duration>,

    /// An environment variable for the function, since a capsule has their names only; may be given many times
    #[arg(long, value_name = "KEY=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,
}

/// Checks what Transom needs from this machine, and says how to mend what is missing; or looks into a running pool.
#[derive(clap::Args, Debug)]
pub(crate) struct Doctor {
    /// Show the workers, leases and segments of the pools of a running process; without PID of all processes of this user
    #[arg(long, value_name = "PID", num_args = 0..=1)]
    pub(crate) pool: Option<Option<u32>>,

    /// Give what pools say as JSON, one pool on each line
    #[arg(long, requires = "pool")]
    pub(crate) json: bool,

    /// The Python interpreter [default: as for `run`]
    #[arg(long, value_name = "PATH")]
    pub(crate) python: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  transom run pricing.py:discounted_price lineitem.parquet --output prices.parquet
  transom run pricing.py:discounted_price sales/ --columns price,rebate --as net --append --output out.csv
  transom run words.py:split 'logs/*.txt' --limit 1000
  producer | transom run clean.py:clean - --output - | consumer";

const REPLAYS: &str =
    "Exit status: 1 when the failure came again, 0 when the function did not fail, 3 when it failed otherwise or could not be replayed";

fn rows(text: &str) -> Result<Range<u64>, String> {
    let bounds = text.split_once("..").and_then(|(start, end)| Some((start.parse().ok()?, end.parse().ok()?)));
    match bounds {
        Some((start, end)) if start < end => Ok(start..end),
        _ => Err("write A..B, such as 100..110".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("a deadline is more than 0 seconds".to_owned()),
    }
}

fn size(text: &str) -> Result<u64, String> {
    match transom::pool::bytes_in(text) {
        Ok(0) => Err("a limit is at least 1 byte".to_owned()),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(error.hint().unwrap_or_default().to_owned()),
    }
}

fn above_zero(text: &str) -> Result<u64, String> {
    text.parse::<NonZeroU64>().map(u64::from).map_err(|_| "a whole number above 0 is needed".to_owned())
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn run(arguments: &[&str]) -> Result<Run, clap::Error> {
        let words = ["transom", "run"].iter().chain(arguments);
        Args::try_parse_from(words).map(|args| match args.command {
            Command::Run(run) => *run,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn the_grammar_holds_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn options_are_read() {
        let run = run(&[
            "f.py:f",
            "a.csv",
            "b.csv",
            "--columns",
            "x,y",
            "--as",
            "z",
            "-o",
            "-",
            "--deadline",
            "1.5",
            "--env",
            "A=b=c",
            "--worker-memory",
            "512MiB",
        ])
        .unwrap();
        assert_eq!(run.inputs, ["a.csv", "b.csv"]);
        assert_eq!(run.columns.unwrap(), ["x", "y"]);
        assert_eq!(run.deadline, Some(Duration::from_millis(1500)));
        assert_eq!(run.env, [("A".to_owned(), "b=c".to_owned())]);
        assert_eq!(run.batch_rows.get(), 65_536);
        assert_eq!(run.worker_memory, Some(512 << 20));
    }

    #[test]
    fn replays_are_read() {
        let replay = |options: &[&str]| Args::try_parse_from(["transom", "replay", "failures/f-b0-1"].iter().chain(options)).map(|args| args.command);
        let Ok(Command::Replay(read)) = replay(&["--rows", "10..12", "--gdb", "--env", "A=b"]) else { panic!("it is one") };
        assert_eq!((read.rows, read.gdb, read.pdb, read.env.len()), (Some(10..12), true, false, 1));
        for bad in [
            &["--rows", "12"][..],
            &["--rows", "12..12"],
            &["--rows", "a..b"],
            &["--pdb", "--gdb"],
            &["--pdb", "--deadline", "1"],
            &["--deadline", "0"],
        ] {
            assert!(replay(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn values_that_make_no_sense_are_refused() {
        for bad in [
            ["--workers", "0"],
            ["--batch-rows", "0"],
            ["--deadline", "-1"],
            ["--deadline", "0"],
            ["--env", "novalue"],
            ["--limit", "-1"],
            ["--worker-memory", "much"],
            ["--result-limit", "0"],
            ["--worker-descriptors", "0"],
        ] {
            assert!(run(&["f.py:f", "a.csv", bad[0], bad[1]]).is_err(), "{bad:?}");
        }
        assert!(run(&["f.py:f"]).is_err());
    }
}
