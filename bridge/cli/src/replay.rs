//! `transom replay`: a failure that was saved, once more.

use std::io::{self, IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use arrow_array::RecordBatch;
use indicatif::ProgressBar;
use transom::{Capsule, Code, Error, Language, Result};

use crate::output::{self, Target};
use crate::printed::Printed;
use crate::{args, interrupt, report};

/// The exit status where it is not the capsule's failure that came.
const OTHERWISE: u8 = 3;
/// The most environment variables that are named.
const NAMED: usize = 20;

/// Runs a capsule's function, alone or under a debugger.
pub(crate) fn replay(args: &args::Replay) -> Result<ExitCode> {
    Ok(attempt(args).unwrap_or_else(|error| {
        report::error(&error);
        ExitCode::from(OTHERWISE)
    }))
}

fn attempt(args: &args::Replay) -> Result<ExitCode> {
    let capsule = Capsule::open(&args.capsule)?;
    if let Some(left_out) = capsule.left_out() {
        note(&format!("note: {left_out}"));
    }
    if args.pdb || args.gdb {
        return Err(debug(args, &capsule)?);
    }
    interrupt::watch()?;
    let capsule = match args.deadline {
        Some(deadline) => capsule.with_deadline(deadline),
        None => capsule,
    };
    let builder = capsule.pool(args.python.as_deref())?;
    let pool = args.env.iter().fold(builder, |builder, (name, value)| builder.env(name, value)).build()?;
    let printed = Printed::follow(&pool, ProgressBar::hidden())?;
    let outcome = capsule.call_blocking(&pool, args.rows.clone());
    drop(pool);
    // What the function said comes before what became of it.
    printed.finish();
    match outcome {
        Ok(results) => {
            table(&results)?;
            note(&format!("the failure did not come again; it was {}{}", shown(capsule.code()), surroundings(args, &capsule)));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if Some(error.code()) == capsule.code() => {
            let status = report::error(&error);
            note("the failure came again");
            Ok(status)
        }
        Err(error) => {
            report::error(&error);
            note(&format!("this is another failure than the capsule's, which was {}{}", shown(capsule.code()), surroundings(args, &capsule)));
            Ok(ExitCode::from(OTHERWISE))
        }
    }
}

fn note(line: &str) {
    // Nobody can be told where standard error itself fails.
    _ = writeln!(io::stderr(), "{line}");
}

fn shown(code: Option<Code>) -> String {
    code.map_or_else(|| "of a kind that this version does not know".to_owned(), |code| format!("{} {}", code.id(), code.name()))
}

/// What may be the reason for another outcome.
fn surroundings(args: &args::Replay, capsule: &Capsule) -> String {
    let missing = capsule.missing_environment();
    let missing: Vec<&str> = missing.into_iter().filter(|name| args.env.iter().all(|(given, _)| given != name)).collect();
    let more = if missing.len() > NAMED { ", …" } else { "" };
    match missing.is_empty() {
        true => String::new(),
        false => format!("\n  environment variables that were set then and are not now: {}{more}", missing[..missing.len().min(NAMED)].join(", ")),
    }
}

fn table(results: &[RecordBatch]) -> Result<()> {
    let Some(first) = results.first() else { return Ok(()) };
    let mut table = output::prepare(Target::Table, std::iter::empty())?.begin(first.schema_ref())?;
    for batch in results {
        table.write(batch)?;
    }
    table.finish().map(drop)
}

/// Becomes the debugger; what comes back is why that was not possible.
fn debug(args: &args::Replay, capsule: &Capsule) -> Result<Error> {
    if args.pdb && capsule.language() != Language::Python {
        return Err(Error::new(Code::BadOption, "pdb is for functions in Python").with_hint("use --gdb for a shared library"));
    }
    let mut debuggee = capsule.command(args.python.as_deref(), args.rows.clone())?;
    let mut command = if args.pdb {
        debuggee.arg("--pdb");
        debuggee
    } else {
        under_gdb(&debuggee)
    };
    let program = command.get_program().to_string_lossy().into_owned();
    let error = command.envs(args.env.iter().map(|(name, value)| (name, value))).exec();
    let error = Error::system(Code::System, &format!("cannot start {program}"), error);
    Ok(if args.gdb { error.with_hint("install gdb, or replay without --gdb: the error has the stack that the worker wrote") } else { error })
}

/// The command under gdb: with a terminal it waits where the process dies; without one it prints the native stack there, and lets the process go on to
/// write Python's.
fn under_gdb(debuggee: &Command) -> Command {
    let mut command = Command::new("gdb");
    command.arg("-q");
    if io::stdin().is_terminal() {
        command.args(["-ex", "run"]);
    } else {
        command.args(["--batch", "-ex", "run", "-ex", "backtrace 30", "-ex", "continue"]);
    }
    command.arg("--args").arg(debuggee.get_program()).args(debuggee.get_args());
    if let Some(directory) = debuggee.get_current_dir() {
        command.current_dir(directory);
    }
    command
}
