//! The cached records. [`Cache`] is the only caller of the store.
//!
//! Everything that enters or leaves goes through its methods:
//!
//! ```text
//! append, adopt  →  admission (room)  →  store  →  backlog (what waits)
//! read           →  store  →  expiry  →  in_flight (claimed)  →  Batch
//! settle         →  on_delivered, on_discard  →  store  →  admission
//! make_room      →  evict: oldest first, none that is in flight  →  on_discard  →  store
//! clear, close
//! ```
//!
//! Invariants:
//! - Room is reserved before the store is called, and given back only for what the store reports as
//!   deleted or refused.
//! - A batch is claimed before anyone else may choose records to drop, and only its claimant
//!   decides about it.
//! - A decision about records that were cleared has no effect.
//! - A panic in the store becomes an error of the call ([`store`]). A panic in `on_discard` or
//!   `on_delivered` is logged ([`discard`], [`delivered`]).
//!
//! Lock order: the turn of [`overflow`], then the choice of [`in_flight`], then `clears`, then
//! `appending`. The mutexes (room, claims, backlog, clocks, ages) are leaves: nothing is awaited or
//! locked under them, except that backlog and ages read the store's counters.
//!
//! In scope: what is kept, dropped and counted. Out of scope: when to send, and what an answer
//! means.

mod admission;
mod ages;
mod backlog;
mod batch;
mod delivered;
mod discard;
mod evict;
mod expiry;
mod in_flight;
mod incoming;
mod overflow;
mod room;
mod settle;
mod store;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use batcher::BatchLimits;
use record_cache::{Amount, Record, RecordStore, StoreError, StoreStats, StreamName};
use tokio::sync::RwLock;
use tokio_util::sync::CancellationToken;

use self::admission::Admission;
use self::ages::Ages;
use self::backlog::Backlog;
use self::expiry::Expiry;
use self::in_flight::InFlight;
use self::overflow::Line;
use self::store::{ContainedStore, Failure};
use crate::api::{
    CacheStats, ClearCacheData, DeliveredHandler, DiscardHandler, EngineError, EngineOptions,
    OverflowPolicy,
};
use crate::lifecycle::Lifecycle;
use crate::lifecycle::runtime::{Instant, wall_clock};
use crate::telemetry::Meter;

pub(crate) use self::backlog::Look;
pub(crate) use self::batch::Batch;
pub(crate) use self::incoming::Incoming;
pub(crate) use self::settle::Decision;

/// The engine's records, and everything that limits them.
pub(crate) struct Cache {
    store: ContainedStore,
    admission: Admission,
    in_flight: Arc<InFlight>,
    /// How often the cache was cleared. Locked for writing during a clear, and for reading while a
    /// batch is settled.
    clears: RwLock<u64>,
    /// Used only if streams have shares. Locked for reading during an append, and for writing
    /// during a clear.
    appending: RwLock<()>,
    expiry: Expiry,
    /// Ages of the oldest records.
    ages: Ages,
    max_bytes: u64,
    /// Backlog size and age. Only with adaptive flushing.
    backlog: Option<Backlog>,
    overflow: OverflowPolicy,
    line: Line,
    on_discard: Option<DiscardHandler>,
    on_delivered: Option<DeliveredHandler>,
    meter: Meter,
    lifecycle: Arc<Lifecycle>,
}

/// The result of adopting another instance's records.
#[cfg(any(feature = "sled", feature = "journal"))]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Adopted {
    Stored(Amount),
    /// There is no room for them now.
    NoRoom,
    /// A single record is larger than a limit, and waits until nothing else counts against it.
    TooLarge(crate::api::LimitExceeded),
}

impl Cache {
    pub(crate) fn new(
        store: Arc<dyn RecordStore>,
        request: BatchLimits,
        options: &EngineOptions,
        meter: Meter,
        lifecycle: Arc<Lifecycle>,
    ) -> Self {
        let store = ContainedStore::new(store);
        let stats = store.stats();
        Self {
            admission: Admission::new(options, &stats, meter.clone()),
            in_flight: Arc::default(),
            clears: RwLock::new(0),
            appending: RwLock::default(),
            expiry: Expiry::new(options.max_record_age),
            ages: Ages::new(&stats),
            max_bytes: options.cache_max_bytes.get(),
            backlog: Backlog::new(options.flush_strategy, request, &stats),
            overflow: options.overflow_policy,
            line: Line::default(),
            on_discard: options.on_discard.clone(),
            on_delivered: options.on_delivered.clone(),
            meter,
            lifecycle,
            store,
        }
    }

    /// Stores all records or none. Finishes even if the caller stops waiting.
    pub(crate) async fn append(self: &Arc<Self>, incoming: Incoming) -> Result<(), EngineError> {
        // A handler must not wait for anything that may wait for it.
        let overflow = match self.lifecycle.is_within_callback() {
            true => OverflowPolicy::Reject,
            false => self.overflow,
        };
        match overflow {
            OverflowPolicy::Reject => {
                let room = self.admission.reserve(&incoming);
                room.inspect_err(|_| self.meter.refused(&incoming.by_stream))?;
                self.append_admitted(incoming).await
            }
            OverflowPolicy::Wait { at_most } => match self.admission.reserve(&incoming) {
                Ok(()) => self.append_admitted(incoming).await,
                Err(full) if full.may_pass() => self.append_in_line(incoming, at_most).await,
                Err(never) => {
                    self.meter.refused(&incoming.by_stream);
                    Err(never.into())
                }
            },
            OverflowPolicy::DropOldest => {
                let cache = Arc::clone(self);
                let appended = async move {
                    let room = cache.make_room(&incoming).await;
                    let _storing = room.inspect_err(|error| cache.refused(error, &incoming))?;
                    cache.append_admitted(incoming).await
                };
                self.lifecycle.run_to_end(appended).await
            }
        }
    }

    /// Waits in line for room. A task does the waiting, so a caller that holds its future without
    /// polling it blocks no one else. If the caller drops the future, the task leaves the line.
    async fn append_in_line(
        self: &Arc<Self>,
        incoming: Incoming,
        at_most: Duration,
    ) -> Result<(), EngineError> {
        let in_line = self.join_line(&incoming);
        let in_line = in_line.inspect_err(|_| self.meter.refused(&incoming.by_stream))?;
        let left = CancellationToken::new();
        let _left_with_this_future = left.clone().drop_guard();
        let cache = Arc::clone(self);
        let appended = async move {
            match left.run_until_cancelled(in_line.room(at_most)).await {
                Some(room) => room.inspect_err(|error| cache.refused(error, &incoming))?,
                // The caller stopped waiting.
                None => return Ok(()),
            }
            cache.append_admitted(incoming).await
        };
        self.lifecycle.run_to_end(appended).await
    }

    /// Counts refused records, if there was no room for them.
    fn refused(&self, error: &EngineError, incoming: &Incoming) {
        if matches!(error, EngineError::LimitExceeded(_)) {
            self.meter.refused(&incoming.by_stream);
        }
    }

    /// The age of a record, by the system clock.
    pub(crate) fn age(&self, record: &Record) -> Duration {
        let age = wall_clock().duration_since(record.recorded_at);
        age.unwrap_or_default()
    }

    /// Stores another instance's records, if there is room and then `claim` succeeds.
    #[cfg(any(feature = "sled", feature = "journal"))]
    pub(crate) async fn adopt(
        &self,
        incoming: Incoming,
        claim: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<Adopted, StoreError> {
        let amount = incoming.amount;
        // Where the oldest make room, one that is over a limit would be dropped at once.
        let room = match self.overflow {
            OverflowPolicy::DropOldest => self.admission.reserve(&incoming),
            _ => self.admission.reserve_adopted(&incoming),
        };
        match room {
            Ok(()) => {}
            Err(never) if !never.may_pass() && amount.records == 1 => {
                return Ok(Adopted::TooLarge(never));
            }
            Err(_) => return Ok(Adopted::NoRoom),
        }
        if let Err(error) = claim() {
            self.admission.give_back(amount, &incoming.by_stream);
            return Err(error);
        }
        let times = incoming.records.iter().map(|record| record.recorded_at);
        let since = times.min().unwrap_or_else(wall_clock);
        self.store_admitted(incoming, since).await?;
        Ok(Adopted::Stored(amount))
    }

    async fn append_admitted(self: &Arc<Self>, incoming: Incoming) -> Result<(), EngineError> {
        let cache = Arc::clone(self);
        let append = async move {
            cache.expiry.recorded(&incoming.records);
            let stored = cache.store_admitted(incoming, wall_clock()).await;
            cache.meter.recorded(&stored.map_err(EngineError::storage)?);
            Ok(())
        };
        // With shares, a clear waits for the append, and everyone waits for a clear.
        match self.admission.bounds_streams() {
            true => self.lifecycle.begin(append).await,
            false => self.lifecycle.complete(append).await,
        }
    }

    /// Stores records whose room is reserved, and returns their amounts by stream. Gives the room
    /// back if they were not stored, but not if that is unknown.
    async fn store_admitted(
        &self,
        incoming: Incoming,
        since: SystemTime,
    ) -> Result<Vec<(StreamName, Amount)>, StoreError> {
        // A clear relies on each stream's amount, so it must not overlap with an append.
        let _appending = match self.admission.bounds_streams() {
            true => Some(self.appending.read().await),
            false => None,
        };
        match self.store.append(incoming.records).await {
            Ok(()) => {
                self.ages
                    .arrived(&incoming.by_stream, since, || self.stats());
                if let Some(backlog) = &self.backlog {
                    backlog.arrived(&incoming.by_stream);
                }
                Ok(incoming.by_stream)
            }
            Err(Failure::Refused(error)) => {
                self.admission
                    .give_back(incoming.amount, &incoming.by_stream);
                Err(error)
            }
            Err(panicked @ Failure::Panicked) => Err(panicked.into()),
        }
    }

    /// Deletes everything, including records in flight.
    pub(crate) async fn clear(&self) -> Result<ClearCacheData, EngineError> {
        let mut clears = self.clears.write().await;
        let _no_append = match self.admission.bounds_streams() {
            true => Some(self.appending.write().await),
            false => None,
        };
        let stored = self.stats();
        let removed = self.store.clear().await?;
        *clears += 1;
        self.ages.cleared();
        self.admission.release_all(removed, &stored);
        for stream in stored.streams.keys() {
            self.meter.oldest(stream, Duration::ZERO);
        }
        Ok(ClearCacheData::new(removed.records))
    }

    /// How often the cache has been cleared.
    pub(crate) async fn clears(&self) -> u64 {
        *self.clears.read().await
    }

    /// Cache contents, taken from counters.
    pub(crate) fn stats(&self) -> StoreStats {
        self.store.stats()
    }

    /// The same with limit and ages, for the public API.
    pub(crate) fn report(&self) -> CacheStats {
        self.ages.report(&self.stats(), self.max_bytes)
    }

    /// Which streams to flush now, with adaptive flushing.
    pub(crate) fn look_at_backlog(&self) -> Option<Look> {
        let backlog = self.backlog.as_ref()?;
        Some(backlog.look(|| self.stats()))
    }

    /// Waits for a change in the backlog, possibly forever.
    pub(crate) async fn backlog_changed(&self) {
        match &self.backlog {
            Some(backlog) => backlog.changed().await,
            None => std::future::pending().await,
        }
    }

    /// Whether a stream is due, not counting records in flight.
    pub(crate) fn is_due(&self, stream: &StreamName, under_way: Amount) -> bool {
        match &self.backlog {
            Some(backlog) => backlog.is_due(&self.stats(), stream, under_way),
            None => true,
        }
    }

    /// Sets when to retry a failed stream. `None` clears it.
    pub(crate) fn set_retry(&self, stream: &StreamName, at: Option<Instant>) {
        if let Some(backlog) = &self.backlog {
            backlog.set_retry(stream, at);
        }
    }

    /// Closes the store.
    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        self.store.close().await.map_err(|failure| match failure {
            Failure::Refused(error) => error,
            Failure::Panicked => {
                StoreError::unavailable_because("the store panicked while it closed")
            }
        })
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("store", &self.store)
            .field("admission", &self.admission)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use record_cache::{MemoryStore, NewRecord};
    use std::num::{NonZeroU64, NonZeroUsize};

    use super::*;
    use crate::lifecycle::runtime::Runtime;

    fn cache(max_record_age: Option<Duration>) -> Arc<Cache> {
        let mut options = EngineOptions::DEFAULT;
        options.max_record_age = max_record_age;
        let meter = Meter::new(&options);
        let lifecycle = Arc::new(Lifecycle::new(Runtime::with_timers().unwrap()));
        let request = BatchLimits::new(NonZeroUsize::MAX, NonZeroU64::MAX);
        let store = Arc::new(MemoryStore::new());
        Arc::new(Cache::new(store, request, &options, meter, lifecycle))
    }

    fn record() -> Incoming {
        let stream = StreamName::new("a").unwrap();
        Incoming::new(vec![NewRecord::new(stream, None, "x")])
    }

    #[tokio::test]
    async fn a_place_in_line_that_was_granted_and_is_dropped_gives_its_room_back() {
        let cache = cache(None);
        let max_bytes = EngineOptions::DEFAULT.cache_max_bytes.get();
        let whole = || {
            let data = vec![0; usize::try_from(max_bytes).unwrap()];
            let stream = StreamName::new("a").unwrap();
            Incoming::new(vec![NewRecord::new(stream, None, data)])
        };
        cache.append(whole()).await.unwrap();
        let in_line = cache.join_line(&whole()).unwrap();
        cache.clear().await.unwrap();
        assert!(cache.admission.reserve(&record()).is_err(), "not granted");
        drop(in_line);
        cache.append(whole()).await.unwrap();
    }

    #[cfg(any(feature = "sled", feature = "journal"))]
    #[tokio::test]
    async fn records_whose_slot_could_not_be_claimed_are_not_stored_and_give_their_room_back() {
        let cache = cache(None);
        let failed = StoreError::unavailable_because("told to");
        let adopted = cache.adopt(record(), || Err(failed)).await;
        assert!(adopted.is_err());
        assert_eq!(cache.stats().records(), 0);
        assert_eq!(cache.admission.held(), (0, 0));
    }

    #[tokio::test]
    async fn what_is_recorded_here_is_known_to_the_monotonic_clock_and_what_is_adopted_is_not() {
        let cache = cache(Some(Duration::from_secs(1)));
        assert!(!cache.expiry.knows(SystemTime::UNIX_EPOCH));
        let recorded = record();
        let at = recorded.records[0].recorded_at;
        cache.append(recorded).await.unwrap();
        assert!(cache.expiry.knows(at));
        #[cfg(any(feature = "sled", feature = "journal"))]
        {
            let mut adopted = record();
            let at = at + Duration::from_secs(60);
            adopted.records[0].recorded_at = at;
            cache.adopt(adopted, || Ok(())).await.unwrap();
            assert!(!cache.expiry.knows(at));
        }
    }
}
