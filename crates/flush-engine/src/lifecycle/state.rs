//! An engine's switches: enabled or disabled, open or closing.

use record_cache::StoreError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::lifecycle::runtime::Runtime;

/// Whether an engine accepts records.
///
/// ```
/// use flush_engine::{FlushEngine, Intake};
///
/// /// Whether it is worth while to prepare a record.
/// fn is_wanted(engine: &FlushEngine) -> bool {
///     match engine.intake() {
///         Intake::Open => true,
///         Intake::Disabled | Intake::Closed => false,
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intake {
    /// Records are stored.
    Open,
    /// Records are dropped silently.
    Disabled,
    /// Records are refused.
    Closed,
}

/// Shared by an engine's handles and tasks.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    enabled: watch::Sender<bool>,
    /// Cancelled when the engine begins to close. From then on, no records are accepted and the
    /// timer stops.
    closing: CancellationToken,
    /// Cancelled when no more requests may start: when closing begins or, after a drain, when the
    /// drain ends.
    sending_ends: CancellationToken,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) tasks: TaskTracker,
    /// The runtime that the engine was started in.
    pub(super) home: Runtime,
}

/// How far closing has got.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    /// No one has asked to close.
    Open,
    /// Cached records are delivered first.
    Draining,
    /// A task waits for the other tasks and closes the store.
    Closing,
    /// The runtime of that task ended before the task did.
    CutShort,
    /// The store was closed, or could not be closed.
    Closed(Result<(), StoreError>),
}

impl Lifecycle {
    pub(crate) fn new(home: Runtime) -> Self {
        Self {
            enabled: watch::Sender::new(true),
            closing: CancellationToken::new(),
            sending_ends: CancellationToken::new(),
            phase: watch::Sender::new(Phase::Open),
            tasks: TaskTracker::new(),
            home,
        }
    }

    pub(crate) fn intake(&self) -> Intake {
        if self.is_closing() {
            Intake::Closed
        } else if self.is_enabled() {
            Intake::Open
        } else {
            Intake::Disabled
        }
    }

    pub(crate) fn is_enabled(&self) -> bool {
        *self.enabled.borrow()
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Whether requests may still start.
    pub(crate) fn may_send(&self) -> bool {
        !self.sending_ends.is_cancelled()
    }

    /// Enables or disables the engine. Has no effect once closing begins.
    pub(crate) fn switch(&self, to: bool) {
        if !self.is_closing() {
            self.enabled
                .send_if_modified(|on| std::mem::replace(on, to) != to);
        }
    }

    /// Follows [`switch`](Self::switch).
    pub(crate) fn enabled(&self) -> watch::Receiver<bool> {
        self.enabled.subscribe()
    }

    /// Waits until the engine begins to close.
    pub(crate) async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// A token that is cancelled when the engine begins to close, or earlier.
    pub(crate) fn until_closing(&self) -> CancellationToken {
        self.closing.child_token()
    }

    /// A token that is cancelled when no more requests may start, or earlier.
    pub(super) fn until_sending_ends(&self) -> CancellationToken {
        self.sending_ends.child_token()
    }

    /// Stops accepting records.
    pub(super) fn stop_intake(&self) {
        self.closing.cancel();
    }

    /// Stops accepting records and starting requests or tasks.
    pub(super) fn stop(&self) {
        self.closing.cancel();
        self.sending_ends.cancel();
        self.tasks.close();
    }

    /// Spawns a task that closing waits for.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime().spawn(self.tasks.track_future(task));
    }

    /// The caller's runtime or, if there is none, the one that the engine was started in.
    pub(super) fn runtime(&self) -> Runtime {
        Runtime::current().unwrap_or_else(|| self.home.clone())
    }
}
