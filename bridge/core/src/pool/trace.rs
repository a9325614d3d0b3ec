//! Which line keeps what a function has not let go of: asked of the workers, where the pool was told to.

use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use crate::link::HostLink;

/// Switches it on, for hosts that set no option.
const VARIABLE: &str = "TRANSOM_TRACE_LEASES";
/// How long to wait for workers: one whose function runs answers when that has returned.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// Whether the environment wants it.
pub(super) fn wanted() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|value| !value.is_empty() && value != "0")
}

impl Inner {
    /// Asks the workers that keep something. What they answer stands in the books of leases when it is there.
    pub(super) fn ask_who_keeps(&self) -> Vec<(Arc<HostLink>, u64)> {
        if !self.options.trace_leases {
            return Vec::new();
        }
        let links: Vec<Arc<HostLink>> = self.places.state().places.iter().filter_map(|place| place.link.clone()).collect();
        links.into_iter().filter_map(|link| link.ask_who_keeps().map(|ask| (link, ask))).collect()
    }

    /// Asks them and waits for the answers, for a while.
    pub(super) async fn find_who_keeps(&self, patience: Duration) {
        let asked = self.ask_who_keeps();
        let answers = asked.iter().map(|(link, ask)| link.traced(*ask));
        _ = self.at_most(patience, futures::future::join_all(answers)).await;
    }
}
