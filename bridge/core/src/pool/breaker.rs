//! A circuit breaker for each function: one that ends every worker is not called for a while, so that starting workers for it takes nothing from
//! other functions. (Nygard, "Release It!": closed, open, half-open.)

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::failure::{Code, Error, Result};

/// Deaths in a row after which a function is suspended.
const PATIENCE: u32 = 5;
/// The first pause; each further death doubles it...
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// ...up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What is known of a function's deaths.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Since the last call that came to an end by itself.
    deaths: u32,
    last: Option<Error>,
    /// Until then calls fail at once.
    open_until: Option<Instant>,
}

impl Breaker {
    /// Whether the function may be called now. After a pause one call may, and the others when it has come back.
    ///
    /// # Errors
    /// `FUNCTION_SUSPENDED`.
    pub(super) fn admit(&self, now: Instant) -> Result<()> {
        let mut state = self.state();
        let Some(until) = state.open_until else { return Ok(()) };
        if now >= until {
            // Who comes after this one waits for what becomes of it; should nobody ever hear of that, for a pause.
            state.open_until = Some(now + pause(state.deaths));
            return Ok(());
        }
        Err(state.refusal(until - now))
    }

    /// What became of a call.
    pub(super) fn note(&self, outcome: Result<(), &Error>, now: Instant) {
        let mut state = self.state();
        match outcome {
            Err(cause) if is_the_functions_doing(cause) => {
                state.deaths += 1;
                state.last = Some(cause.clone());
                if state.deaths >= PATIENCE {
                    state.open_until = Some(now + pause(state.deaths));
                }
            }
            Err(cause) if !is_an_answer(cause) => {}
            _ if state.deaths > 0 => *state = State::default(),
            _ => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl State {
    fn refusal(&self, left: Duration) -> Error {
        let last = self.last.as_ref();
        let cause =
            last.map_or_else(String::new, |last| format!(", the last time by {} {}: {}", last.code().id(), last.code().name(), last.message()));
        let message =
            format!("the function ended its worker {} times in a row{cause}; it is not called for another {:.1} s", self.deaths, left.as_secs_f64());
        let error = Error::new(Code::FunctionSuspended, message).with_hint("mend the function; other functions of the pool go on");
        match last {
            Some(last) => error.with_stack(last.stack().unwrap_or_default()).with_output(last.output().to_vec()),
            None => error,
        }
    }
}

fn pause(deaths: u32) -> Duration {
    let doublings = deaths.saturating_sub(PATIENCE).min(16);
    (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
}

/// A deadline costs time and says so by itself; stopping and killing a process is what others do to it.
fn is_the_functions_doing(cause: &Error) -> bool {
    match cause.code() {
        Code::WorkerSignalled => !matches!(cause.signal(), None | Some(libc::SIGKILL | libc::SIGTERM | libc::SIGINT | libc::SIGHUP)),
        Code::WorkerExited | Code::WorkerOutOfMemory | Code::ProtocolViolation => true,
        _ => false,
    }
}

/// Whether the worker answered and lives: what the function raised, or a result that is no good.
fn is_an_answer(error: &Error) -> bool {
    matches!(error.code().family(), 3 | 4) || error.code() == Code::ResultTooLarge
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crash() -> Error {
        Error::new(Code::WorkerSignalled, "the worker was killed by SIGSEGV").with_signal(libc::SIGSEGV).with_stack("line 3 in f")
    }

    #[test]
    fn it_opens_lets_one_through_and_closes() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        for _ in 0..PATIENCE {
            breaker.admit(start).unwrap();
            breaker.note(Err(&crash()), start);
        }
        let refused = breaker.admit(start).unwrap_err();
        assert_eq!((refused.code(), refused.stack()), (Code::FunctionSuspended, Some("line 3 in f")));
        assert!(
            refused.message().contains("5 times in a row, the last time by TRN-2104 WORKER_SIGNALLED: the worker was killed by SIGSEGV"),
            "{refused}"
        );
        let later = start + FIRST_PAUSE;
        breaker.admit(later).unwrap();
        breaker.admit(later).unwrap_err();
        breaker.note(Err(&crash()), later);
        breaker.admit(later + FIRST_PAUSE).expect_err("the pause has doubled");
        breaker.admit(later + 2 * FIRST_PAUSE).unwrap();
        breaker.note(Err(&Error::new(Code::FunctionRaised, "it lives")), later);
        breaker.admit(later).unwrap();
        breaker.note(Err(&crash()), later);
        breaker.admit(later).expect("one death is none in a row");
    }

    #[test]
    fn what_others_do_to_a_worker_does_not_count() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        let killed = Error::new(Code::WorkerSignalled, "SIGKILL").with_signal(libc::SIGKILL);
        let late = Error::new(Code::DeadlineExceeded, "late");
        for _ in 0..2 * PATIENCE {
            breaker.note(Err(&killed), now);
            breaker.note(Err(&late), now);
        }
        breaker.admit(now).unwrap();
        assert_eq!(pause(1000), LONGEST_PAUSE);
    }
}
