//! What the writer remembers of its streams: everything but the payloads.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::codec::{Codec, Head, Partial, Progress, Reached};
use super::generation::Changes;
use super::keys::{self, StreamId};
use super::layout::Layouts;
use super::notes::Note;
use crate::{Amount, QueueStats, StreamName};

/// All streams of a generation.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) streams: BTreeMap<StreamId, Stream>,
    ids: HashMap<StreamName, StreamId>,
    totals: Totals,
    /// Where new streams begin.
    pub(super) floor: u64,
    next_id: StreamId,
    /// The number of the last note that was ever made, as far as is known.
    pub(super) last_note: u64,
    /// Whether the tree has not taken in all notes.
    pub(super) is_behind: bool,
}

/// Sums over all streams.
#[derive(Debug, Default, Clone, Copy)]
struct Totals {
    appended: u64,
    records: u64,
    bytes: u64,
}

impl Index {
    pub(super) fn new(floor: u64) -> Self {
        Self {
            floor,
            ..Self::default()
        }
    }

    pub(super) fn insert(&mut self, stream: Stream) {
        self.next_id = self.next_id.max(stream.id + 1);
        self.ids.insert(stream.name.clone(), stream.id);
        self.totals.add(&stream);
        self.streams.insert(stream.id, stream);
    }

    /// Brings the sums up to date after records came and went.
    pub(super) fn note(&mut self, came: Amount, went: Amount) {
        let totals = &mut self.totals;
        totals.appended += came.records as u64;
        totals.records = (totals.records + came.records as u64).saturating_sub(went.records as u64);
        totals.bytes = (totals.bytes + came.bytes).saturating_sub(went.bytes);
    }

    /// Adds everything up again.
    pub(super) fn recount(&mut self) {
        self.totals = Totals::default();
        for stream in self.streams.values() {
            self.totals.add(stream);
        }
    }

    pub(super) fn find(&self, name: &StreamName) -> Option<&Stream> {
        self.streams.get(self.ids.get(name)?)
    }

    pub(super) fn find_mut(&mut self, name: &StreamName) -> Option<&mut Stream> {
        self.streams.get_mut(self.ids.get(name)?)
    }

    /// The stream of that name; a new one has no name in the tree yet.
    pub(super) fn find_or_begin(&mut self, name: &StreamName) -> &mut Stream {
        let id = self.ids.get(name).copied().unwrap_or_else(|| {
            self.insert(Stream::new(self.next_id, name.clone(), self.floor));
            self.next_id - 1
        });
        // Present: either it was found or it was just inserted.
        self.streams
            .entry(id)
            .or_insert_with(|| Stream::new(id, name.clone(), 0))
    }

    pub(super) fn by_id_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.streams.get_mut(&id)
    }

    /// How many records were ever appended to the streams that are known.
    pub(super) const fn appended(&self) -> u64 {
        self.totals.appended
    }

    /// Above every sequence that was given out.
    pub(super) fn ceiling(&self) -> u64 {
        self.streams
            .values()
            .map(|stream| stream.next)
            .max()
            .unwrap_or(0)
            .max(self.floor)
    }

    pub(super) const fn records(&self) -> u64 {
        self.totals.records
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.totals.bytes
    }

    pub(super) fn held(&self) -> Amount {
        Amount::new(to_usize(self.records()), self.bytes())
    }

    /// Whether the tree does not know yet what became of some records.
    pub(super) fn has_unsaved(&self) -> bool {
        self.streams.values().any(Stream::has_unsaved)
    }

    /// Brings into the tree what became of records, as far as it is in notes only.
    pub(super) fn save(&mut self, codec: &Codec, last_note: u64, changes: &mut Changes) {
        for stream in self.streams.values_mut() {
            stream.save(codec, changes);
        }
        self.is_behind = false;
        let reached = Reached { note: last_note };
        changes.insert(&keys::REACHED, reached.encode(codec));
    }
}

impl Totals {
    fn add(&mut self, stream: &Stream) {
        self.appended += stream.next - stream.start;
        self.records += stream.records;
        self.bytes += stream.bytes;
    }
}

/// What is known of one stream.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) name: StreamName,
    /// The sequence it began with in this generation.
    pub(super) start: u64,
    /// Where its oldest unfinished payload begins; all before it is gone.
    pub(super) head: u64,
    /// The sizes of all records before the head.
    pub(super) head_bytes: u64,
    /// The sequence that the next record gets.
    pub(super) next: u64,
    /// The sizes of all records before `next`.
    pub(super) next_bytes: u64,
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// What became of records at or behind the head, by the first of them.
    pub(super) progress: BTreeMap<u64, Progress>,
    /// Which of these are in the tree.
    pub(super) saved: BTreeSet<u64>,
    /// What the tree has another state of, or none.
    pub(super) unsaved: BTreeSet<u64>,
    /// The same for the head.
    pub(super) head_unsaved: bool,
    /// Of payloads that were read.
    pub(super) layouts: Layouts,
    /// Whether the name is in the tree.
    pub(super) named: bool,
    /// The sequence that comes next as far as callers were told.
    pub(super) promised: u64,
}

impl Stream {
    pub(super) fn new(id: StreamId, name: StreamName, start: u64) -> Self {
        Self {
            id,
            name,
            start,
            head: start,
            head_bytes: 0,
            next: start,
            next_bytes: 0,
            records: 0,
            bytes: 0,
            progress: BTreeMap::new(),
            saved: BTreeSet::new(),
            unsaved: BTreeSet::new(),
            head_unsaved: false,
            layouts: Layouts::default(),
            named: false,
            promised: start,
        }
    }

    pub(super) fn stats(&self) -> QueueStats {
        QueueStats::new(to_usize(self.records), self.bytes)
    }

    pub(super) fn partial(&self, first: u64) -> Option<&Partial> {
        match self.progress.get(&first) {
            Some(Progress::Partial(partial)) => Some(partial),
            _ => None,
        }
    }

    /// How far the records from here on are gone, and their sizes.
    pub(super) fn done_from(&self, sequence: u64) -> Option<(u64, u64)> {
        match self.progress.get(&sequence) {
            Some(&Progress::Done { count, bytes }) => Some((sequence + count, bytes)),
            _ => None,
        }
    }

    /// Where the run of records begins that are gone and that a record belongs to.
    pub(super) fn done_around(&self, sequence: u64) -> Option<u64> {
        let (first, progress) = self.progress.range(..=sequence).next_back()?;
        match progress {
            Progress::Done { count, .. } if sequence - first < *count => Some(*first),
            _ => None,
        }
    }

    fn has_unsaved(&self) -> bool {
        self.head_unsaved || !self.unsaved.is_empty()
    }

    /// Writes down what the tree has another state of.
    fn save(&mut self, codec: &Codec, changes: &mut Changes) {
        for first in std::mem::take(&mut self.unsaved) {
            self.save_progress(first, codec, changes);
        }
        if std::mem::take(&mut self.head_unsaved) {
            changes.insert(&keys::head(self.id), self.encoded_head(codec));
        }
    }

    fn save_progress(&mut self, first: u64, codec: &Codec, changes: &mut Changes) {
        let key = keys::progress(self.id, first);
        if let Some(progress) = self.progress.get(&first) {
            changes.insert(&key, progress.encode(codec, self.id, first));
            self.saved.insert(first);
        } else if self.saved.remove(&first) {
            changes.remove(&key);
        }
    }

    fn encoded_head(&self, codec: &Codec) -> Vec<u8> {
        let head = Head {
            stream: self.id,
            sequence: self.head,
            bytes_before: self.head_bytes,
        };
        head.encode(codec)
    }

    /// Makes the counters those of the head, the end and the progress between.
    pub(super) fn recount(&mut self) {
        let (mut gone_records, mut gone_bytes) = (0, 0);
        for progress in self.progress.values() {
            let (records, bytes) = match progress {
                Progress::Done { count, bytes } => (*count, *bytes),
                Progress::Partial(partial) => (partial.gone_records(), partial.gone_bytes()),
            };
            gone_records += records;
            gone_bytes += bytes;
        }
        self.records = (self.next - self.head).saturating_sub(gone_records);
        let held = self.next_bytes.saturating_sub(self.head_bytes);
        self.bytes = if self.records == 0 {
            0
        } else {
            held.saturating_sub(gone_bytes)
        };
    }

    pub(super) fn removed(&mut self, removed: Amount) {
        self.records = self.records.saturating_sub(removed.records as u64);
        self.bytes = if self.records == 0 {
            0
        } else {
            self.bytes.saturating_sub(removed.bytes)
        };
    }
}

/// Collects what one step does to the progress of a stream, and writes it down once.
#[derive(Debug, Default)]
pub(super) struct ProgressStep {
    touched: BTreeSet<u64>,
    moved: bool,
    finished: Vec<(u64, u64)>,
}

impl ProgressStep {
    /// Some records of a payload are gone, or attempts were counted.
    pub(super) fn partial(&mut self, stream: &mut Stream, first: u64, partial: Partial) {
        stream.progress.insert(first, Progress::Partial(partial));
        self.touched.insert(first);
    }

    /// All sequences from `first` to before `end` are gone.
    pub(super) fn done(&mut self, stream: &mut Stream, first: u64, end: u64, bytes: u64) {
        match self.finished.last_mut() {
            Some(last) if last.1 == first => last.1 = end,
            _ => self.finished.push((first, end)),
        }
        let (mut first, mut end, mut bytes) = (first, end, bytes);
        let within: Vec<u64> = stream
            .progress
            .range(first..end)
            .map(|(at, _)| *at)
            .collect();
        for at in within {
            stream.progress.remove(&at);
            self.touched.insert(at);
        }
        if let Some((later_end, later_bytes)) = stream.done_from(end) {
            stream.progress.remove(&end);
            self.touched.insert(end);
            end = later_end;
            bytes += later_bytes;
        }
        let before = stream
            .progress
            .range(..first)
            .next_back()
            .map(|(at, _)| *at);
        if let Some(before) = before
            && let Some((earlier_end, earlier_bytes)) = stream.done_from(before)
            && earlier_end == first
        {
            stream.progress.remove(&before);
            self.touched.insert(before);
            first = before;
            bytes += earlier_bytes;
        }
        if first == stream.head {
            stream.head = end;
            stream.head_bytes += bytes;
            self.moved = true;
        } else {
            stream.progress.insert(
                first,
                Progress::Done {
                    count: end - first,
                    bytes,
                },
            );
            self.touched.insert(first);
        }
    }

    /// The sequences that are gone as of this step, as ranges.
    pub(super) fn finished(&self) -> &[(u64, u64)] {
        &self.finished
    }

    /// Leaves it to [`Index::save`] to bring this into the tree.
    pub(super) fn postpone(self, stream: &mut Stream) {
        stream.unsaved.extend(self.touched);
        stream.head_unsaved |= self.moved;
    }

    /// The same, and notes it.
    pub(super) fn note(self, stream: &mut Stream, codec: &Codec, note: &mut Note) {
        for first in &self.touched {
            let progress = stream.progress.get(first);
            let value = progress.map(|progress| progress.encode(codec, stream.id, *first));
            note.put(&keys::progress(stream.id, *first), value.as_deref());
        }
        if self.moved {
            note.put(&keys::head(stream.id), Some(&stream.encoded_head(codec)));
        }
        self.postpone(stream);
    }

    /// Brings it into the tree together with the payloads that it is about.
    pub(super) fn write(self, stream: &mut Stream, codec: &Codec, changes: &mut Changes) {
        for first in &self.touched {
            stream.unsaved.remove(first);
            stream.save_progress(*first, codec, changes);
        }
        if self.moved {
            stream.head_unsaved = false;
            changes.insert(&keys::head(stream.id), stream.encoded_head(codec));
        }
    }
}

pub(super) fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
