//! Adds frames to an outline.

use super::{HASHED, NEXT_SEQUENCE, NO_ATTEMPTS, Outline, SAME_OLDEST, SAME_SIZE, SAME_STREAM};
use crate::StreamName;
use crate::index::Entry;
use crate::index::ranges::Ranges;
use crate::index::varint::put_number;
use crate::log::catalog::Settled;
use crate::log::frame::{GroupBody, Kind, has_hash_key, length, record_length, void_length};
use crate::log::group::Call;
use crate::log::step::Step;

/// The maximum size of a step, without names and ranges.
const STEP_BYTES: u64 = 24;
const RANGE_BYTES: u64 = 15;

impl Outline {
    /// Adds a frame.
    pub(crate) fn add(&mut self, step: &Step) {
        match step {
            Step::Group {
                first,
                count,
                oldest,
            } => self.group(*first, *count, *oldest),
            Step::Record {
                carried,
                stream,
                entry,
            } => self.record(*carried, stream, entry),
            Step::Settled(settled) => self.settled(settled),
            Step::Void(voids) => self.voids(voids),
            Step::Cleared => self.cleared(),
        }
    }

    pub(crate) fn group(&mut self, first: u64, count: u32, oldest: (u32, u64)) {
        let is_next = first == self.so_far.next;
        let same = self.so_far.oldest == Some(oldest);
        let flags = flag(is_next, NEXT_SEQUENCE) | flag(same, SAME_OLDEST);
        self.bytes.push(Kind::Group as u8 | flags);
        self.number_unless(is_next, first);
        self.number(count.into());
        self.number_unless(same, oldest.0.into());
        self.number_unless(same, oldest.1);
        (self.so_far.next, self.so_far.oldest) = (first, Some(oldest));
        self.so_far.advance(GroupBody::FRAME_BYTES);
    }

    pub(crate) fn record(&mut self, carried: bool, stream: &StreamName, entry: &Entry) {
        let last = self.so_far.stream;
        let same_stream = last.and_then(|last| self.so_far.names.get(last)) == Some(stream);
        let is_next = entry.sequence == self.so_far.next;
        let same_size = entry.size == self.so_far.size;
        let kind = if carried { Kind::Carried } else { Kind::Record };
        let flags = flag(same_stream, SAME_STREAM)
            | flag(is_next, NEXT_SEQUENCE)
            | flag(same_size, SAME_SIZE)
            | flag(entry.attempts == 0, NO_ATTEMPTS)
            | flag(has_hash_key(entry), HASHED);
        self.bytes.push(kind as u8 | flags);
        if !same_stream {
            self.name(stream);
        }
        self.number_unless(is_next, entry.sequence);
        self.number_unless(same_size, entry.size.into());
        self.number_unless(entry.attempts == 0, entry.attempts.into());
        (self.so_far.next, self.so_far.size) = (entry.sequence.saturating_add(1), entry.size);
        self.so_far.advance(record_length(stream, entry));
    }

    pub(crate) fn settled(&mut self, settled: &Settled) {
        self.bytes.push(Kind::Settled as u8);
        self.name(&settled.stream);
        self.ranges(&settled.deleted);
        self.ranges(&settled.counted);
        self.so_far.advance(settled.encoded_length());
    }

    pub(crate) fn voids(&mut self, voids: &Ranges) {
        self.bytes.push(Kind::Void as u8);
        self.ranges(voids);
        self.so_far.advance(void_length(voids));
    }

    pub(crate) fn cleared(&mut self) {
        self.bytes.push(Kind::Cleared as u8);
        self.so_far.advance(length(0, false, 0));
    }

    /// An upper bound on its length in the file, with these calls added as another group.
    pub(crate) fn length_with<'a>(&self, calls: &'a [Call]) -> u64 {
        let ranges = |ranges: &Ranges| ranges.iter().count() as u64 * RANGE_BYTES;
        // A name is written once. Neighbours often share one, and looking it up takes longer than
        // all else here.
        let mut last = None;
        let mut step = |stream: &'a StreamName| {
            let is_same = last.replace(stream) == Some(stream);
            if is_same || self.places.contains_key(stream) {
                STEP_BYTES
            } else {
                STEP_BYTES + stream.as_str().len() as u64
            }
        };
        let mut steps = 0;
        for call in calls {
            steps += match call {
                Call::Append(prepared) => {
                    let records = prepared.records.iter();
                    records.map(|record| step(&record.stream)).sum()
                }
                Call::Carry(all) => all.iter().map(|(stream, _)| step(stream)).sum(),
                Call::Settle(settled) => {
                    step(&settled.stream) + ranges(&settled.deleted) + ranges(&settled.counted)
                }
                Call::Clear => STEP_BYTES,
            };
        }
        self.file_length() + STEP_BYTES + steps
    }

    fn name(&mut self, stream: &StreamName) {
        let new = self.so_far.names.len();
        let place = *self.places.entry(stream.clone()).or_insert(new);
        self.so_far.stream = Some(place);
        self.number(place as u64);
        if place == new {
            self.so_far.names.push(stream.clone());
            self.number(stream.as_str().len() as u64);
            self.bytes.extend(stream.as_str().as_bytes());
        }
    }

    fn ranges(&mut self, ranges: &Ranges) {
        self.number(ranges.iter().count() as u64);
        let mut at = 0;
        for (start, end) in ranges.iter() {
            self.number(start - at);
            self.number(end - start);
            at = end;
        }
    }

    fn number(&mut self, number: u64) {
        put_number(&mut self.bytes, number);
    }

    fn number_unless(&mut self, same: bool, number: u64) {
        if !same {
            self.number(number);
        }
    }
}

fn flag(set: bool, flag: u8) -> u8 {
    if set { flag } else { 0 }
}
