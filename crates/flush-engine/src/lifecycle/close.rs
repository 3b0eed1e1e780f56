//! Closes an engine, immediately or after a last drain.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use record_cache::StoreError;
use tokio_util::sync::CancellationToken;

use crate::api::{EngineError, FlushData};
use crate::lifecycle::Lifecycle;
use crate::lifecycle::runtime::{Runtime, timeout};
use crate::lifecycle::state::Phase;

/// Closes the store. Called once no remaining task can use it.
type CloseStore = dyn Fn() -> BoxFuture<'static, Result<(), StoreError>> + Send + Sync;

/// Closes an engine once, for all callers.
#[derive(Clone)]
pub(crate) struct Closer {
    lifecycle: Arc<Lifecycle>,
    close_store: Arc<CloseStore>,
}

impl Closer {
    pub(crate) fn new<F>(
        lifecycle: Arc<Lifecycle>,
        close_store: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        Self {
            lifecycle,
            close_store: Arc::new(move || Box::pin(close_store())),
        }
    }

    /// Closes the engine, or waits until another call has closed it.
    pub(crate) async fn close(&self) -> Result<(), EngineError> {
        if matches!(*self.lifecycle.phase.borrow(), Phase::Closed(_)) {
            return Ok(());
        }
        self.end().await
    }

    /// Drains and closes the engine, even if the caller stops waiting. The argument of `drain` says
    /// when to stop.
    pub(crate) async fn close_after<D, F>(
        &self,
        within: Duration,
        drain: D,
    ) -> Result<FlushData, EngineError>
    where
        D: FnOnce(CancellationToken) -> F,
        F: Future<Output = Result<FlushData, EngineError>> + Send + 'static,
    {
        let lifecycle = &self.lifecycle;
        let mut is_over = false;
        let is_first = lifecycle.phase.send_if_modified(|phase| {
            is_over = matches!(phase, Phase::Closed(_));
            let is_first = matches!(phase, Phase::Open);
            if is_first {
                *phase = Phase::Draining;
            }
            is_first
        });
        if is_over {
            return Ok(FlushData::default());
        }
        let closed = if is_first {
            lifecycle.stop_intake();
            let drain = drain(lifecycle.until_sending_ends());
            let closing = self.clone().drain_and_end(drain);
            lifecycle.runtime().spawn(closing).await
        } else {
            let closing = self.clone().join_drain(within);
            lifecycle.runtime().spawn(closing).await
        };
        match closed {
            Ok(closed) => closed,
            Err(error) => {
                self.end().await?;
                let message = format!("the client closed, but its drain was cut short: {error}");
                Err(EngineError::unknown(message))
            }
        }
    }

    async fn drain_and_end(
        self,
        drain: impl Future<Output = Result<FlushData, EngineError>> + Send + 'static,
    ) -> Result<FlushData, EngineError> {
        let mut drained = self.lifecycle.run_to_end(drain).await;
        let Err(error) = self.end().await else {
            return drained;
        };
        let sums = match &mut drained {
            Ok(sums) => std::mem::take(sums),
            Err(error) => error.take_flushed().unwrap_or_default(),
        };
        Err(error.after(sums))
    }

    /// Waits for another call's drain, at most `within`, then for the engine to close.
    async fn join_drain(self, within: Duration) -> Result<FlushData, EngineError> {
        let mut phase = self.lifecycle.phase.subscribe();
        let drained = phase.wait_for(|phase| !matches!(phase, Phase::Draining));
        // If that takes too long, `end` stops the drain.
        drop(timeout(within, drained).await);
        self.end().await?;
        Ok(FlushData::default())
    }

    /// Begins to close, unless already begun, and waits for the end.
    async fn end(&self) -> Result<(), EngineError> {
        let mut phase = self.lifecycle.phase.subscribe();
        let mut began = false;
        loop {
            let now = phase.borrow_and_update().clone();
            match now {
                Phase::Closed(ended) => return ended.map_err(EngineError::storage),
                // Never fails: the sender is in `self`.
                Phase::Closing => drop(phase.changed().await),
                Phase::CutShort if began => {
                    let why = "the runtime ended before the store was closed";
                    return Err(EngineError::storage(StoreError::unavailable_because(why)));
                }
                Phase::Open | Phase::Draining | Phase::CutShort => {
                    began |= self.begin(&self.lifecycle.runtime());
                }
            }
        }
    }

    /// Begins to close, unless already begun. No caller waits for the end.
    pub(crate) fn begin_unattended(&self) {
        self.begin(&self.lifecycle.home);
        // The runtime the engine was started in no longer runs tasks, but the current one may.
        let cut_short = matches!(*self.lifecycle.phase.borrow(), Phase::CutShort);
        if let (true, Some(here)) = (cut_short, Runtime::current()) {
            self.begin(&here);
        }
    }

    /// Starts the closing task, unless it is already running or done.
    fn begin(&self, runtime: &Runtime) -> bool {
        self.lifecycle.stop();
        let begins = self.lifecycle.phase.send_if_modified(|phase| {
            let begins = !matches!(phase, Phase::Closing | Phase::Closed(_));
            if begins {
                *phase = Phase::Closing;
            }
            begins
        });
        if begins {
            runtime.spawn(ClosingTask(self.clone()).run());
        }
        begins
    }
}

impl fmt::Debug for Closer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Closer").field(&self.lifecycle).finish()
    }
}

/// Wakes everyone waiting for the end, even if the task is cut short.
struct ClosingTask(Closer);

impl ClosingTask {
    async fn run(self) {
        let lifecycle = &self.0.lifecycle;
        lifecycle.tasks.wait().await;
        let closed = (self.0.close_store)().await;
        lifecycle.phase.send_replace(Phase::Closed(closed));
    }
}

impl Drop for ClosingTask {
    fn drop(&mut self) {
        self.0.lifecycle.phase.send_if_modified(|phase| {
            let cut_short = matches!(phase, Phase::Closing);
            if cut_short {
                *phase = Phase::CutShort;
            }
            cut_short
        });
    }
}
