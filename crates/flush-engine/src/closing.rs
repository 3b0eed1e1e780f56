//! The end of an engine.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use record_cache::StoreError;
use tokio::runtime::Handle;

use crate::EngineError;
use crate::inner::{Closing, Inner};

/// Closes the engine, or waits until whoever began with it has done so.
pub(crate) async fn close(inner: &Arc<Inner>) -> Result<(), EngineError> {
    let mut progress = inner.closed.subscribe();
    if matches!(*progress.borrow(), Closing::Ended(_)) {
        return Ok(());
    }
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
            Closing::NotBegun | Closing::CutShort => began |= begin(inner, &inner.runtime()),
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
    inner.tasks.close();
    let begins = inner.closed.send_if_modified(|progress| {
        let begins = matches!(progress, Closing::NotBegun | Closing::CutShort);
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
