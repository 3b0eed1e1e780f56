//! Records as values: many small ones in a chunk, a large one in fragments.

use bytes::Bytes;

use super::{BODY_BYTES, Codec, Kind, Reader, Writer};
use crate::NewRecord;
use crate::clock;
use crate::sled_store::keys::{Place, StreamId};

/// The most records in a chunk, so that its progress always fits a value as well.
pub(in crate::sled_store) const CHUNK_RECORDS: usize = 512;

const CHUNK_HEADER_BYTES: usize = 4 + 8 + 8 + 8 + 2;
const FRAGMENT_HEADER_BYTES: usize = 4 + 8 + 4 + 4 + 8 + 8 + 4;

/// A record without its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sled_store) struct Stored {
    pub(in crate::sled_store) key: Option<String>,
    pub(in crate::sled_store) data: Bytes,
    pub(in crate::sled_store) recorded_millis: u64,
}

impl Stored {
    pub(in crate::sled_store) fn of(record: &NewRecord) -> Self {
        Self {
            key: record.key.clone(),
            data: record.data.clone(),
            recorded_millis: clock::to_unix_millis(record.recorded_at),
        }
    }

    pub(in crate::sled_store) fn size(&self) -> u64 {
        self.data.len() as u64 + self.key.as_ref().map_or(0, |key| key.len() as u64)
    }

    /// An upper bound of what the record takes in a chunk.
    fn encoded_bytes(&self) -> usize {
        30 + self.data.len() + self.key.as_ref().map_or(0, String::len)
    }

    fn encode(&self, base_millis: u64, into: &mut Writer) {
        let elapsed = self.recorded_millis.wrapping_sub(base_millis).cast_signed();
        into.varint(self.key.as_ref().map_or(0, |key| key.len() as u64 + 1))
            .varint(self.data.len() as u64)
            .varint(((elapsed << 1) ^ (elapsed >> 63)).cast_unsigned())
            .bytes(self.key.as_deref().unwrap_or_default().as_bytes())
            .bytes(&self.data);
    }

    /// `backing` holds the bytes that `from` reads.
    fn decode(base_millis: u64, from: &mut Reader<'_>, backing: &Bytes) -> Option<Self> {
        let key_length = usize::try_from(from.varint()?).ok()?;
        let data_length = usize::try_from(from.varint()?).ok()?;
        let zigzag = from.varint()?;
        let elapsed = (zigzag >> 1) ^ (zigzag & 1).wrapping_neg();
        let key = match key_length.checked_sub(1) {
            Some(length) => Some(String::from_utf8(from.bytes(length)?.to_vec()).ok()?),
            None => None,
        };
        let start = backing.len() - from.len();
        let end = start.checked_add(data_length)?;
        from.bytes(data_length)?;
        let recorded_millis = base_millis.wrapping_add(elapsed);
        Some(Self {
            key,
            data: backing.slice(start..end),
            recorded_millis,
        })
    }
}

/// Consecutive records of one stream.
#[derive(Debug, Clone)]
pub(in crate::sled_store) struct Chunk {
    pub(in crate::sled_store) stream: StreamId,
    pub(in crate::sled_store) first: u64,
    /// The sizes of all records of the stream before the first.
    pub(in crate::sled_store) bytes_before: u64,
    pub(in crate::sled_store) records: Vec<Stored>,
}

impl Chunk {
    pub(in crate::sled_store) fn decode(body: &[u8]) -> Option<Self> {
        // One copy for the whole chunk; its records share it.
        let backing = Bytes::copy_from_slice(body);
        let mut body = Reader::new(&backing);
        let (stream, first, bytes_before) = (body.u32()?, body.u64()?, body.u64()?);
        let base_millis = body.u64()?;
        let count = usize::from(u16::from_le_bytes(body.bytes(2)?.try_into().ok()?));
        if count == 0 || count > CHUNK_RECORDS {
            return None;
        }
        let mut records = Vec::with_capacity(count);
        for _ in 0..count {
            records.push(Stored::decode(base_millis, &mut body, &backing)?);
        }
        body.is_empty().then_some(Self {
            stream,
            first,
            bytes_before,
            records,
        })
    }

    pub(in crate::sled_store) fn size(&self) -> u64 {
        self.records.iter().map(Stored::size).sum()
    }
}

/// Fills one chunk with records of one stream.
#[derive(Debug)]
pub(in crate::sled_store) struct ChunkBuilder {
    place: Place,
    bytes_before: u64,
    base_millis: u64,
    count: u16,
    entries: Writer,
}

impl ChunkBuilder {
    pub(in crate::sled_store) fn new(stream: StreamId, first: u64, bytes_before: u64) -> Self {
        let place = Place {
            stream,
            sequence: first,
            fragment: 0,
        };
        Self {
            place,
            bytes_before,
            base_millis: 0,
            count: 0,
            entries: Writer::with_capacity(BODY_BYTES),
        }
    }

    /// Whether the record goes into a chunk at all.
    pub(in crate::sled_store) fn takes(record: &Stored) -> bool {
        CHUNK_HEADER_BYTES + record.encoded_bytes() <= BODY_BYTES
    }

    pub(in crate::sled_store) fn has_room(&self, record: &Stored) -> bool {
        let filled = CHUNK_HEADER_BYTES + self.entries.len();
        usize::from(self.count) < CHUNK_RECORDS && filled + record.encoded_bytes() <= BODY_BYTES
    }

    pub(in crate::sled_store) fn push(&mut self, record: &Stored) {
        if self.count == 0 {
            self.base_millis = record.recorded_millis;
        }
        record.encode(self.base_millis, &mut self.entries);
        self.count += 1;
    }

    /// The place and the value of what was pushed; the next chunk begins there.
    pub(in crate::sled_store) fn finish(self, codec: &Codec) -> (Place, Vec<u8>) {
        let mut body = Writer::with_capacity(CHUNK_HEADER_BYTES + self.entries.len());
        body.u32(self.place.stream)
            .u64(self.place.sequence)
            .u64(self.bytes_before)
            .u64(self.base_millis)
            .bytes(&self.count.to_le_bytes())
            .bytes(self.entries.as_slice());
        (self.place, codec.wrap(Kind::Chunk, body.as_slice()))
    }
}

/// What every fragment says of its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sled_store) struct LargeRecord {
    pub(in crate::sled_store) stream: StreamId,
    pub(in crate::sled_store) sequence: u64,
    pub(in crate::sled_store) bytes_before: u64,
    pub(in crate::sled_store) size: u64,
    pub(in crate::sled_store) fragments: u32,
    /// Of all fragments together.
    pub(in crate::sled_store) checksum: u32,
}

/// A part of a record that is too large for a chunk.
#[derive(Debug, Clone, Copy)]
pub(in crate::sled_store) struct Fragment<'a> {
    pub(in crate::sled_store) of: LargeRecord,
    pub(in crate::sled_store) index: u32,
    pub(in crate::sled_store) bytes: &'a [u8],
}

impl<'a> Fragment<'a> {
    pub(in crate::sled_store) fn decode(body: &'a [u8]) -> Option<Self> {
        let mut body = Reader::new(body);
        let (stream, sequence) = (body.u32()?, body.u64()?);
        let (index, fragments) = (body.u32()?, body.u32()?);
        let (bytes_before, size, checksum) = (body.u64()?, body.u64()?, body.u32()?);
        let of = LargeRecord {
            stream,
            sequence,
            bytes_before,
            size,
            fragments,
            checksum,
        };
        (index < fragments).then(|| Self {
            of,
            index,
            bytes: body.rest(),
        })
    }
}

/// Cuts a record that no chunk takes; `None` if it has more parts than can be counted.
pub(in crate::sled_store) fn fragments(
    codec: &Codec,
    place: Place,
    bytes_before: u64,
    record: &Stored,
) -> Option<Vec<(Place, Vec<u8>)>> {
    let mut whole = Writer::with_capacity(8 + record.encoded_bytes());
    whole.u64(record.recorded_millis);
    record.encode(record.recorded_millis, &mut whole);
    let pieces = whole.as_slice().chunks(BODY_BYTES - FRAGMENT_HEADER_BYTES);
    let count = u32::try_from(pieces.len()).ok()?;
    let checksum = crc32c::crc32c(whole.as_slice());
    let values = (0..count).zip(pieces).map(|(index, piece)| {
        let mut body = Writer::with_capacity(FRAGMENT_HEADER_BYTES + piece.len());
        body.u32(place.stream)
            .u64(place.sequence)
            .u32(index)
            .u32(count)
            .u64(bytes_before)
            .u64(record.size())
            .u32(checksum)
            .bytes(piece);
        (
            Place {
                fragment: index,
                ..place
            },
            codec.wrap(Kind::Fragment, body.as_slice()),
        )
    });
    Some(values.collect())
}

/// The record whose fragments were put one after the other.
pub(in crate::sled_store) fn joined(of: &LargeRecord, pieces: Vec<u8>) -> Option<Stored> {
    if crc32c::crc32c(&pieces) != of.checksum {
        return None;
    }
    let backing = Bytes::from(pieces);
    let mut from = Reader::new(&backing);
    let base_millis = from.u64()?;
    let record = Stored::decode(base_millis, &mut from, &backing)?;
    (from.is_empty() && record.size() == of.size).then_some(record)
}
