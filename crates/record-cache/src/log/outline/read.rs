//! Reads the steps of an outline.

use super::{
    HASHED, KIND_MASK, NEXT_SEQUENCE, NO_ATTEMPTS, Outline, SAME_OLDEST, SAME_SIZE, SAME_STREAM,
    SoFar,
};
use crate::StreamName;
use crate::index::Entry;
use crate::index::ranges::Ranges;
use crate::index::varint::take_number;
use crate::log::catalog::Settled;
use crate::log::frame::{Kind, place};
use crate::log::step::Step;

#[derive(Debug)]
pub(crate) struct Steps<'a> {
    rest: &'a [u8],
    segment: u32,
    pub(crate) so_far: SoFar,
}

impl Outline {
    /// Accepts bytes as an outline if they are valid throughout.
    pub(crate) fn decode(bytes: Vec<u8>) -> Option<Self> {
        let mut steps = Steps::new(&bytes, 0);
        while !steps.rest.is_empty() {
            steps.next()?;
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

    fn group(&mut self, tag: u8) -> Option<Step> {
        let first = self.number_unless(tag & NEXT_SEQUENCE, self.so_far.next)?;
        let count = self.small()?;
        if tag & SAME_OLDEST == 0 {
            self.so_far.oldest = Some((self.small()?, self.number()?));
        }
        self.so_far.next = first;
        let oldest = self.so_far.oldest?;
        Some(Step::Group {
            first,
            count,
            oldest,
        })
    }

    fn record(&mut self, tag: u8, carried: bool) -> Option<Step> {
        let stream = match tag & SAME_STREAM {
            0 => self.new_stream()?,
            _ => self.so_far.stream?,
        };
        let sequence = self.number_unless(tag & NEXT_SEQUENCE, self.so_far.next)?;
        let size = self.number_unless(tag & SAME_SIZE, self.so_far.size.into())?;
        let attempts = self.number_unless(tag & NO_ATTEMPTS, 0)?;
        let size = u32::try_from(size).ok()?;
        (self.so_far.next, self.so_far.size) = (sequence.checked_add(1)?, size);
        u32::try_from(self.so_far.end).ok()?;
        let entry = Entry {
            sequence,
            segment: self.segment,
            place: place(self.so_far.end, tag & HASHED != 0),
            size,
            attempts: u32::try_from(attempts).ok()?,
        };
        let stream = self.so_far.names.get(stream)?.clone();
        Some(Step::Record {
            carried,
            stream,
            entry,
        })
    }

    fn new_stream(&mut self) -> Option<usize> {
        let place = usize::try_from(self.number()?).ok()?;
        if place == self.so_far.names.len() {
            let length = usize::try_from(self.number()?).ok()?;
            let name = self.rest.split_off(..length)?;
            let name = StreamName::new(str::from_utf8(name).ok()?).ok()?;
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

    fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    fn number(&mut self) -> Option<u64> {
        take_number(&mut self.rest)
    }

    /// A number, or `same` if this flag says it is omitted.
    fn number_unless(&mut self, flag: u8, same: u64) -> Option<u64> {
        if flag == 0 { self.number() } else { Some(same) }
    }
}

impl Iterator for Steps<'_> {
    type Item = Step;

    /// Ends with the bytes: a created or decoded outline has only valid steps.
    fn next(&mut self) -> Option<Step> {
        let &tag = self.rest.split_off_first()?;
        let kind = Kind::of(tag & KIND_MASK)?;
        let step = match kind {
            Kind::Group => self.group(tag)?,
            Kind::Record | Kind::Carried => self.record(tag, kind == Kind::Carried)?,
            Kind::Settled => {
                let place = self.new_stream()?;
                Step::Settled(Settled {
                    deleted: self.ranges()?,
                    counted: self.ranges()?,
                    stream: self.so_far.names.get(place)?.clone(),
                })
            }
            Kind::Void => Step::Void(self.ranges()?),
            Kind::Cleared => Step::Cleared,
        };
        self.so_far.advance(step.length());
        Some(step)
    }
}
