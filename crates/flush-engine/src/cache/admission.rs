//! Reservations of room, kept exact while many tasks record at once, and the line of callers
//! waiting for room.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use record_cache::{Amount, StoreStats, StreamName};
use tokio::sync::oneshot;

use crate::api::{EngineOptions, LimitExceeded};
use crate::cache::incoming::Incoming;
use crate::cache::room::{Load, Needed, Room, Shortfall};
use crate::telemetry::Meter;

/// Counts records that are stored or about to be stored.
#[derive(Debug)]
pub(super) struct Admission {
    meter: Meter,
    bounds_streams: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    room: Room,
    /// Callers waiting for room, in order.
    waiting: VecDeque<Waiting>,
    last_place: u64,
}

#[derive(Debug)]
struct Waiting {
    place: u64,
    needed: Needed<'static>,
    granted: oneshot::Sender<()>,
}

/// A place in the line for room. Room granted to it stays taken until it is released.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    needed: Needed<'static>,
    granted: oneshot::Receiver<()>,
}

impl Admission {
    pub(super) fn new(options: &EngineOptions, stats: &StoreStats, meter: Meter) -> Self {
        let room = Room::new(options, stats);
        meter.cached(room.held().records, room.held().bytes);
        meter.limit(options.cache_max_bytes.get());
        meter.begin(stats.streams.keys());
        Self {
            meter,
            bounds_streams: options.max_stream_share.is_some(),
            state: Mutex::new(State {
                room,
                waiting: VecDeque::new(),
                last_place: 0,
            }),
        }
    }

    /// Whether streams have a bounded share.
    pub(super) const fn bounds_streams(&self) -> bool {
        self.bounds_streams
    }

    /// Takes room for all records, or for none. If the records are not stored after all, the room
    /// must be [given back](Self::give_back). If that can never be known, the room stays taken, to
    /// keep the bound. Refused while others wait in line.
    pub(super) fn reserve(&self, incoming: &Incoming) -> Result<(), LimitExceeded> {
        let needed = Needed::from(incoming);
        let mut state = self.state();
        state.room.check_ever_fits(&needed)?;
        if !state.waiting.is_empty() {
            return Err(state.room.full(needed.all));
        }
        state.room.check_fits(&needed)?;
        self.take(&mut state, &needed);
        Ok(())
    }

    /// Takes room for records of another instance, like [`reserve`](Self::reserve). A single record
    /// that is larger than a limit gets room once nothing else counts against that limit, because
    /// nobody would ever deliver it otherwise.
    #[cfg(any(feature = "sled", feature = "journal"))]
    pub(super) fn reserve_adopted(&self, incoming: &Incoming) -> Result<(), LimitExceeded> {
        let never = match self.reserve(incoming) {
            Err(never) if !never.may_pass() && incoming.amount.records == 1 => never,
            reserved => return reserved,
        };
        let needed = Needed::from(incoming);
        let mut state = self.state();
        if !state.waiting.is_empty() || !state.room.has_room_alone(&needed) {
            return Err(never);
        }
        self.take(&mut state, &needed);
        Ok(())
    }

    /// Joins the line for room.
    pub(super) fn join(&self, incoming: &Incoming) -> Result<Place, LimitExceeded> {
        let needed = Needed::from(incoming).into_owned();
        let (granted, grant) = oneshot::channel();
        let mut state = self.state();
        state.room.check_ever_fits(&needed)?;
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

    /// Leaves the line. The error says why there was no room.
    pub(super) fn leave(&self, place: &Place) -> Result<(), LimitExceeded> {
        let mut state = self.state();
        let waiting = state.waiting.iter().position(|w| w.place == place.number);
        let Some(at) = waiting else {
            return Ok(());
        };
        state.waiting.remove(at);
        let refused = state.room.check_fits(&place.needed).err();
        let refused = refused.unwrap_or_else(|| state.room.full(place.needed.all));
        // The places behind this one may fit.
        self.serve(state);
        Err(refused)
    }

    /// Gives back the room granted to a place.
    pub(super) fn abandon(&self, place: &Place) {
        self.put_back(place.needed.all, &place.needed.by_stream);
    }

    /// Gives back the room of records that were not stored.
    pub(super) fn give_back(&self, amount: Amount, by_stream: &[(StreamName, Amount)]) {
        self.put_back(Load::from(amount), by_stream);
    }

    /// Gives back the room of one stream's records that left the cache.
    pub(super) fn release(&self, stream: &StreamName, removed: Amount) {
        if removed != Amount::default() {
            self.put_back(Load::from(removed), &[(stream.clone(), removed)]);
        }
    }

    /// Gives back the room of everything stored. `stored` holds the amount of each stream.
    pub(super) fn release_all(&self, removed: Amount, stored: &StoreStats) {
        let by_stream: Vec<_> = stored
            .streams
            .iter()
            .map(|(name, queue)| (name.clone(), Amount::new(queue.records, queue.bytes)))
            .collect();
        self.put_back(Load::from(removed), &by_stream);
    }

    /// How much must be deleted before records fit.
    pub(super) fn shortfall(&self, incoming: &Incoming) -> Shortfall {
        self.state().room.shortfall(incoming)
    }

    /// Grants room along the line, in order. A place whose stream has used up its share blocks only
    /// places of the same stream. A place that the cache has no room for blocks everyone behind it.
    fn serve(&self, mut state: MutexGuard<'_, State>) {
        let mut held_up: HashSet<StreamName> = HashSet::new();
        let mut granted = Vec::new();
        let mut at = 0;
        while let Some(Waiting { needed, .. }) = state.waiting.get(at) {
            let mut names = needed.by_stream.iter().map(|(name, _)| name);
            let is_held_up = names.any(|name| held_up.contains(name));
            match state.room.check_fits(needed) {
                Ok(()) if !is_held_up => {
                    if let Some(next) = state.waiting.remove(at) {
                        self.take(&mut state, &next.needed);
                        granted.push(next.granted);
                    }
                    continue;
                }
                Err(LimitExceeded::Full { .. }) if !is_held_up => break,
                _ => held_up.extend(needed.by_stream.iter().map(|(name, _)| name.clone())),
            }
            at += 1;
        }
        drop(state);
        for granted in granted {
            // If the receiver was dropped, its place gives the room back.
            let _ = granted.send(());
        }
    }

    fn take(&self, state: &mut State, needed: &Needed<'_>) {
        state.room.take(needed);
        self.count(&state.room);
    }

    fn put_back(&self, removed: Load, by_stream: &[(StreamName, Amount)]) {
        let mut state = self.state();
        state.room.put_back(removed, by_stream);
        self.count(&state.room);
        if !state.waiting.is_empty() {
            self.serve(state);
        }
    }

    fn count(&self, room: &Room) {
        self.meter.cached(room.held().records, room.held().bytes);
    }

    /// Bytes and records for which room is taken.
    #[cfg(all(test, any(feature = "sled", feature = "journal")))]
    pub(super) fn held(&self) -> (u64, u64) {
        let held = self.state().room.held();
        (held.bytes, held.records)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits until room is granted. The room is then taken.
    pub(super) async fn granted(&mut self) {
        // Never fails: the sender stays in the line until it has sent.
        let _ = (&mut self.granted).await;
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

    /// This many records, with this many bytes in total.
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

    #[cfg(any(feature = "sled", feature = "journal"))]
    #[test]
    fn what_is_larger_than_a_limit_is_adopted_alone() {
        // Nothing else may be in the cache.
        let admission = with_share(100, Some(50));
        admission.reserve(&of("b", 1, 1)).unwrap();
        let large = of("a", 1, 101);
        assert!(admission.reserve_adopted(&large).is_err());
        admission.release(&name("b"), Amount::new(1, 1));
        assert!(admission.reserve(&large).is_err(), "it is not new");
        admission.reserve_adopted(&large).unwrap();
        assert!(admission.reserve_adopted(&large).is_err());
        assert!(admission.reserve_adopted(&of("b", 1, 1)).is_err());
        admission.release(&name("a"), Amount::new(1, 101));
        // Nothing else of the stream may be in its share, and others stay within their limits.
        let large = of("a", 1, 60);
        admission.reserve(&of("a", 1, 1)).unwrap();
        assert!(admission.reserve_adopted(&large).is_err());
        admission.release(&name("a"), Amount::new(1, 1));
        admission.reserve(&of("b", 1, 41)).unwrap();
        assert!(admission.reserve_adopted(&large).is_err());
        admission.release(&name("b"), Amount::new(1, 1));
        admission.reserve_adopted(&large).unwrap();
        // Several records can be adopted one by one.
        assert!(
            with_share(100, None)
                .reserve_adopted(&of("a", 2, 101))
                .is_err()
        );
    }

    #[test]
    fn room_is_granted_in_the_order_of_the_line() {
        let admission = admission(100);
        admission.reserve(&incoming(1, 100)).unwrap();
        let mut large = admission.join(&incoming(1, 80)).unwrap();
        let mut small = admission.join(&of("b", 1, 10)).unwrap();
        // The small one would fit, but is not first in line.
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
