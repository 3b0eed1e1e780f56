//! Sends the engine's batches to a service.

use std::sync::Arc;
use std::time::Duration;

use aggregation::{ShardMap, WireRecord};
use async_trait::async_trait;
use batcher::BatchLimits;
use record_cache::{Record, StreamName};

use crate::aws::Service;
use crate::aws::connections::Connections;
use crate::aws::credentials::RenewableCredentials;
use crate::aws::grouping::{Grouping, event, within_request};
use crate::aws::judge::{judge, refuses_credentials};
use crate::aws::shards::Shards;
use crate::aws::wire::{Entry, Outcome, Receipts};
use crate::lifecycle::runtime::Instant;
use crate::telemetry::Meter;
use crate::{Fault, NoAnswer, RecordSender, SendError, Verdict};

/// Sends batches to a service, and learns from the outcomes.
#[derive(Debug)]
pub(crate) struct ServiceSender<S: Service> {
    pub(crate) requests: S::Requests,
    pub(crate) connections: Connections,
    pub(crate) credentials: RenewableCredentials,
    /// How events share records, if they do.
    pub(crate) grouping: Option<Grouping>,
    pub(crate) shards: Shards,
    pub(crate) request_timeout: Duration,
    pub(crate) meter: Meter,
    /// Whether to read receipts, for `on_delivered`.
    pub(crate) receipts: Receipts,
}

#[async_trait]
impl<S: Service> RecordSender for ServiceSender<S> {
    fn limits(&self) -> BatchLimits {
        let request = S::LIMITS.request;
        let grouping = self.grouping.as_ref();
        grouping.map_or(request, |grouping| grouping.limits(request))
    }

    async fn fit(&self, stream: &StreamName, batch: &[Record]) -> usize {
        match &self.grouping {
            Some(grouping) => {
                let shards = self.shards_of(grouping, stream).await;
                grouping.fit(batch, S::LIMITS.request, shards.as_deref())
            }
            None => batch.len(),
        }
    }

    async fn send(&self, stream: &StreamName, batch: &[Record]) -> Result<Vec<Verdict>, SendError> {
        if let Some(grouping) = &self.grouping {
            return self.send_grouped(grouping, stream, batch).await;
        }
        let entries: Vec<_> = batch
            .iter()
            .map(event)
            .map(|one| Self::entry(one.data, one.partition_key, one.explicit_hash_key))
            .collect();
        let outcomes = self.put(stream, &entries, self.receipts).await?;
        Ok(outcomes.into_iter().map(Verdict::from).collect())
    }
}

impl<S: Service> ServiceSender<S> {
    fn entry<'a>(
        data: &'a [u8],
        partition_key: &'a str,
        explicit_hash_key: Option<u128>,
    ) -> Entry<'a> {
        let has_key = S::LIMITS.partition_key_chars.is_some();
        Entry {
            explicit_hash_key,
            ..Entry::new(data, has_key.then_some(partition_key))
        }
    }

    /// Sends one request.
    async fn put(
        &self,
        stream: &StreamName,
        entries: &[Entry<'_>],
        receipts: Receipts,
    ) -> Result<Vec<Outcome>, SendError> {
        self.meter.sent(stream, entries.len(), bytes(entries));
        let credentials = self.credentials.edition();
        // The engine drops this future when the request takes too long.
        let waiting = self.connections.retire_unless_answered();
        let answer = S::put(&self.requests, stream, entries, receipts).await;
        match &answer {
            Err(SendError::NoAnswer {
                reason: NoAnswer::TimedOut,
                ..
            }) => drop(waiting),
            Err(SendError::Refused {
                code: Some(code), ..
            }) if refuses_credentials(code) => {
                waiting.answered();
                self.credentials.forget(credentials);
            }
            _ => waiting.answered(),
        }
        answer
    }

    async fn send_grouped(
        &self,
        grouping: &Grouping,
        stream: &StreamName,
        batch: &[Record],
    ) -> Result<Vec<Verdict>, SendError> {
        let begun = Instant::now();
        // A single event does not depend on the shards.
        let shards = match batch.len() {
            1 => None,
            _ => self.shards_of(grouping, stream).await,
        };
        let most = S::LIMITS.record_bytes;
        let mut records = grouping.records(batch, shards.as_deref(), most);
        // Truncates only if the shards have changed since the batch was cut.
        records.truncate(within_request(&records, S::LIMITS.request));
        let entries: Vec<_> = records
            .iter()
            .map(|one| Self::entry(&one.data, one.partition_key, one.explicit_hash_key))
            .collect();
        let receipts = match shards {
            Some(_) => Receipts::Read,
            None => self.receipts,
        };
        let outcomes = self.put(stream, &entries, receipts).await?;
        if outcomes.len() != records.len() {
            return Err(SendError::unreadable(
                "an answer for another number of records",
            ));
        }
        let mut verdicts = vec![Verdict::Kept; batch.len()];
        let mut elsewhere = Vec::new();
        for (record, outcome) in records.iter().zip(outcomes) {
            let verdict = match outcome {
                Outcome::Accepted(receipt) => {
                    let shard_id = receipt
                        .as_ref()
                        .and_then(|receipt| receipt.shard_id.clone());
                    if !is_expected(record, shard_id.as_deref()) {
                        elsewhere.push((record, shard_id));
                    }
                    Verdict::Accepted(receipt)
                }
                Outcome::Failed { code } if record.events.len() > 1 && blames_records(&code) => {
                    Verdict::FailedTogether { code }
                }
                Outcome::Failed { code } => Verdict::Failed { code },
            };
            for &event in &record.events {
                verdicts[event] = verdict.clone();
            }
        }
        if let (Some(shards), false) = (shards.as_ref(), elsewhere.is_empty()) {
            let left = self.request_timeout.saturating_sub(begun.elapsed()) / 2;
            let newer = self.shards.newer(stream, shards, self.list(stream), left);
            let newer = newer.await;
            let of_id = |id: &Option<String>| newer.as_ref()?.get(id.as_deref()?);
            let knows_all = elsewhere.iter().all(|(_, id)| of_id(id).is_some());
            if newer.is_some() {
                self.shards.confirmed(stream, knows_all).await;
            }
            for (record, id) in &elsewhere {
                let own = record
                    .events
                    .first()
                    .map(|&at| event(&batch[at]).hash_key());
                for &at in &record.events {
                    let hash_key = event(&batch[at]).hash_key();
                    // The shard always contains the record's own hash.
                    let is_read = Some(hash_key) == own
                        || of_id(id).is_some_and(|shard| shard.contains(hash_key));
                    if !is_read {
                        verdicts[at] = Verdict::Kept;
                    }
                }
            }
        }
        Ok(verdicts)
    }

    /// The shards of a stream, if records are built per shard and the shards are known.
    async fn shards_of(&self, grouping: &Grouping, stream: &StreamName) -> Option<Arc<ShardMap>> {
        match grouping.is_by_shard() {
            true => {
                let within = self.request_timeout / 2;
                self.shards.map(stream, self.list(stream), within).await
            }
            false => None,
        }
    }

    async fn list(&self, stream: &StreamName) -> Result<Vec<aggregation::Shard>, SendError> {
        S::open_shards(&self.requests, stream).await
    }
}

/// Whether a record reached its intended shard, if it had one.
fn is_expected(record: &WireRecord<'_, '_>, shard_id: Option<&str>) -> bool {
    let expected = record.shard.map(|shard| &*shard.id);
    expected.is_none() || expected == shard_id
}

fn blames_records(code: &str) -> bool {
    const ANSWERED: u16 = 200;
    judge(Some(code), ANSWERED) == Fault::Records
}

fn bytes(entries: &[Entry<'_>]) -> usize {
    let size = |entry: &Entry<'_>| entry.data.len() + entry.partition_key.map_or(0, str::len);
    entries.iter().map(size).sum()
}
