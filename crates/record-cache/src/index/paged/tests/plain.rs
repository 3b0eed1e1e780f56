//! A minimal index for tests of its users.

use std::collections::BTreeMap;

use crate::index::ranges::Ranges;
use crate::index::{Broken, Checkpoint, Entry, Index};
use crate::{QueueStats, ReadLimits, StreamName};

/// Never breaks, and saves nothing for the next open.
#[derive(Debug, Default, Clone)]
pub(crate) struct PlainIndex(BTreeMap<StreamName, BTreeMap<u64, Entry>>);

impl PlainIndex {
    /// What the index holds of each stream.
    pub(crate) fn held(&self) -> BTreeMap<StreamName, QueueStats> {
        let held = self.0.iter().filter(|(_, entries)| !entries.is_empty());
        let stats = held.map(|(name, entries)| {
            let bytes = entries.values().map(|entry| u64::from(entry.size)).sum();
            (name.clone(), QueueStats::new(entries.len(), bytes))
        });
        stats.collect()
    }

    fn of(&mut self, stream: &StreamName) -> &mut BTreeMap<u64, Entry> {
        self.0.entry(stream.clone()).or_default()
    }
}

impl Index for PlainIndex {
    fn put(
        &mut self,
        stream: &StreamName,
        entries: &[Entry],
        replaced: &mut dyn FnMut(Entry),
    ) -> Result<(), Broken> {
        for entry in entries {
            let old = self.of(stream).insert(entry.sequence, *entry);
            old.into_iter().for_each(&mut *replaced);
        }
        Ok(())
    }

    fn find(&mut self, stream: &StreamName, numbers: &Ranges) -> Result<Vec<Entry>, Broken> {
        let entries = self.of(stream);
        let found = numbers
            .iter()
            .flat_map(|(start, end)| entries.range(start..end));
        Ok(found.map(|(_, entry)| *entry).collect())
    }

    fn remove(
        &mut self,
        stream: &StreamName,
        numbers: &Ranges,
        removed: &mut dyn FnMut(Entry),
    ) -> Result<(), Broken> {
        for entry in self.find(stream, numbers)? {
            self.of(stream).remove(&entry.sequence);
            removed(entry);
        }
        Ok(())
    }

    fn count_attempts(&mut self, stream: &StreamName, numbers: &Ranges) -> Result<(), Broken> {
        for mut entry in self.find(stream, numbers)? {
            entry.attempts = entry.attempts.saturating_add(1);
            self.of(stream).insert(entry.sequence, entry);
        }
        Ok(())
    }

    fn after(
        &mut self,
        stream: &StreamName,
        number: Option<u64>,
        limits: ReadLimits,
    ) -> Result<Vec<Entry>, Broken> {
        let mut bytes = 0_u64;
        let mut fitting = Vec::new();
        let behind = number.map_or(0, |number| number.saturating_add(1));
        let entries = self.of(stream).range(behind..);
        for (_, entry) in entries.take(limits.max_records.get()) {
            bytes += u64::from(entry.size);
            if bytes > limits.max_bytes.get() && !fitting.is_empty() {
                break;
            }
            fitting.push(*entry);
        }
        Ok(fitting)
    }

    fn clear(&mut self) -> Result<(), Broken> {
        self.0.clear();
        Ok(())
    }

    fn relieve(&mut self) -> Result<(), Broken> {
        Ok(())
    }

    fn wants_checkpoint(&self) -> bool {
        false
    }

    fn checkpoint(&mut self, _: &Checkpoint) -> Result<(), Broken> {
        Ok(())
    }

    fn close(&mut self, _: &Checkpoint) -> Result<(), Broken> {
        Ok(())
    }
}
