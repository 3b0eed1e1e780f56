//! Discards records: `on_discard` is called first, then they are deleted.

use record_cache::{Amount, Record, Settlement, StreamName};

use crate::api::{DiscardReason, DiscardedRecord, EngineError};
use crate::cache::Cache;
use crate::telemetry::log;

impl Cache {
    /// Discards the records of a batch that are too old, and returns their number.
    ///
    /// Call this only while no other task decides about them or clears the cache.
    pub(super) async fn discard_expired(
        &self,
        stream: &StreamName,
        batch: &mut Vec<Record>,
    ) -> Result<usize, EngineError> {
        let expired = self.expiry.take_expired(batch);
        if expired.is_empty() {
            return Ok(0);
        }
        let amount = self
            .discard(stream, expired, DiscardReason::Expired)
            .await?;
        tracing::warn!(
            target: log::TARGET,
            stream = %stream,
            records = amount.records,
            bytes = amount.bytes,
            "records were discarded: they are older than max_record_age"
        );
        Ok(amount.records)
    }

    /// Discards records to make room for others.
    ///
    /// Call this only while no other task decides about them or clears the cache.
    pub(super) async fn discard_oldest(
        &self,
        stream: &StreamName,
        records: Vec<Record>,
    ) -> Result<(), EngineError> {
        let amount = self
            .discard(stream, records, DiscardReason::Overflow)
            .await?;
        tracing::warn!(
            target: log::TARGET,
            stream = %stream,
            records = amount.records,
            bytes = amount.bytes,
            "the cache is full: the oldest records were dropped"
        );
        Ok(())
    }

    async fn discard(
        &self,
        stream: &StreamName,
        records: Vec<Record>,
        reason: DiscardReason,
    ) -> Result<Amount, EngineError> {
        let bytes = records.iter().map(Record::size).sum();
        let amount = Amount::new(records.len(), bytes);
        let ids = records.iter().map(|record| record.id);
        let settlement = Settlement::new(stream.clone()).delete(ids);
        for record in records {
            let attempts = record.attempts;
            self.tell_discarded(stream, record, attempts, reason, None);
        }
        let head = self.ages.head_among(stream, &settlement.delete);
        let removed = self.store.settle(settlement).await?;
        self.ages.gone(stream, head, None);
        self.admission.release(stream, removed);
        self.meter.discarded(stream, reason, amount.records);
        Ok(amount)
    }

    /// Passes a record to `on_discard`, if set.
    pub(super) fn tell_discarded(
        &self,
        stream: &StreamName,
        record: Record,
        attempts: u32,
        reason: DiscardReason,
        code: Option<String>,
    ) {
        let Some(handler) = &self.on_discard else {
            return;
        };
        let record = DiscardedRecord::new(stream, record, attempts, reason, code);
        let called = self
            .lifecycle
            .call_back("on_discard", || handler.call(record));
        if called.is_err() {
            tracing::error!(target: log::TARGET, "on_discard panicked");
        }
    }
}
