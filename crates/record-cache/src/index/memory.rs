//! The index that keeps every entry in memory: 24 bytes per record.

use std::collections::BTreeMap;

use super::queue::{Entry, Queue};
use super::ranges::Ranges;
use super::{Broken, Checkpoint, Index};
use crate::{ReadLimits, StreamName};

/// It never breaks, and keeps nothing for the next opening.
#[derive(Debug, Default, Clone)]
pub(crate) struct MemoryIndex {
    /// None is empty.
    streams: BTreeMap<StreamName, Queue>,
}

#[cfg(test)]
impl MemoryIndex {
    /// What it holds of each stream.
    pub(crate) fn held(&self) -> BTreeMap<StreamName, crate::QueueStats> {
        let held = self.streams.iter().map(|(name, queue)| {
            let sizes = queue.after(None).map(|entry| u64::from(entry.size));
            let stats = crate::QueueStats::new(sizes.clone().count(), sizes.sum());
            (name.clone(), stats)
        });
        held.collect()
    }
}

impl Index for MemoryIndex {
    fn put(&mut self, stream: &StreamName, entry: Entry) -> Result<Option<Entry>, Broken> {
        if let Some(queue) = self.streams.get_mut(stream) {
            return Ok(queue.put(entry));
        }
        let mut queue = Queue::default();
        queue.put(entry);
        self.streams.insert(stream.clone(), queue);
        Ok(None)
    }

    fn find(&mut self, stream: &StreamName, numbers: &Ranges) -> Result<Vec<Entry>, Broken> {
        let queue = self.streams.get(stream);
        Ok(queue.map_or_else(Vec::new, |queue| queue.find(numbers)))
    }

    fn remove(
        &mut self,
        stream: &StreamName,
        numbers: &Ranges,
        removed: &mut dyn FnMut(Entry),
    ) -> Result<(), Broken> {
        if let Some(queue) = self.streams.get_mut(stream) {
            queue.remove(numbers, removed);
            if queue.is_empty() {
                self.streams.remove(stream);
            }
        }
        Ok(())
    }

    fn count_attempts(&mut self, stream: &StreamName, numbers: &Ranges) -> Result<(), Broken> {
        if let Some(queue) = self.streams.get_mut(stream) {
            for number in numbers.numbers() {
                if let Some(entry) = queue.find_mut(number) {
                    entry.attempts = entry.attempts.saturating_add(1);
                }
            }
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
        let queue = self.streams.get(stream).into_iter();
        let entries = queue.flat_map(|queue| queue.after(number));
        for entry in entries.take(limits.max_records.get()) {
            bytes = bytes.saturating_add(entry.size.into());
            if bytes > limits.max_bytes.get() && !fitting.is_empty() {
                break;
            }
            fitting.push(*entry);
        }
        Ok(fitting)
    }

    fn streams_with(&mut self, numbers: &Ranges) -> Result<Vec<StreamName>, Broken> {
        let mut streams = Vec::new();
        if !numbers.is_empty() {
            streams.extend(self.streams.keys().cloned());
        }
        Ok(streams)
    }

    fn clear(&mut self) -> Result<(), Broken> {
        self.streams.clear();
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
