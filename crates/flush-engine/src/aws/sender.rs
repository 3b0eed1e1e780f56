//! Sends the engine's batches to a service.

use std::borrow::Cow;
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
use crate::lifecycle::runtime::{Instant, timeout};
use crate::telemetry::Meter;
use crate::{Fault, NoAnswer, RecordSender, SendError, Verdict};

/// How often events may be sent again within one request because the shards have changed.
const MOST_REPEATS: u32 = 4;

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
    pub(crate) max_record_bytes: u64,
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
            Err(SendError::Refused {
                fault: Fault::Stream,
                ..
            }) => {
                waiting.answered();
                self.shards.forget(stream);
            }
            _ => waiting.answered(),
        }
        answer
    }

    /// Sends events that share records. Those that a reader of the shard would drop are sent again
    /// at once, by a newer map, if there is time.
    async fn send_grouped(
        &self,
        grouping: &Grouping,
        stream: &StreamName,
        batch: &[Record],
    ) -> Result<Vec<Verdict>, SendError> {
        let begun = Instant::now();
        let left = || self.request_timeout.saturating_sub(begun.elapsed());
        // A single event does not depend on the shards.
        let mut shards = match batch.len() {
            1 => None,
            _ => self.shards_of(grouping, stream).await,
        };
        let sent = self.send_records(grouping, stream, batch, shards.as_ref());
        let mut sent = sent.await?;
        let mut verdicts = vec![Verdict::Kept; batch.len()];
        let mut places: Vec<usize> = (0..batch.len()).collect();
        let mut part = Cow::Borrowed(batch);
        let mut repeats = 0..MOST_REPEATS;
        loop {
            let misplaced = self.misplaced(&mut sent, stream, &part, shards, left() / 2);
            let misplaced = misplaced.await;
            for (&at, verdict) in places.iter().zip(std::mem::take(&mut sent.verdicts)) {
                verdicts[at] = verdict;
            }
            let (Some((misplaced, newer)), Some(_)) = (misplaced, repeats.next()) else {
                break;
            };
            // A request that is given up costs its connections.
            if left() < self.request_timeout / 4 {
                break;
            }
            places = misplaced.into_iter().map(|at| places[at]).collect();
            part = places.iter().map(|&at| batch[at].clone()).collect();
            shards = newer;
            let again = self.send_records(grouping, stream, &part, shards.as_ref());
            // Ends before the engine gives up the request: the first answer counts in any case.
            match timeout(left() / 4 * 3, again).await {
                Ok(Ok(again)) => sent = again,
                Ok(Err(_)) | Err(_) => break,
            }
        }
        Ok(verdicts)
    }

    /// Sends events in one request, in records that suit these shards.
    async fn send_records(
        &self,
        grouping: &Grouping,
        stream: &StreamName,
        batch: &[Record],
        shards: Option<&Arc<ShardMap>>,
    ) -> Result<Sent, SendError> {
        let map = shards.map(|shards| &**shards);
        let mut records = grouping.records(batch, map, self.max_record_bytes);
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
                "the answer has the wrong number of records",
            ));
        }
        let mut sent = Sent {
            verdicts: vec![Verdict::Kept; batch.len()],
            elsewhere: Vec::new(),
        };
        for (record, outcome) in records.into_iter().zip(outcomes) {
            let verdict = match outcome {
                Outcome::Accepted(receipt) => Verdict::Accepted(receipt),
                Outcome::Failed { code } if record.events.len() > 1 && blames_records(&code) => {
                    Verdict::FailedTogether { code }
                }
                Outcome::Failed { code } => Verdict::Failed { code },
            };
            for &event in &record.events {
                sent.verdicts[event] = verdict.clone();
            }
            if let Verdict::Accepted(receipt) = verdict {
                let shard_id = receipt.and_then(|receipt| receipt.shard_id);
                if !is_expected(&record, shard_id.as_deref()) {
                    sent.elsewhere.push((record.events, shard_id));
                }
            }
        }
        Ok(sent)
    }

    /// Finds the events that readers drop: all of a record that came to a shard to which one of them
    /// does not belong. Keeps them, and returns them with the map to send them again by.
    async fn misplaced(
        &self,
        sent: &mut Sent,
        stream: &StreamName,
        batch: &[Record],
        shards: Option<Arc<ShardMap>>,
        within: Duration,
    ) -> Option<(Vec<usize>, Option<Arc<ShardMap>>)> {
        let shards = shards?;
        if sent.elsewhere.is_empty() {
            self.shards.confirmed(stream, &shards, true);
            return None;
        }
        let list = self.list(stream);
        let newer = self.shards.newer(stream, &shards, list, within);
        // Others may be listing them, too.
        let newer = timeout(within, newer).await.unwrap_or_default();
        let of_id = |id: &Option<String>| newer.as_ref()?.get(id.as_deref()?);
        let mut misplaced = Vec::new();
        let mut knows_all = true;
        for (events, id) in &sent.elsewhere {
            let shard = of_id(id);
            knows_all &= shard.is_some();
            let mut hashes = events.iter().map(|&at| event(&batch[at]).hash_key());
            // The shard always contains the record's own hash.
            let own = hashes.next();
            if !hashes.all(|hash| Some(hash) == own || shard.is_some_and(|it| it.contains(hash))) {
                misplaced.extend(events);
            }
        }
        if let Some(newer) = &newer {
            self.shards.confirmed(stream, newer, knows_all);
        }
        misplaced.sort_unstable();
        for &at in &misplaced {
            sent.verdicts[at] = Verdict::Kept;
        }
        (!misplaced.is_empty()).then_some((misplaced, newer.filter(|_| knows_all)))
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

/// The answer to one request.
struct Sent {
    verdicts: Vec<Verdict>,
    /// The events of each record that came to another shard than expected, and its id.
    elsewhere: Vec<(Vec<usize>, Option<String>)>,
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
