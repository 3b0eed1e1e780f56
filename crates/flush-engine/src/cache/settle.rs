//! Settles a sent batch in one store operation.

use std::time::SystemTime;

use record_cache::{Amount, Record, RecordId, Settlement, StreamName};

use crate::api::{DiscardReason, EngineError, FlushData, Receipt};
use crate::cache::Cache;
use crate::cache::delivered::Delivered;
use crate::cache::in_flight::Claim;
use crate::telemetry::GivenUp;

/// The decision about one stream's records.
#[derive(Debug)]
pub(crate) struct Decision {
    stream: StreamName,
    /// How often the cache had been cleared when the records were read.
    clears: u64,
    /// Accepted by the service.
    accepted: Vec<RecordId>,
    /// What `on_delivered` gets for those.
    delivered: Vec<Delivered>,
    /// Failed, but kept with a higher count.
    retried: Vec<RecordId>,
    /// Failed too often, with this last code.
    exhausted: Vec<(Record, Option<String>)>,
    /// The first of the batch's records that stays.
    kept: Option<(RecordId, SystemTime)>,
    /// Held until the store has carried out the decision.
    claim: Option<Claim>,
}

impl Decision {
    pub(crate) fn new(stream: StreamName, clears: u64) -> Self {
        Self {
            stream,
            clears,
            accepted: Vec::new(),
            delivered: Vec::new(),
            retried: Vec::new(),
            exhausted: Vec::new(),
            kept: None,
            claim: None,
        }
    }

    pub(crate) fn accept(&mut self, record: RecordId) {
        self.accepted.push(record);
    }

    /// Adds an accepted record for `on_delivered`.
    pub(crate) fn tell(&mut self, key: Option<String>, receipt: Option<Receipt>) {
        self.delivered.push((key, receipt));
    }

    pub(crate) fn retry(&mut self, record: RecordId) {
        self.retried.push(record);
    }

    /// Keeps a record, charged or not.
    pub(crate) fn keep(&mut self, record: &Record) {
        self.kept.get_or_insert((record.id, record.recorded_at));
    }

    pub(crate) fn give_up(&mut self, record: Record, code: Option<String>) {
        self.exhausted.push((record, code));
    }

    /// The records to charge and keep.
    pub(crate) fn retried(&self) -> &[RecordId] {
        &self.retried
    }

    /// Amount to give up.
    pub(crate) fn given_up(&self) -> GivenUp {
        let mut given_up = GivenUp::default();
        for (record, code) in &self.exhausted {
            given_up.amount += Amount::new(1, record.size());
            given_up.codes.extend(code.clone());
        }
        given_up
    }

    /// Holds a claim until the store has carried out the decision.
    pub(crate) fn hold(&mut self, claim: Option<Claim>) {
        self.claim = claim;
    }
}

impl Cache {
    /// Carries out a decision in one store operation. If the records have been cleared, the
    /// decision has no effect: they count as cleared only. `on_delivered` still gets what the
    /// service accepted.
    pub(crate) async fn settle(&self, decision: Decision) -> Result<FlushData, EngineError> {
        let Decision {
            stream,
            clears,
            accepted,
            delivered,
            retried,
            exhausted,
            kept,
            claim,
        } = decision;
        self.tell_delivered(&stream, delivered);
        let mut done = FlushData::flushed(accepted.len());
        done.records_retried = retried.len();
        done.records_discarded = exhausted.len();
        let given_up: Vec<_> = exhausted.iter().map(|(record, _)| record.id).collect();
        if !exhausted.is_empty() {
            if self.clears().await != clears {
                return Ok(FlushData::default());
            }
            let reason = DiscardReason::RetriesExhausted;
            for (record, code) in exhausted {
                let attempts = record.attempts.saturating_add(1);
                self.tell_discarded(&stream, record, attempts, reason, code);
            }
        }
        let now = self.clears.read().await;
        if *now != clears {
            return Ok(FlushData::default());
        }
        let settlement = Settlement::new(stream.clone())
            .delete(accepted)
            .delete(given_up)
            .count_attempt(retried);
        let head = self.ages.head_among(&stream, &settlement.delete);
        let removed = self.store.settle(settlement).await?;
        self.ages.gone(&stream, head, kept);
        drop((now, claim));
        self.admission.release(&stream, removed);
        self.meter.flushed(&stream, done.records_flushed);
        self.meter.retried(&stream, done.records_retried);
        let reason = DiscardReason::RetriesExhausted;
        self.meter
            .discarded(&stream, reason, done.records_discarded);
        Ok(done)
    }
}
