//! Dropping the oldest records to make room.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::{NonZeroU64, NonZeroUsize};
use std::time::SystemTime;

use record_cache::{Amount, ReadLimits, Record, RecordId, StreamName};

use crate::EngineError;
use crate::cache::discard::{DiscardReason, give_up};
use crate::lifecycle::inner::Inner;
use crate::telemetry::log;

/// The oldest record of each stream that nobody has claimed, as far as it is known. Saves
/// reading the heads of all streams each time.
#[derive(Debug, Default)]
pub(crate) struct Heads(HashMap<StreamName, Head>);

#[derive(Debug, Clone, Copy)]
struct Head {
    /// The claim behind which it was read.
    claimed: Option<RecordId>,
    recorded_at: SystemTime,
}

/// Drops as many of the oldest records as take the room that is lacking for `needed`, or
/// none if they would not suffice. Tells whether there may be room now.
pub(crate) async fn make_room(
    inner: &Inner,
    heads: &mut Heads,
    needed: Amount,
) -> Result<bool, EngineError> {
    let _choosing = inner.claims.choosing().await;
    // Whoever clears waits, so that no record counts as cleared and as dropped.
    let _clears = inner.clears.read().await;
    let mut choice = Choice::new(inner, heads, needed);
    if !choice.suffices().await? {
        return Ok(false);
    }
    for (stream, records) in choice.chosen {
        if let Err(error) = drop_records(inner, &stream, records).await {
            // What was to be dropped is the head again.
            heads.0.clear();
            return Err(error);
        }
    }
    Ok(true)
}

async fn drop_records(
    inner: &Inner,
    stream: &StreamName,
    records: Vec<Record>,
) -> Result<(), EngineError> {
    let size = give_up(inner, stream, records, DiscardReason::Overflow).await?;
    tracing::warn!(
        target: log::TARGET,
        stream = %stream,
        records = size.records,
        bytes = size.bytes,
        "the cache is full: the oldest records were dropped"
    );
    Ok(())
}

/// Records that are to be dropped, oldest first among all streams.
struct Choice<'a> {
    inner: &'a Inner,
    heads: &'a mut Heads,
    needed: Amount,
    /// The last record that is claimed, by stream.
    claimed: BTreeMap<StreamName, Option<RecordId>>,
    /// The streams that may have more records, with the last one that is not to be looked at.
    after: BTreeMap<StreamName, Option<RecordId>>,
    chosen: BTreeMap<StreamName, Vec<Record>>,
    size: Amount,
}

impl<'a> Choice<'a> {
    fn new(inner: &'a Inner, heads: &'a mut Heads, needed: Amount) -> Self {
        let streams = inner.store.stats().streams.into_keys();
        let claimed: BTreeMap<_, _> = streams
            .map(|stream| {
                let claimed = inner.claims.last(&stream);
                (stream, claimed)
            })
            .collect();
        heads
            .0
            .retain(|stream, head| claimed.get(stream) == Some(&head.claimed));
        Self {
            inner,
            heads,
            needed,
            after: claimed.clone(),
            claimed,
            chosen: BTreeMap::new(),
            size: Amount::default(),
        }
    }

    /// Chooses until there would be room.
    async fn suffices(&mut self) -> Result<bool, EngineError> {
        while self.lacking() != Amount::default() {
            let Some((stream, until)) = self.oldest_stream().await? else {
                return Ok(false);
            };
            self.choose(stream, until).await?;
        }
        Ok(true)
    }

    /// What is lacking still. What a store drops as damaged makes room too.
    fn lacking(&self) -> Amount {
        let lacking = self.inner.admission.lacking(self.needed);
        Amount::new(
            lacking.records.saturating_sub(self.size.records),
            lacking.bytes.saturating_sub(self.size.bytes),
        )
    }

    /// The stream with the oldest record, and from when on those of another are older.
    async fn oldest_stream(
        &mut self,
    ) -> Result<Option<(StreamName, Option<SystemTime>)>, EngineError> {
        let unknown: BTreeSet<_> = self
            .after
            .keys()
            .filter(|stream| !self.heads.0.contains_key(*stream))
            .cloned()
            .collect();
        for stream in unknown {
            let head = self.read(&stream, ONE).await?;
            self.note_head(&stream, head.first());
        }
        let mut ages: Vec<_> = self
            .after
            .keys()
            .filter_map(|stream| Some((self.heads.0.get(stream)?.recorded_at, stream)))
            .collect();
        ages.sort_unstable();
        let Some(&(_, oldest)) = ages.first() else {
            return Ok(None);
        };
        let until = ages.get(1).map(|&(recorded_at, _)| recorded_at);
        Ok(Some((oldest.clone(), until)))
    }

    /// Chooses records of a stream as long as they are the oldest and some are lacking.
    async fn choose(
        &mut self,
        stream: StreamName,
        until: Option<SystemTime>,
    ) -> Result<(), EngineError> {
        let records = self.read(&stream, reach(self.lacking())).await?;
        // Perhaps not those that were there when the stream was looked at.
        for record in records {
            let is_oldest = until.is_none_or(|until| record.recorded_at <= until);
            if !is_oldest || self.lacking() == Amount::default() {
                self.note_head(&stream, Some(&record));
                return Ok(());
            }
            self.size += Amount::new(1, record.size());
            self.after.insert(stream.clone(), Some(record.id));
            self.chosen.entry(stream.clone()).or_default().push(record);
        }
        self.heads.0.remove(&stream);
        Ok(())
    }

    /// Notes what a stream begins with, or that nothing of it is left to choose.
    fn note_head(&mut self, stream: &StreamName, head: Option<&Record>) {
        let Some(record) = head else {
            self.heads.0.remove(stream);
            self.after.remove(stream);
            return;
        };
        let head = Head {
            claimed: self.claimed.get(stream).copied().flatten(),
            recorded_at: record.recorded_at,
        };
        self.heads.0.insert(stream.clone(), head);
    }

    async fn read(
        &self,
        stream: &StreamName,
        limits: ReadLimits,
    ) -> Result<Vec<Record>, EngineError> {
        let after = self.after.get(stream).copied().flatten();
        let read = self.inner.store.oldest(stream, after, limits).await;
        let read = read.map_err(EngineError::storage)?;
        self.inner.admission.release(read.damaged);
        log::damage(stream, read.damaged);
        Ok(read.records)
    }
}

const ONE: ReadLimits = ReadLimits::new(NonZeroUsize::MIN, NonZeroU64::MIN);

/// About as many records as are lacking.
fn reach(lacking: Amount) -> ReadLimits {
    const STEP_RECORDS: usize = 500;
    const STEP_BYTES: u64 = 64 * 1024;
    let (records, bytes) = match lacking {
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
