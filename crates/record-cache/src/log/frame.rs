//! The frames of a segment.

use std::io;

use bytes::Buf;

use super::files::DiskFile;
use crate::StreamName;
use crate::index::Entry;
use crate::index::ranges::Ranges;

/// Bytes before the name.
pub(crate) const HEADER_BYTES: usize = 40;
/// Bytes of a hash key, after the name.
pub(crate) const HASH_KEY_BYTES: usize = size_of::<u128>();
/// Frame alignment, so that frames can be found again after damage.
pub(crate) const ALIGNMENT: u64 = 8;
/// The longest header with its name and a hash key.
pub(crate) const LONGEST_HEAD: usize = HEADER_BYTES + StreamName::MAX_BYTES + HASH_KEY_BYTES;

pub(crate) const MAGIC_AT: usize = 4;
pub(crate) const MAGIC: u8 = 0xA6;

const KIND_MASK: u8 = 0x0f;
const HASHED: u8 = 0x20;
const STARTS: u8 = 0x40;
const ENDS: u8 = 0x80;
const NO_KEY: u32 = u32::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The start of a group of calls that were written together.
    Group = 1,
    /// An appended record.
    Record = 2,
    /// A record relocated from an older segment.
    Carried = 3,
    /// Some records of a stream are done, and an attempt is counted on others.
    Settled = 4,
    /// Sequence numbers without a record.
    Void = 5,
    /// Everything before this was cleared.
    Cleared = 6,
}

impl Kind {
    pub(crate) fn of(number: u8) -> Option<Self> {
        use Kind::{Carried, Cleared, Group, Record, Settled, Void};
        let mut all = [Group, Record, Carried, Settled, Void, Cleared].into_iter();
        all.find(|kind| *kind as u8 == number)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// Whether this is the first frame of a call, and whether it is the last.
    pub(crate) starts: bool,
    pub(crate) ends: bool,
    pub(crate) name_length: u16,
    pub(crate) body_length: u32,
    /// The part of the body that holds the record's key.
    pub(crate) key_length: Option<u32>,
    pub(crate) hash_key: Option<u128>,
    pub(crate) sequence: u64,
    pub(crate) millis: u64,
    pub(crate) attempts: u32,
    pub(crate) body_checksum: u32,
}

impl Header {
    /// The header of the only frame of a call.
    pub(crate) const fn new(kind: Kind, body_length: u32, body_checksum: u32) -> Self {
        Self {
            kind,
            starts: true,
            ends: true,
            name_length: 0,
            body_length,
            key_length: None,
            hash_key: None,
            sequence: 0,
            millis: 0,
            attempts: 0,
            body_checksum,
        }
    }

    pub(crate) fn head_length(&self) -> u64 {
        head_length(self.name_length.into(), self.hash_key.is_some())
    }

    pub(crate) fn frame_length(&self) -> u64 {
        (self.head_length() + u64::from(self.body_length)).next_multiple_of(ALIGNMENT)
    }

    /// The index entry of the record with this header.
    pub(crate) fn entry(&self, segment: u32, offset: u64) -> Entry {
        Entry {
            sequence: self.sequence,
            segment,
            place: place(offset, self.hash_key.is_some()),
            size: self.body_length,
            attempts: self.attempts,
        }
    }

    /// The checksum field of the frame at this offset, read from the file.
    pub(crate) fn checksum_at(file: &dyn DiskFile, offset: u64) -> io::Result<Option<u32>> {
        let mut head = Vec::new();
        file.read(&mut head, MAGIC_AT, offset)?;
        Ok(head.first_chunk().copied().map(u32::from_le_bytes))
    }

    /// Appends the encoded header and name. Returns the checksum.
    pub(crate) fn encode(&self, name: &[u8], seal: &Seal, offset: u64, into: &mut Vec<u8>) -> u32 {
        let start = into.len();
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let hashed = flag(self.hash_key.is_some(), HASHED);
        let mut bytes = [0; HEADER_BYTES];
        bytes[MAGIC_AT] = MAGIC;
        bytes[5] = self.kind as u8 | hashed | flag(self.starts, STARTS) | flag(self.ends, ENDS);
        bytes[6..8].copy_from_slice(&self.name_length.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.body_length.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.key_length.unwrap_or(NO_KEY).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.millis.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.attempts.to_le_bytes());
        bytes[36..].copy_from_slice(&self.body_checksum.to_le_bytes());
        into.extend_from_slice(&bytes);
        into.extend(name);
        into.extend(self.hash_key.map(u128::to_le_bytes).into_iter().flatten());
        let checked = into.get(start + MAGIC_AT..).unwrap_or_default();
        let checksum = crc32c::crc32c_append(seal.at(self.kind, offset), checked);
        if let Some(place) = into.get_mut(start..start + MAGIC_AT) {
            place.copy_from_slice(&checksum.to_le_bytes());
        }
        checksum
    }

    /// Decodes a header and its name from the start of the bytes, if they are complete.
    pub(crate) fn decode<'a>(
        bytes: &'a [u8],
        seal: &Seal,
        offset: u64,
    ) -> Option<(Self, &'a [u8])> {
        let (header, behind) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let mut fields = &header[..];
        let found = fields.get_u32_le();
        if fields.get_u8() != MAGIC {
            return None;
        }
        let kind_and_flags = fields.get_u8();
        let name_length = fields.get_u16_le();
        let (name, behind) = behind.split_at_checked(usize::from(name_length))?;
        let hash_key = match kind_and_flags & HASHED {
            0 => None,
            _ => Some(u128::from_le_bytes(*behind.first_chunk()?)),
        };
        let this = Self {
            kind: Kind::of(kind_and_flags & KIND_MASK)?,
            starts: kind_and_flags & STARTS != 0,
            ends: kind_and_flags & ENDS != 0,
            name_length,
            body_length: fields.get_u32_le(),
            key_length: Some(fields.get_u32_le()).filter(|&length| length != NO_KEY),
            hash_key,
            sequence: fields.get_u64_le(),
            millis: fields.get_u64_le(),
            attempts: fields.get_u32_le(),
            body_checksum: fields.get_u32_le(),
        };
        let checked = bytes.get(MAGIC_AT..usize::try_from(this.head_length()).ok()?)?;
        let expected = crc32c::crc32c_append(seal.at(this.kind, offset), checked);
        let sound = found == expected && this.key_length.unwrap_or(0) <= this.body_length;
        sound.then_some((this, name))
    }
}

/// The length in bytes of a header, with its name and hash key.
const fn head_length(name_length: usize, has_hash_key: bool) -> u64 {
    let hash_key = if has_hash_key { HASH_KEY_BYTES } else { 0 };
    (HEADER_BYTES + name_length + hash_key) as u64
}

/// The length of a frame in bytes, padding included.
pub(crate) const fn length(name_length: usize, has_hash_key: bool, body_length: u64) -> u64 {
    (head_length(name_length, has_hash_key) + body_length).next_multiple_of(ALIGNMENT)
}

/// The position of a record's frame, as kept in an entry. Frames are aligned, so the lowest bit is
/// free to flag a hash key.
pub(crate) fn place(offset: u64, has_hash_key: bool) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX) | u32::from(has_hash_key)
}

pub(crate) fn has_hash_key(entry: &Entry) -> bool {
    entry.place & 1 != 0
}

/// The offset of a record's frame.
pub(crate) fn offset(entry: &Entry) -> u64 {
    u64::from(entry.place & !1)
}

/// The length of a record's frame in bytes.
pub(crate) fn record_length(stream: &StreamName, entry: &Entry) -> u64 {
    let name_length = stream.as_str().len();
    length(name_length, has_hash_key(entry), entry.size.into())
}

/// The length in bytes of the frame that voids these numbers.
pub(crate) fn void_length(voids: &Ranges) -> u64 {
    length(0, false, voids.encoded_length() as u64)
}

/// Binds a frame to its position, so that stale bytes are never mistaken for a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seal {
    /// Of the store.
    pub(crate) salt: u64,
    /// The number of the segment.
    pub(crate) segment: u32,
    with_salt: u32,
    without: u32,
}

impl Seal {
    /// The seal of this segment in the store with this salt.
    pub(crate) fn new(salt: u64, segment: u32) -> Self {
        let without = crc32c::crc32c(&segment.to_le_bytes());
        Self {
            salt,
            segment,
            with_salt: crc32c::crc32c_append(without, &salt.to_le_bytes()),
            without,
        }
    }

    fn at(&self, kind: Kind, offset: u64) -> u32 {
        // Group frames carry the salt and are sealed without it, so one of them is enough to
        // recover it.
        let seed = if kind == Kind::Group {
            self.without
        } else {
            self.with_salt
        };
        crc32c::crc32c_append(seed, &offset.to_le_bytes())
    }
}

/// The body of a group's frame, whose sequence is the first one of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupBody {
    pub(crate) salt: u64,
    /// The number of sequence numbers used by the group.
    pub(crate) count: u32,
    /// How much of the segment was already synced, in bytes.
    pub(crate) stable: u32,
    /// The oldest segment that is still needed.
    pub(crate) oldest: u32,
    /// The first sequence number assigned in that segment or later.
    pub(crate) oldest_base: u64,
}

impl GroupBody {
    pub(crate) const BYTES: u32 = 28;
    /// The length in bytes of its frame.
    pub(crate) const FRAME_BYTES: u64 = length(0, false, Self::BYTES as u64);

    pub(crate) fn encode(&self) -> [u8; Self::BYTES as usize] {
        let mut bytes = [0; Self::BYTES as usize];
        bytes[..8].copy_from_slice(&self.salt.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.count.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.stable.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.oldest.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.oldest_base.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = &bytes.first_chunk::<{ Self::BYTES as usize }>()?[..];
        Some(Self {
            salt: fields.get_u64_le(),
            count: fields.get_u32_le(),
            stable: fields.get_u32_le(),
            oldest: fields.get_u32_le(),
            oldest_base: fields.get_u64_le(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{GroupBody, Header, Kind, Seal};

    fn headers() -> [Header; 2] {
        [None, Some(u128::MAX - 5)].map(|hash_key| Header {
            starts: false,
            name_length: 6,
            key_length: Some(3),
            hash_key,
            sequence: 77,
            millis: 1_700_000_000_123,
            attempts: 4,
            ..Header::new(Kind::Record, 1000, 0xfeed)
        })
    }

    #[test]
    fn a_header_reads_back_at_its_own_place_only() {
        let seal = Seal::new(9, 3);
        for header in headers() {
            let mut bytes = Vec::new();
            header.encode(b"stream", &seal, 64, &mut bytes);
            let read = |seal, offset| Header::decode(&bytes, &seal, offset);
            assert_eq!(read(seal, 64), Some((header, &b"stream"[..])));
            assert_eq!(header.head_length(), bytes.len() as u64);
            assert_eq!(read(seal, 72), None, "another offset");
            assert_eq!(read(Seal::new(9, 4), 64), None, "another segment");
            assert_eq!(read(Seal::new(8, 3), 64), None, "another store");
        }
    }

    #[test]
    fn no_flipped_bit_and_no_cut_passes() {
        let seal = Seal::new(9, 3);
        for header in headers() {
            let mut bytes = Vec::new();
            header.encode(b"stream", &seal, 64, &mut bytes);
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Header::decode(&flipped, &seal, 64), None, "bit {bit}");
            }
            for length in 0..bytes.len() {
                let cut = &bytes[..length];
                assert_eq!(Header::decode(cut, &seal, 64), None, "length {length}");
            }
        }
    }

    #[test]
    fn a_group_is_found_without_the_salt() {
        let body = GroupBody {
            salt: 5,
            count: 6,
            stable: 7,
            oldest: 8,
            oldest_base: 9,
        };
        assert_eq!(GroupBody::decode(&body.encode()), Some(body));
        let mut bytes = Vec::new();
        Header::new(Kind::Group, 28, 1).encode(b"", &Seal::new(9, 3), 64, &mut bytes);
        assert!(Header::decode(&bytes, &Seal::new(0, 3), 64).is_some());
    }
}
