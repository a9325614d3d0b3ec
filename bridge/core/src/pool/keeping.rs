//! Callers who keep a worker to themselves for a while, so that it need wake nobody; and those who must not be kept waiting by that.

use std::sync::Arc;

use super::blocking;
use super::places::Places;
use crate::function::Language;
use crate::memory::process_id;
use crate::worker::Listen;

impl Places {
    /// Where those workers are heard that have something in hand.
    pub(super) fn ears(&self, language: Language) -> Vec<Arc<dyn Listen>> {
        let state = self.state();
        let busy = state.of(language).filter(|place| !place.flights.is_empty());
        busy.filter_map(|place| place.ear.clone()).collect()
    }

    /// Whether this caller alone waits for what a worker has in hand, and nobody for a place.
    pub(super) fn is_alone(&self, worker: usize, caller: u64) -> bool {
        let state = self.state();
        state.waiting == 0 && state.places[worker].flights.iter().all(|flight| flight.caller == caller)
    }

    /// From here on callers keep no worker to themselves, so that somebody who waits for any change hears of it.
    pub(super) fn wait_for_change(&self) -> Waiting<'_> {
        self.state().waiting += 1;
        self.hear_all();
        Waiting { places: self, process: process_id() }
    }

    /// Takes in what callers have kept for later.
    pub(super) fn hear_all(&self) {
        let ears: Vec<_> = self.state().places.iter().filter_map(|place| place.ear.clone()).collect();
        // Out of the lock: what is heard changes the places.
        ears.iter().for_each(|ear| ear.make_way(0));
    }
}

/// Somebody who waits for a place to change.
pub(super) struct Waiting<'a> {
    places: &'a Places,
    process: u32,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // In a forked child the books are a copy, perhaps locked for ever.
        if process_id() == self.process {
            self.places.state().waiting -= 1;
        }
    }
}

/// A worker that another caller keeps has something in hand for this one now.
pub(super) fn make_way(ear: Option<Arc<dyn Listen>>) {
    if let Some(ear) = ear {
        ear.make_way(blocking::caller());
    }
}
