//! The blocks of one stream, in order.

use std::collections::VecDeque;
use std::iter::Peekable;

use super::block::{BLOCK, Block, Key, Stored, encode};
use super::checkpoint::Totals;
use super::pages::{Changes, Pages};
use crate::index::ranges::Ranges;
use crate::index::{Broken, Entry};
use crate::{ReadLimits, StreamName};

/// The size up to which a block is merged with the next one. If the last block is not in memory,
/// new entries begin another block, and the two are merged when written. Without merging, a rarely
/// used stream would have many blocks.
const SHORT: usize = 64;

/// The fewest entries a read loads at once: several batches, because waking the thread that asks
/// sled takes longer than reading a block.
const READ_AHEAD: usize = 16 * BLOCK;

#[derive(Debug)]
pub(super) struct Stream {
    /// Its number in the database.
    pub(super) number: u64,
    /// No block is empty. Each ends before the next one starts.
    pub(super) blocks: VecDeque<Block>,
}

impl Stream {
    pub(super) fn new(number: u64) -> Self {
        Self {
            number,
            // A rarely used stream has one block.
            blocks: VecDeque::with_capacity(1),
        }
    }

    /// Adds the first entries to the last block, as many as fit and lie behind all others: in one
    /// step, since nearly all entries are added this way. Returns the other entries.
    pub(super) fn extend<'a>(&mut self, entries: &'a [Entry], pages: &mut Pages) -> &'a [Entry] {
        let Some(block) = self.blocks.back_mut().filter(|block| !block.is_full()) else {
            return entries;
        };
        let mut last = block.last;
        let fit = entries.iter().take(BLOCK - block.count());
        let behind =
            fit.take_while(|entry| std::mem::replace(&mut last, entry.sequence) < entry.sequence);
        let (behind, others) = entries.split_at(behind.count());
        if let Some(last) = behind.last() {
            pages.edit(block, |block| {
                // Never room for more than a whole block.
                let size = (block.entries.len() + behind.len()).next_power_of_two();
                block.entries.reserve_exact(size - block.entries.len());
                block.entries.extend_from_slice(behind);
                (block.last, block.used, block.changed) = (last.sequence, true, true);
            });
        }
        others
    }

    pub(super) fn put(&mut self, entry: Entry, pages: &mut Pages) -> Result<Option<Entry>, Broken> {
        let number = entry.sequence;
        let at = self.reaching(number);
        if at == self.blocks.len() && self.blocks.back().is_none_or(Block::is_full) {
            self.blocks.push_back(pages.adopt(Block::new(vec![entry])));
            return Ok(None);
        }
        let at = at.min(self.blocks.len() - 1);
        let Some(block) = pages.load(self.number, &mut self.blocks, at, 1)? else {
            return Ok(None);
        };
        if number < block.start {
            pages.forget(self.number, block);
            block.start = number;
        }
        let old = pages.edit(block, |block| {
            block.last = block.last.max(number);
            block.changed = true;
            let entries = &mut block.entries;
            if entries.last().is_none_or(|last| last.sequence < number) {
                entries.push(entry);
                return None;
            }
            match entries.binary_search_by_key(&number, |entry| entry.sequence) {
                Ok(found) => entries
                    .get_mut(found)
                    .map(|old| std::mem::replace(old, entry)),
                Err(place) => {
                    entries.insert(place, entry);
                    None
                }
            }
        });
        if block.count() > BLOCK {
            self.split(at, pages);
        }
        Ok(old)
    }

    pub(super) fn after(
        &mut self,
        number: Option<u64>,
        limits: ReadLimits,
        pages: &mut Pages,
    ) -> Result<Vec<Entry>, Broken> {
        let mut found: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        let mut at = number.map_or(0, |number| self.reaching(number.saturating_add(1)));
        loop {
            let ahead = READ_AHEAD.min(pages.budget / 4);
            let Some(block) = pages.load(self.number, &mut self.blocks, at, ahead)? else {
                return Ok(found);
            };
            let behind = |entry: &&Entry| number.is_none_or(|number| entry.sequence > number);
            for entry in block.entries.iter().filter(behind) {
                bytes += u64::from(entry.size);
                let full =
                    found.len() >= limits.max_records.get() || bytes > limits.max_bytes.get();
                if full && !found.is_empty() {
                    return Ok(found);
                }
                found.push(*entry);
            }
            if pages.is_crowded() {
                pages.unload(block);
            }
            at += 1;
        }
    }

    /// The block before the last one, if it is short and not in memory, and the last one has
    /// changed.
    pub(super) fn short(&self) -> Option<(Key, Option<Stored>)> {
        let before = self.blocks.get(self.blocks.len().checked_sub(2)?)?;
        let last = self.blocks.back()?;
        let is_short = before.unloaded > 0 && before.count() <= SHORT;
        let fits = before.count() + last.count() <= BLOCK;
        (is_short && fits && last.changed).then(|| (before.key(self.number), before.stored))
    }

    /// Merges the last block into the short one before it, which has these entries.
    pub(super) fn join(&mut self, mut entries: Vec<Entry>, pages: &mut Pages) {
        let Some(mut last) = self.blocks.pop_back() else {
            return;
        };
        self.blocks.shrink_to_fit();
        pages.forget(self.number, &mut last);
        pages.drop(&last);
        if let Some(short) = self.blocks.back_mut() {
            entries.extend(last.entries);
            pages.edit(short, |short| {
                (short.entries, short.unloaded) = (entries, 0);
                (short.last, short.used, short.changed) = (last.last, true, true);
            });
        }
    }

    /// Passes on the values of changed blocks and marks those blocks as written. Adds all blocks to
    /// the totals.
    pub(super) fn write(
        &mut self,
        name: &StreamName,
        pages: &mut Pages,
        changes: &mut Changes,
        totals: &mut Totals,
    ) {
        let mut at = 0;
        while let Some(block) = self.blocks.get_mut(at) {
            if block.changed {
                let key = block.key(self.number);
                let Some((value, stored)) = encode(key, name, block.last, &block.entries) else {
                    self.split(at, pages);
                    continue;
                };
                block.stored = Some(stored);
                pages.edit(block, |block| block.changed = false);
                changes.push((key.bytes().to_vec(), Some(value)));
            }
            if let Some(stored) = block.stored {
                totals.add(stored);
            }
            at += 1;
        }
    }

    /// Visits each block that may contain any of the numbers. `work` returns how many entries it
    /// changed.
    pub(super) fn visit(
        &mut self,
        numbers: &Ranges,
        pages: &mut Pages,
        mut work: impl FnMut(&mut Vec<Entry>, &mut Wanted<'_>) -> usize,
    ) -> Result<(), Broken> {
        let ranges: Box<dyn Iterator<Item = _>> = Box::new(numbers.iter());
        let mut wanted = ranges.peekable();
        let (mut from, mut guess) = (0, 0);
        while let Some((start, end)) = next(&mut wanted, from) {
            let at = self.reaching_from(guess, start.max(from));
            if let Some(block) = self.blocks.get(at)
                && block.start >= end
            {
                from = block.start;
                continue;
            }
            let Some(block) = pages.load(self.number, &mut self.blocks, at, 1)? else {
                break;
            };
            let changed = pages.edit(block, |block| {
                let changed = work(&mut block.entries, &mut wanted);
                block.changed |= changed > 0;
                changed
            });
            pages.changes += changed;
            from = block.last.saturating_add(1);
            if block.count() == 0 {
                pages.forget(self.number, block);
                pages.drop(block);
                self.blocks.remove(at);
                guess = at;
                continue;
            }
            if pages.is_crowded() {
                pages.unload(block);
            }
            guess = at + 1;
        }
        Ok(())
    }

    /// Like [`reaching`](Self::reaching), with a guess that may save the search.
    fn reaching_from(&self, guess: usize, number: u64) -> usize {
        let ends_before = |at: usize| self.blocks.get(at).map(|block| block.last < number);
        let before = guess.checked_sub(1).and_then(ends_before);
        match (before.unwrap_or(true), ends_before(guess)) {
            (true, Some(false)) => guess,
            _ => self.reaching(number),
        }
    }

    /// The first block that extends to the number or beyond.
    fn reaching(&self, number: u64) -> usize {
        // Most work happens at the two ends.
        match (self.blocks.front(), self.blocks.back()) {
            (Some(first), _) if first.last >= number => 0,
            (_, Some(last)) if last.last < number => self.blocks.len(),
            _ => self.blocks.partition_point(|block| block.last < number),
        }
    }

    fn split(&mut self, at: usize, pages: &mut Pages) {
        if let Some(block) = self.blocks.get_mut(at) {
            let behind = pages.edit(block, Block::split);
            self.blocks.insert(at + 1, pages.adopt(behind));
        }
    }
}

/// The ranges of numbers to look for, in ascending order.
pub(super) type Wanted<'a> = Peekable<Box<dyn Iterator<Item = (u64, u64)> + 'a>>;

/// Skips the ranges below a number. Returns the next one.
fn next(wanted: &mut Wanted<'_>, number: u64) -> Option<(u64, u64)> {
    while wanted.next_if(|(_, end)| *end <= number).is_some() {}
    wanted.peek().copied()
}

/// Whether a number is among those to look for. Each call is for a higher one than the last.
pub(super) fn has(wanted: &mut Wanted<'_>, number: u64) -> bool {
    next(wanted, number).is_some_and(|(start, _)| start <= number)
}
