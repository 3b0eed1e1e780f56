//! Outlines: summaries of a segment's frames without payloads, for fast opening.

mod file;
mod read;
mod write;

use std::collections::HashMap;

use self::read::Steps;
use super::format::SEGMENT_HEADER_BYTES;
use super::frame::Kind;
use crate::StreamName;

/// The frames of a segment from its start, without gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outline {
    bytes: Vec<u8>,
    so_far: SoFar,
    /// The index of each name in the list.
    places: HashMap<StreamName, usize>,
}

/// The state after the previous steps, which the next step need not repeat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct SoFar {
    /// Where the next frame begins.
    end: u64,
    /// Where the last one does.
    last_frame: u64,
    names: Vec<StreamName>,
    stream: Option<usize>,
    size: u32,
    /// The number of the next record, unless stated otherwise.
    next: u64,
    /// The oldest segment that the last group needs, and its first number.
    oldest: Option<(u32, u64)>,
}

// Flags next to the kind: what is omitted because it is unchanged.
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

    /// Where the last of the frames ends.
    pub(crate) fn end(&self) -> u64 {
        self.so_far.end
    }

    /// Where the last of the frames begins.
    pub(crate) fn last_frame(&self) -> u64 {
        self.so_far.last_frame
    }

    /// The oldest segment still needed, and its first number, according to the last group.
    pub(crate) fn oldest_needed(&self) -> Option<(u32, u64)> {
        self.so_far.oldest
    }

    /// All steps. They belong to the segment with this number.
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
