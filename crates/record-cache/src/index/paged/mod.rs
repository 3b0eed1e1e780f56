//! An index whose memory use and opening time stay small however large the backlog is.
//!
//! The entries of a stream are grouped into blocks of neighbours. While all entries fit into the
//! memory budget, there is no database. `JournalStore` has no limit, so it never has one. Beyond
//! the budget, a checkpoint writes changed blocks to a sled database. Blocks stored there may be
//! unloaded until they are used; memory then keeps each block's start, end and checksum.
//!
//! # Invariants
//! - The database holds the state of one checkpoint, or none while a large one is being written:
//!   each checkpoint is one batch of changes or several, the first of which removes the previous
//!   checkpoint.
//! - sled is never trusted. Opening reads every block once and compares size and sum with the
//!   checkpoint. A block read later must match the checksum in memory. Any inconsistency breaks the
//!   index, and its owner rebuilds it.
//! - Only the [`worker`] thread calls sled, and waits for it have a time limit.
//! - An empty or small index has no database; its disk space is returned.

mod block;
mod checkpoint;
#[cfg_attr(not(feature = "sled"), path = "no_database.rs")]
mod database;
mod directory;
mod pages;
mod storing;
mod worker;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::database::Database;
use self::directory::{Stream, Wanted, has};
use self::pages::{Counts, Pages};
#[cfg(test)]
pub(crate) use self::tests::plain::PlainIndex;
#[cfg(test)]
use self::tests::trouble::{Trouble, TroubleKind};
use super::ranges::Ranges;
use super::{Broken, Checkpoint, Entry, Index, Restored};
use crate::{ReadLimits, StreamName};

/// Entries that each stream adds to the budget: at most this many, and this fraction of the base
/// budget.
///
/// A stream's name and counters take about as much memory. Without this, many streams used in turn
/// would read and write a block for each record.
const OF_EACH_STREAM: usize = 32;
const PART_OF_EACH_STREAM: usize = 64;

/// The fewest changed entries that [`relieve`](Index::relieve) writes. Each write visits every
/// block, and sled keeps written data in memory until the next checkpoint. Many small writes would
/// therefore cost more memory than they free.
const WORTH_WRITING: usize = if cfg!(test) { 1 } else { 1 << 16 };

#[derive(Debug, Clone)]
pub(crate) struct IndexSettings {
    /// Entries to keep in memory, plus some for each stream. Beyond that, a database is created.
    pub(crate) records_in_memory: usize,
    /// How long sled may go without a heartbeat.
    pub(crate) limit: Duration,
    #[cfg(test)]
    pub(crate) trouble: Option<Trouble>,
}

impl IndexSettings {
    /// Settings that keep all entries in memory.
    pub(crate) fn in_memory() -> Self {
        Self {
            records_in_memory: usize::MAX,
            ..Self::default()
        }
    }

    /// How many entries may be in memory with this many streams.
    fn budget(&self, streams: usize) -> usize {
        let part = self.records_in_memory / PART_OF_EACH_STREAM;
        let of_each = part.clamp(1, OF_EACH_STREAM);
        self.records_in_memory.saturating_add(of_each * streams)
    }
}

impl Default for IndexSettings {
    fn default() -> Self {
        Self {
            records_in_memory: 1 << 18,
            limit: Duration::from_secs(10),
            #[cfg(test)]
            trouble: None,
        }
    }
}

/// An index that moves entries to a database when they exceed its memory budget.
#[derive(Debug)]
pub(crate) struct PagedIndex {
    /// The directory of the cache, which holds the databases.
    home: PathBuf,
    settings: IndexSettings,
    streams: BTreeMap<StreamName, Stream>,
    next_stream: u64,
    pages: Pages,
    broken: Option<Broken>,
}

impl PagedIndex {
    /// An empty index. Ignores any existing database.
    pub(crate) fn empty(home: &Path, settings: IndexSettings) -> Self {
        Self {
            home: home.to_owned(),
            streams: BTreeMap::new(),
            next_stream: 0,
            pages: Pages {
                budget: settings.budget(0),
                ..Pages::default()
            },
            broken: None,
            settings,
        }
    }

    /// An empty index that never uses a database, and never breaks.
    pub(crate) fn in_memory() -> Self {
        Self::empty(Path::new(""), IndexSettings::in_memory())
    }

    /// Opens the last checkpoint in the directory of a cache.
    ///
    /// If nothing usable is found, the index is empty.
    pub(crate) fn open(home: &Path, settings: IndexSettings) -> (Self, Option<Restored>) {
        for number in database::numbers(home) {
            match Self::restore(home, &settings, number) {
                Ok((index, restored)) => {
                    database::delete_others(home, Some(number));
                    return (index, Some(restored));
                }
                Err(Broken(reason)) => {
                    tracing::warn!(target: "record_cache", %reason, "an index was unusable");
                }
            }
        }
        database::delete_others(home, None);
        (Self::empty(home, settings), None)
    }

    /// Runs a call. If it fails, the index is broken.
    fn call<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Broken>) -> Result<T, Broken> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let outcome = work(self);
        self.pages.budget = self.settings.budget(self.streams.len());
        match &outcome {
            Ok(_) if self.pages.is_crowded() => self.unload(),
            Ok(_) => {}
            Err(broken) => self.end(broken.clone()),
        }
        outcome
    }

    /// Makes all later calls fail.
    fn end(&mut self, reason: Broken) {
        self.broken = Some(reason);
        self.streams.clear();
        self.pages = Pages::default();
    }

    /// Runs a call on one stream, if it exists.
    fn with<T: Default>(
        &mut self,
        name: &StreamName,
        work: impl FnOnce(&mut Stream, &mut Pages) -> Result<T, Broken>,
    ) -> Result<T, Broken> {
        self.call(|index| {
            let Some(stream) = index.streams.get_mut(name) else {
                return Ok(T::default());
            };
            let done = work(stream, &mut index.pages)?;
            if stream.blocks.is_empty() {
                index.streams.remove(name);
            }
            Ok(done)
        })
    }

    /// Visits the blocks of a stream that may contain any of the numbers.
    fn visit(
        &mut self,
        name: &StreamName,
        numbers: &Ranges,
        work: impl FnMut(&mut Vec<Entry>, &mut Wanted<'_>) -> usize,
    ) -> Result<(), Broken> {
        self.with(name, |stream, pages| stream.visit(numbers, pages, work))
    }

    /// Unloads blocks that the database also has, first those that were not used since it last came
    /// by.
    fn unload(&mut self) {
        for _ in 0..2 {
            for block in self.streams.values_mut().flat_map(|s| &mut s.blocks) {
                if self.pages.counts.clean <= self.pages.budget / 4 {
                    return;
                }
                if !std::mem::take(&mut block.used) {
                    self.pages.unload(block);
                }
            }
        }
    }
}

impl Index for PagedIndex {
    fn put(
        &mut self,
        stream: &StreamName,
        entries: &[Entry],
        replaced: &mut dyn FnMut(Entry),
    ) -> Result<(), Broken> {
        self.call(|index| {
            index.pages.changes += entries.len();
            let stream = match index.streams.get_mut(stream) {
                Some(known) => known,
                None => {
                    index.next_stream += 1;
                    let new = Stream::new(index.next_stream - 1);
                    index.streams.entry(stream.clone()).or_insert(new)
                }
            };
            let mut rest = stream.extend(entries, &mut index.pages);
            while let Some((entry, others)) = rest.split_first() {
                let old = stream.put(*entry, &mut index.pages)?;
                old.into_iter().for_each(&mut *replaced);
                rest = stream.extend(others, &mut index.pages);
            }
            Ok(())
        })
    }

    fn find(&mut self, stream: &StreamName, numbers: &Ranges) -> Result<Vec<Entry>, Broken> {
        let mut found = Vec::new();
        self.visit(stream, numbers, |entries, wanted| {
            found.extend(entries.iter().filter(|entry| has(wanted, entry.sequence)));
            0
        })?;
        Ok(found)
    }

    fn remove(
        &mut self,
        stream: &StreamName,
        numbers: &Ranges,
        removed: &mut dyn FnMut(Entry),
    ) -> Result<(), Broken> {
        self.visit(stream, numbers, |entries, wanted| {
            let before = entries.len();
            entries.retain(|entry| {
                let goes = has(wanted, entry.sequence);
                if goes {
                    removed(*entry);
                }
                !goes
            });
            if entries.len() < entries.capacity() / 4 {
                entries.shrink_to_fit();
            }
            before - entries.len()
        })
    }

    fn count_attempts(&mut self, stream: &StreamName, numbers: &Ranges) -> Result<(), Broken> {
        self.visit(stream, numbers, |entries, wanted| {
            let mut counted = 0;
            for entry in entries {
                if has(wanted, entry.sequence) {
                    entry.attempts = entry.attempts.saturating_add(1);
                    counted += 1;
                }
            }
            counted
        })
    }

    fn after(
        &mut self,
        stream: &StreamName,
        number: Option<u64>,
        limits: ReadLimits,
    ) -> Result<Vec<Entry>, Broken> {
        self.with(stream, |stream, pages| stream.after(number, limits, pages))
    }

    fn clear(&mut self) -> Result<(), Broken> {
        self.call(|index| {
            index.streams.clear();
            index.pages.counts = Counts::default();
            index.discard()
        })
    }

    fn relieve(&mut self) -> Result<(), Broken> {
        if self.pages.counts.changed <= self.pages.budget.max(WORTH_WRITING) {
            return Ok(());
        }
        self.call(|index| index.write(None))
    }

    fn wants_checkpoint(&self) -> bool {
        let pages = &self.pages;
        if pages.worker.is_none() {
            return pages.counts.all > pages.budget;
        }
        pages.counts.changed > pages.budget / 2
            || pages.changes > pages.budget
            || pages.parts == 0
            || self.is_small()
    }

    fn checkpoint(&mut self, at: &Checkpoint) -> Result<(), Broken> {
        self.call(|index| index.write(Some(at)))
    }

    fn close(&mut self, at: &Checkpoint) -> Result<(), Broken> {
        self.call(|index| {
            index.write(Some(at))?;
            let worker = index.pages.worker.take();
            worker.map_or(Ok(()), |worker| worker.end(Database::close))
        })?;
        self.end(Broken("it is closed".to_owned()));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
