//! Dropping the oldest records to make room.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::{NonZeroU64, NonZeroUsize};
use std::time::SystemTime;

use record_cache::{Amount, ReadLimits, Record, RecordId, StreamName};

use crate::api::EngineError;
use crate::cache::Cache;
use crate::cache::incoming::Incoming;
use crate::cache::room::Shortfall;

/// The oldest record of each stream that is not in flight, as far as it is known. Saves
/// reading the first records of all streams each time.
#[derive(Debug, Default)]
pub(super) struct KnownOldest(HashMap<StreamName, Oldest>);

#[derive(Debug, Clone, Copy)]
struct Oldest {
    /// The last record in flight when it was read.
    in_flight: Option<RecordId>,
    recorded_at: SystemTime,
}

impl Cache {
    /// Drops as many of the oldest records as make room, or none if they would not suffice:
    /// of one stream, if that has its share, or of all. Tells whether there may be room now.
    pub(super) async fn evict(
        &self,
        known: &mut KnownOldest,
        incoming: &Incoming,
    ) -> Result<bool, EngineError> {
        let _choosing = self.in_flight.choosing().await;
        // A clear waits, so that no record counts as cleared and as dropped.
        let _clears = self.clears.read().await;
        let mut choice = Choice::new(self, known, incoming);
        if !choice.suffices().await? {
            return Ok(false);
        }
        for (stream, records) in choice.chosen {
            if let Err(error) = self.discard_oldest(&stream, records).await {
                // What was to be dropped is the oldest again.
                known.0.clear();
                return Err(error);
            }
        }
        Ok(true)
    }
}

/// Records that are to be dropped, oldest first.
struct Choice<'a> {
    cache: &'a Cache,
    known: &'a mut KnownOldest,
    incoming: &'a Incoming,
    /// The stream to drop from, if it is one.
    only: Option<StreamName>,
    /// The last record in flight, by stream.
    in_flight: BTreeMap<StreamName, Option<RecordId>>,
    /// The streams that may have more records, with the last one that was looked at.
    after: BTreeMap<StreamName, Option<RecordId>>,
    chosen: BTreeMap<StreamName, Vec<Record>>,
    amount: Amount,
}

impl<'a> Choice<'a> {
    fn new(cache: &'a Cache, known: &'a mut KnownOldest, incoming: &'a Incoming) -> Self {
        let streams = cache.stats().streams.into_keys();
        let in_flight: BTreeMap<_, _> = streams
            .map(|stream| {
                let last = cache.in_flight.last(&stream);
                (stream, last)
            })
            .collect();
        known
            .0
            .retain(|stream, oldest| in_flight.get(stream) == Some(&oldest.in_flight));
        let only = match cache.admission.shortfall(incoming) {
            Shortfall::Stream(stream, _) => Some(stream),
            Shortfall::Cache(_) => None,
        };
        Self {
            cache,
            known,
            incoming,
            after: in_flight
                .iter()
                .filter(|(stream, _)| only.as_ref().is_none_or(|only| only == *stream))
                .map(|(stream, last)| (stream.clone(), *last))
                .collect(),
            only,
            in_flight,
            chosen: BTreeMap::new(),
            amount: Amount::default(),
        }
    }

    /// Chooses until there would be room.
    async fn suffices(&mut self) -> Result<bool, EngineError> {
        while self.shortfall() != Amount::default() {
            let Some((stream, until)) = self.oldest_stream().await? else {
                return Ok(false);
            };
            self.choose(stream, until).await?;
        }
        Ok(true)
    }

    /// What is missing still. What a store drops as damaged makes room too.
    fn shortfall(&self) -> Amount {
        let shortfall = match (self.cache.admission.shortfall(self.incoming), &self.only) {
            (Shortfall::Cache(shortfall), None) => shortfall,
            (Shortfall::Stream(stream, bytes), Some(only)) if stream == *only => {
                Amount::new(0, bytes)
            }
            // Another bound is in the way, or none: that is seen once room is taken.
            (Shortfall::Cache(_) | Shortfall::Stream(..), _) => Amount::default(),
        };
        Amount::new(
            shortfall.records.saturating_sub(self.amount.records),
            shortfall.bytes.saturating_sub(self.amount.bytes),
        )
    }

    /// The stream with the oldest record, and the time after which another one has an older.
    async fn oldest_stream(
        &mut self,
    ) -> Result<Option<(StreamName, Option<SystemTime>)>, EngineError> {
        let unknown: BTreeSet<_> = self
            .after
            .keys()
            .filter(|stream| !self.known.0.contains_key(*stream))
            .cloned()
            .collect();
        for stream in unknown {
            let oldest = self.read(&stream, ONE).await?;
            self.note_oldest(&stream, oldest.first());
        }
        let mut ages: Vec<_> = self
            .after
            .keys()
            .filter_map(|stream| Some((self.known.0.get(stream)?.recorded_at, stream)))
            .collect();
        ages.sort_unstable();
        let Some(&(_, oldest)) = ages.first() else {
            return Ok(None);
        };
        let until = ages.get(1).map(|&(recorded_at, _)| recorded_at);
        Ok(Some((oldest.clone(), until)))
    }

    /// Chooses records of a stream as long as they are the oldest and room is missing.
    async fn choose(
        &mut self,
        stream: StreamName,
        until: Option<SystemTime>,
    ) -> Result<(), EngineError> {
        let records = self.read(&stream, reach(self.shortfall())).await?;
        // Perhaps not those that were there when the stream was looked at.
        for record in records {
            let is_oldest = until.is_none_or(|until| record.recorded_at <= until);
            if !is_oldest || self.shortfall() == Amount::default() {
                self.note_oldest(&stream, Some(&record));
                return Ok(());
            }
            self.amount += Amount::new(1, record.size());
            self.after.insert(stream.clone(), Some(record.id));
            self.chosen.entry(stream.clone()).or_default().push(record);
        }
        self.known.0.remove(&stream);
        Ok(())
    }

    /// Notes the first record of a stream, or that none is left to choose.
    fn note_oldest(&mut self, stream: &StreamName, oldest: Option<&Record>) {
        let Some(record) = oldest else {
            self.known.0.remove(stream);
            self.after.remove(stream);
            return;
        };
        let oldest = Oldest {
            in_flight: self.in_flight.get(stream).copied().flatten(),
            recorded_at: record.recorded_at,
        };
        self.known.0.insert(stream.clone(), oldest);
    }

    async fn read(
        &self,
        stream: &StreamName,
        limits: ReadLimits,
    ) -> Result<Vec<Record>, EngineError> {
        let after = self.after.get(stream).copied().flatten();
        self.cache.read_stored(stream, after, limits).await
    }
}

const ONE: ReadLimits = ReadLimits::new(NonZeroUsize::MIN, NonZeroU64::MIN);

/// About as many records as are missing.
fn reach(shortfall: Amount) -> ReadLimits {
    const STEP_RECORDS: usize = 500;
    const STEP_BYTES: u64 = 64 * 1024;
    let (records, bytes) = match shortfall {
        Amount {
            records, bytes: 0, ..
        } => (records.min(STEP_RECORDS), STEP_BYTES),
        Amount {
            records: 0, bytes, ..
        } => (STEP_RECORDS, bytes),
        Amount { bytes, .. } => (STEP_RECORDS, bytes.max(STEP_BYTES)),
    };
    ReadLimits::new(
        NonZeroUsize::new(records).unwrap_or(NonZeroUsize::MIN),
        NonZeroU64::new(bytes).unwrap_or(NonZeroU64::MIN),
    )
}
