//! Waiting on a Java thread: for as long as nobody interrupts it.

use std::future::Future;
use std::time::Duration;

use jni::Env;
use transom::pool::wait_with;
use transom::{Code, Error, Result};

use crate::failure::{self, Failure};

/// How often a waiting thread looks whether it should go on.
const INTERVAL: Duration = Duration::from_millis(50);

/// Waits for a future. An interrupt of the Java thread drops it, which cancels the call; the thread stays interrupted.
pub(crate) fn wait<T>(env: &mut Env<'_>, future: impl Future<Output = Result<T>>) -> Result<T, Failure> {
    wait_unless(env, future, || Ok(()))
}

/// The same, which `check` can end as well.
pub(crate) fn wait_unless<T>(env: &mut Env<'_>, future: impl Future<Output = Result<T>>, check: impl Fn() -> Result<()>) -> Result<T, Failure> {
    let may_go_on = || {
        check()?;
        if failure::interrupted(env)? {
            return Err(Failure::Transom(Error::new(Code::Cancelled, "the calling thread was interrupted")));
        }
        Ok(())
    };
    Ok(wait_with(future, INTERVAL, may_go_on)??)
}
