//! The keys in the tree.
//!
//! One letter says what a key is about; numbers are big-endian, so that the order of
//! the bytes is the order of the records.

use std::ops::{Range, RangeInclusive};

/// Names a stream within one generation.
pub(super) type StreamId = u32;

pub(super) const HEADS: u8 = b'H';
pub(super) const NAMES: u8 = b'N';
pub(super) const PAYLOADS: u8 = b'P';
pub(super) const PROGRESS: u8 = b'A';
/// Facts about the generation as a whole.
pub(super) const SEAL: [u8; 1] = *b"S";
pub(super) const REACHED: [u8; 1] = *b"L";

pub(super) const PAYLOAD_BYTES: usize = 17;

pub(super) fn name(stream: StreamId) -> [u8; 5] {
    join(&[&[NAMES], &stream.to_be_bytes()])
}

pub(super) fn head(stream: StreamId) -> [u8; 5] {
    join(&[&[HEADS], &stream.to_be_bytes()])
}

pub(super) fn progress(stream: StreamId, first: u64) -> [u8; 13] {
    join(&[&[PROGRESS], &stream.to_be_bytes(), &first.to_be_bytes()])
}

/// The stream and the sequence that a progress is filed under.
pub(super) fn of_progress(key: &[u8]) -> Option<(StreamId, u64)> {
    let (letter, rest) = key.split_first()?;
    let (stream, sequence) = rest.split_first_chunk()?;
    let sequence = u64::from_be_bytes(sequence.try_into().ok()?);
    (*letter == PROGRESS).then_some((StreamId::from_be_bytes(*stream), sequence))
}

pub(super) fn payload(stream: StreamId, sequence: u64, fragment: u32) -> [u8; PAYLOAD_BYTES] {
    join(&[
        &[PAYLOADS],
        &stream.to_be_bytes(),
        &sequence.to_be_bytes(),
        &fragment.to_be_bytes(),
    ])
}

/// All payloads of a stream from a sequence on.
pub(super) fn payloads_from(
    stream: StreamId,
    sequence: u64,
) -> RangeInclusive<[u8; PAYLOAD_BYTES]> {
    payload(stream, sequence, 0)..=payload(stream, u64::MAX, u32::MAX)
}

/// All payloads of a stream from one sequence as far as another, which is included.
pub(super) fn payloads_between(
    stream: StreamId,
    first: u64,
    last: u64,
) -> RangeInclusive<[u8; PAYLOAD_BYTES]> {
    payload(stream, first, 0)..=payload(stream, last, u32::MAX)
}

/// All payloads of streams from this one on.
pub(super) fn streams_from(stream: StreamId) -> Range<Vec<u8>> {
    payload(stream, 0, 0).to_vec()..vec![PAYLOADS + 1]
}

/// Where a payload belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) stream: StreamId,
    pub(super) sequence: u64,
    pub(super) fragment: u32,
}

impl Place {
    pub(super) fn of_key(key: &[u8]) -> Option<Self> {
        let (letter, rest) = key.split_first()?;
        let (stream, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let fragment = rest.try_into().ok()?;
        (*letter == PAYLOADS).then_some(Self {
            stream: StreamId::from_be_bytes(*stream),
            sequence: u64::from_be_bytes(*sequence),
            fragment: u32::from_be_bytes(fragment),
        })
    }

    pub(super) fn key(self) -> [u8; PAYLOAD_BYTES] {
        payload(self.stream, self.sequence, self.fragment)
    }
}

fn join<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut key = [0; N];
    for (byte, from) in key.iter_mut().zip(parts.iter().copied().flatten()) {
        *byte = *from;
    }
    key
}
