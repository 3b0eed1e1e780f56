//! Building the index from the log.

use std::collections::{BTreeMap, HashMap};
use std::io;

use super::format::SEGMENT_HEADER_BYTES;
use super::frame::{Fields, GroupBody, Kind};
use super::group::Origin;
use super::index::{Index, Settled};
use super::outline::{Outline, Step};
use super::scan::{Found, Scanner};
use crate::StreamName;
use crate::index::queue::Entry;
use crate::index::ranges::Ranges;

/// What the log says, read from front to back.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) index: Index,
    pub(super) origins: BTreeMap<(String, StreamName), Origin>,
    /// Numbers of records that should be there, and are not.
    pub(super) missing: Ranges,
    /// Numbers that went to calls which never took effect.
    pub(super) torn: Ranges,
    /// Numbers that the log says no record has.
    voids: Ranges,
    /// Places where something else was found than a frame.
    pub(super) damaged_places: u64,
    /// The number that the next record should have.
    expected: Option<u64>,
    /// Where the numbers of the present group end.
    group_end: u64,
    /// Whether something is gone since the last number that was seen.
    hole: bool,
    /// Whether what is read was never known to be synced.
    in_tail: bool,
    names: HashMap<Vec<u8>, StreamName>,
    last_name: Option<StreamName>,
    body: Vec<u8>,
}

/// How the last segment ends.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Where the first call that is not whole begins, if there is one.
    pub(super) cut: Option<u64>,
    /// Where the last sound frame ends.
    pub(super) end: u64,
    /// Whole calls that lie behind the cut.
    pub(super) records: Vec<(StreamName, Entry)>,
    pub(super) settled: Vec<Settled>,
    /// What the segment says, if all of it is sound.
    pub(super) outline: Option<Outline>,
}

enum Change {
    Record(StreamName, Entry),
    Carried(StreamName, Entry),
    Settled(Settled),
    Void(Ranges),
    Cleared,
    Origin(Origin),
}

/// A call of which not all frames have been seen.
#[derive(Default)]
struct Unfinished {
    start: Option<u64>,
    changes: Vec<Change>,
}

impl Replay {
    /// A replay of a log in which this is the first number to be expected.
    pub(super) fn new(expected: Option<u64>) -> Self {
        Self {
            expected,
            ..Self::default()
        }
    }

    pub(super) fn next_sequence(&self) -> u64 {
        self.expected.unwrap_or(0).max(self.group_end)
    }

    /// Reads one segment, the next in order.
    ///
    /// What lies before `stable` was synced once, so whatever is wrong there is damage.
    /// Behind it calls may be incomplete, and only whole ones count.
    pub(super) fn segment(
        &mut self,
        number: u32,
        scanner: &mut Scanner<'_>,
        stable: u64,
    ) -> io::Result<Tail> {
        let mut tail = Tail::default();
        let mut found = Found::default();
        let mut call = Unfinished::default();
        let mut offset = SEGMENT_HEADER_BYTES;
        tail.end = offset;
        tail.outline = Some(Outline::new());
        while offset < scanner.end() {
            if offset >= stable && !self.in_tail {
                self.end_group();
                self.in_tail = true;
            }
            let sound = scanner.frame(offset, &mut found)?
                && (!self.in_tail || scanner.body_is_whole(&found)?);
            if !sound {
                tail.outline = None;
                if self.in_tail {
                    tail.cut_at(call.give_up().unwrap_or(offset));
                } else {
                    self.damaged_places += 1;
                    self.hole = true;
                }
                if !scanner.next_frame(offset, &mut found)? {
                    break;
                }
                offset = found.offset;
                continue;
            }
            offset = found.end();
            tail.end = offset;
            if found.header.kind == Kind::Group {
                if let Some(start) = call.give_up() {
                    tail.cut_at(start);
                }
                let group = self.begin_group(&found, scanner)?;
                tail.note(group, |outline, group| {
                    outline.group(found.header.sequence, group)
                });
                continue;
            }
            let change = self.change(number, &found, scanner)?;
            tail.note(change.as_ref(), |outline, change| {
                note(outline, change, &found)
            });
            if !self.in_tail {
                change.into_iter().for_each(|change| self.apply(change));
                continue;
            }
            if found.header.starts
                && let Some(start) = call.give_up()
            {
                tail.cut_at(start);
            }
            let Some(change) = change.filter(|_| found.header.starts || call.start.is_some())
            else {
                // The rest of a call whose beginning is gone.
                tail.cut_at(call.give_up().unwrap_or(found.offset));
                continue;
            };
            call.start.get_or_insert(found.offset);
            call.changes.push(change);
            if found.header.ends {
                call.start = None;
                let changes = std::mem::take(&mut call.changes);
                changes
                    .into_iter()
                    .for_each(|change| self.apply_in_tail(change, &mut tail));
            }
        }
        if let Some(start) = call.give_up() {
            tail.cut_at(start);
        }
        self.hole |= scanner.end() < stable;
        self.end_group();
        let whole = |outline: &Outline| tail.cut.is_none() && outline.end() == tail.end;
        tail.outline = tail.outline.take().filter(whole);
        Ok(tail)
    }

    /// Takes the word of an outline for what the next segment in order says.
    pub(super) fn outlined(&mut self, number: u32, outline: Outline) -> Tail {
        for step in outline.steps(number) {
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
                        self.record(name, entry, carried);
                    }
                    continue;
                }
                Step::Settled(settled) => Change::Settled(settled),
                Step::Void(voids) => Change::Void(voids),
                Step::Cleared => Change::Cleared,
                Step::Origin(origin) => Change::Origin(origin),
            };
            self.apply(change);
        }
        self.end_group();
        Tail {
            end: outline.end(),
            outline: Some(outline),
            ..Tail::default()
        }
    }

    /// Says that a part of the log is gone which belongs here.
    pub(super) fn note_hole(&mut self) {
        self.hole = true;
    }

    /// Ends the replay; counts what is missing up to a number that is known from elsewhere.
    pub(super) fn finish(&mut self, next: Option<u64>) {
        (self.hole, self.in_tail) = (true, false);
        if let Some(next) = next {
            self.gap_up_to(next);
        }
        self.missing.remove_all(&self.voids);
    }

    fn begin_group(
        &mut self,
        found: &Found,
        scanner: &mut Scanner<'_>,
    ) -> io::Result<Option<GroupBody>> {
        let mut body = std::mem::take(&mut self.body);
        let whole = scanner.body(found, &mut body)?;
        let group = whole.then(|| GroupBody::decode(&body)).flatten();
        self.body = body;
        let count = group.map_or(0, |group| group.count);
        self.begin_numbers(found.header.sequence, count);
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

    /// Judges the numbers that no record has up to this one.
    ///
    /// Where frame follows frame, nothing can be lost in between: the numbers belong to a
    /// write that ended between two frames. What is gone of the tail was never whole.
    fn gap_up_to(&mut self, sequence: u64) {
        let expected = *self.expected.get_or_insert(sequence);
        if expected < sequence {
            let lost = self.hole && !self.in_tail;
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
            let entry = Entry {
                sequence: header.sequence,
                segment,
                offset: u32::try_from(found.offset).unwrap_or(u32::MAX),
                size: header.body_length,
                attempts: header.attempts,
            };
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
        if change.is_none() {
            self.damaged_places += 1;
        }
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
            Kind::Origin => {
                let mut fields = Fields(body);
                let checksum = fields.u32()?;
                let source = str::from_utf8(fields.0).ok()?.to_owned();
                let last = found.header.sequence;
                let stream = self.name(&found.name)?;
                Change::Origin(Origin {
                    source,
                    stream,
                    last,
                    checksum,
                })
            }
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

    fn apply(&mut self, change: Change) {
        match change {
            Change::Record(name, entry) => self.record(&name, entry, false),
            Change::Carried(name, entry) => self.record(&name, entry, true),
            Change::Settled(settled) => {
                self.missing.remove_all(&settled.deleted);
                self.index.settle(&settled);
            }
            Change::Void(voids) => {
                self.torn.remove_all(&voids);
                self.voids.insert_all(&voids);
                self.index.remove_everywhere(&voids);
            }
            Change::Cleared => {
                self.missing = Ranges::default();
                self.index.clear();
            }
            Change::Origin(origin) => {
                self.origins
                    .insert((origin.source.clone(), origin.stream.clone()), origin);
            }
        }
    }

    fn record(&mut self, name: &StreamName, entry: Entry, carried: bool) {
        let next = entry.sequence.saturating_add(1);
        if carried {
            self.missing.remove(entry.sequence, next);
        } else {
            self.gap_up_to(entry.sequence);
            self.hole = false;
            self.expected = self.expected.max(Some(next));
        }
        self.index.put(name, entry);
    }

    fn apply_in_tail(&mut self, change: Change, tail: &mut Tail) {
        let mut lost_voids = Ranges::default();
        if tail.cut.is_some() {
            // It lies behind the end of the log now, so it has to be written again.
            match &change {
                Change::Record(name, entry) | Change::Carried(name, entry) => {
                    tail.records.push((name.clone(), *entry));
                }
                Change::Settled(settled) => tail.settled.push(settled.clone()),
                Change::Void(voids) => lost_voids = voids.clone(),
                // Nothing is cleared unless all of the group is there.
                Change::Cleared => return,
                // These are written again with each segment that begins.
                Change::Origin(_) => {}
            }
        }
        self.apply(change);
        self.torn.insert_all(&lost_voids);
    }
}

impl Tail {
    fn cut_at(&mut self, offset: u64) {
        self.cut.get_or_insert(offset);
    }

    /// Goes on with the outline, unless it is not known what to write.
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
        Change::Origin(origin) => outline.origin(origin),
    }
}

impl Unfinished {
    /// Forgets the call, and says where it began.
    fn give_up(&mut self) -> Option<u64> {
        self.changes.clear();
        self.start.take()
    }
}

/// What the last group of a segment tells about the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastGroup {
    pub(super) body: GroupBody,
    /// The furthest that any group of the segment knows to be synced.
    pub(super) stable: u64,
}

/// Looks for the last group of a segment.
pub(super) fn last_group(scanner: &mut Scanner<'_>) -> io::Result<Option<LastGroup>> {
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
            });
        }
    }
    Ok(last)
}
