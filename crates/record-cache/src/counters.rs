//! Record and byte counts per stream.

use std::collections::BTreeMap;

use crate::{Amount, NewRecord, QueueStats, StoreStats, StreamName};

/// Kept apart from any index or database, so statistics never wait for either.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// What is stored. Holds no empty streams.
    pub(crate) streams: BTreeMap<StreamName, QueueStats>,
    /// What is gone without the caller knowing. It counts as stored until a call returns it.
    unreported: BTreeMap<StreamName, Amount>,
    pub(crate) damaged_records: u64,
}

/// Used only by the disk stores.
#[cfg(any(feature = "sled", feature = "journal"))]
impl Counters {
    /// The streams with stored records.
    pub(crate) fn names(&self) -> Vec<StreamName> {
        self.streams.keys().cloned().collect()
    }

    /// The number of records that are really stored.
    pub(crate) fn stored(&self) -> u64 {
        let records = self.streams.values().map(|queue| queue.records as u64);
        records.sum()
    }

    /// Notes that records are lost.
    pub(crate) fn lose(&mut self, stream: &StreamName, lost: Amount) {
        self.remove(stream, lost);
        self.damaged_records += lost.records as u64;
        self.owe(stream, lost);
    }

    /// Takes over a new count of what is stored. What it lacks is lost. Returns how many records.
    pub(crate) fn recount(&mut self, found: Self) -> u64 {
        let before = self.damaged_records;
        for (stream, counted) in std::mem::replace(&mut self.streams, found.streams) {
            let found = self.streams.get(&stream).copied().unwrap_or_default();
            let lost = Amount::new(
                counted.records.saturating_sub(found.records),
                counted.bytes.saturating_sub(found.bytes),
            );
            self.damaged_records += lost.records as u64;
            self.owe(&stream, lost);
        }
        self.damaged_records - before
    }

    /// Keeps what is gone from a stream until it is [reported](Self::report).
    pub(crate) fn owe(&mut self, stream: &StreamName, gone: Amount) {
        if gone != Amount::default() {
            *self.unreported.entry(stream.clone()).or_default() += gone;
        }
    }

    /// Takes what is gone from a stream, to tell the caller.
    pub(crate) fn report(&mut self, stream: &StreamName) -> Amount {
        self.unreported.remove(stream).unwrap_or_default()
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

    /// Removes all streams. Returns what they held, as far as the caller knows.
    pub(crate) fn clear(&mut self) -> Amount {
        let mut held = Amount::default();
        let stored = std::mem::take(&mut self.streams);
        let gone = std::mem::take(&mut self.unreported);
        for of_stream in stored.into_values().chain(gone.into_values()) {
            held += of_stream;
        }
        held
    }

    /// What the store holds, as far as the caller knows.
    pub(crate) fn stats(&self) -> StoreStats {
        let mut streams = self.streams.clone();
        for (stream, gone) in &self.unreported {
            *streams.entry(stream.clone()).or_default() += *gone;
        }
        StoreStats::new(streams, self.damaged_records)
    }
}
