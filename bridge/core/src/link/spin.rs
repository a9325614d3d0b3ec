//! Looking again and again for a little while before sleeping, where experience says that what is waited for comes meanwhile.

use std::hint::spin_loop;
use std::sync::OnceLock;
use std::thread::{available_parallelism, yield_now};
use std::time::{Duration, Instant};

/// How long it is worth to look: what it takes both sides to fall asleep and be woken, on a machine that others use too.
const LIMIT: Duration = Duration::from_micros(200);
/// A wait that was slept through and yet took no longer than this might have ended while looking, had neither side slept: being woken may take
/// many times as long as what is waited for, where a hypervisor takes idle cores away.
const NEAR: Duration = Duration::from_millis(2);
/// How often the core is offered to others meanwhile.
const TURN: Duration = Duration::from_micros(4);
/// Who gets the core back later than this has kept it from somebody who works; earlier, from somebody who only took in a message.
const TAKEN: Duration = Duration::from_micros(100);
/// Times to look in vain before it is given up.
const MISSES: u32 = 3;
/// Near waits before it is tried again: at first, and at most, since it doubles each time that it was in vain.
const FEWEST: u32 = 4;
const MOST: u32 = 64;

/// What one waiter has learnt of its waits.
#[derive(Debug)]
pub(crate) struct Spin {
    misses: u32,
    near: u32,
    needed: u32,
}

impl Default for Spin {
    fn default() -> Self {
        Self { misses: 0, near: 0, needed: FEWEST }
    }
}

/// One wait: looking, and perhaps sleeping after it.
#[derive(Debug)]
pub(crate) struct Wait {
    began: Instant,
    turn: Instant,
    looks: u32,
}

impl Wait {
    /// Whether to look once more. Says no when the time is over, and when somebody else wants this core.
    pub(crate) fn goes_on(&mut self) -> bool {
        spin_loop();
        self.looks = self.looks.wrapping_add(1);
        if !self.looks.is_multiple_of(16) {
            return true;
        }
        let now = Instant::now();
        if now - self.began > LIMIT {
            return false;
        }
        if now - self.turn < TURN {
            return true;
        }
        yield_now();
        self.turn = Instant::now();
        self.turn - now < TAKEN
    }
}

impl Spin {
    /// Begins a wait.
    pub(crate) fn begin(&self) -> Wait {
        let now = Instant::now();
        Wait { began: now, turn: now, looks: 0 }
    }

    /// Whether to look at all before sleeping.
    pub(crate) fn pays(&self) -> bool {
        static CORES: OnceLock<bool> = OnceLock::new();
        // With one core, who looks keeps the other from answering.
        self.misses < MISSES && *CORES.get_or_init(|| available_parallelism().is_ok_and(|cores| cores.get() > 1))
    }

    /// It came while it was looked for.
    pub(crate) fn hit(&mut self) {
        (self.misses, self.near, self.needed) = (0, 0, FEWEST);
    }

    /// It was looked for in vain.
    pub(crate) fn missed(&mut self) {
        self.misses += 1;
        if self.misses == MISSES {
            self.near = 0;
            self.needed = (self.needed * 2).min(MOST);
        }
    }

    /// It came while this side slept.
    pub(crate) fn slept(&mut self, wait: &Wait) {
        if self.misses < MISSES {
            return;
        }
        self.near = if wait.began.elapsed() < NEAR { self.near + 1 } else { 0 };
        if self.near >= self.needed {
            self.misses = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_in_vain_ends_and_is_tried_again_ever_more_rarely() {
        let mut spin = Spin::default();
        let mut slept = Vec::new();
        for _ in 0..4 {
            while spin.misses < MISSES {
                spin.missed();
            }
            let mut waits = 0;
            while spin.misses >= MISSES {
                spin.slept(&spin.begin());
                waits += 1;
            }
            slept.push(waits);
        }
        assert_eq!(slept, [8, 16, 32, 64]);
        spin.hit();
        assert_eq!(spin.misses, 0);
        assert_eq!(spin.needed, FEWEST);
    }

    #[test]
    fn a_wait_has_an_end() {
        let mut wait = Spin::default().begin();
        while wait.goes_on() {}
        let looks = wait.looks;
        assert!(looks >= 16);
    }
}
