//! The state shared by the blocks of all streams: the database and the memory budget.

use std::collections::VecDeque;

use super::block::{Block, Entries, Key, Stored, decode};
use super::checkpoint::{self, Totals};
use super::database::{Changes, Database};
use super::worker::Outcome;
use super::worker::{Awaited, Worker};
use crate::index::Broken;
use crate::index::Entry;

/// About how many changes go into one batch. Few in tests, so that checkpoints of small indexes
/// also take several batches.
const LARGEST_BATCH: usize = if cfg!(test) { 16 } else { 4_096 };

/// The memory overhead of a block, in entries.
const OVERHEAD: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Pages {
    /// `None` while everything fits into memory.
    pub(super) worker: Option<Worker>,
    /// A checkpoint handed to the worker, with its outcome still unknown.
    pub(super) pending: Option<Awaited<()>>,
    /// How many entries may be in memory.
    pub(super) budget: usize,
    pub(super) counts: Counts,
    /// Entries added, removed or changed since the last checkpoint.
    pub(super) changes: usize,
    /// The blocks in the database, except those in `gone`.
    pub(super) totals: Totals,
    /// Blocks to delete from the database.
    pub(super) gone: Vec<Key>,
    /// Counts calls, to date the use of blocks.
    pub(super) clock: u32,
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
        let (changed, clean) = match block.entries {
            Entries::Out(_) => (0, 0),
            Entries::In(_) if block.changed => (all, 0),
            Entries::In(_) => (0, all),
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
    pub(super) fn new(budget: usize) -> Self {
        Self {
            budget,
            ..Self::default()
        }
    }

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
    pub(super) fn adopt(&mut self, mut block: Block) -> Block {
        block.used = self.clock;
        self.counts.add(Counts::of(&block));
        block
    }

    /// Whether the clean entries in memory exceed their share of the budget.
    pub(super) fn is_crowded(&self) -> bool {
        self.counts.clean > self.budget / 2
    }

    pub(super) fn unload(&mut self, block: &mut Block) {
        if block.is_clean() {
            self.edit(block, |block| {
                let count = u32::try_from(block.count()).unwrap_or(u32::MAX);
                block.entries = Entries::Out(count);
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
        let mut count = 0;
        let mut keys = Vec::new();
        for block in blocks.range(at.min(blocks.len())..) {
            match block.entries {
                Entries::Out(entries) if keys.is_empty() || count < wanted => {
                    count += entries as usize;
                    keys.push(block.key(stream));
                }
                _ => break,
            }
        }
        if !keys.is_empty() {
            let fetched = self.fetch(keys)?;
            for (block, entries) in blocks.range_mut(at..).zip(fetched) {
                block.used = self.clock;
                self.edit(block, |block| block.entries = Entries::In(entries));
            }
        }
        let mut block = blocks.get_mut(at);
        if let Some(block) = &mut block {
            block.used = self.clock;
        }
        Ok(block)
    }

    /// Reads the entries of blocks from the database.
    pub(super) fn fetch(
        &mut self,
        keys: Vec<(Key, Option<Stored>)>,
    ) -> Result<Vec<Vec<Entry>>, Broken> {
        self.call(move |database| {
            let fetch = |(key, stored): (Key, Option<Stored>)| {
                let value = database.get(key)?;
                let entries = stored.and_then(|stored| decode(key, &value, stored));
                entries.ok_or_else(|| "a block is not as it was written".to_owned())
            };
            keys.into_iter().map(fetch).collect()
        })
    }

    /// Runs work on the worker thread, after the pending checkpoint.
    pub(super) fn call<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Database) -> Outcome<T> + Send + 'static,
    ) -> Result<T, Broken> {
        self.await_checkpoint()?;
        let worker = self.worker.as_mut().ok_or_else(no_database)?;
        worker.run(|database, _| work(database.as_mut().ok_or("the database is closed")?))
    }

    /// Writes part of a large checkpoint early, because sled holds several copies of a batch in
    /// memory.
    ///
    /// `checkpoint` is the number of values in the previous checkpoint, which is removed.
    pub(super) fn write_part(
        &mut self,
        changes: &mut Changes,
        checkpoint: &mut u16,
    ) -> Result<(), Broken> {
        if changes.len() < LARGEST_BATCH {
            return Ok(());
        }
        remove_checkpoint(changes, checkpoint);
        self.write_out(std::mem::take(changes), false)
    }

    /// Posts changes to the worker, one batch at a time, so the owner cannot outrun the disk.
    pub(super) fn write_out(&mut self, changes: Changes, is_last: bool) -> Result<(), Broken> {
        self.await_checkpoint()?;
        let bytes = is_last.then_some(self.totals.bytes);
        let worker = self.worker.as_mut().ok_or_else(no_database)?;
        self.pending = Some(worker.post(move |database, _| {
            let database = database.as_mut().ok_or("the database is closed")?;
            database.apply(changes, bytes)
        }));
        Ok(())
    }

    pub(super) fn await_checkpoint(&mut self) -> Result<(), Broken> {
        if let (Some(worker), Some(pending)) = (&self.worker, self.pending.take()) {
            worker.wait(&pending)?;
        }
        Ok(())
    }
}

/// Removes a checkpoint of this many values.
pub(super) fn remove_checkpoint(changes: &mut Changes, values: &mut u16) {
    let removed = (0..std::mem::take(values)).map(checkpoint::key);
    changes.extend(removed.map(|key| (key.to_vec(), None)));
}

pub(super) fn no_database() -> Broken {
    Broken("there is no database".to_owned())
}
