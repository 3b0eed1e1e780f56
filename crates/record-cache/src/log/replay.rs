//! Builds the index from the log.

use std::collections::HashMap;
use std::io;

use super::Failure;
use super::catalog::{Catalog, Segment, Settled};
use super::counters::Counters;
use super::files::DiskFile;
use super::format::SEGMENT_HEADER_BYTES;
use super::frame::{GroupBody, Header, Kind};
use super::outline::{Outline, Step};
use super::scan::{Found, Scanner};
use crate::index::Broken;
use crate::index::queue::Entry;
use crate::index::ranges::Ranges;
use crate::{Amount, StreamName};

/// The contents of the log, read from front to back.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) catalog: Catalog,
    pub(crate) counters: Counters,
    /// Numbers of missing records.
    pub(crate) missing: Ranges,
    /// Numbers of calls that never took effect.
    pub(crate) torn: Ranges,
    /// Numbers that the log declares void.
    voids: Ranges,
    /// Positions where something other than a frame was found.
    pub(crate) damaged_places: u64,
    /// The number that the next record should have.
    expected: Option<u64>,
    /// Where the numbers of the current group end.
    group_end: u64,
    /// Whether something is missing since the last number.
    hole: bool,
    /// Whether the data being read was possibly never synced.
    in_tail: bool,
    /// Whether the disk kept the order of writes, so that only the end can be torn.
    pub(crate) in_order: bool,
    names: HashMap<Vec<u8>, StreamName>,
    last_name: Option<StreamName>,
    body: Vec<u8>,
    /// Up to where an index covers everything.
    known: Option<Known>,
}

/// How much of a segment an index covers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    pub(crate) last_frame: u32,
}

/// How the last segment ends.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// Where the first incomplete call begins, if there is one.
    pub(crate) cut: Option<u64>,
    /// Where the last valid frame ends, and its checksum.
    pub(crate) end: u64,
    pub(crate) last_frame: Option<u32>,
    /// Complete calls after the cut.
    pub(crate) records: Vec<(StreamName, Entry)>,
    pub(crate) settled: Vec<Settled>,
    /// The outline of the segment, if all of it is valid.
    pub(crate) outline: Option<Outline>,
    /// Whether a frame ends where the index says.
    reaches_known: bool,
}

enum Change {
    Record(StreamName, Entry),
    Carried(StreamName, Entry),
    Settled(Settled),
    Void(Ranges),
    Cleared,
}

/// A call with frames still missing.
#[derive(Default)]
struct Unfinished {
    start: Option<u64>,
    changes: Vec<Change>,
}

impl Replay {
    /// A replay of a log whose first expected number is this.
    pub(crate) fn new(expected: Option<u64>, catalog: Catalog) -> Self {
        Self {
            catalog,
            counters: Counters::default(),
            missing: Ranges::default(),
            torn: Ranges::default(),
            voids: Ranges::default(),
            damaged_places: 0,
            expected,
            group_end: 0,
            hole: false,
            in_tail: false,
            in_order: false,
            names: HashMap::new(),
            last_name: None,
            body: Vec::new(),
            known: None,
        }
    }

    /// A replay of what comes after the part covered by an index.
    pub(crate) fn behind(known: Known, next: u64, catalog: Catalog, counters: Counters) -> Self {
        Self {
            counters,
            known: Some(known),
            ..Self::new(Some(next), catalog)
        }
    }

    /// Whether a segment need not be read.
    pub(crate) fn knows_all_of(&self, segment: u32) -> bool {
        self.known.is_some_and(|known| segment < known.segment)
    }

    /// Adds a segment with the contents that the index knows.
    pub(crate) fn add_segment(&mut self, number: u32, mut segment: Segment) {
        if let Some(known) = self.catalog.segments.get(&number) {
            segment.live_records = known.live_records;
            segment.live_bytes = known.live_bytes;
        }
        self.catalog.segments.insert(number, segment);
    }

    /// Up to where the index covers this segment, if it does.
    fn known_in(&self, segment: u32) -> Option<Known> {
        self.known.filter(|known| known.segment == segment)
    }

    pub(crate) fn next_sequence(&self) -> u64 {
        self.expected.unwrap_or(0).max(self.group_end)
    }

    /// Reads one segment, the next in order.
    ///
    /// Data before `stable` was synced, so errors there are damage. After it, calls may be
    /// incomplete, and only complete ones count.
    pub(crate) fn segment(
        &mut self,
        number: u32,
        scanner: &mut Scanner<'_>,
        stable: u64,
    ) -> Result<Tail, Failure> {
        let mut tail = Tail::default();
        let mut found = Found::default();
        let mut call = Unfinished::default();
        let mut offset = SEGMENT_HEADER_BYTES;
        tail.end = offset;
        tail.outline = Some(Outline::new());
        let known = self.known_in(number);
        let known_up_to = known.map_or(0, |known| known.offset);
        while offset < scanner.end() {
            let is_known = offset < known_up_to;
            if offset >= stable && !self.in_tail && !is_known {
                self.end_group();
                self.in_tail = true;
            }
            let sound = scanner.frame(offset, &mut found)?
                && (offset < stable || scanner.body_is_whole(&found)?);
            if !sound && is_known && offset >= stable {
                // A power loss removed what the index knows; both must forget it.
                return Err(self.unknown());
            }
            if !sound {
                tail.outline = None;
                if self.in_tail {
                    tail.cut_at(call.give_up().unwrap_or(offset));
                } else if !is_known {
                    self.damaged_places += 1;
                }
                self.hole = true;
                if !scanner.next_frame(offset, &mut found)? {
                    break;
                }
                offset = found.offset;
                continue;
            }
            offset = found.end();
            tail.end = offset;
            tail.last_frame = Some(found.checksum);
            if known.is_some_and(|known| offset == known.offset) {
                tail.reaches_known = known.map(|known| known.last_frame) == tail.last_frame;
                self.hole = false;
            }
            if is_known {
                self.pass_over(number, &found, scanner, &mut tail)?;
                continue;
            }
            if found.header.kind == Kind::Group {
                if let Some(start) = call.give_up() {
                    tail.cut_at(start);
                    self.hole = true;
                }
                let group = self.group_at(&found, scanner)?;
                self.begin_numbers(found.header.sequence, group.map_or(0, |group| group.count));
                tail.note(group, |outline, group| {
                    outline.group(found.header.sequence, group)
                });
                continue;
            }
            let change = self.change(number, &found, scanner)?;
            if change.is_none() {
                self.damaged_places += 1;
            }
            tail.note(change.as_ref(), |outline, change| {
                note(outline, change, &found)
            });
            if !self.in_tail {
                if let Some(change) = change {
                    self.apply(change)?;
                }
                continue;
            }
            if found.header.starts
                && let Some(start) = call.give_up()
            {
                tail.cut_at(start);
                self.hole = true;
            }
            let Some(change) = change.filter(|_| found.header.starts || call.start.is_some())
            else {
                // The rest of a call whose beginning is missing.
                tail.cut_at(call.give_up().unwrap_or(found.offset));
                self.hole = true;
                continue;
            };
            call.start.get_or_insert(found.offset);
            call.changes.push(change);
            if found.header.ends {
                call.start = None;
                for change in std::mem::take(&mut call.changes) {
                    self.apply_in_tail(change, &mut tail)?;
                }
            }
        }
        if let Some(start) = call.give_up() {
            tail.cut_at(start);
        }
        if known.is_some() && !tail.reaches_known {
            return Err(self.unknown());
        }
        self.hole |= scanner.end() < stable;
        // The end may be missing because it was being written.
        self.hole &= !self.in_tail;
        self.end_group();
        let whole = |outline: &Outline| tail.cut.is_none() && outline.end() == tail.end;
        tail.outline = tail.outline.take().filter(whole);
        Ok(tail)
    }

    /// Trusts an outline for the contents of the next segment.
    pub(crate) fn outlined(
        &mut self,
        number: u32,
        outline: Outline,
        file: &dyn DiskFile,
    ) -> Result<Tail, Failure> {
        let known = self.known_in(number);
        let known_up_to = known.map_or(0, |known| known.offset);
        let mut reaches_known = known.is_none();
        let mut steps = outline.steps(number);
        while let Some(step) = steps.next() {
            if steps.end() <= known_up_to {
                if steps.end() == known_up_to {
                    let checksum = Header::checksum_at(file, steps.last_frame())?;
                    reaches_known = checksum == known.map(|known| known.last_frame);
                }
                continue;
            }
            let change = match step {
                Step::Group { first, count } => {
                    self.begin_numbers(first, count);
                    continue;
                }
                Step::Record {
                    carried,
                    stream,
                    entry,
                } => {
                    if let Some(name) = outline.stream(stream) {
                        self.record(name, entry, carried)?;
                    }
                    continue;
                }
                Step::Settled(settled) => Change::Settled(settled),
                Step::Void(voids) => Change::Void(voids),
                Step::Cleared => Change::Cleared,
            };
            self.apply(change)?;
        }
        if !reaches_known {
            return Err(self.unknown());
        }
        self.end_group();
        Ok(Tail {
            end: outline.end(),
            last_frame: Header::checksum_at(file, outline.last_frame())?,
            outline: Some(outline),
            ..Tail::default()
        })
    }

    /// Settles existing records.
    pub(crate) fn settle(&mut self, settled: &Settled) -> Result<(), Broken> {
        let removed = self.catalog.settle(settled)?;
        self.counters.remove(&settled.stream, removed);
        Ok(())
    }

    fn unknown(&self) -> Failure {
        Failure::Index(Broken("it belongs to another log".to_owned()))
    }

    /// Only continues the outline: the index already knows it.
    fn pass_over(
        &mut self,
        number: u32,
        found: &Found,
        scanner: &mut Scanner<'_>,
        tail: &mut Tail,
    ) -> io::Result<()> {
        if found.header.kind == Kind::Group {
            let group = self.group_at(found, scanner)?;
            tail.note(group, |outline, group| {
                outline.group(found.header.sequence, group)
            });
            return Ok(());
        }
        let change = self.change(number, found, scanner)?;
        tail.note(change.as_ref(), |outline, change| {
            note(outline, change, found)
        });
        Ok(())
    }

    /// Notes that a part of the log is missing here.
    pub(crate) fn note_hole(&mut self) {
        self.hole = true;
    }

    /// Ends the replay, and counts what is missing up to a number known from elsewhere.
    pub(crate) fn finish(&mut self, next: Option<u64>) {
        (self.hole, self.in_tail) = (true, false);
        if let Some(next) = next {
            self.gap_up_to(next);
        }
        self.missing.remove_all(&self.voids);
    }

    /// Whether all records that the index knows lie in segments that are there.
    pub(crate) fn is_at_hand(&self) -> bool {
        if self.known.is_none() {
            return true;
        }
        let live = self.catalog.segments.values().map(|s| s.live_records);
        self.counters.stats().records() as u64 == live.sum::<u64>()
    }

    fn group_at(
        &mut self,
        found: &Found,
        scanner: &mut Scanner<'_>,
    ) -> io::Result<Option<GroupBody>> {
        let mut body = std::mem::take(&mut self.body);
        let whole = scanner.body(found, &mut body)?;
        let group = whole.then(|| GroupBody::decode(&body)).flatten();
        self.body = body;
        Ok(group)
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

    /// Decides about the numbers without a record up to this one.
    ///
    /// Between adjacent frames nothing can be lost: the numbers belong to a write that ended
    /// between two frames. What is missing in the tail was never complete, unless the disk keeps
    /// the order of writes: then only the end can be incomplete.
    fn gap_up_to(&mut self, sequence: u64) {
        let expected = *self.expected.get_or_insert(sequence);
        if expected < sequence {
            let lost = self.hole && (!self.in_tail || self.in_order);
            let numbers = if lost {
                &mut self.missing
            } else {
                &mut self.torn
            };
            numbers.insert(expected, sequence);
            self.expected = Some(sequence);
        }
    }

    fn change(
        &mut self,
        segment: u32,
        found: &Found,
        scanner: &mut Scanner<'_>,
    ) -> io::Result<Option<Change>> {
        let header = &found.header;
        if matches!(header.kind, Kind::Record | Kind::Carried) {
            let entry = found.entry(segment);
            let carried = header.kind == Kind::Carried;
            let kind = if carried {
                Change::Carried
            } else {
                Change::Record
            };
            return Ok(self.name(&found.name).map(|name| kind(name, entry)));
        }
        let mut body = std::mem::take(&mut self.body);
        let whole = scanner.body(found, &mut body)?;
        let change = if whole {
            self.decode(found, &body)
        } else {
            None
        };
        self.body = body;
        Ok(change)
    }

    fn decode(&mut self, found: &Found, mut body: &[u8]) -> Option<Change> {
        Some(match found.header.kind {
            Kind::Settled => Change::Settled(Settled {
                stream: self.name(&found.name)?,
                deleted: Ranges::decode(&mut body)?,
                counted: Ranges::decode(&mut body)?,
            }),
            Kind::Void => Change::Void(Ranges::decode(&mut body)?),
            Kind::Cleared => Change::Cleared,
            Kind::Group | Kind::Record | Kind::Carried => return None,
        })
    }

    /// Names are shared by all records of a stream.
    fn name(&mut self, bytes: &[u8]) -> Option<StreamName> {
        if let Some(last) = self
            .last_name
            .as_ref()
            .filter(|name| name.as_str().as_bytes() == bytes)
        {
            return Some(last.clone());
        }
        let name = match self.names.get(bytes) {
            Some(name) => name.clone(),
            None => {
                let name = StreamName::new(str::from_utf8(bytes).ok()?).ok()?;
                self.names.insert(bytes.to_vec(), name.clone());
                name
            }
        };
        self.last_name = Some(name.clone());
        Some(name)
    }

    fn apply(&mut self, change: Change) -> Result<(), Broken> {
        match change {
            Change::Record(name, entry) => self.record(&name, entry, false)?,
            Change::Carried(name, entry) => self.record(&name, entry, true)?,
            Change::Settled(settled) => {
                self.missing.remove_all(&settled.deleted);
                self.settle(&settled)?;
            }
            Change::Void(voids) => {
                self.torn.remove_all(&voids);
                self.voids.insert_all(&voids);
                for (name, removed) in self.catalog.remove_everywhere(&voids)? {
                    self.counters.remove(&name, removed);
                }
            }
            Change::Cleared => {
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
            // Where it was before may lie behind the end of its segment.
            self.missing.remove(entry.sequence, next);
            self.torn.remove(entry.sequence, next);
            if self.expected.is_some_and(|expected| expected < next) {
                // What says which numbers came before is gone.
                self.gap_up_to(entry.sequence);
                self.expected = Some(next);
            }
        } else {
            self.gap_up_to(entry.sequence);
            self.hole = false;
            self.expected = self.expected.max(Some(next));
        }
        if self.catalog.put(name, entry)? {
            self.counters.add(name, Amount::new(1, entry.size.into()));
        }
        Ok(())
    }

    fn apply_in_tail(&mut self, change: Change, tail: &mut Tail) -> Result<(), Broken> {
        let mut lost_voids = Ranges::default();
        if tail.cut.is_some() {
            // It is now after the end of the log, so it must be written again.
            match &change {
                Change::Record(name, entry) | Change::Carried(name, entry) => {
                    tail.records.push((name.clone(), *entry));
                }
                Change::Settled(settled) => tail.settled.push(settled.clone()),
                Change::Void(voids) => lost_voids = voids.clone(),
                // Nothing is cleared unless the group is complete.
                Change::Cleared => return Ok(()),
            }
        }
        self.apply(change)?;
        self.torn.insert_all(&lost_voids);
        Ok(())
    }
}

impl Tail {
    fn cut_at(&mut self, offset: u64) {
        self.cut.get_or_insert(offset);
    }

    /// Continues the outline, unless its contents are unknown.
    fn note<T>(&mut self, what: Option<T>, note: impl FnOnce(&mut Outline, &T)) {
        match (what, &mut self.outline) {
            (Some(what), Some(outline)) => note(outline, &what),
            _ => self.outline = None,
        }
    }
}

fn note(outline: &mut Outline, change: &Change, found: &Found) {
    match change {
        Change::Record(name, _) | Change::Carried(name, _) => outline.record(name, &found.header),
        Change::Settled(settled) => outline.settled(settled),
        Change::Void(voids) => outline.voids(voids),
        Change::Cleared => outline.cleared(),
    }
}

impl Unfinished {
    /// Drops the call, and returns where it began.
    fn give_up(&mut self) -> Option<u64> {
        self.changes.clear();
        self.start.take()
    }
}

/// What the last group of a segment says about the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LastGroup {
    pub(crate) body: GroupBody,
    /// The highest synced offset that any group of the segment records.
    pub(crate) stable: u64,
    /// Where it lies.
    pub(crate) offset: u64,
}

/// Finds the last group of a segment.
pub(crate) fn last_group(scanner: &mut Scanner<'_>) -> io::Result<Option<LastGroup>> {
    let mut last: Option<LastGroup> = None;
    let (mut found, mut body) = (Found::default(), Vec::new());
    let mut offset = SEGMENT_HEADER_BYTES;
    while offset < scanner.end() {
        if !scanner.frame(offset, &mut found)? && !scanner.next_frame(offset, &mut found)? {
            break;
        }
        offset = found.end();
        if found.header.kind == Kind::Group
            && scanner.body(&found, &mut body)?
            && let Some(body) = GroupBody::decode(&body)
        {
            let before = last.map_or(0, |last| last.stable);
            last = Some(LastGroup {
                body,
                stable: before.max(body.stable.into()),
                offset: found.offset,
            });
        }
    }
    Ok(last)
}
