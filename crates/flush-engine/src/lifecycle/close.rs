//! The end of an engine.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use record_cache::StoreError;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::lifecycle::inner::{Closing, Inner};
use crate::schedule::drain;
use crate::{CloseOptions, EngineError, FlushData};

/// Closes the engine, or waits until whoever began with it has done so.
pub(crate) async fn close(inner: &Arc<Inner>) -> Result<(), EngineError> {
    if matches!(*inner.closed.borrow(), Closing::Ended(_)) {
        return Ok(());
    }
    end(inner).await
}

/// Drains and closes the engine, though the caller may stop waiting for it.
pub(crate) async fn close_with(
    inner: &Arc<Inner>,
    options: CloseOptions,
) -> Result<FlushData, EngineError> {
    if options.drain.is_zero() {
        close(inner).await?;
        return Ok(FlushData::default());
    }
    let mut is_over = false;
    let is_first = inner.closed.send_if_modified(|progress| {
        is_over = matches!(progress, Closing::Ended(_));
        let is_first = matches!(progress, Closing::NotBegun);
        if is_first {
            *progress = Closing::Draining;
        }
        is_first
    });
    if is_over {
        return Ok(FlushData::default());
    }
    let closed = if is_first {
        inner.closing.cancel();
        let closing = drain_and_end(Arc::clone(inner), options.drain);
        inner.runtime().spawn(closing).await
    } else {
        let closing = join_drain(Arc::clone(inner), options.drain);
        inner.runtime().spawn(closing).await
    };
    match closed {
        Ok(closed) => closed,
        Err(error) => {
            end(inner).await?;
            let message = format!("the client closed, but its drain was cut short: {error}");
            Err(EngineError::unknown(message))
        }
    }
}

async fn drain_and_end(inner: Arc<Inner>, within: Duration) -> Result<FlushData, EngineError> {
    let stop = inner.sending_ends.child_token();
    let drain = drain::run(Arc::clone(&inner), within, stop);
    let mut drained = inner.run_to_end(drain).await;
    let Err(error) = end(&inner).await else {
        return drained;
    };
    let sums = match &mut drained {
        Ok(sums) => std::mem::take(sums),
        Err(error) => error.take_flushed().unwrap_or_default(),
    };
    Err(error.after(sums))
}

/// Waits for the drain of another, but not for longer than this, and for the end.
async fn join_drain(inner: Arc<Inner>, within: Duration) -> Result<FlushData, EngineError> {
    let mut progress = inner.closed.subscribe();
    let drained = progress.wait_for(|progress| !matches!(progress, Closing::Draining));
    // If it takes too long, this ends it.
    drop(timeout(within, drained).await);
    end(&inner).await?;
    Ok(FlushData::default())
}

/// Begins to close, unless that is done, and waits for the end.
async fn end(inner: &Arc<Inner>) -> Result<(), EngineError> {
    let mut progress = inner.closed.subscribe();
    let mut began = false;
    loop {
        let now = progress.borrow_and_update().clone();
        match now {
            Closing::Ended(ended) => return ended.map_err(EngineError::storage),
            // Never fails: the sending side is in `inner`.
            Closing::UnderWay => drop(progress.changed().await),
            Closing::CutShort if began => {
                let why = "the runtime ended before the store was closed";
                return Err(EngineError::storage(StoreError::unavailable_because(why)));
            }
            Closing::NotBegun | Closing::Draining | Closing::CutShort => {
                began |= begin(inner, &inner.runtime())
            }
        }
    }
}

/// Begins to close, unless that is done or under way, with nobody to wait for the end.
pub(crate) fn begin_unattended(inner: &Arc<Inner>) {
    begin(inner, &inner.runtime);
    // Where the engine was started, no task starts any more, but here one may.
    let cut_short = matches!(*inner.closed.borrow(), Closing::CutShort);
    if let (true, Ok(here)) = (cut_short, Handle::try_current()) {
        begin(inner, &here);
    }
}

/// Starts the task that closes, unless it is done or under way.
fn begin(inner: &Arc<Inner>, runtime: &Handle) -> bool {
    inner.closing.cancel();
    inner.sending_ends.cancel();
    inner.tasks.close();
    let begins = inner.closed.send_if_modified(|progress| {
        let begins = !matches!(progress, Closing::UnderWay | Closing::Ended(_));
        if begins {
            *progress = Closing::UnderWay;
        }
        begins
    });
    if begins {
        let task = ClosingTask {
            inner: Arc::clone(inner),
        };
        runtime.spawn(task.run());
    }
    begins
}

/// Tells those who wait for the end, even if it is cut short.
struct ClosingTask {
    inner: Arc<Inner>,
}

impl ClosingTask {
    async fn run(self) {
        self.inner.tasks.wait().await;
        let closed = AssertUnwindSafe(self.inner.store.close()).catch_unwind();
        let closed = closed.await.unwrap_or_else(|_panic| {
            let why = "the store panicked while it closed";
            Err(StoreError::unavailable_because(why))
        });
        self.inner.closed.send_replace(Closing::Ended(closed));
    }
}

impl Drop for ClosingTask {
    fn drop(&mut self) {
        self.inner.closed.send_if_modified(|progress| {
            let cut_short = matches!(progress, Closing::UnderWay);
            if cut_short {
                *progress = Closing::CutShort;
            }
            cut_short
        });
    }
}
