//! Memory of the process's shared heap goes back to the system once it has been idle.

use std::sync::Arc;

use tokio::net::UnixStream;

use super::memory::Memory;
use crate::memory::Keeper;

/// Lets go of what is idle, for as long as it is polled; sleeps until there is something.
pub(super) async fn keep(memory: Arc<Memory>) {
    let wake = Keeper::new().and_then(|(keeper, wake)| Some((keeper, UnixStream::from_std(wake).ok()?)));
    // Most programs have no such heap.
    let Some((keeper, wake)) = wake else { return std::future::pending().await };
    while wake.readable().await.is_ok() {
        _ = wake.try_read(&mut [0; 64]);
        let mut more = true;
        while more {
            let (gone, waiting) = keeper.look(Keeper::PAUSE);
            memory.forget(&gone);
            more = waiting;
            if more {
                tokio::time::sleep(Keeper::PAUSE).await;
            }
        }
    }
    std::future::pending().await
}
