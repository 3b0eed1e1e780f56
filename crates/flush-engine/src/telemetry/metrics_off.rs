//! What stands in for `metrics.rs` where nobody can listen.

use std::time::Duration;

use batcher::BatchLimits;
use record_cache::{NewRecord, Record, StreamName};

use crate::{DiscardReason, EngineOptions, SendError, Verdict};

#[derive(Debug, Clone)]
pub(crate) struct Meter;

pub(crate) struct Recorded;

impl Meter {
    pub(crate) const fn new(_: &EngineOptions) -> Self {
        Self
    }

    pub(crate) const fn cached(&self, _: u64, _: u64) {}

    pub(crate) const fn recorded(&self, _: &Recorded) {}

    pub(crate) const fn flushed(&self, _: &StreamName, _: usize) {}

    pub(crate) const fn retried(&self, _: &StreamName, _: usize) {}

    pub(crate) const fn discarded(&self, _: &StreamName, _: DiscardReason, _: usize) {}

    pub(crate) const fn request(
        &self,
        _: &StreamName,
        _: &[Record],
        _: BatchLimits,
        _: Duration,
        _: &Result<Vec<Verdict>, SendError>,
    ) {
    }
}

impl Recorded {
    pub(crate) const fn of(_: &[NewRecord]) -> Self {
        Self
    }
}
