//! Reads the next batch of a stream.

use batcher::BatchLimits;
use record_cache::{Amount, ReadLimits, Record, RecordId, StreamName};

use crate::api::EngineError;
use crate::cache::Cache;
use crate::cache::in_flight::Claim;
use crate::telemetry::log;

/// Records that were read to be sent in one request.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) records: Vec<Record>,
    /// How often the cache had been cleared when they were read.
    pub(crate) clears: u64,
    /// Their number and size.
    pub(crate) amount: Amount,
    /// Whether another record of the same size would not have fit.
    pub(crate) is_full: bool,
    /// The last record read.
    pub(crate) last: Option<RecordId>,
    /// Keeps other tasks from deciding about these records.
    pub(crate) claim: Option<Claim>,
}

impl Batch {
    /// Keeps the first records and leaves the rest for a later batch. The claim still covers all of
    /// them until this batch is settled.
    pub(crate) fn truncate(&mut self, records: usize) {
        if records < self.records.len() {
            self.records.truncate(records);
            let sizes = self.records.iter().map(Record::size);
            self.amount = Amount::new(records, sizes.sum());
            self.last = self.records.iter().map(|record| record.id).max();
            self.is_full = true;
        }
    }
}

/// The result of a read.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) batch: Result<Batch, EngineError>,
    /// Records discarded because they are too old.
    pub(crate) expired: usize,
}

impl Cache {
    /// Reads and claims the oldest records of a stream, or the oldest after `after` if given.
    /// Discards records that are too old.
    pub(crate) async fn read(
        &self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: BatchLimits,
    ) -> Reading {
        let mut expired = 0;
        let batch = self.read_fresh(stream, after, limits, &mut expired).await;
        Reading { batch, expired }
    }

    async fn read_fresh(
        &self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: BatchLimits,
        expired: &mut usize,
    ) -> Result<Batch, EngineError> {
        let _reading = self.in_flight.reading().await;
        let clears = self.clears.read().await;
        loop {
            let reach = ReadLimits::new(limits.max_items, limits.max_bytes);
            let mut records = self.read_stored(stream, after, reach).await?;
            // A store may return more than requested, but a request must stay within its limits.
            let fits = batcher::pack(&records, limits, |record| record.size()).next();
            records.truncate(fits.map_or(0, |fits| fits.len()));
            let too_old = self.discard_expired(stream, &mut records).await?;
            *expired += too_old;
            if !records.is_empty() || too_old == 0 || !self.lifecycle.may_send() {
                return Ok(self.claimed(stream, after, records, limits, *clears));
            }
        }
    }

    /// Reads from the store, which may drop damaged records.
    pub(super) async fn read_stored(
        &self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Result<Vec<Record>, EngineError> {
        let read = self.store.oldest(stream, after, limits).await?;
        self.admission.release(stream, read.damaged);
        log::damage(stream, read.damaged);
        Ok(read.records)
    }

    fn claimed(
        &self,
        stream: &StreamName,
        after: Option<RecordId>,
        records: Vec<Record>,
        limits: BatchLimits,
        clears: u64,
    ) -> Batch {
        let mut amount = Amount::default();
        let mut largest = 0;
        for size in records.iter().map(Record::size) {
            amount += Amount::new(1, size);
            largest = largest.max(size);
        }
        let last = records.iter().map(|record| record.id).max();
        if let (None, Some(oldest)) = (after, records.first()) {
            self.ages.seen(stream, oldest);
        }
        Batch {
            clears,
            amount,
            is_full: amount.records >= limits.max_items.get()
                || amount.bytes.saturating_add(largest) > limits.max_bytes.get(),
            last,
            claim: last.map(|last| self.in_flight.claim(stream, last)),
            records,
        }
    }
}
