//! Rows for which the function fails: what the options say of them, the file of dead letters, and a word in the closing line.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use transom::{Code, DeadLetters, Error, Function, OnError, Result, Signature, Stats};

use crate::args;
use crate::output::{self, Place, Target};
use crate::progress::number;

/// What becomes of rows for which the function fails, as the command line says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    /// The run ends with the error.
    Raise,
    /// Their results are null.
    Null,
    /// They are in the file of dead letters and in no result.
    DeadLetter,
}

/// The file of dead letters, where there is to be one.
pub(crate) struct Letters {
    policy: Option<OnError>,
    file: Option<(PathBuf, Place)>,
}

impl Letters {
    /// Makes sure that the options fit each other, and that the file can be written.
    pub(crate) fn prepare<'a>(args: &args::Run, inputs: impl Iterator<Item = &'a Path>) -> Result<Self> {
        let policy = args.on_error.map(|policy| match policy {
            Policy::Raise => OnError::Raise,
            Policy::Null => OnError::Null,
            Policy::DeadLetter => OnError::DeadLetter,
        });
        let Some(name) = &args.dead_letters else { return Ok(Self { policy, file: None }) };
        if policy.is_some_and(|policy| policy != OnError::DeadLetter) {
            return Err(Error::new(Code::BadOption, "--dead-letters is for --on-error dead-letter").with_hint("leave one of them out"));
        }
        if args.output.as_ref() == Some(name) {
            return Err(Error::new(Code::BadOption, "the result and the dead letters cannot go to the same file"));
        }
        let target = Target::choose(Some(name), None)?;
        if matches!(target, Target::Standard(_)) {
            return Err(Error::new(Code::BadOption, "--dead-letters is a file: standard output is the result's"));
        }
        let place = Place::Waiting(output::prepare(target, inputs)?);
        Ok(Self { policy: Some(OnError::DeadLetter), file: Some((name.into(), place)) })
    }

    /// The function under the policy that was asked for, if one was.
    pub(crate) fn policy_for(&self, function: Function) -> Function {
        self.policy.into_iter().fold(function, Function::with_on_error)
    }

    /// Fails where rows would be taken out of the result and there is no file for them.
    pub(crate) fn check(&self, signature: &Signature) -> Result<()> {
        if self.policy.unwrap_or(signature.on_error) == OnError::DeadLetter && self.file.is_none() {
            let message = "rows for which the function fails are to be dead letters, and there is no file for them";
            return Err(Error::new(Code::BadOption, message)
                .with_function(&signature.name)
                .with_hint("say --dead-letters FILE, or --on-error raise or null"));
        }
        Ok(())
    }

    /// Writes what was taken out of results since the last time.
    pub(crate) fn write(mut self, letters: &DeadLetters) -> Result<Self> {
        if let Some((path, mut place)) = self.file {
            for batch in letters.take()? {
                let mut output = place.begin(batch.schema_ref())?;
                output.write(&batch)?;
                place = Place::Open(output);
            }
            self.file = Some((path, place));
        }
        Ok(self)
    }

    /// Ends the file. Without any input there is nothing to say of what it would have, and there is none.
    pub(crate) fn finish(self, letters: &DeadLetters, function: &str) -> Result<()> {
        match self.file {
            Some((_, place @ Place::Open(_))) => place.end(None, function).map(drop),
            Some((_, place)) if letters.schema().is_some() => place.end(letters.schema(), function).map(drop),
            _ => Ok(()),
        }
    }
}

/// How many rows failed and where they are, for the closing line; nothing where none did.
pub(crate) fn summary(stats: &Stats, dead_letters: Option<&str>) -> String {
    let rows: u64 = stats.functions.iter().map(|function| function.suppressed).sum();
    let named = if rows == 1 { "1 row".to_owned() } else { format!("{} rows", number(rows)) };
    match dead_letters {
        _ if rows == 0 => String::new(),
        Some(path) => format!("; {named} in dead letters ({path})"),
        None if rows == 1 => "; 1 row failed and is null".to_owned(),
        None => format!("; {named} failed and are null"),
    }
}
