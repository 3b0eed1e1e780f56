//! The state that the streams of a pass share.

use std::sync::Arc;

use record_cache::{Amount, StreamName};

use crate::api::{EngineOptions, RecordSender};
use crate::cache::Cache;
use crate::delivery::charge::Charges;
use crate::delivery::plan::Plan;
use crate::delivery::signals::{Signals, Turns};
use crate::lifecycle::Lifecycle;
use crate::lifecycle::runtime::Instant;
use crate::telemetry::Meter;

/// What all passes of an engine use.
#[derive(Debug)]
pub(super) struct Environment {
    pub(super) cache: Arc<Cache>,
    pub(super) sender: Arc<dyn RecordSender>,
    pub(super) options: EngineOptions,
    pub(super) meter: Meter,
    pub(super) lifecycle: Arc<Lifecycle>,
    pub(super) turns: Turns,
    pub(super) charges: Charges,
}

/// One pass, as its streams see it: the plan and the signals.
#[derive(Debug)]
pub(super) struct PassContext {
    pub(super) env: Arc<Environment>,
    pub(super) plan: Plan,
    signals: Signals,
}

impl PassContext {
    pub(super) fn new(env: Arc<Environment>, plan: Plan) -> Self {
        Self {
            env,
            plan,
            signals: Signals::new(),
        }
    }

    /// Whether a request may be made.
    pub(super) fn may_send(&self) -> bool {
        let in_time = match self.plan {
            Plan::Drain {
                deadline: Some(deadline),
                ..
            } => Instant::now() < deadline,
            _ => true,
        };
        in_time && !self.signals.is_aborted() && self.env.lifecycle.may_send()
    }

    /// Whether a batch may start.
    pub(super) fn may_start(&self) -> bool {
        let lifecycle = &self.env.lifecycle;
        let is_wanted = match &self.plan {
            Plan::Flush | Plan::Timer | Plan::CatchUp(_) => true,
            Plan::Drain { stop, .. } => !stop.is_cancelled(),
            Plan::Adaptive => lifecycle.is_enabled() && !lifecycle.is_closing(),
        };
        is_wanted && self.may_send()
    }

    /// Whether a stream may have more than one batch.
    pub(super) const fn goes_on(&self) -> bool {
        self.plan.goes_on()
    }

    /// Whether a stream should make way because another stream wants its slot, or another pass is
    /// waiting.
    pub(super) fn makes_way(&self) -> bool {
        self.signals.is_slot_wanted() || self.is_turn_wanted()
    }

    /// Whether another pass is waiting for this one to end.
    pub(super) fn is_turn_wanted(&self) -> bool {
        self.env.turns.are_wanted()
    }

    /// Whether another batch of a stream is wanted besides those in flight.
    pub(super) fn wants_more(&self, stream: &StreamName, under_way: Amount) -> bool {
        match &self.plan {
            Plan::Flush | Plan::Timer | Plan::CatchUp(_) => false,
            Plan::Drain { .. } => true,
            Plan::Adaptive => self.env.cache.is_due(stream, under_way),
        }
    }

    pub(super) fn abort(&self) {
        self.signals.abort();
    }

    pub(super) fn set_queued(&self, streams: usize) {
        self.signals.set_queued(streams);
    }

    pub(super) fn progress(&self) -> u64 {
        self.signals.progress()
    }

    pub(super) fn note_progress(&self) {
        self.signals.note_progress();
    }
}
