//! The positions of one stream's records.

use std::collections::VecDeque;

use super::ranges::Ranges;

/// Entries in one block; removing one moves at most these.
const BLOCK: usize = 128;

/// The position of one record: 24 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    pub(crate) segment: u32,
    /// Where its frame begins.
    pub(crate) offset: u32,
    /// Bytes of key and payload.
    pub(crate) size: u32,
    pub(crate) attempts: u32,
}

/// The entries of one stream, ordered by sequence number.
#[derive(Debug, Default, Clone)]
pub(crate) struct Queue {
    /// None is empty.
    blocks: VecDeque<Vec<Entry>>,
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Adds an entry, replacing one with the same number.
    pub(crate) fn put(&mut self, entry: Entry) -> Option<Entry> {
        let at = self.block_of(entry.sequence);
        let Some(block) = self.blocks.get_mut(at) else {
            self.push(entry);
            return None;
        };
        match block.binary_search_by_key(&entry.sequence, |entry| entry.sequence) {
            Ok(found) => block
                .get_mut(found)
                .map(|old| std::mem::replace(old, entry)),
            Err(place) => {
                block.insert(place, entry);
                if block.len() > 2 * BLOCK {
                    let behind = block.split_off(BLOCK);
                    self.blocks.insert(at + 1, behind);
                }
                None
            }
        }
    }

    pub(crate) fn find_mut(&mut self, sequence: u64) -> Option<&mut Entry> {
        let at = self.block_of(sequence);
        let block = self.blocks.get_mut(at)?;
        let found = block
            .binary_search_by_key(&sequence, |entry| entry.sequence)
            .ok()?;
        block.get_mut(found)
    }

    /// The entries with these numbers, in order.
    pub(crate) fn find(&self, numbers: &Ranges) -> Vec<Entry> {
        let mut found = Vec::new();
        for (start, end) in numbers.iter() {
            let blocks = self.blocks.range(self.block_of(start)..);
            let inside = blocks.map(|block| {
                let from = block.partition_point(|entry| entry.sequence < start);
                let to = block.partition_point(|entry| entry.sequence < end);
                block.get(from..to).unwrap_or_default()
            });
            for entries in inside.take_while(|entries| !entries.is_empty()) {
                found.extend(entries);
            }
        }
        found
    }

    /// Removes the numbers, and passes on their entries.
    pub(crate) fn remove(&mut self, sequences: &Ranges, mut removed: impl FnMut(Entry)) {
        for (start, end) in sequences.iter() {
            let mut at = self.block_of(start);
            while let Some(block) = self.blocks.get_mut(at) {
                if block.first().is_none_or(|first| first.sequence >= end) {
                    break;
                }
                block.retain(|entry| {
                    let goes = (start..end).contains(&entry.sequence);
                    if goes {
                        removed(*entry);
                    }
                    !goes
                });
                if block.is_empty() {
                    self.blocks.remove(at);
                } else {
                    if block.len() < block.capacity() / 4 {
                        block.shrink_to_fit();
                    }
                    at += 1;
                }
            }
        }
    }

    /// The entries after a number, or all.
    pub(crate) fn after(&self, sequence: Option<u64>) -> impl Iterator<Item = &Entry> + Clone {
        let first = sequence.map_or(0, |sequence| self.block_of(sequence));
        let entries = self.blocks.range(first.min(self.blocks.len())..).flatten();
        entries.skip_while(move |entry| sequence.is_some_and(|after| entry.sequence <= after))
    }

    fn push(&mut self, entry: Entry) {
        match self.blocks.back_mut() {
            Some(last) if last.len() < BLOCK => last.push(entry),
            _ => {
                // A single record of a rarely used stream does not take a whole block.
                let mut block = Vec::with_capacity(if self.blocks.is_empty() { 4 } else { BLOCK });
                block.push(entry);
                self.blocks.push_back(block);
            }
        }
    }

    /// The first block that reaches the number.
    fn block_of(&self, sequence: u64) -> usize {
        let reaches = |block: &Vec<Entry>| block.last().is_some_and(|e| e.sequence >= sequence);
        // Most work happens at the two ends.
        if self.blocks.front().is_some_and(reaches) {
            return 0;
        }
        if self.blocks.back().is_none_or(|last| !reaches(last)) {
            return self.blocks.len();
        }
        self.blocks.partition_point(|block| !reaches(block))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::ranges::Ranges;
    use super::{Entry, Queue};

    fn entry(sequence: u64, size: u32) -> Entry {
        Entry {
            sequence,
            segment: 1,
            offset: 64,
            size,
            attempts: 0,
        }
    }

    #[test]
    fn an_entry_is_as_small_as_documented() {
        assert_eq!(size_of::<Entry>(), 24);
    }

    proptest! {
        #[test]
        fn a_queue_agrees_with_a_plain_map(
            steps in vec((0_u8..4, 0_u64..1200, 1_u64..300), 1..60),
        ) {
            let (mut queue, mut model) = (Queue::default(), BTreeMap::new());
            for (step, start, count) in steps {
                match step {
                    0 | 1 => for sequence in start..start + count {
                        let size = u32::from(step);
                        let old = queue.put(entry(sequence, size));
                        prop_assert_eq!(old, model.insert(sequence, entry(sequence, size)));
                    },
                    2 => {
                        let goes: Ranges = (start..start + count).step_by(3).collect();
                        let mut removed = Vec::new();
                        queue.remove(&goes, |entry| removed.push(entry.sequence));
                        let expected = goes.numbers().filter(|n| model.remove(n).is_some());
                        prop_assert!(removed.iter().copied().eq(expected));
                    }
                    _ => {
                        let sought: Vec<u64> = (start..start + count).step_by(2).collect();
                        let there = sought.iter().copied().filter(|n| model.contains_key(n));
                        let sought: Ranges = sought.iter().copied().collect();
                        let there: Vec<Entry> = there.map(|n| model[&n]).collect();
                        prop_assert_eq!(queue.find(&sought), there);
                        let all: Ranges = (start..start + count).collect();
                        let there = model.range(start..start + count).map(|(_, e)| *e);
                        prop_assert!(queue.find(&all).into_iter().eq(there));
                        let found = queue.find_mut(start).map(|entry| *entry);
                        prop_assert_eq!(found, model.get(&start).copied());
                    }
                }
                prop_assert!(queue.after(None).eq(model.values()));
                prop_assert!(queue.after(Some(start)).eq(model.range(start + 1..).map(|(_, e)| e)));
                prop_assert_eq!(queue.is_empty(), model.is_empty());
            }
        }
    }
}
