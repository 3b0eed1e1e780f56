//! What an engine and its tasks share.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use record_cache::{Amount, NewRecord, RecordStore, StoreError};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, RwLock, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cache::admission::Admission;
use crate::cache::backlog::{Arrivals, Arrived};
use crate::cache::expiry::Expiry;
use crate::cache::in_flight::Claims;
use crate::cache::overflow::Overflow;
use crate::delivery::history::PassMemory;
use crate::delivery::pass::{self, Passed};
use crate::delivery::plan::Plan;
use crate::delivery::signals::Turns;
use crate::lifecycle::run_to_end::Completing;
use crate::telemetry::metrics::{Meter, Recorded};
use crate::{EngineError, EngineOptions, RecordSender};

/// Shared by the handles of an engine and its tasks. Tasks keep it alive only while they
/// run, and they end when the last handle is dropped.
pub(crate) struct Inner {
    pub(crate) store: Arc<dyn RecordStore>,
    pub(crate) sender: Arc<dyn RecordSender>,
    pub(crate) options: EngineOptions,
    pub(crate) admission: Admission,
    pub(crate) meter: Meter,
    pub(crate) overflow: Overflow,
    pub(crate) claims: Arc<Claims>,
    pub(crate) expiry: Expiry,
    /// Locked by the pass that runs.
    pub(crate) memory: Arc<Mutex<PassMemory>>,
    pub(crate) pass_ended: watch::Sender<()>,
    pub(crate) turns: Turns,
    /// What waits for how long, where flushing goes by that.
    pub(crate) arrivals: Option<Arrivals>,
    /// How often the cache was cleared. Held for writing while it is, and for reading while
    /// records that were read before are settled.
    pub(crate) clears: RwLock<u64>,
    pub(crate) enabled: watch::Sender<bool>,
    /// Cancelled as soon as the engine begins to close: nothing is taken in any more, and
    /// the timer stops.
    pub(crate) closing: CancellationToken,
    /// Cancelled when no request is to be started any more: when the engine begins to close
    /// or, if it drains before, at the end of that.
    pub(crate) sending_ends: CancellationToken,
    pub(crate) closed: watch::Sender<Closing>,
    pub(crate) tasks: TaskTracker,
    /// Where the engine was started.
    pub(crate) runtime: Handle,
}

impl Inner {
    /// Starts a pass, unless one is running.
    pub(crate) async fn try_pass(self: &Arc<Self>, plan: Plan) -> Option<Passed> {
        let memory = Arc::clone(&self.memory).try_lock_owned().ok()?;
        let pass = pass::run(Arc::clone(self), memory, plan);
        let passed = self.run_to_end(async { Ok(pass.await) }).await;
        Some(passed.unwrap_or_else(Passed::failed))
    }

    /// Runs a future as a task, to its end. So neither a caller who stops waiting for it nor
    /// one who keeps it without polling it holds anyone up.
    pub(crate) async fn run_to_end<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, EngineError> {
        let ended = self.tasks.spawn_on(future, &self.runtime()).await;
        ended.unwrap_or_else(|error| {
            Err(EngineError::unknown(format!(
                "the operation was cut short: {error}"
            )))
        })
    }

    /// Appends records for which there is `room`, to the end though the caller may stop
    /// waiting for it.
    pub(crate) async fn append(
        self: &Arc<Self>,
        records: Vec<NewRecord>,
        room: Amount,
    ) -> Result<(), StoreError> {
        let inner = Arc::clone(self);
        let arrived = self.arrivals.is_some().then(|| Arrived::of(&records));
        let append = async move {
            let recorded = Recorded::of(&records);
            let appended = AssertUnwindSafe(inner.store.append(records)).catch_unwind();
            let Ok(stored) = appended.await else {
                return Err(StoreError::unavailable_because("the store panicked"));
            };
            match &stored {
                Ok(()) => {
                    inner.meter.recorded(&recorded);
                    if let (Some(arrivals), Some(arrived)) = (&inner.arrivals, &arrived) {
                        arrivals.note(arrived);
                    }
                }
                Err(_) => inner.admission.release(room),
            }
            stored
        };
        Completing::new(append, self.tasks.clone(), self.runtime()).await
    }

    /// The caller's runtime or, where there is none, the one that the engine was started in.
    pub(crate) fn runtime(&self) -> Handle {
        Handle::try_current().unwrap_or_else(|_| self.runtime.clone())
    }
}

/// How far closing has come.
#[derive(Debug, Clone)]
pub(crate) enum Closing {
    /// Nobody has asked for it.
    NotBegun,
    /// What is cached is being delivered first.
    Draining,
    /// A task is at it.
    UnderWay,
    /// The runtime of that task ended before it did.
    CutShort,
    /// The store was closed, or failed to.
    Ended(Result<(), StoreError>),
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("store", &self.store)
            .field("sender", &self.sender)
            .field("options", &self.options)
            .field("enabled", &*self.enabled.borrow())
            .field("closing", &self.closing.is_cancelled())
            .finish_non_exhaustive()
    }
}
