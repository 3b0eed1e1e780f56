//! Tokio's timers and tasks, and the system clock.

use std::panic::catch_unwind;
use std::time::{Duration, SystemTime};

use tokio::runtime::{EnterGuard, Handle, RuntimeFlavor};
use tokio::task::JoinHandle;

pub(crate) use tokio::task::{JoinError, JoinSet};
pub(crate) use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::MayNotBlock;
use crate::api::InvalidSetting;

/// Where tasks run.
#[derive(Debug, Clone)]
pub(crate) struct Runtime(Handle);

impl Runtime {
    /// The current runtime, if there is one.
    pub(crate) fn current() -> Option<Self> {
        Handle::try_current().ok().map(Self)
    }

    /// The current runtime, if an engine can run in it.
    pub(crate) fn with_timers() -> Result<Self, InvalidSetting> {
        let invalid = |problem: &str| {
            InvalidSetting::new(
                "runtime",
                problem,
                "start the client within a tokio runtime that has timers",
            )
        };
        let runtime = Self::current().ok_or_else(|| invalid("there is no tokio runtime here"))?;
        // Tokio has no other way to ask whether a runtime has timers.
        if catch_unwind(|| drop(sleep(Duration::ZERO))).is_err() {
            return Err(invalid("the tokio runtime has no timers"));
        }
        Ok(runtime)
    }

    pub(crate) fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        self.0.spawn(task)
    }

    /// Makes this the current runtime until the guard is dropped.
    pub(crate) fn enter(&self) -> EnterGuard<'_> {
        self.0.enter()
    }

    /// Blocks this thread on a future.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> Result<F::Output, MayNotBlock> {
        if Handle::try_current().is_ok() {
            return Err(MayNotBlock {
                problem: "was called within a tokio runtime, and would block a thread of it",
                suggestion: "await the call without _blocking",
            });
        }
        if self.0.runtime_flavor() == RuntimeFlavor::CurrentThread {
            return Err(MayNotBlock {
                problem: "needs a multi-thread runtime, but the client was created in a \
                          current-thread runtime",
                suggestion: "create the client in a multi-thread runtime, or run the call \
                             without _blocking by the runtime's block_on",
            });
        }
        Ok(self.0.block_on(future))
    }
}

/// The time of day by the system clock.
#[expect(
    clippy::disallowed_methods,
    reason = "this module is where the clock is read"
)]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}
