//! The segments of a log, and the index of what lies in them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::files::DiskFile;
use super::frame::{Seal, frame_length};
use crate::index::queue::Entry;
use crate::index::ranges::Ranges;
use crate::index::{Broken, Checkpoint, Index};
use crate::{Amount, ReadLimits, Settlement, StreamName};

/// Shared by those who write and who read.
///
/// Keeps the live numbers of the segments from what the index hands over. An index that fails
/// is dropped at once; from then on every call fails, until [`replace`](Self::replace).
#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) segments: BTreeMap<u32, Segment>,
    places: Result<Box<dyn Index>, Broken>,
    /// Damaged records that no read has reported yet.
    unreported: BTreeMap<StreamName, Amount>,
    /// Nothing is read any more.
    pub(crate) closed: bool,
}

/// One file of the log.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) seal: Seal,
    /// The first sequence number that was given out when it was the last one.
    pub(crate) base: u64,
    /// Where its frames end.
    pub(crate) end: u64,
    /// Bytes of the file.
    pub(crate) length: u64,
    pub(crate) live_records: u64,
    pub(crate) live_bytes: u64,
}

/// What is to be done to records of one stream.
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
}

impl Settled {
    /// Records that are gone.
    pub(crate) fn deleted(stream: StreamName, deleted: Ranges) -> Self {
        Self {
            stream,
            deleted,
            counted: Ranges::default(),
        }
    }

    /// Bytes of the frame that records it.
    pub(crate) fn encoded_length(&self) -> u64 {
        let body = self.deleted.encoded_length() + self.counted.encoded_length();
        let body = u32::try_from(body).unwrap_or(u32::MAX);
        frame_length(self.stream.as_str().len(), body)
    }
}

impl Catalog {
    pub(crate) fn new(index: Box<dyn Index>) -> Self {
        Self {
            segments: BTreeMap::new(),
            places: Ok(index),
            unreported: BTreeMap::new(),
            closed: false,
        }
    }

    /// Before a log is opened.
    pub(crate) fn unopened() -> Self {
        Self {
            segments: BTreeMap::new(),
            places: Err(closed()),
            unreported: BTreeMap::new(),
            closed: false,
        }
    }

    /// Why the index cannot be used, if it cannot.
    pub(crate) fn broken(&self) -> Option<Broken> {
        self.places.as_ref().err().cloned()
    }

    /// Goes on with what another catalog of the same segments knows.
    pub(crate) fn replace(&mut self, other: Self) {
        for (number, segment) in &mut self.segments {
            let found = other.segments.get(number);
            segment.live_records = found.map_or(0, |found| found.live_records);
            segment.live_bytes = found.map_or(0, |found| found.live_bytes);
        }
        self.places = other.places;
    }

    /// Adds a record, or gives one that is there its new place; says whether it is new.
    pub(crate) fn put(&mut self, name: &StreamName, entry: Entry) -> Result<bool, Broken> {
        let old = self.ask(|index| index.put(name, entry))?;
        let bytes = frame_length(name.as_str().len(), entry.size);
        if let Some(segment) = self.segments.get_mut(&entry.segment) {
            segment.live_records += 1;
            segment.live_bytes += bytes;
        }
        if let Some(old) = old {
            forget(&mut self.segments, name, &old);
        }
        Ok(old.is_none())
    }

    /// Changes the place of a record that is still where it was.
    pub(crate) fn relocate(
        &mut self,
        name: &StreamName,
        from: &Entry,
        to: Entry,
    ) -> Result<(), Broken> {
        let number = [from.sequence].into_iter().collect();
        let found = self.ask(|index| index.find(name, &number))?;
        if let Some(found) = found.first()
            && (found.segment, found.offset) == (from.segment, from.offset)
        {
            self.put(name, to)?;
        }
        Ok(())
    }

    /// What is left to do of a wish, if anything, and how much that deletes.
    pub(crate) fn plan(&mut self, wish: &Settlement) -> Result<Option<(Settled, Amount)>, Broken> {
        let stream = &wish.stream;
        let mut present = |ids: &[crate::RecordId]| -> Result<Vec<Entry>, Broken> {
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            let mut sequences: Vec<u64> = ids.iter().map(|id| id.get()).collect();
            sequences.sort_unstable();
            let sequences = sequences.into_iter().collect();
            self.ask(|index| index.find(stream, &sequences))
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

    /// Settles records; says what of them was there to be deleted.
    pub(crate) fn settle(&mut self, settled: &Settled) -> Result<Amount, Broken> {
        if !settled.counted.is_empty() {
            self.ask(|index| index.count_attempts(&settled.stream, &settled.counted))?;
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
        let mut take = |entry: Entry| {
            removed += Amount::new(1, entry.size.into());
            forget(segments, name, &entry);
        };
        let outcome = match &mut self.places {
            Ok(index) => index.remove(name, sequences, &mut take),
            Err(broken) => Err(broken.clone()),
        };
        self.noted(outcome)?;
        Ok(removed)
    }

    /// Forgets records whatever their stream; says what was there.
    pub(crate) fn remove_everywhere(
        &mut self,
        sequences: &Ranges,
    ) -> Result<Vec<(StreamName, Amount)>, Broken> {
        let names = self.ask(|index| index.streams_with(sequences))?;
        let mut removed = Vec::new();
        for name in names {
            let amount = self.remove(&name, sequences)?;
            removed.push((name, amount));
        }
        Ok(removed)
    }

    pub(crate) fn clear(&mut self) -> Result<(), Broken> {
        self.unreported.clear();
        for segment in self.segments.values_mut() {
            (segment.live_records, segment.live_bytes) = (0, 0);
        }
        self.ask(|index| index.clear())
    }

    /// The oldest entries of a stream behind a number, or of all.
    pub(crate) fn after(
        &mut self,
        name: &StreamName,
        sequence: Option<u64>,
        limits: ReadLimits,
    ) -> Result<Vec<Entry>, Broken> {
        self.ask(|index| index.after(name, sequence, limits))
    }

    /// Those of the records that are there, and still where they were, as they are now; in the
    /// order of their places.
    pub(crate) fn current(
        &mut self,
        records: &[(StreamName, Entry)],
    ) -> Result<Vec<(StreamName, Entry)>, Broken> {
        let mut sought: BTreeMap<&StreamName, Ranges> = BTreeMap::new();
        let mut places = HashMap::with_capacity(records.len());
        for run in records.chunk_by(|one, next| one.0 == next.0) {
            let Some((name, _)) = run.first() else {
                continue;
            };
            let numbers = sought.entry(name).or_default();
            for (_, entry) in run {
                numbers.insert(entry.sequence, entry.sequence.saturating_add(1));
                places.insert(entry.sequence, (entry.segment, entry.offset));
            }
        }
        let mut current = Vec::new();
        for (name, numbers) in sought {
            let found = self.ask(|index| index.find(name, &numbers))?;
            let same = found.into_iter().filter(|entry| {
                places.get(&entry.sequence) == Some(&(entry.segment, entry.offset))
            });
            current.extend(same.map(|entry| (name.clone(), entry)));
        }
        current.sort_unstable_by_key(|(_, entry)| (entry.segment, entry.offset));
        Ok(current)
    }

    pub(crate) fn wants_checkpoint(&self) -> bool {
        self.places
            .as_ref()
            .is_ok_and(|index| index.wants_checkpoint())
    }

    pub(crate) fn checkpoint(&mut self, at: &Checkpoint) -> Result<(), Broken> {
        self.ask(|index| index.checkpoint(at))
    }

    /// Nothing is read or changed any more; gives up all files.
    pub(crate) fn close(&mut self, at: Option<&Checkpoint>) -> Result<(), Broken> {
        self.closed = true;
        self.segments.clear();
        match (std::mem::replace(&mut self.places, Err(closed())), at) {
            (Ok(mut index), Some(at)) => index.close(at),
            (places, _) => places.map(drop),
        }
    }

    /// Remembers damage for the next read.
    pub(crate) fn note_damage(&mut self, name: &StreamName, damaged: Amount) {
        if damaged.records > 0 {
            *self.unreported.entry(name.clone()).or_default() += damaged;
        }
    }

    /// Damage in a stream that is to be reported now, once.
    pub(crate) fn take_unreported(&mut self, name: &StreamName) -> Amount {
        if self.unreported.is_empty() {
            return Amount::default();
        }
        self.unreported.remove(name).unwrap_or_default()
    }

    fn ask<T>(
        &mut self,
        question: impl FnOnce(&mut dyn Index) -> Result<T, Broken>,
    ) -> Result<T, Broken> {
        let answer = match &mut self.places {
            Ok(index) => question(&mut **index),
            Err(broken) => Err(broken.clone()),
        };
        self.noted(answer)
    }

    fn noted<T>(&mut self, answer: Result<T, Broken>) -> Result<T, Broken> {
        if let Err(broken) = &answer
            && self.places.is_ok()
        {
            self.places = Err(broken.clone());
        }
        answer
    }
}

fn closed() -> Broken {
    Broken("the store is not open".to_owned())
}

fn forget(segments: &mut BTreeMap<u32, Segment>, name: &StreamName, entry: &Entry) {
    if let Some(segment) = segments.get_mut(&entry.segment) {
        segment.live_records = segment.live_records.saturating_sub(1);
        let bytes = frame_length(name.as_str().len(), entry.size);
        segment.live_bytes = segment.live_bytes.saturating_sub(bytes);
    }
}

// No code that can panic runs under these locks, so a poisoned one is still whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
