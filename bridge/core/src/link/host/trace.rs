//! Asking a worker which line of its functions keeps what it was lent.

use super::{HostLink, MAX_PACKET, violation};
use crate::failure::Result;
use crate::link::message::ToWorker;

/// Bytes that a question may have: far below those of a packet, since a longer message needs shared memory, which may be what is short.
const LONGEST: usize = MAX_PACKET / 2;

impl HostLink {
    /// Asks which lines keep arguments that were answered, unless the worker still has such a question. Gives the question's number, and nothing
    /// where the worker keeps nothing.
    pub(crate) fn ask_who_keeps(&self) -> Option<u64> {
        let mut state = self.state();
        if state.asked == state.traced {
            let leases = state.leases.kept(LONGEST);
            if leases.is_empty() || state.closed {
                return None;
            }
            state.asked += 1;
            let message = ToWorker::Trace { ask: state.asked, leases }.encode();
            state.post(self, message, None);
        }
        Some(state.asked)
    }

    /// Waits for the answer to a question, or for the worker's end.
    pub(crate) async fn traced(&self, ask: u64) {
        loop {
            let mut told = std::pin::pin!(self.told.notified());
            told.as_mut().enable();
            if self.has_traced(ask) {
                return;
            }
            told.await;
        }
    }

    fn has_traced(&self, ask: u64) -> bool {
        let state = self.state();
        state.closed || state.traced >= ask
    }

    /// The worker says what keeps its arguments.
    pub(super) fn take_keepers(&self, ask: u64, keepers: Vec<(u64, String)>) -> Result<()> {
        let mut state = self.state();
        if ask != state.traced + 1 || ask > state.asked {
            return Err(violation("a worker answers a question about leases that it was not asked"));
        }
        state.traced = ask;
        keepers.into_iter().for_each(|(lease, keeper)| state.leases.note_keeper(lease, &keeper));
        drop(state);
        self.told.notify_waiters();
        Ok(())
    }
}
