//! The machine's limits as one JSON object.

use std::error::Error;
use std::io::{Write, stdout};

use serde::Serialize;

use crate::copying::{self, Copying};
use crate::pingpong::{self, PingPong};

#[derive(Serialize)]
struct Limits {
    /// There and back between two processes, nothing else.
    pingpong: Vec<PingPong>,
    /// Copying and reading within one process.
    copying: Vec<Copying>,
}

/// Measures, and prints the object on one line.
pub(crate) fn print(quick: bool) -> Result<(), Box<dyn Error>> {
    let (rounds, trips, bytes) = if quick { (3, 2_000, 128 << 20) } else { (7, 10_000, 512 << 20) };
    // The ping-pong comes first: a forked child inherits the pages of its parent, and there are few yet.
    let limits = Limits { pingpong: pingpong::measure(rounds, trips)?, copying: copying::measure(rounds, bytes)? };
    writeln!(stdout(), "{}", serde_json::to_string(&limits)?)?;
    Ok(())
}
