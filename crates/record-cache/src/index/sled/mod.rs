//! An index that pages: memory and the time of an opening stay small however much waits.
//!
//! The entries of a stream are in blocks of neighbours. While all entries fit into the budget,
//! they are in memory and there is no database. Afterwards a checkpoint writes the blocks that
//! changed into a sled database, and blocks that it has may be forgotten until they are used.
//! In memory there is then, for each block, where it starts and ends and a checksum of its value.
//!
//! # Invariants
//! - The database has the state of one checkpoint, or none while a large one is written: it
//!   changes by one batch for each, or by several, of which the first removes the one before.
//! - Nothing of sled is believed. An opening reads every block once and compares their count
//!   and sum with the checkpoint; a block that is read later must have the checksum in memory.
//!   Whatever is odd breaks the index, and its owner builds another.
//! - Only the thread of [`worker`] calls sled, and it is not waited for without a limit.
//! - An empty or small index has no database: the disk is given back.

mod block;
mod checkpoint;
mod contained;
mod database;
mod directory;
mod found;
mod maker;
mod pages;
mod worker;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sled::IVec;

use self::database::{Changes, Database};
use self::directory::Stream;
use self::found::Found;
pub(crate) use self::maker::InSled;
use self::pages::{Counts, Pages};
use self::worker::Worker;
#[cfg(test)]
pub(crate) use self::worker::{Trouble, TroubleKind};
use super::queue::Entry;
use super::ranges::Ranges;
use super::{Broken, Checkpoint, Index, Restored};
use crate::{ReadLimits, StreamName};

/// Blocks that are read at once to be continued.
const JOINED_AT_ONCE: usize = 1_000;

/// Entries that each stream adds to the budget, at most, and as a part of what it is without.
///
/// A stream takes as much for its name and counters. Without them, many streams that are used
/// in turn would have a block read and written for each record.
const OF_EACH_STREAM: usize = 32;
const PART_OF_EACH_STREAM: usize = 64;

#[derive(Debug, Clone)]
pub(crate) struct SledIndexSettings {
    /// Entries that may be in memory, and some for each stream; beyond, a database is made.
    pub(crate) records_in_memory: usize,
    /// How long sled may take without a sign of life.
    pub(crate) limit: Duration,
    #[cfg(test)]
    pub(crate) trouble: Option<Trouble>,
}

impl SledIndexSettings {
    /// Entries that may be in memory with so many streams.
    fn budget(&self, streams: usize) -> usize {
        let part = self.records_in_memory / PART_OF_EACH_STREAM;
        let of_each = part.clamp(1, OF_EACH_STREAM);
        self.records_in_memory.saturating_add(of_each * streams)
    }
}

impl Default for SledIndexSettings {
    fn default() -> Self {
        Self {
            records_in_memory: 1 << 17,
            limit: Duration::from_secs(10),
            #[cfg(test)]
            trouble: None,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct SledIndex {
    /// The directory of the cache, in which databases are made.
    home: PathBuf,
    settings: SledIndexSettings,
    streams: BTreeMap<StreamName, Stream>,
    next_stream: u64,
    /// Values that the checkpoint in the database takes.
    parts: u16,
    pages: Pages,
    broken: Option<Broken>,
}

impl SledIndex {
    /// An index with nothing in it, whatever there was before.
    pub(crate) fn empty(home: &Path, settings: SledIndexSettings) -> Self {
        Self {
            home: home.to_owned(),
            streams: BTreeMap::new(),
            next_stream: 0,
            parts: 0,
            pages: Pages::new(settings.budget(0)),
            broken: None,
            settings,
        }
    }

    /// Opens what the last checkpoint left in the directory of a cache.
    ///
    /// Where there is nothing, or nothing that is usable, the index is empty.
    pub(crate) fn open(home: &Path, settings: SledIndexSettings) -> (Self, Option<Restored>) {
        let mut reasons = Vec::new();
        let mut index = Self::empty(home, settings);
        let mut restored = None;
        for number in database::numbers(home) {
            match index.restore(number) {
                Ok(found) => {
                    database::delete_others(home, Some(number));
                    restored = Some(found);
                    break;
                }
                Err(Broken(reason)) => reasons.push(reason),
            }
        }
        if !reasons.is_empty() {
            let reason = reasons.join("; ");
            tracing::warn!(target: "record_cache", %reason, "an index was unusable");
        }
        if restored.is_none() {
            database::delete_others(home, None);
        }
        (index, restored)
    }

    fn restore(&mut self, number: u64) -> Result<Restored, Broken> {
        let mut worker = Worker::start(&self.settings)?;
        let home = self.home.clone();
        let (checkpoint, found) = worker.run(move |database, progress| {
            let opened = database.insert(Database::open(&home, number, progress)?);
            Found::load(opened)
        })?;
        let Found {
            streams,
            stats,
            totals,
            next_stream,
            parts,
        } = found;
        (self.streams, self.next_stream, self.parts) = (streams, next_stream, parts);
        self.pages.totals = totals;
        self.pages.budget = self.settings.budget(self.streams.len());
        let blocks = self.streams.values().flat_map(Stream::blocks);
        blocks.for_each(|block| self.pages.counts.add(Counts::of(block)));
        self.pages.worker = Some(worker);
        Ok((checkpoint, stats))
    }

    /// Runs a call, after which the index is broken if it fails.
    fn call<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Broken>) -> Result<T, Broken> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        self.pages.clock = self.pages.clock.wrapping_add(1);
        let outcome = work(self);
        self.pages.budget = self.settings.budget(self.streams.len());
        match &outcome {
            Ok(_) if self.pages.is_crowded() => self.unload(),
            Ok(_) => {}
            Err(broken) => self.end(broken.clone()),
        }
        outcome
    }

    /// Lets all calls fail from now on.
    fn end(&mut self, reason: Broken) {
        self.broken = Some(reason);
        self.streams.clear();
        self.pages = Pages::new(0);
    }

    /// Runs a call about one stream, if it is there.
    fn with<T: Default>(
        &mut self,
        name: &StreamName,
        work: impl FnOnce(&mut Stream, &mut Pages) -> Result<T, Broken>,
    ) -> Result<T, Broken> {
        self.call(|index| match index.streams.get_mut(name) {
            Some(stream) => work(stream, &mut index.pages),
            None => Ok(T::default()),
        })
    }

    /// Forgets the blocks that were not used for longest, if the database has them.
    fn unload(&mut self) {
        let blocks = self.streams.values().flat_map(Stream::blocks);
        let mut ages: Vec<(u32, usize)> = blocks
            .filter(|block| block.is_clean())
            .map(|block| (block.used, Counts::of(block).clean))
            .collect();
        ages.sort_unstable_by(|a, b| b.cmp(a));
        let mut kept = 0;
        let oldest = ages.into_iter().find(|(_, clean)| {
            kept += clean;
            kept > self.pages.budget / 4
        });
        let Some((oldest, _)) = oldest else {
            return;
        };
        let blocks = self.streams.values_mut().flat_map(Stream::blocks_mut);
        for block in blocks.filter(|block| block.used <= oldest) {
            self.pages.unload(block);
        }
    }

    fn write(&mut self, at: &Checkpoint) -> Result<(), Broken> {
        if self.pages.worker.is_none() {
            if self.pages.counts.all <= self.pages.budget {
                return Ok(());
            }
            self.create()?;
        } else if self.is_small() {
            return self.reclaim();
        }
        self.join_short_blocks()?;
        let mut changes = Changes::default();
        for key in std::mem::take(&mut self.pages.gone) {
            changes.push((IVec::from(&key.bytes()), None));
            self.pages.write_part(&mut changes, &mut self.parts)?;
        }
        for (name, stream) in &mut self.streams {
            stream.write(name, &mut self.pages, &mut changes);
            self.pages.write_part(&mut changes, &mut self.parts)?;
        }
        let record = checkpoint::encode(at, self.pages.totals);
        let parts = u16::try_from(record.len()).unwrap_or(u16::MAX);
        let surplus = (parts..self.parts).map(checkpoint::key);
        changes.extend(surplus.map(|key| (IVec::from(&key), None)));
        for (key, value) in record {
            changes.push((IVec::from(&key), Some(value.into())));
        }
        (self.parts, self.pages.changes) = (parts, 0);
        self.pages.write_out(changes, true)
    }

    fn join_short_blocks(&mut self) -> Result<(), Broken> {
        let streams = self.streams.values_mut();
        let mut short: Vec<&mut Stream> = streams.filter(|s| s.short().is_some()).collect();
        for streams in short.chunks_mut(JOINED_AT_ONCE) {
            let keys = streams.iter().filter_map(|stream| stream.short());
            let fetched = self.pages.fetch(keys.collect())?;
            for (stream, entries) in streams.iter_mut().zip(fetched) {
                stream.join(entries, &mut self.pages);
            }
        }
        Ok(())
    }

    fn create(&mut self) -> Result<(), Broken> {
        let mut worker = Worker::start(&self.settings)?;
        let home = self.home.clone();
        worker.run(move |database, progress| {
            *database = Some(Database::create(&home, progress)?);
            Ok(())
        })?;
        self.pages.worker = Some(worker);
        Ok(())
    }

    /// Whether the database is not worth its disk any more.
    fn is_small(&self) -> bool {
        self.pages.counts.all <= self.pages.budget / 4
    }

    /// Holds everything in memory again.
    fn reclaim(&mut self) -> Result<(), Broken> {
        for stream in self.streams.values_mut() {
            stream.reclaim(&mut self.pages)?;
        }
        self.discard()
    }

    /// Deletes the database, which has nothing that is needed.
    fn discard(&mut self) -> Result<(), Broken> {
        self.pages.await_checkpoint()?;
        if let Some(mut worker) = self.pages.worker.take() {
            worker.run(|database, _| {
                if let Some(database) = database.take() {
                    database.delete();
                }
                Ok(())
            })?;
        }
        self.pages.totals = checkpoint::Totals::default();
        self.pages.gone.clear();
        (self.parts, self.pages.changes) = (0, 0);
        Ok(())
    }
}

impl Index for SledIndex {
    fn put(&mut self, stream: &StreamName, entry: Entry) -> Result<Option<Entry>, Broken> {
        self.call(|index| {
            index.pages.changes += 1;
            if let Some(stream) = index.streams.get_mut(stream) {
                return stream.put(entry, &mut index.pages);
            }
            let number = index.next_stream;
            index.next_stream += 1;
            let new = index.streams.entry(stream.clone());
            new.or_insert(Stream::new(number))
                .put(entry, &mut index.pages)
        })
    }

    fn find(&mut self, stream: &StreamName, numbers: &Ranges) -> Result<Vec<Entry>, Broken> {
        self.with(stream, |stream, pages| stream.find(numbers, pages))
    }

    fn remove(
        &mut self,
        stream: &StreamName,
        numbers: &Ranges,
        removed: &mut dyn FnMut(Entry),
    ) -> Result<(), Broken> {
        self.call(|index| {
            let Some(found) = index.streams.get_mut(stream) else {
                return Ok(());
            };
            found.remove(numbers, &mut index.pages, removed)?;
            if found.is_empty() {
                index.streams.remove(stream);
            }
            Ok(())
        })
    }

    fn count_attempts(&mut self, stream: &StreamName, numbers: &Ranges) -> Result<(), Broken> {
        self.with(stream, |stream, pages| {
            stream.count_attempts(numbers, pages)
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

    fn streams_with(&mut self, numbers: &Ranges) -> Result<Vec<StreamName>, Broken> {
        self.call(|index| {
            let with = index.streams.iter().filter(|(_, s)| s.may_have(numbers));
            Ok(with.map(|(name, _)| name.clone()).collect())
        })
    }

    fn clear(&mut self) -> Result<(), Broken> {
        self.call(|index| {
            index.streams.clear();
            index.pages.counts = Counts::default();
            index.discard()
        })
    }

    fn wants_checkpoint(&self) -> bool {
        let Pages {
            budget,
            counts,
            changes,
            ..
        } = self.pages;
        if self.broken.is_some() {
            return false;
        }
        if self.pages.worker.is_none() {
            return counts.all > budget;
        }
        counts.changed > budget / 2 || changes > budget || self.is_small()
    }

    fn checkpoint(&mut self, at: &Checkpoint) -> Result<(), Broken> {
        self.call(|index| index.write(at))
    }

    fn close(&mut self, at: &Checkpoint) -> Result<(), Broken> {
        self.call(|index| {
            index.write(at)?;
            index.pages.await_checkpoint()?;
            if let Some(mut worker) = index.pages.worker.take() {
                worker.run(|database, _| {
                    if let Some(database) = database.take() {
                        database.close();
                    }
                    Ok(())
                })?;
            }
            Ok(())
        })?;
        self.end(Broken("it is closed".to_owned()));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
