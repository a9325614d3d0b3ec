//! The functions that a pool knows, by number.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

use super::Inner;
use super::arguments::Last;
use super::breaker::Breaker;
use super::event::FunctionStats;
use super::place::{Answer, Defined};
use crate::failure::{Code, Error, Result};
use crate::function::{Function, Kind, Language, OnError, Signature};

/// A function that was asked for, and its signature once a worker has loaded it.
pub(super) struct Known {
    pub(super) number: u32,
    pub(super) function: Function,
    pub(super) breaker: Breaker,
    signature: OnceCell<Arc<Signature>>,
    /// What the last calls gave it, which the next most likely give too.
    pub(super) last: Last,
    /// Rows for which it failed and whose batches went on without them.
    pub(super) suppressed: AtomicU64,
    /// Calls made to find such rows.
    pub(super) attempts: AtomicU64,
}

impl Known {
    /// The signature; there is one wherever [`Inner::known`] gave the function out.
    pub(super) fn signature(&self) -> Arc<Signature> {
        self.signature.get().expect("a known function was described").clone()
    }
}

impl Known {
    /// Which kind of worker it needs.
    pub(super) fn language(&self) -> Language {
        self.function.language()
    }

    /// The longest that one batch may take: the caller's word, then the definition's, then the pool's.
    pub(super) fn deadline(&self, pool: Option<Duration>) -> Option<Duration> {
        self.function.deadline().or(self.signature().deadline).or(pool)
    }

    /// How often a batch may be tried again after its worker died.
    pub(super) fn retries(&self) -> u32 {
        self.function.retries().max(self.signature().retries)
    }

    /// What becomes of rows for which it fails: the caller's word, then the definition's.
    pub(super) fn on_error(&self) -> OnError {
        self.function.on_error().unwrap_or(self.signature().on_error)
    }

    /// Whether a worker may go on behind a row for which it fails.
    pub(super) fn suppresses(&self) -> bool {
        self.on_error() != OnError::Raise && self.signature().kind == Kind::Row
    }

    /// Fails where the function cannot be run under the policies that it was given.
    fn check(&self) -> Result<()> {
        let Some(objection) = self.signature().objection(self.on_error(), self.retries()) else { return Ok(()) };
        let overruled = self.function.on_error().is_some() || self.function.retries() > 0;
        let code = if overruled { Code::BadOption } else { Code::FunctionSignature };
        let name = self.function.name();
        Err(Error::new(code, format!("`{name}` {objection}"))
            .with_function(name)
            .with_hint("docs/python.md, \"When rows fail\", says what each policy needs"))
    }
}

#[derive(Default)]
pub(super) struct Registry {
    functions: Mutex<Vec<Arc<Known>>>,
}

impl Registry {
    fn entry(&self, function: &Function) -> Arc<Known> {
        let mut functions = self.functions.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(known) = functions.iter().find(|known| known.function.same(function)) {
            return known.clone();
        }
        let known = Arc::new(Known {
            number: functions.len() as u32,
            function: function.clone(),
            breaker: Breaker::default(),
            signature: OnceCell::new(),
            last: Last::default(),
            suppressed: AtomicU64::new(0),
            attempts: AtomicU64::new(0),
        });
        functions.push(known.clone());
        known
    }

    /// What became of the rows of each function that was loaded.
    pub(super) fn stats(&self) -> Vec<FunctionStats> {
        let functions = self.functions.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let loaded = functions.iter().filter(|known| known.signature.initialized());
        let stats = loaded.map(|known| FunctionStats {
            function: known.function.name().to_owned(),
            suppressed: known.suppressed.load(Ordering::Relaxed),
            attempts: known.attempts.load(Ordering::Relaxed),
        });
        stats.collect()
    }
}

impl Inner {
    /// The function with its signature; loads it in a worker the first time. A failure is not remembered: the user may mend the file and call again.
    pub(super) async fn known(&self, function: &Function) -> Result<Arc<Known>> {
        let described = async {
            self.usable()?;
            let known = self.registry.entry(function);
            known.signature.get_or_try_init(|| self.describe(&known)).await?;
            known.check()?;
            Ok(known)
        };
        described.await.map_err(|error: Error| error.with_function(function.name()))
    }

    async fn describe(&self, known: &Arc<Known>) -> Result<Arc<Signature>> {
        known.breaker.admit(Instant::now())?;
        self.staff(known.language())?;
        loop {
            let answer = self.when_possible(known.language(), || self.places.try_define(known)).await?;
            let outcome = answer.await;
            match outcome {
                Ok(Defined::Signature(signature)) => return Ok(Arc::new(signature)),
                Ok(Defined::Failed(error)) => {
                    let error = error.into_error();
                    known.breaker.note(Err(&error), Instant::now());
                    return Err(error);
                }
                Ok(Defined::Lost(Answer::Died(error))) => {
                    known.breaker.note(Err(&error), Instant::now());
                    return Err(error);
                }
                Ok(Defined::Lost(_)) => {}
                Err(_) => return Err(super::closed()),
            }
        }
    }
}
