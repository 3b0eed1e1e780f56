//! The bound on what is cached, kept exactly while many tasks record at once.

use std::sync::{Mutex, MutexGuard, PoisonError};

use record_cache::{Amount, StoreStats};

use crate::api::LimitExceeded;
use crate::cache::incoming::Incoming;
use crate::telemetry::Meter;

/// A cache of so many bytes holds at most a sixteenth as many records, so that small
/// and empty records are bounded too.
const BYTES_PER_RECORD: u64 = 16;

/// Counts what the store holds and what is about to be stored.
#[derive(Debug)]
pub(super) struct Admission {
    meter: Meter,
    max: Load,
    held: Mutex<Load>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Load {
    bytes: u64,
    records: u64,
}

impl Admission {
    pub(super) fn new(cache_max_bytes: u64, stats: &StoreStats, meter: Meter) -> Self {
        let held = Load {
            bytes: stats.bytes(),
            records: stats.records() as u64,
        };
        let max = Load {
            bytes: cache_max_bytes,
            records: cache_max_bytes / BYTES_PER_RECORD,
        };
        meter.cached(held.records, held.bytes);
        Self {
            meter,
            max,
            held: Mutex::new(held),
        }
    }

    /// Takes room for records, or none. If they turn out not to be stored it is to be
    /// [released](Self::release); if that can never be known, the room stays taken, so that
    /// the bound holds.
    pub(super) fn reserve(&self, needed: &Incoming) -> Result<(), LimitExceeded> {
        let needed = Load::from(needed.amount);
        if !needed.fits_beside(Load::default(), self.max) {
            return Err(LimitExceeded::NeverFits {
                needed: needed.bytes,
                needed_records: needed.records,
                max_bytes: self.max.bytes,
                max_records: self.max.records,
            });
        }
        let mut held = self.held();
        if !needed.fits_beside(*held, self.max) {
            return Err(LimitExceeded::Full {
                needed: needed.bytes,
                needed_records: needed.records,
                held: held.bytes,
                held_records: held.records,
                max_bytes: self.max.bytes,
                max_records: self.max.records,
            });
        }
        held.bytes += needed.bytes;
        held.records += needed.records;
        self.meter.cached(held.records, held.bytes);
        Ok(())
    }

    /// What has to leave the cache for this much to fit. Where the cache holds more
    /// than it may (the limit was lowered), a step on the way there.
    pub(super) fn shortfall(&self, needed: Amount) -> Amount {
        const STEP: Load = Load {
            bytes: 1024 * 1024,
            records: 1024,
        };
        let needed = Load::from(needed);
        let held = *self.held();
        let shortfall = |held: u64, needed: u64, max: u64, step: u64| {
            let excess = held.saturating_sub(max);
            let all = held.saturating_add(needed).saturating_sub(max);
            if excess > 0 { excess.min(step) } else { all }
        };
        let records = shortfall(held.records, needed.records, self.max.records, STEP.records);
        Amount::new(
            records.try_into().unwrap_or(usize::MAX),
            shortfall(held.bytes, needed.bytes, self.max.bytes, STEP.bytes),
        )
    }

    /// Gives room back.
    pub(super) fn release(&self, removed: Amount) {
        let removed = Load::from(removed);
        let mut held = self.held();
        held.bytes = held.bytes.saturating_sub(removed.bytes);
        held.records = held.records.saturating_sub(removed.records);
        self.meter.cached(held.records, held.bytes);
    }

    fn held(&self) -> MutexGuard<'_, Load> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
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
    use record_cache::{NewRecord, StreamName};

    use super::*;

    fn admission(max: u64) -> Admission {
        let meter = Meter::new(&crate::api::EngineOptions::DEFAULT);
        Admission::new(max, &StoreStats::default(), meter)
    }

    /// This many records, of this many bytes together.
    fn incoming(records: usize, bytes: usize) -> Incoming {
        let stream = StreamName::new("a").unwrap();
        let sizes = (0..records).map(|nth| if nth == 0 { bytes } else { 0 });
        let records = sizes.map(|size| NewRecord::new(stream.clone(), None, vec![0; size]));
        Incoming::new(records.collect())
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
        admission.release(Amount::new(1, 100));
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
}
