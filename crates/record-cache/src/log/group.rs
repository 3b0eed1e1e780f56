//! Encodes the calls of a group.

use std::io::{self, IoSlice};

use bytes::Bytes;

use super::catalog::Settled;
use super::files::DiskFile;
use super::frame::{self, ALIGNMENT, GroupBody, Header, Kind, Seal, frame_length};
use super::outline::Outline;
use crate::index::Entry;
use crate::index::ranges::Ranges;
use crate::{NewRecord, StreamName, clock};

/// Payloads of at least this size are written without being copied.
const SHARED_FROM: usize = 16 * 1024;
/// The size at which a piece is written, while it is still in the processor's cache.
const PIECE_BYTES: usize = 128 << 10;

/// A change that takes effect as a whole.
#[derive(Debug)]
pub(crate) enum Call {
    Append(Vec<NewRecord>),
    Settle(Settled),
    Carry(Vec<Carried>),
    Clear,
}

/// A record being relocated to a newer segment.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) stream: StreamName,
    pub(crate) entry: Entry,
    pub(crate) header: Header,
    pub(crate) body: Bytes,
}

impl Call {
    /// The number of records that get a sequence number.
    pub(crate) fn records(&self) -> usize {
        match self {
            Self::Append(records) => records.len(),
            _ => 0,
        }
    }

    pub(crate) fn encoded_length(&self) -> u64 {
        match self {
            Self::Append(records) => records.iter().map(record_length).sum(),
            Self::Settle(settled) => settled.encoded_length(),
            Self::Carry(carried) => carried
                .iter()
                .map(|carried| carried.header.frame_length())
                .sum(),
            Self::Clear => frame_length(0, 0),
        }
    }
}

pub(crate) fn record_length(record: &NewRecord) -> u64 {
    let has_hash_key = record.explicit_hash_key.is_some();
    frame::length(record.stream.as_str().len(), has_hash_key, record.size())
}

/// Encodes frames and writes them in pieces.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    /// The current piece.
    bytes: Vec<u8>,
    /// Payloads, each with the offset in `bytes` where it is inserted.
    shared: Vec<(usize, Bytes)>,
    segment: u32,
    /// The file offset where the piece begins.
    start: u64,
    /// The file offset where the group ends.
    pub(super) offset: u64,
    /// The first failed write. Nothing is written after it.
    failed: Option<io::Error>,
    next_sequence: u64,
    /// The checksum of the last frame.
    pub(super) last_frame: Option<u32>,
    /// The entries of the records, in the order of the calls.
    pub(super) entries: Vec<Entry>,
    /// The outline of the segment, including this group, if there is one.
    pub(crate) outline: Option<Outline>,
}

impl Encoder {
    /// Begins a group at this offset of a segment, and continues its outline.
    pub(crate) fn begin(
        &mut self,
        (segment, offset): (u32, u64),
        next_sequence: u64,
        outline: Option<Outline>,
    ) {
        self.bytes.clear();
        // A large settlement may have grown the buffer.
        self.bytes.shrink_to(2 * PIECE_BYTES);
        self.shared.clear();
        self.entries = Vec::new();
        (self.segment, self.start, self.offset) = (segment, offset, offset);
        self.failed = None;
        self.next_sequence = next_sequence;
        self.outline = outline;
    }

    /// Adds bytes that are not a frame.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.offset += bytes.len() as u64;
    }

    pub(crate) fn group(&mut self, group: &GroupBody, seal: &Seal) {
        let body = group.encode();
        let mut header = Header::new(Kind::Group, GroupBody::BYTES, crc32c::crc32c(&body));
        header.sequence = self.next_sequence;
        self.frame(header, b"", &body, None, seal);
        let oldest = (group.oldest, group.oldest_base);
        self.note(|outline| outline.group(header.sequence, group.count, oldest));
    }

    pub(crate) fn call(&mut self, call: &Call, seal: &Seal, file: &dyn DiskFile) {
        match call {
            Call::Append(records) => {
                let last = records.len().saturating_sub(1);
                self.entries.reserve(records.len());
                for (n, record) in records.iter().enumerate() {
                    self.record(record, (n == 0, n == last), seal);
                    self.write_if_large(file);
                }
            }
            Call::Settle(settled) => self.settled(settled, seal),
            Call::Carry(all) => {
                for Carried {
                    stream,
                    entry,
                    header,
                    body,
                } in all
                {
                    let header = Header {
                        kind: Kind::Carried,
                        starts: true,
                        ends: true,
                        attempts: entry.attempts,
                        ..*header
                    };
                    self.enter(stream, &header);
                    self.frame(header, stream.as_str().as_bytes(), b"", Some(body), seal);
                    self.write_if_large(file);
                }
            }
            Call::Clear => {
                self.frame(Header::new(Kind::Cleared, 0, 0), b"", b"", None, seal);
                self.note(Outline::cleared);
            }
        }
    }

    pub(crate) fn settled(&mut self, settled: &Settled, seal: &Seal) {
        let mut body = Vec::new();
        settled.deleted.encode(&mut body);
        settled.counted.encode(&mut body);
        self.named(Kind::Settled, &settled.stream, &body, seal);
        self.note(|outline| outline.settled(settled));
    }

    pub(crate) fn voids(&mut self, voids: &Ranges, seal: &Seal) {
        let mut body = Vec::new();
        voids.encode(&mut body);
        let header = Header::new(Kind::Void, length(body.len()), crc32c::crc32c(&body));
        self.frame(header, b"", &body, None, seal);
        self.note(|outline| outline.voids(voids));
    }

    fn note(&mut self, note: impl FnOnce(&mut Outline)) {
        if let Some(outline) = &mut self.outline {
            note(outline);
        }
    }

    /// Writes the last piece. Fails if any write of the group failed.
    pub(crate) fn finish(&mut self, file: &dyn DiskFile) -> io::Result<()> {
        self.write(file);
        self.failed.take().map_or(Ok(()), Err)
    }

    fn write_if_large(&mut self, file: &dyn DiskFile) {
        if self.bytes.len() >= PIECE_BYTES {
            self.write(file);
        }
    }

    fn write(&mut self, file: &dyn DiskFile) {
        if self.failed.is_none() && self.start < self.offset {
            self.failed = file.write(&mut self.parts(), self.start).err();
        }
        self.start = self.offset;
        self.bytes.clear();
        self.shared.clear();
    }

    /// The current piece, for one vectored write.
    fn parts(&self) -> Vec<IoSlice<'_>> {
        let mut parts = Vec::with_capacity(2 * self.shared.len() + 1);
        let mut rest = 0;
        for (place, payload) in &self.shared {
            parts.push(IoSlice::new(
                self.bytes.get(rest..*place).unwrap_or_default(),
            ));
            parts.push(IoSlice::new(payload));
            rest = *place;
        }
        parts.push(IoSlice::new(self.bytes.get(rest..).unwrap_or_default()));
        parts
    }

    fn record(&mut self, record: &NewRecord, (starts, ends): (bool, bool), seal: &Seal) {
        let key = record.key.as_deref().map(str::as_bytes);
        let of_key = crc32c::crc32c(key.unwrap_or_default());
        let header = Header {
            kind: Kind::Record,
            starts,
            ends,
            name_length: name_length(&record.stream),
            body_length: length(record.size()),
            key_length: key.map(|key| length(key.len())),
            hash_key: record.explicit_hash_key,
            sequence: self.next_sequence,
            millis: clock::to_unix_millis(record.recorded_at),
            attempts: record.attempts,
            body_checksum: crc32c::crc32c_append(of_key, &record.data),
        };
        self.next_sequence += 1;
        self.enter(&record.stream, &header);
        let (name, key) = (record.stream.as_str().as_bytes(), key.unwrap_or_default());
        self.frame(header, name, key, Some(&record.data), seal);
    }

    /// Enters a record whose frame is added next.
    fn enter(&mut self, stream: &StreamName, header: &Header) {
        let entry = header.entry(self.segment, self.offset);
        self.entries.push(entry);
        self.note(|outline| outline.record(header.kind == Kind::Carried, stream, &entry));
    }

    fn named(&mut self, kind: Kind, stream: &StreamName, body: &[u8], seal: &Seal) {
        let mut header = Header::new(kind, length(body.len()), crc32c::crc32c(body));
        header.name_length = name_length(stream);
        self.frame(header, stream.as_str().as_bytes(), body, None, seal);
    }

    fn frame(
        &mut self,
        header: Header,
        name: &[u8],
        start: &[u8],
        rest: Option<&Bytes>,
        seal: &Seal,
    ) {
        self.last_frame = Some(header.encode(name, seal, self.offset, &mut self.bytes));
        self.bytes.extend(start);
        match rest {
            Some(data) if data.len() >= SHARED_FROM => {
                self.shared.push((self.bytes.len(), data.clone()));
            }
            Some(data) => self.bytes.extend(data),
            None => {}
        }
        let bytes = header.head_length() + u64::from(header.body_length);
        let padding = bytes.next_multiple_of(ALIGNMENT) - bytes;
        self.bytes.extend((0..padding).map(|_| 0));
        self.offset += bytes + padding;
    }
}

fn name_length(stream: &StreamName) -> u16 {
    // A name has at most 1024 bytes.
    u16::try_from(stream.as_str().len()).unwrap_or(u16::MAX)
}

/// Converts a length that the writer has already limited.
fn length(number: impl TryInto<u32>) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}
