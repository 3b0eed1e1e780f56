//! Replaces `metrics.rs` when the feature is off.

use std::time::Duration;

use batcher::BatchLimits;
use record_cache::{Amount, Record, StreamName};

use crate::api::{DiscardReason, EngineOptions, SendError, Verdict};

#[derive(Debug, Clone)]
pub(crate) struct Meter;

impl Meter {
    pub(crate) const fn new(_: &EngineOptions) -> Self {
        Self
    }

    pub(crate) fn begin<'a>(&self, _: impl Iterator<Item = &'a StreamName>) {}

    pub(crate) const fn cached(&self, _: u64, _: u64) {}

    pub(crate) const fn limit(&self, _: u64) {}

    pub(crate) const fn oldest(&self, _: &StreamName, _: Duration) {}

    pub(crate) const fn refused(&self, _: &[(StreamName, Amount)]) {}

    pub(crate) const fn recorded(&self, _: &[(StreamName, Amount)]) {}

    pub(crate) const fn flushed(&self, _: &StreamName, _: usize) {}

    pub(crate) const fn retried(&self, _: &StreamName, _: usize) {}

    pub(crate) const fn discarded(&self, _: &StreamName, _: DiscardReason, _: usize) {}

    #[cfg(feature = "aws")]
    pub(crate) const fn sent(&self, _: &StreamName, _: usize, _: usize) {}

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
