//! Drops the oldest records to make room.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::{NonZeroU64, NonZeroUsize};
use std::time::SystemTime;

use record_cache::{Amount, ReadLimits, Record, RecordId, StreamName};

use crate::api::EngineError;
use crate::cache::Cache;
use crate::cache::incoming::Incoming;
use crate::cache::room::Shortfall;

/// The oldest record of each stream that is not in flight, if known. Avoids reading the first
/// records of all streams each time.
#[derive(Debug, Default)]
pub(super) struct KnownOldest(HashMap<StreamName, Oldest>);

#[derive(Debug, Clone, Copy)]
struct Oldest {
    /// The stream's last record in flight when it was read.
    in_flight: Option<RecordId>,
    recorded_at: SystemTime,
}

impl Cache {
    /// Drops just enough of the oldest records to make room, or none if that is impossible. First
    /// come streams that have used up their shares, then all streams. Returns whether there may be
    /// room now.
    pub(super) async fn evict(
        &self,
        known: &mut KnownOldest,
        incoming: &Incoming,
    ) -> Result<bool, EngineError> {
        let _choosing = self.in_flight.choosing().await;
        // Holds off clears, so no record counts as both cleared and dropped.
        let _clears = self.clears.read().await;
        let mut choice = Choice::new(self, known, incoming);
        if !choice.suffices().await? {
            return Ok(false);
        }
        // Damage found on the way may have made all the room.
        if self.admission.shortfall(incoming) == Shortfall::default() {
            return Ok(true);
        }
        for (stream, records) in choice.chosen {
            if let Err(error) = self.discard_oldest(&stream, records).await {
                // The records chosen for dropping are the oldest again.
                known.0.clear();
                return Err(error);
            }
        }
        Ok(true)
    }
}

/// Records to drop, oldest first.
struct Choice<'a> {
    cache: &'a Cache,
    known: &'a mut KnownOldest,
    incoming: &'a Incoming,
    /// The last record in flight, by stream.
    in_flight: BTreeMap<StreamName, Option<RecordId>>,
    /// Streams that may have more records, with the last record looked at.
    after: BTreeMap<StreamName, Option<RecordId>>,
    chosen: BTreeMap<StreamName, Vec<Record>>,
    chosen_bytes: BTreeMap<StreamName, u64>,
    amount: Amount,
}

/// Room still missing.
struct Missing {
    /// The stream that has used up its share, or `None` if the whole cache is full.
    of: Option<StreamName>,
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
        Self {
            cache,
            known,
            incoming,
            after: in_flight
                .iter()
                .map(|(stream, last)| (stream.clone(), *last))
                .collect(),
            in_flight,
            chosen: BTreeMap::new(),
            chosen_bytes: BTreeMap::new(),
            amount: Amount::default(),
        }
    }

    /// Chooses records until there would be room.
    async fn suffices(&mut self) -> Result<bool, EngineError> {
        while let Some(missing) = self.missing() {
            let oldest = self.oldest_stream(missing.of.as_ref()).await?;
            let Some((stream, until)) = oldest else {
                // The look at the streams may itself have made room, by finding damage.
                if self.missing().is_some_and(|still| still.of == missing.of) {
                    return Ok(false);
                }
                continue;
            };
            self.choose(stream, until, &missing).await?;
        }
        Ok(true)
    }

    /// How much room is still missing. Damaged records dropped by the store also make room.
    fn missing(&self) -> Option<Missing> {
        let shortfall = self.cache.admission.shortfall(self.incoming);
        for (stream, bytes) in shortfall.of_streams {
            let chosen = self.chosen_bytes.get(&stream).copied().unwrap_or(0);
            if bytes > chosen {
                let amount = Amount::new(0, bytes - chosen);
                let of = Some(stream);
                return Some(Missing { of, amount });
            }
        }
        let amount = Amount::new(
            shortfall.of_all.records.saturating_sub(self.amount.records),
            shortfall.of_all.bytes.saturating_sub(self.amount.bytes),
        );
        (amount != Amount::default()).then_some(Missing { of: None, amount })
    }

    /// The stream with the oldest record, and the time after which another stream has an older one.
    async fn oldest_stream(
        &mut self,
        only: Option<&StreamName>,
    ) -> Result<Option<(StreamName, Option<SystemTime>)>, EngineError> {
        let is_meant = |stream: &&StreamName| only.is_none_or(|only| only == *stream);
        let unknown: BTreeSet<_> = self
            .after
            .keys()
            .filter(is_meant)
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
            .filter(is_meant)
            .filter_map(|stream| Some((self.known.0.get(stream)?.recorded_at, stream)))
            .collect();
        ages.sort_unstable();
        let Some(&(_, oldest)) = ages.first() else {
            return Ok(None);
        };
        let until = ages.get(1).map(|&(recorded_at, _)| recorded_at);
        Ok(Some((oldest.clone(), until)))
    }

    /// Chooses records of a stream while they are the oldest and room is missing.
    async fn choose(
        &mut self,
        stream: StreamName,
        until: Option<SystemTime>,
        missing: &Missing,
    ) -> Result<(), EngineError> {
        let records = self.read(&stream, reach(missing.amount)).await?;
        // The records may have changed since the last look at the stream.
        for record in records {
            let is_oldest = until.is_none_or(|until| record.recorded_at <= until);
            let is_wanted = self.missing().is_some_and(|still| still.of == missing.of);
            if !is_oldest || !is_wanted {
                self.note_oldest(&stream, Some(&record));
                return Ok(());
            }
            self.amount += Amount::new(1, record.size());
            *self.chosen_bytes.entry(stream.clone()).or_default() += record.size();
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

/// Roughly enough to read the missing amount.
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
