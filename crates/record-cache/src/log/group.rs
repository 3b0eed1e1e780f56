//! Encodes the calls of a group.

use std::io::{self, IoSlice};

use bytes::Bytes;

use super::catalog::Settled;
use super::fetch::Fetched;
use super::files::DiskFile;
use super::frame::{self, GroupBody, Header, Kind, Seal};
use super::outline::Outline;
use crate::index::Entry;
use crate::index::ranges::Ranges;
use crate::{NewRecord, StreamName, clock};

/// Payloads of at least this size are written without being copied.
const SHARED_FROM: usize = 16 * 1024;
/// The size at which a piece is written, while it is still in the processor's cache.
const PIECE_BYTES: usize = 256 << 10;

/// A change that takes effect as a whole.
#[derive(Debug)]
pub(crate) enum Call {
    Append(Prepared),
    Settle(Settled),
    /// Records being relocated to a newer segment.
    Carry(Vec<(StreamName, Fetched)>),
    Clear,
}

/// The records of one call, with what the writer would otherwise compute. Callers run on many
/// threads and the writer on one, so what callers compute does not delay the others.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) records: Vec<NewRecord>,
    checksums: Checksums,
    /// The length in bytes of all frames.
    pub(crate) length: u64,
}

/// The checksum of the body of each record.
#[derive(Debug)]
enum Checksums {
    /// The usual case, which needs no allocation.
    One(u32),
    Many(Vec<u32>),
}

impl Prepared {
    pub(crate) fn new(records: Vec<NewRecord>) -> Self {
        let checksums = match &*records {
            [one] => Checksums::One(checksum(one)),
            many => Checksums::Many(many.iter().map(checksum).collect()),
        };
        Self {
            checksums,
            length: records.iter().map(record_length).sum(),
            records,
        }
    }

    /// The records, each with the checksum of its body.
    pub(crate) fn checked(&self) -> impl ExactSizeIterator<Item = (&NewRecord, u32)> {
        let checksums = match &self.checksums {
            Checksums::One(one) => std::slice::from_ref(one),
            Checksums::Many(many) => many,
        };
        self.records.iter().zip(checksums.iter().copied())
    }
}

impl Call {
    /// The records that get a sequence number.
    pub(crate) fn appended(&self) -> &[NewRecord] {
        match self {
            Self::Append(prepared) => &prepared.records,
            _ => &[],
        }
    }

    pub(crate) fn encoded_length(&self) -> u64 {
        match self {
            Self::Append(prepared) => prepared.length,
            Self::Settle(settled) => settled.encoded_length(),
            Self::Carry(all) => all.iter().map(|(_, it)| it.header.frame_length()).sum(),
            Self::Clear => frame::length(0, false, 0),
        }
    }
}

fn checksum(record: &NewRecord) -> u32 {
    let key = record.key.as_deref().unwrap_or_default();
    crc32c::crc32c_append(crc32c::crc32c(key.as_bytes()), &record.data)
}

fn record_length(record: &NewRecord) -> u64 {
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
    seal: Seal,
    /// The file offset where the piece begins.
    start: u64,
    /// The file offset where the group ends.
    pub(super) offset: u64,
    next_sequence: u64,
    /// The checksum of the last frame.
    pub(super) last_frame: Option<u32>,
    /// The entries of the records, in the order of the calls.
    pub(super) entries: Vec<Entry>,
    /// The outline of the segment, including this group, if there is one.
    pub(crate) outline: Option<Outline>,
}

impl Encoder {
    /// Begins a group at this offset of the segment with this seal, and continues its outline.
    pub(crate) fn begin(
        &mut self,
        seal: Seal,
        offset: u64,
        next_sequence: u64,
        outline: Option<Outline>,
    ) {
        self.bytes.clear();
        // A large settlement may have grown the buffer.
        self.bytes.shrink_to(2 * PIECE_BYTES);
        self.shared.clear();
        self.entries = Vec::new();
        (self.seal, self.start, self.offset) = (seal, offset, offset);
        self.next_sequence = next_sequence;
        self.outline = outline;
    }

    /// Adds bytes that are not a frame.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.offset += bytes.len() as u64;
    }

    pub(crate) fn group(&mut self, group: &GroupBody) {
        let first = self.next_sequence;
        self.event(Kind::Group, first, "", &group.encode());
        let oldest = (group.oldest, group.oldest_base);
        self.note(|outline| outline.group(first, group.count, oldest));
    }

    /// Adds a call, and writes all but the last piece.
    pub(crate) fn call(&mut self, call: &Call, file: &dyn DiskFile) -> io::Result<()> {
        match call {
            Call::Append(prepared) => {
                let records = prepared.checked();
                let last = records.len().saturating_sub(1);
                self.entries.reserve(records.len());
                for (n, (record, checksum)) in records.enumerate() {
                    self.appended(record, checksum, (n == 0, n == last));
                    self.write_if_large(file)?;
                }
            }
            Call::Settle(settled) => self.settled(settled),
            Call::Carry(all) => {
                for (stream, record) in all {
                    self.record(stream, record.header, "", &record.body);
                    self.write_if_large(file)?;
                }
            }
            Call::Clear => {
                self.event(Kind::Cleared, 0, "", b"");
                self.note(Outline::cleared);
            }
        }
        Ok(())
    }

    pub(crate) fn settled(&mut self, settled: &Settled) {
        let mut body = Vec::new();
        settled.deleted.encode(&mut body);
        settled.counted.encode(&mut body);
        self.event(Kind::Settled, 0, settled.stream.as_str(), &body);
        self.note(|outline| outline.settled(settled));
    }

    pub(crate) fn voids(&mut self, voids: &Ranges) {
        let mut body = Vec::new();
        voids.encode(&mut body);
        self.event(Kind::Void, 0, "", &body);
        self.note(|outline| outline.voids(voids));
    }

    fn note(&mut self, note: impl FnOnce(&mut Outline)) {
        if let Some(outline) = &mut self.outline {
            note(outline);
        }
    }

    fn write_if_large(&mut self, file: &dyn DiskFile) -> io::Result<()> {
        if self.bytes.len() < PIECE_BYTES {
            return Ok(());
        }
        self.write(file)
    }

    /// Writes the current piece.
    pub(crate) fn write(&mut self, file: &dyn DiskFile) -> io::Result<()> {
        let mut written = Ok(());
        if self.start < self.offset {
            written = file.write(&mut self.parts(), self.start);
        }
        self.start = self.offset;
        self.bytes.clear();
        self.shared.clear();
        written
    }

    /// The current piece, for one vectored write.
    fn parts(&self) -> Vec<IoSlice<'_>> {
        let mut parts = Vec::with_capacity(2 * self.shared.len() + 1);
        let mut rest = 0;
        for (place, payload) in &self.shared {
            let before = self.bytes.get(rest..*place).unwrap_or_default();
            parts.push(IoSlice::new(before));
            parts.push(IoSlice::new(payload));
            rest = *place;
        }
        parts.push(IoSlice::new(self.bytes.get(rest..).unwrap_or_default()));
        parts
    }

    fn appended(&mut self, record: &NewRecord, checksum: u32, (starts, ends): (bool, bool)) {
        let key = record.key.as_deref().unwrap_or_default();
        let header = Header {
            starts,
            ends,
            key_length: record.key.as_ref().map(|key| length(key.len())),
            hash_key: record.explicit_hash_key,
            sequence: self.next_sequence,
            millis: clock::to_unix_millis(record.recorded_at),
            attempts: record.attempts,
            ..Header::new(Kind::Record, length(record.size()), checksum)
        };
        self.next_sequence += 1;
        self.record(&record.stream, header, key, &record.data);
    }

    /// Adds a record, whose body consists of these two parts.
    fn record(&mut self, stream: &StreamName, header: Header, key: &str, data: &Bytes) {
        let entry = header.entry(self.seal.segment, self.offset);
        self.entries.push(entry);
        self.note(|outline| outline.record(header.kind == Kind::Carried, stream, &entry));
        self.frame(header, stream.as_str(), key.as_bytes(), data);
    }

    /// Adds a frame that is not a record.
    fn event(&mut self, kind: Kind, sequence: u64, name: &str, body: &[u8]) {
        let header = Header {
            sequence,
            ..Header::new(kind, length(body.len()), crc32c::crc32c(body))
        };
        self.frame(header, name, body, &Bytes::new());
    }

    fn frame(&mut self, mut header: Header, name: &str, start: &[u8], data: &Bytes) {
        // A name has at most 1024 bytes.
        header.name_length = u16::try_from(name.len()).unwrap_or(u16::MAX);
        let name = name.as_bytes();
        self.last_frame = Some(header.encode(name, &self.seal, self.offset, &mut self.bytes));
        self.bytes.extend(start);
        if data.len() >= SHARED_FROM {
            self.shared.push((self.bytes.len(), data.clone()));
        } else {
            self.bytes.extend(data);
        }
        let whole = header.frame_length();
        let padding = whole - header.head_length() - u64::from(header.body_length);
        let padding = usize::try_from(padding).unwrap_or_default();
        self.bytes.resize(self.bytes.len() + padding, 0);
        self.offset += whole;
    }
}

/// Converts a length that the writer has already limited.
fn length(number: impl TryInto<u32>) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}
