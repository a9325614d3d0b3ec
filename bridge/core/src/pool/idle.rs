//! Memory goes back to the system when a pool has had nothing to do for a while. Nothing wakes up for it in a pool that stays idle.

use std::sync::Arc;
use std::time::Duration;

use super::Inner;

/// How long nothing may happen before memory is given back: making a segment anew costs milliseconds.
const IDLE: Duration = Duration::from_secs(5);

/// Sees to it for as long as it is polled.
pub(super) async fn give_back(inner: Arc<Inner>) {
    let mut changed = inner.places.changed.subscribe();
    while changed.changed().await.is_ok() {
        // Looked at once in a while, and not at each change: those come with every batch.
        loop {
            changed.mark_unchanged();
            tokio::time::sleep(IDLE).await;
            if !changed.has_changed().unwrap_or(false) && inner.places.is_idle() {
                break;
            }
        }
        inner.arena.discard_idle();
        inner.memory.trim_large();
    }
}
