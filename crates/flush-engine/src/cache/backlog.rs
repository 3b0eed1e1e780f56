//! Backlog size and age per stream: the input of adaptive flushing.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use batcher::BatchLimits;
use record_cache::{Amount, QueueStats, StoreStats, StreamName};
use tokio::sync::Notify;

use crate::api::FlushStrategy;
use crate::lifecycle::runtime::Instant;

/// Ages are accurate to this fraction of the longest delay.
const GRAINS: u32 = 64;

/// Watches new records and wakes the delivery when there is something to do.
///
/// The store knows how much is cached; this adds arrival times. Records leave in order of arrival,
/// except those that a service rejects, which follow other rules.
#[derive(Debug)]
pub(super) struct Backlog {
    max_delay: Duration,
    /// A stream with this many records or bytes is flushed.
    full: Amount,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    streams: HashMap<StreamName, Stream>,
    /// When the delivery next looks without being woken.
    next_look: Option<Instant>,
    /// Failed streams, and when to retry each.
    failed: HashMap<StreamName, Instant>,
}

#[derive(Debug)]
struct Stream {
    /// Records that have arrived so far.
    arrived: u64,
    /// When they arrived, oldest first. The first mark is that of the oldest cached record.
    marks: VecDeque<Mark>,
    /// How much more must arrive to fill a batch, if nothing leaves the stream.
    room: Amount,
}

/// Records from `first` on arrived at this time, or before the engine started.
#[derive(Debug, Clone, Copy)]
struct Mark {
    first: u64,
    at: Option<Instant>,
}

/// What to flush now, and when to look again.
#[derive(Debug, Default)]
pub(crate) struct Look {
    pub(crate) due: Vec<StreamName>,
    pub(crate) next: Option<Instant>,
}

impl Backlog {
    /// `None` unless the strategy is adaptive. Records already cached count as old.
    pub(super) fn new(
        strategy: FlushStrategy,
        request: BatchLimits,
        cached: &StoreStats,
    ) -> Option<Self> {
        let FlushStrategy::Adaptive {
            max_delay,
            max_records,
            max_bytes,
        } = strategy
        else {
            return None;
        };
        let full = Amount::new(
            max_records.clamp(1, request.max_items.get()),
            max_bytes.clamp(1, request.max_bytes.get()),
        );
        Some(Self::with(max_delay, full, cached))
    }

    fn with(max_delay: Duration, full: Amount, cached: &StoreStats) -> Self {
        let streams = cached.streams.iter().map(|(name, queue)| {
            let stream = Stream::new(queue.records as u64, None);
            (name.clone(), stream)
        });
        Self {
            max_delay,
            full,
            state: Mutex::new(State {
                streams: streams.collect(),
                ..State::default()
            }),
            wake: Notify::new(),
        }
    }

    /// Waits until there is something to look at.
    pub(super) async fn changed(&self) {
        self.wake.notified().await;
    }

    /// Notes stored records.
    pub(super) fn arrived(&self, by_stream: &[(StreamName, Amount)]) {
        let now = Instant::now();
        let mut state = self.state();
        let mut wakes = false;
        for (name, amount) in by_stream {
            wakes |= state.note(name, *amount, now, self);
        }
        drop(state);
        if wakes {
            self.wake.notify_one();
        }
    }

    /// Looks at all streams. Calls `stats` under the lock, so no arrival is missed.
    pub(super) fn look(&self, stats: impl FnOnce() -> StoreStats) -> Look {
        let now = Instant::now();
        let mut state = self.state();
        let stats = stats();
        let State {
            streams,
            next_look,
            failed,
        } = &mut *state;
        streams.retain(|name, _| stats.streams.contains_key(name));
        failed.retain(|name, _| stats.streams.contains_key(name));
        let mut look = Look::default();
        for (name, queue) in stats.streams {
            let stream = streams
                .entry(name.clone())
                .or_insert_with(|| Stream::new(queue.records as u64, Some(now)));
            stream.room = self.room(queue);
            let due_at = self.due_at(stream, queue, now);
            match failed.get(&name).copied().or(due_at) {
                Some(at) if at <= now => look.due.push(name),
                Some(at) => look.next = Some(look.next.map_or(at, |next| next.min(at))),
                None => {}
            }
        }
        *next_look = look.next;
        look
    }

    /// Whether a stream is due, not counting records in flight.
    pub(super) fn is_due(&self, stats: &StoreStats, name: &StreamName, under_way: Amount) -> bool {
        let Some(queue) = stats.streams.get(name) else {
            return false;
        };
        let waiting = QueueStats::new(
            queue.records.saturating_sub(under_way.records),
            queue.bytes.saturating_sub(under_way.bytes),
        );
        if waiting.records == 0 {
            return false;
        }
        let mut state = self.state();
        let Some(stream) = state.streams.get_mut(name) else {
            return false;
        };
        let now = Instant::now();
        self.due_at(stream, waiting, now)
            .is_some_and(|at| at <= now)
    }

    /// Sets when to retry a failed stream. `None` clears it.
    pub(super) fn set_retry(&self, stream: &StreamName, at: Option<Instant>) {
        let mut state = self.state();
        match at {
            Some(at) => drop(state.failed.insert(stream.clone(), at)),
            None => drop(state.failed.remove(stream)),
        }
    }

    /// When to flush a stream with this much waiting: `now`, later or never.
    fn due_at(&self, stream: &mut Stream, waiting: QueueStats, now: Instant) -> Option<Instant> {
        let is_full = waiting.records >= self.full.records || waiting.bytes >= self.full.bytes;
        match stream.oldest_of(waiting.records as u64) {
            Some(at) if !is_full => at.checked_add(self.max_delay),
            _ => Some(now),
        }
    }

    fn room(&self, queue: QueueStats) -> Amount {
        Amount::new(
            self.full.records.saturating_sub(queue.records),
            self.full.bytes.saturating_sub(queue.bytes),
        )
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns whether the delivery must be woken.
    fn note(&mut self, name: &StreamName, new: Amount, now: Instant, rules: &Backlog) -> bool {
        if !self.streams.contains_key(name) {
            let mut stream = Stream::new(0, Some(now));
            stream.room = rules.full;
            self.streams.insert(name.clone(), stream);
        }
        let Some(stream) = self.streams.get_mut(name) else {
            return false;
        };
        let was_full = stream.room.records == 0 || stream.room.bytes == 0;
        stream.mark(now, rules.max_delay / GRAINS);
        stream.arrived += new.records as u64;
        stream.room.records = stream.room.records.saturating_sub(new.records);
        stream.room.bytes = stream.room.bytes.saturating_sub(new.bytes);
        let is_full = stream.room.records == 0 || stream.room.bytes == 0;
        let due = now.checked_add(rules.max_delay);
        let too_late = due.is_some_and(|due| self.next_look.is_none_or(|at| at > due));
        if too_late {
            self.next_look = due;
        }
        (is_full && !was_full) || too_late
    }
}

impl Stream {
    fn new(cached: u64, at: Option<Instant>) -> Self {
        Self {
            arrived: cached,
            marks: VecDeque::from([Mark { first: 0, at }]),
            room: Amount::default(),
        }
    }

    fn mark(&mut self, now: Instant, grain: Duration) {
        let is_new = self.marks.back().is_none_or(|last| {
            last.at
                .is_none_or(|at| now.saturating_duration_since(at) > grain)
        });
        if is_new {
            let first = self.arrived;
            self.marks.push_back(Mark {
                first,
                at: Some(now),
            });
        }
    }

    /// When the oldest of the newest `waiting` records arrived.
    fn oldest_of(&mut self, waiting: u64) -> Option<Instant> {
        let oldest = self.arrived.saturating_sub(waiting);
        while self.marks.get(1).is_some_and(|mark| mark.first <= oldest) {
            self.marks.pop_front();
        }
        self.marks.front().and_then(|mark| mark.at)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn name(name: &str) -> StreamName {
        StreamName::new(name).unwrap()
    }

    fn cached(streams: &[(&str, usize)]) -> StoreStats {
        let streams = streams
            .iter()
            .map(|(stream, records)| (name(stream), QueueStats::new(*records, *records as u64)));
        StoreStats::new(streams.collect::<BTreeMap<_, _>>(), 0)
    }

    fn backlog(max_records: usize, found: &[(&str, usize)]) -> Backlog {
        Backlog::with(64 * SECOND, Amount::new(max_records, 1000), &cached(found))
    }

    fn note(backlog: &Backlog, stream: &str, records: usize) {
        backlog.arrived(&[(name(stream), Amount::new(records, records as u64))]);
    }

    fn due(backlog: &Backlog, streams: &[(&str, usize)]) -> Vec<String> {
        let look = backlog.look(|| cached(streams));
        look.due.iter().map(ToString::to_string).collect()
    }

    /// Whether a wake-up is pending. Consumes it.
    async fn is_woken(backlog: &Backlog) -> bool {
        tokio::time::timeout(Duration::ZERO, backlog.changed())
            .await
            .is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_there_before_is_old() {
        assert_eq!(due(&backlog(10, &[("a", 1)]), &[("a", 1)]), ["a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_due_when_it_is_full_or_its_oldest_record_is_old() {
        let backlog = backlog(10, &[]);
        note(&backlog, "a", 9);
        note(&backlog, "b", 10);
        assert_eq!(due(&backlog, &[("a", 9), ("b", 10)]), ["b"]);
        tokio::time::sleep(63 * SECOND).await;
        assert_eq!(due(&backlog, &[("a", 9)]), [""; 0]);
        tokio::time::sleep(SECOND).await;
        assert_eq!(due(&backlog, &[("a", 9)]), ["a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_stays_behind_is_as_old_as_it_is() {
        let backlog = backlog(100, &[]);
        note(&backlog, "a", 5);
        tokio::time::sleep(40 * SECOND).await;
        note(&backlog, "a", 3);
        tokio::time::sleep(24 * SECOND).await;
        assert_eq!(due(&backlog, &[("a", 8)]), ["a"]);
        // The first five were delivered.
        assert_eq!(due(&backlog, &[("a", 3)]), [""; 0]);
        tokio::time::sleep(40 * SECOND).await;
        assert_eq!(due(&backlog, &[("a", 3)]), ["a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_does_not_wait() {
        let backlog = backlog(10, &[]);
        note(&backlog, "a", 15);
        let stats = cached(&[("a", 15)]);
        assert!(backlog.is_due(&stats, &name("a"), Amount::new(5, 5)));
        assert!(!backlog.is_due(&stats, &name("a"), Amount::new(6, 6)));
        tokio::time::sleep(64 * SECOND).await;
        assert!(backlog.is_due(&stats, &name("a"), Amount::new(14, 14)));
        assert!(!backlog.is_due(&stats, &name("a"), Amount::new(15, 15)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_record_and_the_one_that_fills_a_batch_wake_and_no_other() {
        let backlog = backlog(10, &[]);
        assert!(!is_woken(&backlog).await);
        for nth in 1..=20 {
            note(&backlog, "a", 1);
            assert_eq!(is_woken(&backlog).await, nth == 1 || nth == 10, "{nth}");
        }
        // A delivery that is about to look anyway is not woken for another stream.
        note(&backlog, "b", 1);
        assert!(!is_woken(&backlog).await);
        // After a look, the missing amount counts from there.
        backlog.look(|| cached(&[("a", 7), ("b", 1)]));
        note(&backlog, "a", 2);
        assert!(!is_woken(&backlog).await);
        note(&backlog, "a", 1);
        assert!(is_woken(&backlog).await);
    }

    #[tokio::test(start_paused = true)]
    async fn marks_stay_few_however_many_records_there_are() {
        let backlog = backlog(usize::MAX, &[]);
        for _ in 0..10_000 {
            note(&backlog, "a", 1);
            tokio::time::advance(Duration::from_millis(6)).await;
        }
        let marks = backlog.state().streams[&name("a")].marks.len();
        assert!(marks <= 65, "{marks}");
    }
}
