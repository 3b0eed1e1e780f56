//! What one request takes of a stream.

use std::num::NonZeroU64;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use record_cache::{ReadLimits, Record, RecordId, Removed, StoreError, StreamName};

use crate::claims::Claim;
use crate::inner::Inner;
use crate::{EngineError, FlushData, trace};

/// Records that were read to be sent together.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) records: Vec<Record>,
    /// How often the cache was cleared before they were read.
    pub(crate) clears: u64,
    /// How much they are.
    pub(crate) amount: Removed,
    /// Whether another record like these would not have fitted.
    pub(crate) is_full: bool,
    /// Keeps others from deciding on them.
    pub(crate) claim: Option<Arc<Claim>>,
}

impl Batch {
    /// Reads the oldest records of a stream, behind `after` if it is given. Those that are too
    /// old are given up, and counted in `done`.
    pub(crate) async fn read(
        inner: &Inner,
        stream: &StreamName,
        after: Option<RecordId>,
        max_bytes: u64,
        done: &mut FlushData,
    ) -> Result<Self, EngineError> {
        let mut limits = inner.sender.limits();
        limits.max_bytes = max_bytes.try_into().unwrap_or(NonZeroU64::MIN);
        let reach = ReadLimits::new(limits.max_items, limits.max_bytes);
        let _reading = inner.claims.reading().await;
        let clears = inner.clears.read().await;
        let records = loop {
            let reading = AssertUnwindSafe(inner.store.oldest(stream, after, reach)).catch_unwind();
            let read = reading
                .await
                .unwrap_or_else(|_panic| Err(StoreError::unavailable_because("the store panicked")))
                .map_err(EngineError::storage)?;
            inner.admission.release(read.damaged);
            trace::damage(stream, read.damaged);
            // A store may give more than it was asked for; a request may not.
            let records = batcher::pack(read.records, limits, Record::size).next();
            let mut records = records.unwrap_or_default();
            let expired = inner.expiry.discard(inner, stream, &mut records).await?;
            done.records_discarded += expired;
            if !records.is_empty() || expired == 0 || inner.sending_ends.is_cancelled() {
                break records;
            }
        };
        let last = records.iter().map(|record| record.id).max();
        let claim = last.map(|last| Arc::new(inner.claims.claim(stream, last)));
        let bytes: u64 = records.iter().map(Record::size).sum();
        let largest = records.iter().map(Record::size).max().unwrap_or_default();
        let is_full = records.len() >= limits.max_items.get()
            || bytes.saturating_add(largest) > limits.max_bytes.get();
        Ok(Self {
            clears: *clears,
            amount: Removed::new(records.len(), bytes),
            is_full,
            claim,
            records,
        })
    }

    pub(crate) fn last(&self) -> Option<RecordId> {
        self.records.last().map(|record| record.id)
    }
}
