//! Record and byte counts per stream.

use std::collections::BTreeMap;

use crate::{Amount, NewRecord, QueueStats, StoreStats, StreamName};

/// Kept apart from any index or database, so statistics never wait for either.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Holds no empty streams.
    streams: BTreeMap<StreamName, QueueStats>,
    pub(crate) damaged_records: u64,
}

/// Used only by the disk stores.
#[cfg(any(feature = "sled", feature = "journal"))]
impl Counters {
    pub(crate) fn new(streams: BTreeMap<StreamName, QueueStats>) -> Self {
        Self {
            streams,
            damaged_records: 0,
        }
    }

    pub(crate) fn names(&self) -> Vec<StreamName> {
        self.streams.keys().cloned().collect()
    }
}

impl Counters {
    /// Adds the records of one call, most of which share a stream.
    pub(crate) fn add_all(&mut self, records: &[NewRecord]) {
        for run in records.chunk_by(|one, next| one.stream == next.stream) {
            if let Some(first) = run.first() {
                let bytes = run.iter().map(NewRecord::size).sum();
                self.add(&first.stream, Amount::new(run.len(), bytes));
            }
        }
    }

    pub(crate) fn add(&mut self, stream: &StreamName, amount: Amount) {
        if amount.records == 0 {
            return;
        }
        match self.streams.get_mut(stream) {
            Some(held) => *held += amount,
            None => drop(self.streams.insert(stream.clone(), amount)),
        }
    }

    pub(crate) fn remove(&mut self, stream: &StreamName, amount: Amount) {
        let Some(queue) = self.streams.get_mut(stream) else {
            return;
        };
        queue.records = queue.records.saturating_sub(amount.records);
        queue.bytes = queue.bytes.saturating_sub(amount.bytes);
        if queue.records == 0 {
            self.streams.remove(stream);
        }
    }

    /// Removes all streams. Returns what they held.
    pub(crate) fn clear(&mut self) -> Amount {
        let mut held = Amount::default();
        for of_stream in std::mem::take(&mut self.streams).into_values() {
            held += of_stream;
        }
        held
    }

    pub(crate) fn stats(&self) -> StoreStats {
        StoreStats::new(self.streams.clone(), self.damaged_records)
    }
}
