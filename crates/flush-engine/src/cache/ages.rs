//! Recording time of each stream's oldest record, known without asking the store.
//!
//! Two facts are kept per stream: when records arrived here, in order, and which record was the
//! oldest at the last read. Records leave in order of arrival, except those that the service sends
//! back. The number of remaining records therefore gives the oldest by arrival. The oldest record
//! last read takes precedence for as long as it is cached.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use record_cache::{Amount, Record, RecordId, StoreStats, StreamName};

use crate::api::CacheStats;
use crate::lifecycle::runtime::wall_clock;

/// Marks per stream beyond this number are thinned out.
const MOST_MARKS: usize = 64;
/// Empty streams are pruned only when more streams than this are tracked.
const KEPT_STREAMS: usize = 1024;

#[derive(Debug)]
pub(super) struct Ages {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    streams: HashMap<StreamName, Stream>,
    /// Look for empty streams once there are more streams than this.
    prune_at: usize,
}

#[derive(Debug)]
struct Stream {
    /// Records that have arrived so far.
    arrived: u64,
    /// When they arrived. Each mark covers the records from its number on. Never empty.
    marks: VecDeque<(u64, SystemTime)>,
    /// The oldest record at the last read, and when it was recorded.
    head: Option<(RecordId, SystemTime)>,
}

impl Ages {
    /// All that is known of records already cached: they are at least this old.
    pub(super) fn new(cached: &StoreStats) -> Self {
        let now = wall_clock();
        let streams = cached.streams.iter().map(|(name, queue)| {
            let stream = Stream {
                arrived: queue.records as u64,
                marks: [(0, now)].into(),
                head: None,
            };
            (name.clone(), stream)
        });
        Self {
            state: Mutex::new(State {
                streams: streams.collect(),
                prune_at: KEPT_STREAMS,
            }),
        }
    }

    /// Notes stored records, the oldest of them recorded at `since`.
    pub(super) fn arrived(
        &self,
        by_stream: &[(StreamName, Amount)],
        since: SystemTime,
        stats: impl FnOnce() -> StoreStats,
    ) {
        let mut state = self.state();
        for (name, amount) in by_stream {
            match state.streams.get_mut(name) {
                Some(stream) => stream.note(amount.records, since),
                None => {
                    let stream = Stream {
                        arrived: amount.records as u64,
                        marks: [(0, since)].into(),
                        head: None,
                    };
                    state.streams.insert(name.clone(), stream);
                }
            }
        }
        if state.streams.len() > state.prune_at {
            let stats = stats();
            state
                .streams
                .retain(|name, _| stats.streams.contains_key(name));
            state.prune_at = KEPT_STREAMS.max(2 * state.streams.len());
        }
    }

    /// Notes the oldest record of a stream.
    pub(super) fn seen(&self, name: &StreamName, oldest: &Record) {
        if let Some(stream) = self.state().streams.get_mut(name) {
            stream.head = Some((oldest.id, oldest.recorded_at));
        }
    }

    /// The oldest known record of a stream, if it is one of these.
    pub(super) fn head_among(&self, name: &StreamName, ids: &[RecordId]) -> Option<RecordId> {
        let (id, _) = self.state().streams.get(name)?.head?;
        ids.contains(&id).then_some(id)
    }

    /// Notes that the oldest known record was deleted. `kept` is a record read with it that stays.
    pub(super) fn gone(
        &self,
        name: &StreamName,
        head: Option<RecordId>,
        kept: Option<(RecordId, SystemTime)>,
    ) {
        if let Some(stream) = self.state().streams.get_mut(name)
            && head.is_some()
            && stream.head.map(|(id, _)| id) == head
        {
            stream.head = kept;
        }
    }

    /// Notes that the cache is empty.
    pub(super) fn cleared(&self) {
        for stream in self.state().streams.values_mut() {
            stream.head = None;
        }
    }

    /// Adds the cache limit and the ages of records to the store's counts.
    pub(super) fn report(&self, stats: &StoreStats, max_bytes: u64) -> CacheStats {
        let state = self.state();
        let oldest = |name: &StreamName, held: usize| {
            let stream = state.streams.get(name)?;
            stream.oldest(held as u64)
        };
        CacheStats::new(stats, max_bytes, oldest)
    }

    // Nothing that can panic runs under the lock, so the state is intact even if the lock is
    // poisoned.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    fn note(&mut self, records: usize, since: SystemTime) {
        let first = self.arrived;
        self.arrived += records as u64;
        let is_new = self.marks.back().is_none_or(|(_, last)| *last != since);
        if is_new {
            self.marks.push_back((first, since));
        }
        if self.marks.len() > MOST_MARKS {
            // Each mark kept also covers the records of the mark dropped after it. Those records
            // count as older.
            let mut is_kept = false;
            self.marks.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
        }
    }

    /// When the oldest record was recorded, given the number of records.
    fn oldest(&self, held: u64) -> Option<SystemTime> {
        if let Some((_, since)) = self.head {
            return Some(since);
        }
        let number = self.arrived.saturating_sub(held);
        let behind = self.marks.partition_point(|(first, _)| *first <= number);
        let marks = self.marks.range(behind.saturating_sub(1)..);
        // Adopted records may be older than records ahead of them.
        marks.map(|(_, since)| *since).min()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use bytes::Bytes;
    use record_cache::QueueStats;

    use super::*;

    fn name() -> StreamName {
        StreamName::new("a").unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn stats(records: usize) -> StoreStats {
        let queue = QueueStats::new(records, records as u64);
        let streams = (records > 0).then(|| (name(), queue));
        StoreStats::new(streams.into_iter().collect::<BTreeMap<_, _>>(), 0)
    }

    fn arrive(ages: &Ages, records: usize, since: SystemTime) {
        let amount = Amount::new(records, records as u64);
        ages.arrived(&[(name(), amount)], since, StoreStats::default);
    }

    /// When the oldest record was recorded, given the number of records.
    fn oldest(ages: &Ages, held: usize) -> Option<SystemTime> {
        let report = ages.report(&stats(held), 100);
        let of_stream = report.streams.first();
        let of_stream = of_stream.and_then(|of| of.oldest_recorded_at);
        assert_eq!(report.oldest_recorded_at, of_stream);
        of_stream
    }

    #[test]
    fn what_has_left_no_longer_counts() {
        let ages = Ages::new(&StoreStats::default());
        assert_eq!(oldest(&ages, 0), None);
        arrive(&ages, 2, at(10));
        arrive(&ages, 1, at(20));
        assert_eq!(oldest(&ages, 3), Some(at(10)));
        assert_eq!(oldest(&ages, 2), Some(at(10)));
        assert_eq!(oldest(&ages, 1), Some(at(20)));
        assert_eq!(oldest(&ages, 0), None);
        // Adopted records may be older than records ahead of them.
        arrive(&ages, 1, at(5));
        assert_eq!(oldest(&ages, 2), Some(at(5)));
    }

    #[test]
    fn a_record_that_was_looked_at_counts_until_it_is_gone() {
        let begun = wall_clock();
        let ages = Ages::new(&stats(3));
        assert!(oldest(&ages, 3) >= Some(begun), "no younger than the start");
        let id = RecordId::new(7);
        let record = Record::new(id, None, Bytes::new(), 0, at(100));
        ages.seen(&name(), &record);
        assert_eq!(oldest(&ages, 3), Some(at(100)));
        assert_eq!(ages.head_among(&name(), &[RecordId::new(8)]), None);
        ages.gone(&name(), None, None);
        assert_eq!(oldest(&ages, 2), Some(at(100)));
        assert_eq!(ages.head_among(&name(), &[id]), Some(id));
        ages.gone(&name(), Some(id), Some((RecordId::new(9), at(150))));
        assert_eq!(oldest(&ages, 1), Some(at(150)));
        ages.cleared();
        arrive(&ages, 1, at(200));
        assert_eq!(oldest(&ages, 1), Some(at(200)));
    }

    #[test]
    fn marks_are_bounded_and_only_ever_make_a_record_older() {
        let ages = Ages::new(&StoreStats::default());
        for second in 0..10_000 {
            arrive(&ages, 1, at(second));
        }
        assert_eq!(oldest(&ages, 10_000), Some(at(0)));
        for held in [9_000, 5_000, 100, 1] {
            assert!(
                oldest(&ages, held) <= Some(at(10_000 - held as u64)),
                "{held}"
            );
        }
        let state = ages.state();
        assert!(state.streams[&name()].marks.len() <= MOST_MARKS);
    }

    #[test]
    fn streams_of_which_nothing_is_cached_are_forgotten() {
        let ages = Ages::new(&StoreStats::default());
        for n in 0..10 * KEPT_STREAMS {
            let name = StreamName::new(format!("stream-{n}")).unwrap();
            ages.arrived(&[(name, Amount::new(1, 1))], at(0), || stats(1));
        }
        assert!(ages.state().streams.len() <= KEPT_STREAMS + 1);
    }
}
