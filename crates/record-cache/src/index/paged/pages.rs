//! The state shared by the blocks of all streams: the database and the memory budget.

use std::collections::VecDeque;

use super::block::{Block, Key, Stored, decode};
use super::checkpoint;
use super::worker::{Worker, opened};
use crate::index::{Broken, Entry};

/// About how many changes go into one batch. Few in tests, so that checkpoints of small indexes
/// also take several batches.
const LARGEST_BATCH: usize = if cfg!(test) { 16 } else { 256 };

/// The memory overhead of a block, in entries.
const OVERHEAD: usize = 4;

/// Keys with their new values, or `None` to remove a key.
pub(super) type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

#[derive(Debug, Default)]
pub(super) struct Pages {
    /// `None` while everything fits into memory.
    pub(super) worker: Option<Worker>,
    /// How many entries may be in memory.
    pub(super) budget: usize,
    pub(super) counts: Counts,
    /// Entries added, removed or changed since the last checkpoint.
    pub(super) changes: usize,
    /// The number of values in the database's checkpoint.
    pub(super) parts: u16,
    /// Blocks to delete from the database.
    pub(super) gone: Vec<Key>,
}

/// Entries, including the overhead of each block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) all: usize,
    /// In memory and not yet written.
    pub(super) changed: usize,
    /// In memory and also in the database.
    pub(super) clean: usize,
}

impl Counts {
    pub(super) fn of(block: &Block) -> Self {
        let all = block.count() + OVERHEAD;
        let (changed, clean) = match block.unloaded {
            0 if block.changed => (all, 0),
            0 => (0, all),
            _ => (0, 0),
        };
        Self {
            all,
            changed,
            clean,
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.all += other.all;
        self.changed += other.changed;
        self.clean += other.clean;
    }

    fn subtract(&mut self, other: Self) {
        self.all -= other.all;
        self.changed -= other.changed;
        self.clean -= other.clean;
    }
}

impl Pages {
    /// Changes a block and updates the counts.
    pub(super) fn edit<T>(&mut self, block: &mut Block, work: impl FnOnce(&mut Block) -> T) -> T {
        self.counts.subtract(Counts::of(block));
        let done = work(block);
        self.counts.add(Counts::of(block));
        done
    }

    /// Stops counting a block.
    pub(super) fn drop(&mut self, block: &Block) {
        self.counts.subtract(Counts::of(block));
    }

    /// Starts counting a block.
    pub(super) fn adopt(&mut self, block: Block) -> Block {
        self.counts.add(Counts::of(&block));
        block
    }

    /// Forgets that a block is stored. It must then be deleted from the database.
    pub(super) fn forget(&mut self, stream: u64, block: &mut Block) {
        if block.stored.take().is_some() {
            self.gone.push(block.key(stream));
        }
    }

    /// Whether the clean entries in memory exceed their share of the budget.
    pub(super) fn is_crowded(&self) -> bool {
        self.counts.clean > self.budget / 2
    }

    /// Unloads a block that the database also has.
    pub(super) fn unload(&mut self, block: &mut Block) {
        if block.unloaded == 0 && !block.changed {
            self.edit(block, |block| {
                let entries = std::mem::take(&mut block.entries);
                block.unloaded = u32::try_from(entries.len()).unwrap_or(u32::MAX);
            });
        }
    }

    /// The block at this position, loaded. Along with it, loads the unloaded ones after it until
    /// there are this many entries.
    pub(super) fn load<'a>(
        &mut self,
        stream: u64,
        blocks: &'a mut VecDeque<Block>,
        at: usize,
        wanted: usize,
    ) -> Result<Option<&'a mut Block>, Broken> {
        if blocks.get(at).is_some_and(|block| block.unloaded > 0) {
            let mut count = 0;
            let unloaded = blocks.range(at..).take_while(|block| {
                let is_wanted = count == 0 || count < wanted;
                count += block.count();
                is_wanted && block.unloaded > 0
            });
            let keys = unloaded.map(|block| (block.key(stream), block.stored));
            let fetched = self.fetch(keys.collect())?;
            for (block, entries) in blocks.range_mut(at..).zip(fetched) {
                block.used = true;
                self.edit(block, |block| {
                    (block.entries, block.unloaded) = (entries, 0)
                });
            }
        }
        let mut block = blocks.get_mut(at);
        if let Some(block) = &mut block {
            block.used = true;
        }
        Ok(block)
    }

    /// Reads the entries of blocks from the database.
    pub(super) fn fetch(
        &mut self,
        keys: Vec<(Key, Option<Stored>)>,
    ) -> Result<Vec<Vec<Entry>>, Broken> {
        self.worker()?.run(move |database, _| {
            let database = opened(database)?;
            let fetch = |(key, stored): (Key, Option<Stored>)| {
                let value = database.get(key)?;
                let entries = stored.and_then(|stored| decode(key, &value, stored));
                entries.ok_or_else(|| "a block is not as it was written".to_owned())
            };
            keys.into_iter().map(fetch).collect()
        })
    }

    /// Writes part of a large checkpoint early, because sled holds several copies of a batch in
    /// memory.
    pub(super) fn write_part(&mut self, changes: &mut Changes) -> Result<(), Broken> {
        if changes.len() < LARGEST_BATCH {
            return Ok(());
        }
        self.remove_checkpoint(changes);
        self.write_out(std::mem::take(changes), None)
    }

    /// Hands changes to the worker. If they complete a checkpoint, `bytes` is the size of its
    /// blocks.
    pub(super) fn write_out(&mut self, changes: Changes, bytes: Option<u64>) -> Result<(), Broken> {
        let worker = self.worker()?;
        worker.post(move |database, _| opened(database)?.apply(changes, bytes))
    }

    /// Removes the previous checkpoint.
    pub(super) fn remove_checkpoint(&mut self, changes: &mut Changes) {
        let parts = (0..std::mem::take(&mut self.parts)).map(checkpoint::key);
        changes.extend(parts.map(|key| (key.to_vec(), None)));
    }

    pub(super) fn worker(&mut self) -> Result<&mut Worker, Broken> {
        let none = || Broken("there is no database".to_owned());
        self.worker.as_mut().ok_or_else(none)
    }
}
