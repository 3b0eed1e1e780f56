//! Going through an outline again.

use super::{
    HASHED, KIND_MASK, NEXT_SEQUENCE, NO_ATTEMPTS, Outline, SAME_OLDEST, SAME_SIZE, SAME_STREAM,
    SoFar, Step,
};
use crate::StreamName;
use crate::index::queue::Entry;
use crate::index::ranges::Ranges;
use crate::log::catalog::Settled;
use crate::log::frame::{GroupBody, Kind, frame_length, hash_key_length, void_length};

/// The steps of an outline, one after the other.
#[derive(Debug)]
pub(crate) struct Steps<'a> {
    rest: &'a [u8],
    segment: u32,
    so_far: SoFar,
}

impl Outline {
    /// Takes bytes for an outline, if they are one from front to back.
    pub(crate) fn decode(bytes: Vec<u8>) -> Option<Self> {
        let mut steps = Steps::new(&bytes, 0);
        while !steps.rest.is_empty() {
            steps.read()?;
        }
        let so_far = steps.so_far;
        let names = so_far.names.iter().cloned();
        let places = names.zip(0..).collect();
        Some(Self {
            bytes,
            so_far,
            places,
        })
    }
}

impl<'a> Steps<'a> {
    pub(crate) fn new(bytes: &'a [u8], segment: u32) -> Self {
        let so_far = Outline::new().so_far;
        Self {
            rest: bytes,
            segment,
            so_far,
        }
    }

    /// Where the frame of the last step ends.
    pub(crate) fn end(&self) -> u64 {
        self.so_far.end
    }

    /// And where it begins.
    pub(crate) fn last_frame(&self) -> u64 {
        self.so_far.last_frame
    }

    fn read(&mut self) -> Option<Step> {
        let (&tag, rest) = self.rest.split_first()?;
        self.rest = rest;
        let kind = Kind::of(tag & KIND_MASK)?;
        let (step, length) = match kind {
            Kind::Group => self.group(tag)?,
            Kind::Record | Kind::Carried => self.record(tag, kind == Kind::Carried)?,
            Kind::Settled => {
                let stream = self.new_stream()?;
                let (deleted, counted) = (self.ranges()?, self.ranges()?);
                let stream = self.so_far.names.get(stream)?.clone();
                let settled = Settled {
                    stream,
                    deleted,
                    counted,
                };
                let length = settled.encoded_length();
                (Step::Settled(settled), length)
            }
            Kind::Void => {
                let voids = self.ranges()?;
                let length = void_length(&voids);
                (Step::Void(voids), length)
            }
            Kind::Cleared => (Step::Cleared, frame_length(0, 0)),
        };
        self.so_far.advance(length);
        Some(step)
    }

    fn group(&mut self, tag: u8) -> Option<(Step, u64)> {
        let first = if tag & NEXT_SEQUENCE == 0 {
            self.number()?
        } else {
            self.so_far.next
        };
        let count = self.small()?;
        if tag & SAME_OLDEST == 0 {
            self.so_far.oldest = Some((self.small()?, self.number()?));
        }
        self.so_far.next = first;
        Some((
            Step::Group { first, count },
            frame_length(0, GroupBody::BYTES),
        ))
    }

    fn record(&mut self, tag: u8, carried: bool) -> Option<(Step, u64)> {
        let stream = if tag & SAME_STREAM == 0 {
            self.new_stream()?
        } else {
            self.so_far.stream?
        };
        let sequence = if tag & NEXT_SEQUENCE == 0 {
            self.number()?
        } else {
            self.so_far.next
        };
        let size = if tag & SAME_SIZE == 0 {
            self.small()?
        } else {
            self.so_far.size
        };
        let attempts = if tag & NO_ATTEMPTS == 0 {
            self.small()?
        } else {
            0
        };
        (self.so_far.next, self.so_far.size) = (sequence.checked_add(1)?, size);
        let offset = u32::try_from(self.so_far.end).ok()?;
        let entry = Entry {
            sequence,
            segment: self.segment,
            offset,
            size,
            attempts,
        };
        let name = self.so_far.names.get(stream)?.as_str().len();
        Some((
            Step::Record {
                carried,
                stream,
                entry,
            },
            frame_length(name, size) + hash_key_length(tag & HASHED != 0),
        ))
    }

    fn new_stream(&mut self) -> Option<usize> {
        let place = usize::try_from(self.number()?).ok()?;
        if place == self.so_far.names.len() {
            let name = StreamName::new(self.text()?).ok()?;
            self.so_far.names.push(name);
        }
        self.so_far.stream = Some(place).filter(|&place| place < self.so_far.names.len());
        self.so_far.stream
    }

    fn ranges(&mut self) -> Option<Ranges> {
        let mut ranges = Ranges::default();
        let mut at = 0_u64;
        for _ in 0..self.number()? {
            let start = at.checked_add(self.number()?)?;
            at = start.checked_add(self.number()?)?;
            ranges.insert(start, at);
        }
        Some(ranges)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        str::from_utf8(text).ok()
    }

    fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

impl Iterator for Steps<'_> {
    type Item = Step;

    /// Ends where the bytes do; an outline that was made or decoded has steps only.
    fn next(&mut self) -> Option<Step> {
        self.read()
    }
}
