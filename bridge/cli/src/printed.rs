//! What functions print, shown on standard error as it comes. Standard output is the result's.

use std::io::{self, Write};
use std::thread::{self, JoinHandle};

use indicatif::ProgressBar;
use tokio::sync::broadcast::error::RecvError;
use transom::{Code, Error, Event, Pool, Result};

/// Shows what a pool's workers print, until the pool is no more.
pub(crate) struct Printed {
    thread: JoinHandle<()>,
}

impl Printed {
    /// Begins to listen. A bar that is drawn makes room for the text.
    pub(crate) fn follow(pool: &Pool, bar: ProgressBar) -> Result<Self> {
        let mut events = pool.events();
        let run = move || {
            loop {
                match events.blocking_recv() {
                    Ok(Event::Printed { text, .. }) => bar.suspend(|| _ = io::stderr().write_all(&text)),
                    Ok(_) => {}
                    // A function that prints more than can be shown goes on all the same.
                    Err(RecvError::Lagged(_)) => bar.suspend(|| _ = writeln!(io::stderr(), "(some of the functions' output is left out here)")),
                    Err(RecvError::Closed) => return,
                }
            }
        };
        let thread = thread::Builder::new().name("transom-printed".to_owned()).spawn(run);
        Ok(Self { thread: thread.map_err(|error| Error::system(Code::System, "cannot start a thread", error))? })
    }

    /// Waits until everything is shown. The pool must have been dropped before.
    pub(crate) fn finish(self) {
        _ = self.thread.join();
    }
}
