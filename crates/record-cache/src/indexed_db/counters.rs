//! The contents of a store as its users see them, without asking the database.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Amount, QueueStats, StoreStats, StreamName, counters};

/// Shared by the store and its actor.
#[derive(Debug, Default)]
pub(super) struct Counters(Mutex<counters::Counters>);

impl Counters {
    pub(super) fn get(&self) -> StoreStats {
        self.lock().stats()
    }

    pub(super) fn add(&self, stream: &StreamName, amount: Amount) {
        self.lock().add(stream, amount);
    }

    pub(super) fn subtract(&self, stream: &StreamName, amount: Amount) {
        self.lock().remove(stream, amount);
    }

    pub(super) fn damaged(&self, stream: &StreamName, amount: Amount) {
        let mut counters = self.lock();
        counters.remove(stream, amount);
        counters.damaged_records += amount.records as u64;
    }

    /// Reports records that were found damaged before they were counted.
    pub(super) fn damaged_before(&self, records: u64) {
        self.lock().damaged_records += records;
    }

    /// Counts everything as deleted. Returns what was held.
    pub(super) fn clear(&self) -> Amount {
        self.lock().clear()
    }

    /// Adds records that appeared in the database meanwhile. Returns those that vanished, which
    /// still count until reported.
    pub(super) fn reconcile(&self, held: Held) -> Held {
        let mut missing = Held::new();
        let mut known = self.get().streams;
        for (stream, found) in held {
            let counted = known.remove(&stream).unwrap_or_default();
            let (more, less) = differences(found, counted);
            self.add(&stream, more);
            if less.records > 0 {
                missing.insert(stream, less);
            }
        }
        missing.extend(known);
        missing
    }

    // No code that can panic runs under the lock, so a poisoned lock is still consistent.
    fn lock(&self) -> MutexGuard<'_, counters::Counters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Amounts by stream.
pub(super) type Held = BTreeMap<StreamName, Amount>;

/// What is left of some amounts without others.
pub(super) fn less(mut amounts: Held, without: &Held) -> Held {
    amounts.retain(|stream, amount| {
        let without = without.get(stream).copied().unwrap_or_default();
        amount.records = amount.records.saturating_sub(without.records);
        amount.bytes = amount.bytes.saturating_sub(without.bytes);
        amount.records > 0
    });
    amounts
}

/// How much more was found than counted, and how much less.
fn differences(found: Amount, counted: QueueStats) -> (Amount, Amount) {
    let more = Amount::new(
        found.records.saturating_sub(counted.records),
        found.bytes.saturating_sub(counted.bytes),
    );
    let less = Amount::new(
        counted.records.saturating_sub(found.records),
        counted.bytes.saturating_sub(found.bytes),
    );
    (more, less)
}
