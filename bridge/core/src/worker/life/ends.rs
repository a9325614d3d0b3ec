//! How a life ends: for what the worker did, for what it did not do in time, for what it took, or by itself.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::super::exit::{self, Ending};
use super::super::supervise::{End, Owner, Sentence};
use super::{LAST_MESSAGES, LAST_WORDS, Life};
use crate::failure::{Code, Error};
use crate::memory::out_of_memory_kills;

impl<O: Owner> Life<'_, O> {
    /// When to look at what the worker takes: only while it has work, since that is what can be blamed.
    pub(super) fn memory_due(&self) -> Option<Instant> {
        let watch = self.memory.as_ref().filter(|_| self.ready && self.killed_at.is_none())?;
        self.place.owner.is_busy(self.worker).then(|| watch.due())
    }

    pub(super) fn watch_memory(&mut self) {
        if self.memory_due().is_none() {
            return;
        }
        let Some((used, limit)) = self.memory.as_mut().and_then(|watch| Some((watch.look()?, watch.limit))) else { return };
        // An answer that is there already comes before the judgement.
        self.take_messages();
        let error = exit::over_the_limit(used, limit);
        if self.place.owner.condemn(self.worker, error.clone()) {
            self.breach.get_or_insert(error);
            self.end_with_stack();
        }
    }

    pub(super) fn judge(&mut self) {
        match self.place.owner.judge(self.worker, self.shared.process.stopped_by()) {
            Some(Sentence::WithStack) => self.end_with_stack(),
            Some(Sentence::AtOnce) => self.kill(),
            None => {}
        }
    }

    /// First the stack, then a signal at which programs tidy up, then the one that none survives.
    fn end_with_stack(&mut self) {
        let Some(signal) = self.place.launch.stack_signal else { return self.kill() };
        _ = self.shared.culprit.set(self.worker);
        self.shared.process.signal(signal);
        let now = Instant::now();
        // Sooner, where the stack is there sooner. Where the request was the end itself there is nothing more to ask for.
        self.term_at = (signal != Signal::TERM).then(|| now + LAST_WORDS / 2);
        self.killed_at = Some(now + LAST_WORDS);
    }

    /// The stack is there, or does not come.
    pub(super) fn terminate(&mut self) {
        if self.term_at.take().is_some() {
            self.shared.process.signal(Signal::TERM);
        }
    }

    pub(super) fn kill(&mut self) {
        _ = self.shared.culprit.set(self.worker);
        self.shared.process.kill_group();
        // Again, should the process be in a state in which it takes no signals; its pidfd ends this.
        self.killed_at = Some(Instant::now() + Duration::from_secs(1));
    }

    pub(super) fn end_for(&mut self, error: Error) {
        // The first cause is the cause, and nothing that was sent after it counts.
        self.breach.get_or_insert(error);
        (self.deaf, self.more) = (true, false);
        self.hearing.close();
        self.kill();
    }

    /// The process is gone, or nearly: takes in its last messages, and says why it went.
    pub(super) fn died(&mut self) -> Option<End> {
        step!(only "host::died");
        // Before it is reaped, while the group's number cannot mean another group; and so that nothing of it goes on sending.
        self.shared.process.kill_group();
        // What was sent before the end counts, unless it is what this side ended the worker for.
        let counts = if self.breach.is_none() { LAST_MESSAGES } else { 0 };
        for _ in 0..counts {
            match self.heard() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.breach.get_or_insert(error);
                    break;
                }
            }
        }
        let ending = self.shared.process.try_wait()?;
        // A caller who still listens must not take what is left for an answer of the next worker in this place.
        self.hearing.close();
        let culprit = self.shared.culprit.get();
        let bystander = culprit.is_some_and(|&culprit| culprit != self.worker) && self.breach.is_none();
        let reason = self.breach.take().unwrap_or_else(|| self.cause(ending, culprit));
        Some(End { reason: reason.with_worker(self.in_words()), was_ready: self.ready, bystander })
    }

    fn cause(&self, ending: Ending, culprit: Option<&usize>) -> Error {
        let age = self.shared.born.elapsed();
        if let Some(&culprit) = culprit.filter(|&&culprit| culprit != self.worker) {
            let message = format!("the worker's process was ended for what worker {culprit} did, which is a thread of the same process");
            return Error::new(Code::WorkerSignalled, message);
        }
        if culprit.is_none() && ending == Ending::Killed(libc::SIGKILL) {
            let own = self.shared.process.group().and_then(|group| group.shortage());
            if let Some((shortage, limit)) = own.zip(self.place.launch.limits.memory) {
                return exit::over_the_groups_limit(shortage, limit);
            }
            if out_of_memory_kills() > self.shared.kills_before {
                return exit::out_of_memory(age);
            }
        }
        exit::decode(ending, self.ready, age)
    }

    fn in_words(&self) -> String {
        let memory = self.memory.as_ref().map(|watch| (watch.used, watch.limit));
        let batches = self.place.owner.served(self.worker);
        exit::worker_in_words(self.worker, self.shared.process.pid(), self.shared.born.elapsed(), batches, memory)
    }
}
