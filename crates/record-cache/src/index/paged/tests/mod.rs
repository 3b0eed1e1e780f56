//! Helpers for the index tests.

#![allow(
    clippy::cast_possible_truncation,
    reason = "the numbers of a test are small"
)]

mod disposable;
#[cfg(target_os = "linux")]
mod full_disk;
#[cfg(target_os = "linux")]
mod large;
mod model;
pub(crate) mod plain;
mod streams;
pub(super) mod trouble;

use std::collections::BTreeMap;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::Path;
use std::time::Duration;

use super::block::BLOCK;
use super::pages::Counts;
use super::{IndexSettings, PagedIndex};
use crate::index::Entry;
use crate::index::{Broken, Checkpoint, Index};
use crate::{QueueStats, ReadLimits, StreamName};

/// What an index should hold.
pub(super) type State = BTreeMap<StreamName, BTreeMap<u64, Entry>>;

pub(super) const ALL: ReadLimits = ReadLimits::new(NonZeroUsize::MAX, NonZeroU64::MAX);

pub(super) fn settings(records_in_memory: usize) -> IndexSettings {
    IndexSettings {
        records_in_memory,
        limit: Duration::from_secs(60),
        trouble: None,
    }
}

pub(super) fn stream(number: usize) -> StreamName {
    StreamName::new(format!("stream {number}")).unwrap()
}

/// An entry whose place tells the number and how often the record was moved.
pub(super) fn entry(sequence: u64, moved: u32) -> Entry {
    let low = (sequence & 0xffff) as u32;
    Entry {
        sequence,
        segment: low / 1_000 + 7 * moved,
        place: 64 + 8 * (low % 1_000) * (1 + moved),
        size: if low.is_multiple_of(5) { low } else { 100 },
        attempts: 0,
    }
}

pub(super) fn checkpoint(number: u64) -> Checkpoint {
    Checkpoint {
        salt: 9,
        segment: 3,
        offset: number,
        last_frame: 0xfeed,
        next_sequence: 1 << 40,
        // Sometimes too many segments for one value.
        segments: (0..number as u32 % 900)
            .map(|n| (n, 1 << 40, u64::MAX))
            .collect(),
    }
}

pub(super) fn stats(state: &State) -> BTreeMap<StreamName, QueueStats> {
    let held = state.iter().filter(|(_, entries)| !entries.is_empty());
    held.map(|(name, entries)| {
        let bytes = entries.values().map(|entry| u64::from(entry.size)).sum();
        (name.clone(), QueueStats::new(entries.len(), bytes))
    })
    .collect()
}

/// Everything an index holds of these streams.
pub(super) fn held<'a>(
    index: &mut PagedIndex,
    names: impl IntoIterator<Item = &'a StreamName>,
) -> State {
    let mut state = State::new();
    for name in names {
        let entries = index.after(name, None, ALL).unwrap();
        let entries = entries.into_iter().map(|entry| (entry.sequence, entry));
        state.insert(name.clone(), entries.collect());
    }
    state
}

impl PagedIndex {
    /// Adds an entry. Returns the one it replaces.
    pub(super) fn put_one(
        &mut self,
        stream: &StreamName,
        entry: Entry,
    ) -> Result<Option<Entry>, Broken> {
        let mut old = None;
        self.put(stream, &[entry], &mut |replaced| old = Some(replaced))?;
        Ok(old)
    }

    /// Recounts everything and compares.
    pub(super) fn check(&self) {
        let mut counts = Counts::default();
        for stream in self.streams.values() {
            let mut before = None;
            for block in &stream.blocks {
                assert!(before < Some(block.start), "blocks are in order");
                assert!(block.start <= block.last);
                assert!((1..=BLOCK).contains(&block.count()));
                before = Some(block.last);
                counts.add(Counts::of(block));
                if block.unloaded == 0 {
                    let numbers: Vec<u64> = block.entries.iter().map(|e| e.sequence).collect();
                    assert!(numbers.is_sorted_by(|a, b| a < b));
                    assert!(numbers[0] >= block.start && numbers[numbers.len() - 1] <= block.last);
                } else {
                    assert!(block.stored.is_some() && !block.changed);
                    assert!(block.entries.is_empty());
                }
            }
            assert!(before.is_some(), "an empty stream is forgotten");
        }
        assert_eq!(self.pages.counts, counts);
        assert!(
            counts.clean <= self.pages.budget / 2,
            "what is clean was unloaded"
        );
    }
}

/// An index in this directory that pages all the time, and its contents: three streams with at
/// least nine blocks in total.
pub(super) fn filled(home: &Path, settings: IndexSettings) -> (PagedIndex, State) {
    let mut index = PagedIndex::empty(home, settings);
    let mut state = State::new();
    for number in 0..2_000 {
        let name = stream(number as usize % 3);
        let entry = entry(number, 0);
        index.put_one(&name, entry).unwrap();
        state.entry(name).or_default().insert(number, entry);
    }
    (index, state)
}
