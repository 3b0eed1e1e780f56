//! The values in the tree: each says what it is, where it belongs, and proves it.
//!
//! ```text
//! tag      4  the low half of the generation's salt
//! kind     1
//! length   3  of the body
//! crc32c   4  over the salt, kind, length and body
//! body
//! ```
//!
//! The salt is random and no caller ever sees it, so bytes that someone recorded can
//! never pass for a value of ours, not even in a file that is searched byte by byte.

mod bytes_io;
mod payload;
mod progress;

pub(super) use self::bytes_io::{Reader, Writer};
pub(super) use self::payload::{
    CHUNK_RECORDS, Chunk, ChunkBuilder, Fragment, LargeRecord, Stored, fragments, joined,
};
pub(super) use self::progress::{Partial, Progress};

use super::keys::StreamId;
use super::segment::VALUE_BYTES;

const HEADER_BYTES: usize = 12;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Chunk = 1,
    Fragment = 2,
    Head = 3,
    Progress = 4,
    Name = 5,
    Seal = 6,
    Reached = 7,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [
            Self::Chunk,
            Self::Fragment,
            Self::Head,
            Self::Progress,
            Self::Name,
            Self::Seal,
            Self::Reached,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// Wraps and unwraps the values of one generation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Codec {
    salt: u64,
}

pub(super) const BODY_BYTES: usize = VALUE_BYTES - HEADER_BYTES;

impl Codec {
    pub(super) const fn new(salt: u64) -> Self {
        Self { salt }
    }

    pub(super) fn tag(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.salt.to_le_bytes();
        [a, b, c, d]
    }

    pub(super) fn wrap(&self, kind: Kind, body: &[u8]) -> Vec<u8> {
        debug_assert!(body.len() <= BODY_BYTES, "{} bytes of {kind:?}", body.len());
        let described = describe(kind as u8, body.len());
        let mut value = Vec::with_capacity(HEADER_BYTES + body.len());
        value.extend_from_slice(&self.tag());
        value.extend_from_slice(&described);
        value.extend_from_slice(&self.checksum(described, body).to_le_bytes());
        value.extend_from_slice(body);
        value
    }

    /// The body of a value that is whole and of this generation.
    pub(super) fn unwrap<'a>(&self, value: &'a [u8]) -> Option<(Kind, &'a [u8])> {
        let (kind, body, rest) = self.unwrap_prefix(value)?;
        rest.is_empty().then_some((kind, body))
    }

    /// The same for a value that something else follows.
    pub(super) fn unwrap_prefix<'a>(&self, bytes: &'a [u8]) -> Option<(Kind, &'a [u8], &'a [u8])> {
        let (tag, rest) = bytes.split_first_chunk::<4>()?;
        let (described, rest) = rest.split_first_chunk::<4>()?;
        let (checksum, rest) = rest.split_first_chunk::<4>()?;
        let [kind, length @ ..] = *described;
        let [a, b, c] = length;
        let length = usize::try_from(u32::from_le_bytes([a, b, c, 0])).ok()?;
        if *tag != self.tag() || length > BODY_BYTES || length > rest.len() {
            return None;
        }
        let (body, rest) = rest.split_at(length);
        let whole = self.checksum(*described, body) == u32::from_le_bytes(*checksum);
        whole.then_some((Kind::of(kind)?, body, rest))
    }

    fn checksum(&self, described: [u8; 4], body: &[u8]) -> u32 {
        let sum = crc32c::crc32c(&self.salt.to_le_bytes());
        crc32c::crc32c_append(crc32c::crc32c_append(sum, &described), body)
    }
}

fn describe(kind: u8, length: usize) -> [u8; 4] {
    let [a, b, c, ..] = length.to_le_bytes();
    [kind, a, b, c]
}

/// Where a stream's oldest unfinished payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) stream: StreamId,
    pub(super) sequence: u64,
    /// The sizes of all records before it.
    pub(super) bytes_before: u64,
}

impl Head {
    pub(super) fn encode(&self, codec: &Codec) -> Vec<u8> {
        let mut body = Writer::default();
        body.u32(self.stream)
            .u64(self.sequence)
            .u64(self.bytes_before);
        codec.wrap(Kind::Head, body.as_slice())
    }

    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut body = Reader::new(body);
        let head = Self {
            stream: body.u32()?,
            sequence: body.u64()?,
            bytes_before: body.u64()?,
        };
        body.is_empty().then_some(head)
    }
}

/// What a stream is called and which sequence it began with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) stream: StreamId,
    pub(super) start: u64,
    pub(super) name: String,
}

impl Name {
    pub(super) fn encode(&self, codec: &Codec) -> Vec<u8> {
        let mut body = Writer::default();
        body.u32(self.stream)
            .u64(self.start)
            .bytes(self.name.as_bytes());
        codec.wrap(Kind::Name, body.as_slice())
    }

    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut body = Reader::new(body);
        let (stream, start) = (body.u32()?, body.u64()?);
        let name = String::from_utf8(body.rest().to_vec()).ok()?;
        Some(Self {
            stream,
            start,
            name,
        })
    }
}

/// What holds for a whole generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seal {
    /// The sequence with which new streams begin, above all that was ever given out
    /// to streams that the generation no longer knows.
    pub(super) floor: u64,
}

impl Seal {
    pub(super) fn encode(&self, codec: &Codec) -> Vec<u8> {
        let mut body = Writer::default();
        body.u64(self.floor);
        codec.wrap(Kind::Seal, body.as_slice())
    }

    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut body = Reader::new(body);
        let seal = Self { floor: body.u64()? };
        body.is_empty().then_some(seal)
    }
}

/// How far the tree has taken in what was noted beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached {
    /// The number of the last note.
    pub(super) note: u64,
}

impl Reached {
    pub(super) fn encode(&self, codec: &Codec) -> Vec<u8> {
        let mut body = Writer::default();
        body.u64(self.note);
        codec.wrap(Kind::Reached, body.as_slice())
    }

    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut body = Reader::new(body);
        let reached = Self { note: body.u64()? };
        body.is_empty().then_some(reached)
    }
}
