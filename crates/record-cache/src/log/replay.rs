//! Builds the index by replaying the log.

mod frames;

use std::collections::BTreeMap;

use super::Failure;
use super::catalog::{Catalog, Segment, Settled};
use super::files::DiskFile;
use super::frame::Header;
use super::outline::{Outline, SoFar};
use super::step::Step;
use crate::counters::Counters;
use crate::index::ranges::Ranges;
use crate::index::{Broken, Checkpoint, Entry, Index};
use crate::{Amount, StreamName};

pub(crate) use self::frames::Tail;

/// The contents of the log so far, read from front to back.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    pub(crate) catalog: Catalog,
    pub(crate) counters: Counters,
    /// Sequence numbers of missing records.
    pub(crate) missing: Ranges,
    /// Sequence numbers of calls that never took effect.
    pub(crate) incomplete: Ranges,
    /// Sequence numbers the log declares void.
    voids: Ranges,
    /// How many places had something other than a frame.
    pub(crate) damaged_places: u64,
    /// The next record's expected sequence number.
    expected: Option<u64>,
    /// The end of the current group's sequence numbers.
    group_end: u64,
    /// Whether something is missing since the last number.
    pub(crate) hole: bool,
    /// Whether the data being read may never have been synced.
    in_tail: bool,
    /// Whether the disk kept the order of writes, so only the end can be torn.
    pub(crate) in_order: bool,
    /// The point up to which an index covers everything.
    pub(crate) known: Option<Checkpoint>,
}

impl Replay {
    /// Begins a replay, with the first expected number.
    pub(crate) fn new(expected: Option<u64>, catalog: Catalog) -> Self {
        Self {
            catalog,
            expected,
            ..Self::default()
        }
    }

    /// Whether the index covers this whole segment, which then need not be read.
    pub(crate) fn knows_all_of(&self, segment: u32) -> bool {
        let known = self.known.as_ref();
        known.is_some_and(|known| segment < known.segment)
    }

    /// Enters what the index holds of a segment, if the segment is as long as it was: as long as
    /// its successor says, or as the index covers.
    pub(crate) fn recall(&self, number: u32, segment: &mut Segment, said: u64) {
        let Some(known) = self.known.as_ref().filter(|known| number <= known.segment) else {
            return;
        };
        let end = if number == known.segment {
            known.offset
        } else {
            said
        };
        let held = known.segments.iter().find(|held| held.0 == number);
        if let Some((_, records, bytes)) = held.filter(|_| segment.length >= end) {
            (segment.live_records, segment.live_bytes) = (*records, *bytes);
        }
    }

    /// The end of what the index covers in this segment, and the checksum of the last frame there,
    /// if it covers anything.
    fn known_in(&self, segment: u32) -> (u64, Option<u32>) {
        let known = self.known.as_ref();
        let known = known.filter(|known| known.segment == segment);
        known.map_or((0, None), |known| (known.offset, Some(known.last_frame)))
    }

    pub(crate) fn next_sequence(&self) -> u64 {
        self.expected.unwrap_or(0).max(self.group_end)
    }

    /// Takes the contents of the next segment from its outline.
    pub(crate) fn outlined(
        &mut self,
        number: u32,
        outline: Outline,
        file: &dyn DiskFile,
    ) -> Result<Tail, Failure> {
        let (known_up_to, known_frame) = self.known_in(number);
        let mut reaches_known = known_frame.is_none();
        let mut steps = outline.steps(number);
        while let Some(step) = steps.next() {
            let SoFar {
                end, last_frame, ..
            } = steps.so_far;
            if end <= known_up_to {
                if end == known_up_to {
                    reaches_known = Header::checksum_at(file, last_frame)? == known_frame;
                }
                continue;
            }
            self.apply(step)?;
        }
        if !reaches_known {
            return Err(unknown());
        }
        self.end_group();
        Ok(Tail {
            end: outline.end(),
            last_frame: Header::checksum_at(file, outline.so_far.last_frame)?,
            outline: Some(outline),
            ..Tail::default()
        })
    }

    /// Settles records that exist.
    pub(crate) fn settle(&mut self, settled: &Settled) -> Result<(), Broken> {
        let removed = self.catalog.settle(settled)?;
        self.counters.remove(&settled.stream, removed);
        self.catalog.ask(Index::relieve)
    }

    /// Ends the replay. Numbers without a record below `next`, which is known from elsewhere, count
    /// as missing.
    pub(crate) fn finish(&mut self, next: Option<u64>) {
        (self.hole, self.in_tail) = (true, false);
        if let Some(next) = next {
            self.gap_up_to(next);
        }
        self.missing.remove_all(&self.voids);
    }

    /// Whether all records in the index lie in segments that exist.
    pub(crate) fn is_at_hand(&self) -> bool {
        if self.known.is_none() {
            return true;
        }
        let live = self.catalog.segments.values().map(|s| s.live_records);
        self.counters.stats().records() as u64 == live.sum::<u64>()
    }

    fn apply(&mut self, step: Step) -> Result<(), Broken> {
        match step {
            Step::Group { first, count, .. } => self.begin_numbers(first, count),
            Step::Record {
                carried,
                stream,
                entry,
            } => self.record(&stream, entry, carried)?,
            Step::Settled(settled) => {
                self.missing.remove_all(&settled.deleted);
                self.settle(&settled)?;
            }
            Step::Void(voids) => {
                self.incomplete.remove_all(&voids);
                self.voids.insert_all(&voids);
                for name in self.counters.names() {
                    let removed = self.catalog.remove(&name, &voids)?;
                    self.counters.remove(&name, removed);
                }
            }
            Step::Cleared => {
                self.missing = Ranges::default();
                self.catalog.clear()?;
                self.counters.clear();
            }
        }
        Ok(())
    }

    fn record(&mut self, name: &StreamName, entry: Entry, carried: bool) -> Result<(), Broken> {
        let next = entry.sequence.saturating_add(1);
        if carried {
            // The original may lie after the end of its segment.
            self.missing.remove(entry.sequence, next);
            self.incomplete.remove(entry.sequence, next);
            if self.expected.is_some_and(|expected| expected < next) {
                // The frames with the preceding numbers are gone.
                self.gap_up_to(entry.sequence);
                self.expected = Some(next);
            }
        } else {
            self.gap_up_to(entry.sequence);
            self.hole = false;
            self.expected = self.expected.max(Some(next));
        }
        if self.catalog.put(name, &[entry])? > 0 {
            self.counters.add(name, Amount::new(1, entry.size.into()));
        }
        self.catalog.ask(Index::relieve)
    }

    fn begin_numbers(&mut self, first: u64, count: u32) {
        self.end_group();
        self.gap_up_to(first);
        self.hole = false;
        self.group_end = self.group_end.max(first.saturating_add(count.into()));
    }

    fn end_group(&mut self) {
        if self.expected.is_some() {
            self.gap_up_to(self.group_end);
        }
    }

    /// Classifies the numbers without a record up to this one.
    ///
    /// Nothing can be lost between adjacent frames, so their numbers belong to a write that was cut
    /// off there. Numbers missing in the tail were never complete, unless the disk keeps the order
    /// of writes: then only the end can be incomplete.
    fn gap_up_to(&mut self, sequence: u64) {
        let expected = *self.expected.get_or_insert(sequence);
        if expected < sequence {
            let lost = self.hole && (!self.in_tail || self.in_order);
            let numbers = if lost {
                &mut self.missing
            } else {
                &mut self.incomplete
            };
            numbers.insert(expected, sequence);
            self.expected = Some(sequence);
        }
    }
}

/// Builds another index of an open log.
///
/// Reads all segments up to their known ends, and adds what still has to be written: void numbers
/// and settlements.
///
/// Any records still missing existed, but their frames can no longer be found.
pub(crate) fn rebuild(
    segments: &BTreeMap<u32, Segment>,
    (voids, settled): (&Ranges, &[Settled]),
    index: Box<dyn Index>,
    alive: &dyn Fn(),
) -> Result<Replay, Failure> {
    let first = segments.values().next().map(|segment| segment.base);
    let mut replay = Replay::new(first, Catalog::new(index));
    for (&number, segment) in segments {
        alive();
        let mut empty = segment.clone();
        (empty.live_records, empty.live_bytes) = (0, 0);
        replay.catalog.segments.insert(number, empty);
        if let Some(outline) = segment.outline()? {
            replay.outlined(number, outline, &*segment.file)?;
        } else {
            replay.segment(number, &mut segment.scanner()?, segment.end)?;
        }
    }
    replay.finish(None);
    for settled in settled {
        replay.settle(settled)?;
    }
    replay.missing.remove_all(voids);
    Ok(replay)
}

fn unknown() -> Failure {
    Failure::Index(Broken("it belongs to another log".to_owned()))
}
