//! What a pass is to do, and until when.

use std::sync::Arc;

use record_cache::{Amount, StreamName};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::delivery::signals::Signals;
use crate::lifecycle::inner::Inner;

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
    signals: Signals,
}

impl Orders {
    pub(crate) fn new(inner: Arc<Inner>, plan: Plan) -> Self {
        Self {
            inner,
            plan,
            signals: Signals::new(),
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
        in_time && !self.signals.is_aborted() && !self.inner.sending_ends.is_cancelled()
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
        self.signals.is_slot_wanted() || self.is_turn_wanted()
    }

    /// Whether somebody waits until this pass has ended.
    pub(crate) fn is_turn_wanted(&self) -> bool {
        self.inner.turns.are_wanted()
    }

    /// Whether another batch of a stream is wanted, beside what is under way.
    pub(crate) fn wants_more(&self, stream: &StreamName, under_way: Amount) -> bool {
        match (&self.plan, &self.inner.arrivals) {
            (Plan::Flush | Plan::Timer, _) => false,
            (Plan::Adaptive, Some(arrivals)) => {
                arrivals.is_due(&self.inner.store.stats(), stream, under_way)
            }
            (Plan::Drain { .. } | Plan::Adaptive, _) => true,
        }
    }

    pub(crate) fn abort(&self) {
        self.signals.abort();
    }

    pub(crate) fn set_queued(&self, streams: usize) {
        self.signals.set_queued(streams);
    }

    pub(crate) fn progress(&self) -> u64 {
        self.signals.progress()
    }

    pub(crate) fn note_progress(&self) {
        self.signals.note_progress();
    }
}
