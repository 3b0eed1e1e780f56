//! Noting frames as they are written, or found.

use super::{HASHED, NEXT_SEQUENCE, NO_ATTEMPTS, Outline, SAME_OLDEST, SAME_SIZE, SAME_STREAM};
use crate::StreamName;
use crate::index::ranges::Ranges;
use crate::log::catalog::Settled;
use crate::log::frame::{GroupBody, Header, Kind, frame_length, void_length};
use crate::log::group::Call;

/// The most that a step takes beside names and ranges.
const STEP_BYTES: u64 = 24;
const RANGE_BYTES: u64 = 15;

impl Outline {
    pub(crate) fn group(&mut self, first: u64, group: &GroupBody) {
        let oldest = (group.oldest, group.oldest_base);
        let is_next = first == self.so_far.next;
        let same = self.so_far.oldest == Some(oldest);
        let flags = flag(is_next, NEXT_SEQUENCE) | flag(same, SAME_OLDEST);
        self.bytes.push(Kind::Group as u8 | flags);
        if !is_next {
            self.number(first);
        }
        self.number(group.count.into());
        if !same {
            self.number(oldest.0.into());
            self.number(oldest.1);
        }
        (self.so_far.next, self.so_far.oldest) = (first, Some(oldest));
        self.so_far.advance(frame_length(0, GroupBody::BYTES));
    }

    /// A record, appended or carried.
    pub(crate) fn record(&mut self, stream: &StreamName, header: &Header) {
        let place = self.so_far.stream;
        let same_stream = place.and_then(|place| self.stream(place)) == Some(stream);
        let is_next = header.sequence == self.so_far.next;
        let same_size = header.body_length == self.so_far.size;
        let flags = flag(same_stream, SAME_STREAM)
            | flag(is_next, NEXT_SEQUENCE)
            | flag(same_size, SAME_SIZE)
            | flag(header.attempts == 0, NO_ATTEMPTS)
            | flag(header.hash_key.is_some(), HASHED);
        self.bytes.push(header.kind as u8 | flags);
        if !same_stream {
            self.name(stream);
        }
        if !is_next {
            self.number(header.sequence);
        }
        if !same_size {
            self.number(header.body_length.into());
        }
        if header.attempts > 0 {
            self.number(header.attempts.into());
        }
        (self.so_far.next, self.so_far.size) =
            (header.sequence.saturating_add(1), header.body_length);
        self.so_far.advance(header.frame_length());
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
        self.so_far.advance(frame_length(0, 0));
    }

    /// Bytes that it would take in the file, at most, with these calls in one more group.
    pub(crate) fn length_with(&self, calls: &[Call]) -> u64 {
        let mut last = None;
        let ranges = |ranges: &Ranges| ranges.iter().count() as u64 * RANGE_BYTES;
        let mut bytes = self.file_length() + STEP_BYTES;
        for call in calls {
            bytes += match call {
                Call::Append(records) => {
                    let of_names: u64 = records
                        .iter()
                        .map(|record| self.name_length(&record.stream, &mut last))
                        .sum();
                    of_names + records.len() as u64 * STEP_BYTES
                }
                Call::Carry(carried) => {
                    let of_names: u64 = carried
                        .iter()
                        .map(|record| self.name_length(&record.stream, &mut last))
                        .sum();
                    of_names + carried.len() as u64 * STEP_BYTES
                }
                Call::Settle(settled) => {
                    let of_ranges = ranges(&settled.deleted) + ranges(&settled.counted);
                    STEP_BYTES + self.name_length(&settled.stream, &mut last) + of_ranges
                }
                Call::Clear => STEP_BYTES,
            };
        }
        bytes
    }

    fn name_length<'a>(&self, stream: &'a StreamName, last: &mut Option<&'a StreamName>) -> u64 {
        let known = last.replace(stream) == Some(stream) || self.places.contains_key(stream);
        if known {
            0
        } else {
            stream.as_str().len() as u64
        }
    }

    fn name(&mut self, stream: &StreamName) {
        let new = self.so_far.names.len();
        let place = *self.places.entry(stream.clone()).or_insert(new);
        self.so_far.stream = Some(place);
        self.number(place as u64);
        if place == new {
            self.so_far.names.push(stream.clone());
            self.text(stream.as_str());
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

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes.extend(text.as_bytes());
    }

    /// Seven bits at a time, the lowest first; the last byte has its highest bit clear.
    fn number(&mut self, mut number: u64) {
        loop {
            let low = number.to_le_bytes()[0] & 0x7f;
            number >>= 7;
            self.bytes.push(low | flag(number > 0, 0x80));
            if number == 0 {
                return;
            }
        }
    }
}

fn flag(set: bool, flag: u8) -> u8 {
    if set { flag } else { 0 }
}
