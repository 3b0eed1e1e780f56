//! What a pass is to do, and until when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use record_cache::{Removed, StreamName};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::inner::Inner;

/// What a pass is to do.
#[derive(Debug, Clone)]
pub(crate) enum Plan {
    /// One batch of each stream.
    Flush,
    /// One batch of each stream that the service does not turn away.
    Timer,
    /// Batch after batch of each stream, until nothing is cached.
    Drain {
        /// No request starts after this moment.
        deadline: Option<Instant>,
        /// No batch starts once nobody wants it any more.
        stop: CancellationToken,
    },
    /// Batch after batch of each stream in which enough waits, or for long enough.
    Adaptive,
}

/// A plan, and what those who carry it out tell each other.
#[derive(Debug)]
pub(crate) struct Orders {
    pub(crate) inner: Arc<Inner>,
    pub(crate) plan: Plan,
    aborted: AtomicBool,
    /// Streams that wait for a slot.
    queued: AtomicUsize,
    /// Batches of which some record left the cache.
    progress: AtomicU64,
}

impl Orders {
    pub(crate) fn new(inner: Arc<Inner>, plan: Plan) -> Self {
        Self {
            inner,
            plan,
            aborted: AtomicBool::new(false),
            queued: AtomicUsize::new(0),
            progress: AtomicU64::new(0),
        }
    }

    /// Whether a request may be made.
    pub(crate) fn may_send(&self) -> bool {
        let in_time = match self.plan {
            Plan::Drain {
                deadline: Some(deadline),
                ..
            } => Instant::now() < deadline,
            _ => true,
        };
        in_time && !self.aborted.load(Ordering::Relaxed) && !self.inner.sending_ends.is_cancelled()
    }

    /// Whether a batch may be begun.
    pub(crate) fn may_start(&self) -> bool {
        let is_wanted = match &self.plan {
            Plan::Flush | Plan::Timer => true,
            Plan::Drain { stop, .. } => !stop.is_cancelled(),
            Plan::Adaptive => *self.inner.enabled.borrow() && !self.inner.closing.is_cancelled(),
        };
        is_wanted && self.may_send()
    }

    /// Whether a stream may have more than one batch.
    pub(crate) const fn goes_on(&self) -> bool {
        matches!(self.plan, Plan::Drain { .. } | Plan::Adaptive)
    }

    /// Whether a stream is to be left to others: they wait for its slot, or for the next pass.
    pub(crate) fn makes_way(&self) -> bool {
        self.queued.load(Ordering::Relaxed) > 0 || self.is_turn_wanted()
    }

    /// Whether somebody waits until this pass has ended.
    pub(crate) fn is_turn_wanted(&self) -> bool {
        self.inner.turns_wanted.load(Ordering::Relaxed) > 0
    }

    /// Whether another batch of a stream is wanted, beside what is under way.
    pub(crate) fn wants_more(&self, stream: &StreamName, under_way: Removed) -> bool {
        match (&self.plan, &self.inner.arrivals) {
            (Plan::Flush | Plan::Timer, _) => false,
            (Plan::Adaptive, Some(arrivals)) => {
                arrivals.is_due(&self.inner.store.stats(), stream, under_way)
            }
            (Plan::Drain { .. } | Plan::Adaptive, _) => true,
        }
    }

    pub(crate) fn abort(&self) {
        self.aborted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn set_queued(&self, streams: usize) {
        self.queued.store(streams, Ordering::Relaxed);
    }

    pub(crate) fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    pub(crate) fn note_progress(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }
}
