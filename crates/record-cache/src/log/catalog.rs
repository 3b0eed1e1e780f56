//! The segments of a log, and the index of their records.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Failure;
use super::files::DiskFile;
use super::format::SEGMENT_HEADER_BYTES;
use super::frame::{Seal, length, record_length};
use super::outline::Outline;
use super::scan::Scanner;
use super::step::Step;
use crate::index::ranges::Ranges;
use crate::index::{Broken, Checkpoint, Entry, Index};
use crate::{Amount, Settlement, StreamName};

/// The size of a portion of a segment, in records and in bytes.
const PORTION: usize = 8192;
const PORTION_BYTES: u64 = 4 << 20;

/// Shared by the writer and the reader.
///
/// Counts the live records of each segment, based on what the index returns. An index that fails is
/// dropped immediately. Every call then fails until the catalog is replaced.
#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) segments: BTreeMap<u32, Segment>,
    places: Result<Box<dyn Index>, Broken>,
    /// Reading has ended.
    pub(crate) closed: bool,
}

/// One file of the log.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) seal: Seal,
    /// The first sequence number assigned while this was the last segment.
    pub(crate) base: u64,
    /// The end of its frames.
    pub(crate) end: u64,
    /// The length of the file in bytes.
    pub(crate) length: u64,
    pub(crate) live_records: u64,
    pub(crate) live_bytes: u64,
}

/// A settlement of records of one stream.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    pub(crate) stream: StreamName,
    pub(crate) deleted: Ranges,
    pub(crate) counted: Ranges,
}

impl Segment {
    pub(crate) fn new(file: Arc<dyn DiskFile>, seal: Seal, base: u64, end: u64) -> Self {
        Self {
            file,
            seal,
            base,
            end,
            length: end,
            live_records: 0,
            live_bytes: 0,
        }
    }

    /// Passes on its records, in portions, in order of position.
    ///
    /// They come from its outline or, without one, from its frames. Records with damaged frames are
    /// missing. The index knows which records are still live.
    pub(crate) fn records(
        &self,
        mut take: impl FnMut(Vec<(StreamName, Entry)>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut portion = Vec::new();
        let mut bytes = 0;
        let mut add = |step: Option<Step>| -> Result<(), Failure> {
            if let Some(Step::Record { stream, entry, .. }) = step {
                bytes += u64::from(entry.size);
                portion.push((stream, entry));
                if portion.len() == PORTION || bytes >= PORTION_BYTES {
                    bytes = 0;
                    return take(std::mem::take(&mut portion));
                }
            }
            Ok(())
        };
        if let Some(outline) = self.outline()? {
            let mut steps = outline.steps(self.seal.segment);
            steps.try_for_each(|step| add(Some(step)))?;
        } else {
            let mut scanner = self.scanner()?;
            let mut offset = SEGMENT_HEADER_BYTES;
            while let Some(found) = scanner.at_or_after(offset)? {
                offset = found.end();
                add(scanner.step(&found)?)?;
            }
        }
        take(portion)
    }

    /// The outline after its frames, if there is one.
    pub(super) fn outline(&self) -> io::Result<Option<Outline>> {
        let outline = Outline::read(&*self.file, &self.seal)?;
        Ok(outline.filter(|outline| outline.end() == self.end))
    }

    pub(super) fn scanner(&self) -> io::Result<Scanner<'_>> {
        Scanner::new(&*self.file, self.seal, self.end)
    }
}

impl Settled {
    /// The length in bytes of its frame.
    pub(crate) fn encoded_length(&self) -> u64 {
        let body = self.deleted.encoded_length() + self.counted.encoded_length();
        length(self.stream.as_str().len(), false, body as u64)
    }
}

/// The catalog before a log is opened.
impl Default for Catalog {
    fn default() -> Self {
        Self {
            segments: BTreeMap::new(),
            places: Err(closed()),
            closed: false,
        }
    }
}

impl Catalog {
    pub(crate) fn new(index: Box<dyn Index>) -> Self {
        Self {
            places: Ok(index),
            ..Self::default()
        }
    }

    /// The reason why the index is unusable, if it is.
    pub(crate) fn broken(&self) -> Option<Broken> {
        self.places.as_ref().err().cloned()
    }

    /// Bytes of the log on disk, and of its live records.
    pub(crate) fn occupancy(&self) -> (u64, u64) {
        let segments = self.segments.values();
        let sizes = segments.map(|segment| (segment.length, segment.live_bytes));
        sizes.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Adds records of one stream or updates their positions. Returns how many are new.
    pub(crate) fn put(&mut self, name: &StreamName, entries: &[Entry]) -> Result<usize, Broken> {
        // Counted even if the index is broken: while it cannot be rebuilt, a segment with records
        // that no index knows must not look empty.
        for run in entries.chunk_by(|one, next| one.segment == next.segment) {
            let segment = run.first().map(|entry| entry.segment);
            if let Some(segment) = segment.and_then(|number| self.segments.get_mut(&number)) {
                let lengths = run.iter().map(|entry| record_length(name, entry));
                segment.live_records += run.len() as u64;
                segment.live_bytes += lengths.sum::<u64>();
            }
        }
        let (mut new, segments) = (entries.len(), &mut self.segments);
        let mut replaced = |old: Entry| {
            new -= 1;
            forget(segments, old.segment, on_disk(name, &old));
        };
        ask(&mut self.places, |index| {
            index.put(name, entries, &mut replaced)
        })?;
        Ok(new)
    }

    /// The part of a settlement that still has an effect, if any, and how much that deletes.
    pub(crate) fn plan(&mut self, wish: &Settlement) -> Result<Option<(Settled, Amount)>, Broken> {
        let stream = &wish.stream;
        let mut present = |ids: &[crate::RecordId]| -> Result<Vec<Entry>, Broken> {
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            let mut sequences: Vec<u64> = ids.iter().map(|id| id.get()).collect();
            sequences.sort_unstable();
            let sequences = sequences.into_iter().collect();
            ask(&mut self.places, |index| index.find(stream, &sequences))
        };
        let deleted = present(&wish.delete)?;
        let counted = present(&wish.count_attempt)?;
        let bytes = deleted.iter().map(|entry| u64::from(entry.size)).sum();
        let amount = Amount::new(deleted.len(), bytes);
        let numbers = |entries: Vec<Entry>| entries.into_iter().map(|e| e.sequence).collect();
        let mut settled = Settled {
            stream: stream.clone(),
            deleted: numbers(deleted),
            counted: numbers(counted),
        };
        settled.counted.remove_all(&settled.deleted);
        let nothing = settled.deleted.is_empty() && settled.counted.is_empty();
        Ok((!nothing).then_some((settled, amount)))
    }

    /// Settles records. Returns what was deleted.
    pub(crate) fn settle(&mut self, settled: &Settled) -> Result<Amount, Broken> {
        if !settled.counted.is_empty() {
            ask(&mut self.places, |index| {
                index.count_attempts(&settled.stream, &settled.counted)
            })?;
        }
        self.remove(&settled.stream, &settled.deleted)
    }

    pub(crate) fn remove(
        &mut self,
        name: &StreamName,
        sequences: &Ranges,
    ) -> Result<Amount, Broken> {
        let mut removed = Amount::default();
        let segments = &mut self.segments;
        // Neighbours share a segment, and there may be many segments to look it up in.
        let (mut segment, mut run) = (0, Amount::default());
        let mut take = |entry: Entry| {
            removed += Amount::new(1, entry.size.into());
            if entry.segment != segment {
                forget(segments, segment, std::mem::take(&mut run));
                segment = entry.segment;
            }
            run += on_disk(name, &entry);
        };
        let done = ask(&mut self.places, |index| {
            index.remove(name, sequences, &mut take)
        });
        forget(segments, segment, run);
        done.map(|()| removed)
    }

    pub(crate) fn clear(&mut self) -> Result<(), Broken> {
        for segment in self.segments.values_mut() {
            (segment.live_records, segment.live_bytes) = (0, 0);
        }
        ask(&mut self.places, |index| index.clear())
    }

    /// Asks the index, which is dropped if it fails.
    pub(crate) fn ask<T>(
        &mut self,
        question: impl FnOnce(&mut dyn Index) -> Result<T, Broken>,
    ) -> Result<T, Broken> {
        ask(&mut self.places, question)
    }

    /// The current entries of the records that still exist and have not moved, in order of
    /// position.
    pub(crate) fn current(
        &mut self,
        records: &[(StreamName, Entry)],
    ) -> Result<Vec<(StreamName, Entry)>, Broken> {
        let position = |entry: &Entry| (entry.sequence, entry.segment, entry.place);
        let mut of_streams: BTreeMap<&StreamName, Vec<_>> = BTreeMap::new();
        for run in records.chunk_by(|(name, _), (next, _)| name == next) {
            if let Some((name, _)) = run.first() {
                let positions = run.iter().map(|(_, entry)| position(entry));
                of_streams.entry(name).or_default().extend(positions);
            }
        }
        let mut current = Vec::new();
        for (name, mut positions) in of_streams {
            positions.sort_unstable();
            let numbers = positions.iter().map(|(sequence, ..)| *sequence).collect();
            let mut found = ask(&mut self.places, |index| index.find(name, &numbers))?;
            found.retain(|entry| positions.binary_search(&position(entry)).is_ok());
            current.extend(found.into_iter().map(|entry| (name.clone(), entry)));
        }
        current.sort_unstable_by_key(|(_, entry)| (entry.segment, entry.place));
        Ok(current)
    }

    pub(crate) fn wants_checkpoint(&self) -> bool {
        let index = self.places.as_ref();
        index.is_ok_and(|index| index.wants_checkpoint())
    }

    /// Ends all reads and changes, and closes all files.
    pub(crate) fn close(&mut self, at: Option<&Checkpoint>) -> Result<(), Broken> {
        self.closed = true;
        self.segments.clear();
        match (std::mem::replace(&mut self.places, Err(closed())), at) {
            (Ok(mut index), Some(at)) => index.close(at),
            (places, _) => places.map(drop),
        }
    }
}

fn ask<T>(
    places: &mut Result<Box<dyn Index>, Broken>,
    question: impl FnOnce(&mut dyn Index) -> Result<T, Broken>,
) -> Result<T, Broken> {
    let index = places.as_mut().map_err(|broken| broken.clone())?;
    let answer = question(&mut **index);
    if let Err(broken) = &answer {
        *places = Err(broken.clone());
    }
    answer
}

fn closed() -> Broken {
    Broken("the store is not open".to_owned())
}

/// A record with its frame.
fn on_disk(name: &StreamName, entry: &Entry) -> Amount {
    Amount::new(1, record_length(name, entry))
}

fn forget(segments: &mut BTreeMap<u32, Segment>, number: u32, gone: Amount) {
    if let Some(segment) = segments.get_mut(&number) {
        segment.live_records = segment.live_records.saturating_sub(gone.records as u64);
        segment.live_bytes = segment.live_bytes.saturating_sub(gone.bytes);
    }
}

// No code that can panic runs under these locks, so a poisoned lock is still consistent.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
