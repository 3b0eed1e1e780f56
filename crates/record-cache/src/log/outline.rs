//! Outlines: summaries of a segment's frames without payloads, for fast opening.

mod file;
mod read;
mod write;

use std::collections::HashMap;

use self::read::Steps;
use super::format::SEGMENT_HEADER_BYTES;
use super::frame::Kind;
use crate::StreamName;

/// A summary of a segment's frames from its start, without gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outline {
    bytes: Vec<u8>,
    pub(crate) so_far: SoFar,
    /// The index of each name in the list.
    places: HashMap<StreamName, usize>,
}

/// The state after the previous steps, so the next step can omit what has not changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SoFar {
    /// The end of the last frame, where the next one begins.
    pub(crate) end: u64,
    /// Where the last frame begins.
    pub(crate) last_frame: u64,
    names: Vec<StreamName>,
    stream: Option<usize>,
    size: u32,
    /// The next record's sequence number, unless stated otherwise.
    next: u64,
    /// The oldest segment the last group needs, and the first sequence number in it.
    pub(crate) oldest: Option<(u32, u64)>,
}

// Flags in the kind byte: fields omitted because they are unchanged.
const SAME_STREAM: u8 = 0x10;
const NEXT_SEQUENCE: u8 = 0x20;
const SAME_SIZE: u8 = 0x40;
const NO_ATTEMPTS: u8 = 0x80;
const SAME_OLDEST: u8 = 0x40;
/// The record has a hash key.
const HASHED: u8 = 0x08;
const KIND_MASK: u8 = 0x07;

impl Outline {
    pub(crate) fn new() -> Self {
        let so_far = SoFar {
            end: SEGMENT_HEADER_BYTES,
            ..SoFar::default()
        };
        Self {
            so_far,
            ..Self::default()
        }
    }

    /// Where the last frame ends.
    pub(crate) fn end(&self) -> u64 {
        self.so_far.end
    }

    /// All steps, as part of the segment with this number.
    pub(crate) fn steps(&self, segment: u32) -> Steps<'_> {
        Steps::new(&self.bytes, segment)
    }
}

impl SoFar {
    fn advance(&mut self, length: u64) {
        self.last_frame = self.end;
        self.end += length;
    }
}

const _: () = assert!(Kind::Cleared as u8 <= KIND_MASK);
