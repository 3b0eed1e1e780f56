//! Counters that anybody may read at any time.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{QueueStats, StoreStats, StreamName};

/// What the store holds, as of the last call that was answered.
#[derive(Debug, Default)]
pub(super) struct Counters(Mutex<StoreStats>);

impl Counters {
    pub(super) fn read(&self) -> StoreStats {
        self.lock().clone()
    }

    pub(super) fn set(&self, streams: impl IntoIterator<Item = (StreamName, QueueStats)>) {
        let mut stats = self.lock();
        for (name, queue) in streams {
            if queue.records == 0 {
                stats.streams.remove(&name);
            } else {
                stats.streams.insert(name, queue);
            }
        }
    }

    pub(super) fn replace(&self, streams: impl IntoIterator<Item = (StreamName, QueueStats)>) {
        let held = streams.into_iter().filter(|(_, queue)| queue.records > 0);
        let streams: BTreeMap<_, _> = held.collect();
        self.lock().streams = streams;
    }

    pub(super) fn add_damaged(&self, records: u64) {
        self.lock().damaged_records += records;
    }

    // No code that can panic runs under the lock, so a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, StoreStats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
