//! The functions that a pool knows, by number.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

use super::Inner;
use super::breaker::Breaker;
use super::places::{Answer, Defined};
use crate::failure::Result;
use crate::function::{Function, Language, Signature};

/// A function that was asked for, and its signature once a worker has loaded it.
pub(super) struct Known {
    pub(super) number: u32,
    pub(super) function: Function,
    pub(super) breaker: Breaker,
    signature: OnceCell<Arc<Signature>>,
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
        let known =
            Arc::new(Known { number: functions.len() as u32, function: function.clone(), breaker: Breaker::default(), signature: OnceCell::new() });
        functions.push(known.clone());
        known
    }
}

impl Inner {
    /// The function with its signature; loads it in a worker the first time. A failure is not remembered: the user may mend the file and call again.
    pub(super) async fn known(&self, function: &Function) -> Result<Arc<Known>> {
        let known = self.registry.entry(function);
        known.signature.get_or_try_init(|| self.describe(&known)).await?;
        Ok(known)
    }

    async fn describe(&self, known: &Arc<Known>) -> Result<Arc<Signature>> {
        known.breaker.admit(Instant::now()).map_err(|error| error.with_function(known.function.name()))?;
        self.staff(known.language())?;
        loop {
            let answer = self.when_possible(known.language(), || self.places.try_define(known)).await?;
            let outcome = answer.await;
            match outcome {
                Ok(Defined::Signature(signature)) => return Ok(Arc::new(signature)),
                Ok(Defined::Failed(error)) => {
                    known.breaker.lived();
                    return Err(error.into_error().with_function(known.function.name()));
                }
                Ok(Defined::Lost(Answer::Died(error))) => {
                    known.breaker.died(&error, Instant::now());
                    return Err(error.with_function(known.function.name()));
                }
                Ok(Defined::Lost(_)) => {}
                Err(_) => return Err(super::closed()),
            }
        }
    }
}
