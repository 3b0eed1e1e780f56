//! The bound on what is cached, kept exactly while many tasks record at once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use record_cache::{Amount, QueueStats, StoreStats, StreamName};
use tokio::sync::oneshot;

use crate::api::{EngineOptions, LimitExceeded};
use crate::cache::incoming::Incoming;
use crate::telemetry::Meter;

/// A cache holds at most one record for this many of its bytes, so that small and empty
/// records are bounded too.
const BYTES_PER_RECORD: u64 = 16;

/// Counts what the store holds and what is about to be stored.
#[derive(Debug)]
pub(super) struct Admission {
    meter: Meter,
    max: Load,
    /// Bytes that one stream may take.
    max_share: Option<u64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: Load,
    /// Bytes of each stream; empty unless a stream's share is bounded.
    by_stream: HashMap<StreamName, u64>,
    /// Those who wait for room, in order.
    waiting: VecDeque<Waiting>,
    last_place: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Load {
    bytes: u64,
    records: u64,
}

/// Room that is needed.
#[derive(Debug, Clone)]
struct Needed {
    all: Load,
    by_stream: Vec<(StreamName, Amount)>,
}

#[derive(Debug)]
struct Waiting {
    place: u64,
    needed: Needed,
    granted: oneshot::Sender<()>,
}

/// A place in the line for room. Room that is granted to it is taken until it is released.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    needed: Needed,
    granted: oneshot::Receiver<()>,
}

/// What has to leave for something to fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shortfall {
    /// Records of any stream.
    Cache(Amount),
    /// Bytes of this stream, which has its share.
    Stream(StreamName, u64),
}

impl Admission {
    pub(super) fn new(options: &EngineOptions, stats: &StoreStats, meter: Meter) -> Self {
        let held = Load {
            bytes: stats.bytes(),
            records: stats.records() as u64,
        };
        let max_bytes = options.cache_max_bytes.get();
        let mut state = State {
            held,
            ..State::default()
        };
        if options.max_stream_share.is_some() {
            let bytes = |(name, queue): (&StreamName, &QueueStats)| (name.clone(), queue.bytes);
            state.by_stream = stats.streams.iter().map(bytes).collect();
        }
        meter.cached(held.records, held.bytes);
        meter.limit(max_bytes);
        Self {
            meter,
            max: Load {
                bytes: max_bytes,
                records: max_bytes / BYTES_PER_RECORD,
            },
            max_share: options.max_stream_share,
            state: Mutex::new(state),
        }
    }

    /// Whether the share of a stream is bounded.
    pub(super) const fn bounds_streams(&self) -> bool {
        self.max_share.is_some()
    }

    /// Takes room for records, or none. If they turn out not to be stored it is to be
    /// [given back](Self::give_back); if that can never be known, the room stays taken, so
    /// that the bound holds. Refused while others wait in line.
    pub(super) fn reserve(&self, incoming: &Incoming) -> Result<(), LimitExceeded> {
        let all = Load::from(incoming.amount);
        self.check_ever_fits(all, &incoming.by_stream)?;
        let mut state = self.state();
        if !state.waiting.is_empty() {
            return Err(self.full(&state, all));
        }
        self.check_fits(&state, all, &incoming.by_stream)?;
        self.take(&mut state, all, &incoming.by_stream);
        Ok(())
    }

    /// Joins the line for room.
    pub(super) fn join(&self, incoming: &Incoming) -> Result<Place, LimitExceeded> {
        let needed = Needed {
            all: Load::from(incoming.amount),
            by_stream: incoming.by_stream.clone(),
        };
        self.check_ever_fits(needed.all, &needed.by_stream)?;
        let (granted, grant) = oneshot::channel();
        let mut state = self.state();
        state.last_place += 1;
        let number = state.last_place;
        state.waiting.push_back(Waiting {
            place: number,
            needed: needed.clone(),
            granted,
        });
        self.serve(state);
        Ok(Place {
            number,
            needed,
            granted: grant,
        })
    }

    /// Leaves the line. Without room, tells what is in the way.
    pub(super) fn leave(&self, place: &Place) -> Result<(), LimitExceeded> {
        let mut state = self.state();
        let waiting = state.waiting.iter().position(|w| w.place == place.number);
        let Some(at) = waiting else {
            return Ok(());
        };
        state.waiting.remove(at);
        let Needed { all, by_stream } = &place.needed;
        let refused = self.check_fits(&state, *all, by_stream);
        let refused = refused.err().unwrap_or_else(|| self.full(&state, *all));
        // Those behind may fit.
        self.serve(state);
        Err(refused)
    }

    /// Gives back the room of a place, which it was granted.
    pub(super) fn abandon(&self, place: &Place) {
        let Needed { all, by_stream } = &place.needed;
        self.put_back(*all, by_stream);
    }

    /// Gives back the room of records that were not stored.
    pub(super) fn give_back(&self, amount: Amount, by_stream: &[(StreamName, Amount)]) {
        self.put_back(Load::from(amount), by_stream);
    }

    /// Gives back the room of records of one stream that have left the cache.
    pub(super) fn release(&self, stream: &StreamName, removed: Amount) {
        if removed != Amount::default() {
            self.put_back(Load::from(removed), &[(stream.clone(), removed)]);
        }
    }

    /// Gives back the room of all records that were stored. `stored` is what each stream had.
    pub(super) fn release_all(&self, removed: Amount, stored: &StoreStats) {
        let by_stream: Vec<_> = stored
            .streams
            .iter()
            .map(|(name, queue)| (name.clone(), Amount::new(queue.records, queue.bytes)))
            .collect();
        self.put_back(Load::from(removed), &by_stream);
    }

    /// What has to leave for records to fit. Where the cache holds more than it may (the limit
    /// was lowered), a step on the way there.
    pub(super) fn shortfall(&self, incoming: &Incoming) -> Shortfall {
        const STEP: Load = Load {
            bytes: 1024 * 1024,
            records: 1024,
        };
        let needed = Load::from(incoming.amount);
        let state = self.state();
        if let Some((stream, over)) = self.over_share(&state, &incoming.by_stream) {
            return Shortfall::Stream(stream.clone(), over);
        }
        let held = state.held;
        let shortfall = |held: u64, needed: u64, max: u64, step: u64| {
            let excess = held.saturating_sub(max);
            let all = held.saturating_add(needed).saturating_sub(max);
            if excess > 0 { excess.min(step) } else { all }
        };
        let records = shortfall(held.records, needed.records, self.max.records, STEP.records);
        Shortfall::Cache(Amount::new(
            records.try_into().unwrap_or(usize::MAX),
            shortfall(held.bytes, needed.bytes, self.max.bytes, STEP.bytes),
        ))
    }

    /// Grants room to those in line, in order. One whose stream has its share holds up only
    /// those of the same stream; one that the cache has no room for holds up all behind it.
    fn serve(&self, mut state: MutexGuard<'_, State>) {
        let mut held_up: HashSet<StreamName> = HashSet::new();
        let mut granted = Vec::new();
        let mut at = 0;
        while let Some(next) = state.waiting.get(at) {
            let Needed { all, by_stream } = &next.needed;
            let is_held_up = by_stream.iter().any(|(name, _)| held_up.contains(name));
            let fits = self.check_fits(&state, *all, by_stream);
            match fits {
                Ok(()) if !is_held_up => {
                    if let Some(next) = state.waiting.remove(at) {
                        self.take(&mut state, next.needed.all, &next.needed.by_stream);
                        granted.push(next.granted);
                    }
                    continue;
                }
                Err(LimitExceeded::Full { .. }) if !is_held_up => break,
                _ => held_up.extend(by_stream.iter().map(|(name, _)| name.clone())),
            }
            at += 1;
        }
        drop(state);
        for granted in granted {
            // Where the receiver is gone, the place gives its room back.
            let _ = granted.send(());
        }
    }

    fn check_ever_fits(
        &self,
        needed: Load,
        by_stream: &[(StreamName, Amount)],
    ) -> Result<(), LimitExceeded> {
        if !needed.fits_beside(Load::default(), self.max) {
            return Err(LimitExceeded::NeverFits {
                needed: needed.bytes,
                needed_records: needed.records,
                max_bytes: self.max.bytes,
                max_records: self.max.records,
            });
        }
        let Some(max_share) = self.max_share else {
            return Ok(());
        };
        match by_stream.iter().find(|(_, new)| new.bytes > max_share) {
            None => Ok(()),
            Some((stream, new)) => Err(LimitExceeded::StreamNeverFits {
                stream_name: stream.as_str().to_owned(),
                needed: new.bytes,
                max_stream_share: max_share,
            }),
        }
    }

    fn check_fits(
        &self,
        state: &State,
        needed: Load,
        by_stream: &[(StreamName, Amount)],
    ) -> Result<(), LimitExceeded> {
        if let Some((stream, _)) = self.over_share(state, by_stream) {
            let new = by_stream.iter().find(|(name, _)| name == stream);
            return Err(LimitExceeded::StreamFull {
                stream_name: stream.as_str().to_owned(),
                needed: new.map_or(0, |(_, new)| new.bytes),
                held: state.held_of(stream),
                max_stream_share: self.max_share.unwrap_or(u64::MAX),
            });
        }
        if needed.fits_beside(state.held, self.max) {
            Ok(())
        } else {
            Err(self.full(state, needed))
        }
    }

    /// A stream that would have more than its share, and how many bytes more.
    fn over_share<'a>(
        &self,
        state: &State,
        by_stream: &'a [(StreamName, Amount)],
    ) -> Option<(&'a StreamName, u64)> {
        let max_share = self.max_share?;
        by_stream.iter().find_map(|(stream, new)| {
            let bytes = state.held_of(stream).saturating_add(new.bytes);
            let over = bytes.saturating_sub(max_share);
            // A record without bytes takes no share.
            (over > 0 && new.bytes > 0).then_some((stream, over))
        })
    }

    fn full(&self, state: &State, needed: Load) -> LimitExceeded {
        LimitExceeded::Full {
            needed: needed.bytes,
            needed_records: needed.records,
            held: state.held.bytes,
            held_records: state.held.records,
            max_bytes: self.max.bytes,
            max_records: self.max.records,
        }
    }

    fn take(&self, state: &mut State, needed: Load, by_stream: &[(StreamName, Amount)]) {
        state.held.bytes += needed.bytes;
        state.held.records += needed.records;
        if self.bounds_streams() {
            for (stream, new) in by_stream {
                *state.by_stream.entry(stream.clone()).or_default() += new.bytes;
            }
        }
        self.meter.cached(state.held.records, state.held.bytes);
    }

    fn put_back(&self, removed: Load, by_stream: &[(StreamName, Amount)]) {
        let mut state = self.state();
        state.held.bytes = state.held.bytes.saturating_sub(removed.bytes);
        state.held.records = state.held.records.saturating_sub(removed.records);
        if self.bounds_streams() {
            for (stream, removed) in by_stream {
                let left = state.held_of(stream).saturating_sub(removed.bytes);
                if left == 0 {
                    state.by_stream.remove(stream);
                } else {
                    state.by_stream.insert(stream.clone(), left);
                }
            }
        }
        self.meter.cached(state.held.records, state.held.bytes);
        if !state.waiting.is_empty() {
            self.serve(state);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits until there is room, which is taken then.
    pub(super) async fn granted(&mut self) {
        // Never fails: the sending side is in the line until it has sent.
        let _ = (&mut self.granted).await;
    }
}

impl State {
    fn held_of(&self, stream: &StreamName) -> u64 {
        self.by_stream.get(stream).copied().unwrap_or_default()
    }
}

impl Load {
    fn fits_beside(self, held: Self, max: Self) -> bool {
        self.bytes <= max.bytes.saturating_sub(held.bytes)
            && self.records <= max.records.saturating_sub(held.records)
    }
}

impl From<Amount> for Load {
    fn from(amount: Amount) -> Self {
        Self {
            bytes: amount.bytes,
            records: amount.records as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use record_cache::NewRecord;

    use super::*;

    fn admission(max: u64) -> Admission {
        with_share(max, None)
    }

    fn with_share(max: u64, share: Option<u64>) -> Admission {
        let mut options = EngineOptions::DEFAULT;
        options.cache_max_bytes = NonZeroU64::new(max).unwrap();
        options.max_stream_share = share;
        Admission::new(&options, &StoreStats::default(), Meter::new(&options))
    }

    fn name(stream: &str) -> StreamName {
        StreamName::new(stream).unwrap()
    }

    /// This many records, of this many bytes together.
    fn incoming(records: usize, bytes: usize) -> Incoming {
        of("a", records, bytes)
    }

    fn of(stream: &str, records: usize, bytes: usize) -> Incoming {
        let sizes = (0..records).map(|nth| if nth == 0 { bytes } else { 0 });
        let records = sizes.map(|size| NewRecord::new(name(stream), None, vec![0; size]));
        Incoming::new(records.collect())
    }

    fn is_granted(place: &mut Place) -> bool {
        place.granted.try_recv().is_ok()
    }

    #[test]
    fn room_is_given_to_the_last_byte_and_not_beyond() {
        let admission = admission(100);
        admission.reserve(&incoming(1, 60)).unwrap();
        let refused = admission.reserve(&incoming(1, 41));
        assert!(matches!(refused, Err(LimitExceeded::Full { held: 60, .. })));
        admission.reserve(&incoming(1, 40)).unwrap();
        assert!(admission.reserve(&incoming(1, 1)).is_err());
    }

    #[test]
    fn released_room_is_given_again() {
        let admission = admission(100);
        admission.reserve(&incoming(1, 100)).unwrap();
        admission.release(&name("a"), Amount::new(1, 100));
        admission.reserve(&incoming(1, 100)).unwrap();
    }

    #[test]
    fn what_an_empty_cache_cannot_hold_is_told_so() {
        assert!(matches!(
            admission(100).reserve(&incoming(1, 101)),
            Err(LimitExceeded::NeverFits {
                needed: 101,
                max_bytes: 100,
                ..
            })
        ));
    }

    #[test]
    fn empty_records_are_bounded_by_their_number() {
        let admission = admission(64);
        admission.reserve(&incoming(4, 0)).unwrap();
        let refused = admission.reserve(&incoming(1, 0));
        assert!(matches!(
            refused,
            Err(LimitExceeded::Full { max_records: 4, .. })
        ));
        let refused = admission.reserve(&incoming(5, 0));
        assert!(matches!(refused, Err(LimitExceeded::NeverFits { .. })));
    }

    #[test]
    fn one_stream_gets_no_more_than_its_share() {
        let admission = with_share(1000, Some(100));
        admission.reserve(&of("a", 1, 60)).unwrap();
        let refused = admission.reserve(&of("a", 1, 41));
        let Err(LimitExceeded::StreamFull {
            stream_name, held, ..
        }) = refused
        else {
            panic!("{refused:?}");
        };
        assert_eq!((stream_name.as_str(), held), ("a", 60));
        admission.reserve(&of("b", 1, 100)).unwrap();
        admission.release(&name("a"), Amount::new(1, 1));
        admission.reserve(&of("a", 1, 41)).unwrap();
        assert!(matches!(
            admission.reserve(&of("c", 1, 101)),
            Err(LimitExceeded::StreamNeverFits { needed: 101, .. })
        ));
    }

    #[test]
    fn room_is_granted_in_the_order_of_the_line() {
        let admission = admission(100);
        admission.reserve(&incoming(1, 100)).unwrap();
        let mut large = admission.join(&incoming(1, 80)).unwrap();
        let mut small = admission.join(&of("b", 1, 10)).unwrap();
        // The small one would fit, but is not first.
        admission.release(&name("a"), Amount::new(1, 50));
        assert!(!is_granted(&mut large) && !is_granted(&mut small));
        assert!(admission.reserve(&incoming(1, 1)).is_err());
        admission.release(&name("a"), Amount::new(1, 50));
        assert!(is_granted(&mut large) && is_granted(&mut small));
        admission.reserve(&incoming(1, 10)).unwrap();
        assert!(admission.reserve(&incoming(1, 1)).is_err());
    }

    #[test]
    fn who_leaves_the_line_lets_those_behind_move_up() {
        let admission = admission(100);
        admission.reserve(&incoming(1, 50)).unwrap();
        let large = admission.join(&incoming(1, 80)).unwrap();
        let mut small = admission.join(&incoming(1, 50)).unwrap();
        assert!(!is_granted(&mut small));
        assert!(matches!(
            admission.leave(&large),
            Err(LimitExceeded::Full { needed: 80, .. })
        ));
        assert!(is_granted(&mut small));
        admission.abandon(&small);
        admission.reserve(&incoming(1, 50)).unwrap();
    }

    #[test]
    fn a_stream_that_has_its_share_holds_up_no_other_stream() {
        let admission = with_share(1000, Some(100));
        admission.reserve(&of("a", 1, 100)).unwrap();
        let mut first = admission.join(&of("a", 1, 50)).unwrap();
        let mut second = admission.join(&of("a", 1, 10)).unwrap();
        let mut other = admission.join(&of("b", 1, 50)).unwrap();
        assert!(is_granted(&mut other));
        admission.release(&name("a"), Amount::new(1, 20));
        assert!(!is_granted(&mut first) && !is_granted(&mut second));
        admission.release(&name("a"), Amount::new(1, 40));
        assert!(is_granted(&mut first) && is_granted(&mut second));
    }
}
