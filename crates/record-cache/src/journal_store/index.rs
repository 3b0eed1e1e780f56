//! What the journal holds, in memory: places and counters, no payloads.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::disk::DiskFile;
use super::frame::{Seal, frame_length};
use crate::index::queue::{Entry, Queue};
use crate::index::ranges::Ranges;
use crate::{Amount, QueueStats, StoreStats, StreamName};

/// The queues, and the segments that their records lie in.
#[derive(Debug, Default)]
pub(super) struct Index {
    streams: BTreeMap<StreamName, Stream>,
    pub(super) segments: BTreeMap<u32, Segment>,
    pub(super) damaged_records: u64,
    /// Nothing is read any more.
    pub(super) closed: bool,
}

/// One file of the log.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) seal: Seal,
    /// The first sequence number that was given out when it was the last one.
    pub(super) base: u64,
    pub(super) length: u64,
    pub(super) live_records: u64,
    pub(super) live_bytes: u64,
}

/// What is to be done to records of one stream.
#[derive(Debug, Clone)]
pub(super) struct Settled {
    pub(super) stream: StreamName,
    pub(super) deleted: Ranges,
    pub(super) counted: Ranges,
}

#[derive(Debug, Default)]
struct Stream {
    queue: Queue,
    stats: QueueStats,
    /// Damaged records that no read has reported yet.
    unreported: Amount,
}

impl Segment {
    pub(super) fn new(file: Arc<dyn DiskFile>, seal: Seal, base: u64, length: u64) -> Self {
        Self {
            file,
            seal,
            base,
            length,
            live_records: 0,
            live_bytes: 0,
        }
    }
}

impl Index {
    /// Adds a record, or gives one that is there its new place.
    pub(super) fn put(&mut self, name: &StreamName, entry: Entry) {
        if !self.streams.contains_key(name) {
            self.streams.insert(name.clone(), Stream::default());
        }
        let Some(stream) = self.streams.get_mut(name) else {
            return;
        };
        let bytes = frame_length(name.as_str().len(), entry.size);
        if let Some(segment) = self.segments.get_mut(&entry.segment) {
            segment.live_records += 1;
            segment.live_bytes += bytes;
        }
        match stream.queue.put(entry) {
            Some(old) => forget(&mut self.segments, name, &old),
            None => {
                stream.stats.records += 1;
                stream.stats.bytes += u64::from(entry.size);
            }
        }
    }

    /// Changes the place of a record that is still where it was.
    pub(super) fn relocate(&mut self, name: &StreamName, from: &Entry, to: Entry) {
        let Some(stream) = self.streams.get_mut(name) else {
            return;
        };
        let found = stream.queue.find_mut(from.sequence).map(|entry| *entry);
        if found.is_some_and(|found| (found.segment, found.offset) == (from.segment, from.offset)) {
            self.put(name, to);
        }
    }

    /// What is left to do of a wish, if anything.
    pub(super) fn plan(&self, settlement: &crate::Settlement) -> Option<Settled> {
        let queue = &self.streams.get(&settlement.stream)?.queue;
        let present = |ids: &[crate::RecordId]| {
            let mut sequences: Vec<u64> = ids.iter().map(|id| id.get()).collect();
            sequences.sort_unstable();
            queue.present(&sequences)
        };
        let deleted = present(&settlement.delete);
        let mut counted = present(&settlement.count_attempt);
        counted.remove_all(&deleted);
        let nothing = deleted.is_empty() && counted.is_empty();
        (!nothing).then(|| Settled {
            stream: settlement.stream.clone(),
            deleted,
            counted,
        })
    }

    pub(super) fn settle(&mut self, settled: &Settled) -> Amount {
        let Some(stream) = self.streams.get_mut(&settled.stream) else {
            return Amount::default();
        };
        for sequence in settled.counted.numbers() {
            if let Some(entry) = stream.queue.find_mut(sequence) {
                entry.attempts = entry.attempts.saturating_add(1);
            }
        }
        self.remove(&settled.stream, &settled.deleted)
    }

    /// Takes records out that turned out to be damaged.
    pub(super) fn lose(&mut self, lost: &Settled) -> Amount {
        let removed = self.remove(&lost.stream, &lost.deleted);
        self.damaged_records += removed.records as u64;
        if let Some(stream) = self.streams.get_mut(&lost.stream) {
            stream.unreported += removed;
        } else if removed.records > 0 {
            let stream = Stream {
                unreported: removed,
                ..Stream::default()
            };
            self.streams.insert(lost.stream.clone(), stream);
        }
        removed
    }

    /// Damage in a stream that is to be reported now, once.
    pub(super) fn take_unreported(&mut self, name: &StreamName) -> Amount {
        let Some(stream) = self.streams.get_mut(name) else {
            return Amount::default();
        };
        let unreported = std::mem::take(&mut stream.unreported);
        if stream.queue.is_empty() {
            self.streams.remove(name);
        }
        unreported
    }

    /// Forgets records whatever their stream.
    pub(super) fn remove_everywhere(&mut self, sequences: &Ranges) {
        let names: Vec<StreamName> = self.streams.keys().cloned().collect();
        for name in names {
            self.remove(&name, sequences);
        }
    }

    pub(super) fn clear(&mut self) -> Amount {
        let mut removed = Amount::default();
        for stream in std::mem::take(&mut self.streams).into_values() {
            removed += Amount::new(stream.stats.records, stream.stats.bytes);
        }
        for segment in self.segments.values_mut() {
            (segment.live_records, segment.live_bytes) = (0, 0);
        }
        removed
    }

    /// The entries of a stream behind a number, or all of them.
    pub(super) fn after(
        &self,
        name: &StreamName,
        sequence: Option<u64>,
    ) -> impl Iterator<Item = &Entry> + '_ {
        self.streams
            .get(name)
            .into_iter()
            .flat_map(move |stream| stream.queue.after(sequence))
    }

    /// Those of the records that are there, and still where they were, as they are now.
    pub(super) fn current(&self, records: Vec<(StreamName, Entry)>) -> Vec<(StreamName, Entry)> {
        let now = records.into_iter().filter_map(|(name, then)| {
            let stream = self.streams.get(&name)?;
            let entry = *stream.queue.after(then.sequence.checked_sub(1)).next()?;
            let same = (entry.sequence, entry.segment, entry.offset)
                == (then.sequence, then.segment, then.offset);
            same.then_some((name, entry))
        });
        now.collect()
    }

    /// All that lies in one segment.
    pub(super) fn lying_in(&self, segment: u32) -> Vec<(StreamName, Entry)> {
        let mut found = Vec::new();
        for (name, stream) in &self.streams {
            let inside = stream
                .queue
                .after(None)
                .filter(|entry| entry.segment == segment);
            found.extend(inside.map(|entry| (name.clone(), *entry)));
        }
        found
    }

    pub(super) fn stats(&self) -> StoreStats {
        let held = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.stats.records > 0);
        let streams = held
            .map(|(name, stream)| (name.clone(), stream.stats))
            .collect();
        StoreStats::new(streams, self.damaged_records)
    }

    fn remove(&mut self, name: &StreamName, sequences: &Ranges) -> Amount {
        let Some(stream) = self.streams.get_mut(name) else {
            return Amount::default();
        };
        let mut removed = Amount::default();
        stream.queue.remove(sequences, |entry| {
            removed += Amount::new(1, entry.size.into());
            forget(&mut self.segments, name, &entry);
        });
        stream.stats.records -= removed.records;
        stream.stats.bytes -= removed.bytes;
        if stream.queue.is_empty() && stream.unreported == Amount::default() {
            self.streams.remove(name);
        }
        removed
    }
}

fn forget(segments: &mut BTreeMap<u32, Segment>, name: &StreamName, entry: &Entry) {
    if let Some(segment) = segments.get_mut(&entry.segment) {
        segment.live_records = segment.live_records.saturating_sub(1);
        let bytes = frame_length(name.as_str().len(), entry.size);
        segment.live_bytes = segment.live_bytes.saturating_sub(bytes);
    }
}
