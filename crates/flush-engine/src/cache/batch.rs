//! What one request takes of a stream.

use std::num::NonZeroU64;
use std::panic::AssertUnwindSafe;

use batcher::BatchLimits;
use futures_util::FutureExt;
use record_cache::{Amount, ReadLimits, Record, RecordId, StoreError, StreamName};

use crate::EngineError;
use crate::cache::in_flight::Claim;
use crate::lifecycle::inner::Inner;
use crate::telemetry::log;

/// Records that were read to be sent together.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) records: Vec<Record>,
    /// How often the cache was cleared before they were read.
    pub(crate) clears: u64,
    /// How much they are.
    pub(crate) amount: Amount,
    /// Whether another record like these would not have fitted.
    pub(crate) is_full: bool,
    /// The last of them.
    pub(crate) last: Option<RecordId>,
    /// Keeps others from deciding on them.
    pub(crate) claim: Option<Claim>,
}

impl Batch {
    /// Reads the oldest records of a stream, behind `after` if it is given, and claims them.
    /// Those that are too old are given up, and added to `discarded`.
    pub(crate) async fn read(
        inner: &Inner,
        stream: &StreamName,
        after: Option<RecordId>,
        max_bytes: u64,
        discarded: &mut usize,
    ) -> Result<Self, EngineError> {
        let mut limits = inner.sender.limits();
        limits.max_bytes = max_bytes.try_into().unwrap_or(NonZeroU64::MIN);
        let reach = ReadLimits::new(limits.max_items, limits.max_bytes);
        let _reading = inner.claims.reading().await;
        let clears = inner.clears.read().await;
        loop {
            let read = AssertUnwindSafe(inner.store.oldest(stream, after, reach)).catch_unwind();
            let read = read
                .await
                .unwrap_or_else(|_panic| Err(StoreError::unavailable_because("the store panicked")))
                .map_err(EngineError::storage)?;
            inner.admission.release(read.damaged);
            log::damage(stream, read.damaged);
            // A store may give more than it was asked for; a request may not.
            let records = batcher::pack(read.records, limits, Record::size).next();
            let mut records = records.unwrap_or_default();
            let expired = inner.expiry.discard(inner, stream, &mut records).await?;
            *discarded += expired;
            if !records.is_empty() || expired == 0 || inner.sending_ends.is_cancelled() {
                return Ok(Self::of(inner, stream, records, limits, *clears));
            }
        }
    }

    fn of(
        inner: &Inner,
        stream: &StreamName,
        records: Vec<Record>,
        limits: BatchLimits,
        clears: u64,
    ) -> Self {
        let sizes = || records.iter().map(Record::size);
        let amount = Amount::new(records.len(), sizes().sum());
        let largest = sizes().max().unwrap_or_default();
        let last = records.iter().map(|record| record.id).max();
        Self {
            clears,
            amount,
            is_full: amount.records >= limits.max_items.get()
                || amount.bytes.saturating_add(largest) > limits.max_bytes.get(),
            last,
            claim: last.map(|last| inner.claims.claim(stream, last)),
            records,
        }
    }
}
