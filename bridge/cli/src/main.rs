//! The program `transom`: runs a function over files, in isolated workers, from one command.

mod args;
mod columns;
mod doctor;
mod failed;
mod input;
mod interpreter;
mod interrupt;
mod output;
mod printed;
mod progress;
mod replay;
mod report;
mod run;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};

/// What the readers of files build is shared memory already, and is sent to workers as it is.
#[global_allocator]
static ALLOCATOR: transom::SharedAlloc = transom::SharedAlloc::new();

fn main() -> ExitCode {
    report::defects();
    // The hook has said all there is to say; what is left is the exit status.
    std::panic::catch_unwind(work).unwrap_or(ExitCode::FAILURE)
}

fn work() -> ExitCode {
    let result = match Args::parse().command {
        Command::Run(run) => run::run(&run).map(|()| ExitCode::SUCCESS),
        Command::Replay(replay) => replay::replay(&replay),
        Command::Doctor(doctor) => doctor::doctor(&doctor),
    };
    result.unwrap_or_else(|error| report::error(&error))
}
