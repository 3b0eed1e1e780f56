//! The file formats of the log, except for frames.

use bytes::Buf;

pub(crate) const VERSION: u32 = 1;
/// The offset of the first frame of a segment.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = BYTES as u64;

pub(crate) const LOCK: &str = "lock";
pub(crate) const MARK: &str = "journal-mark";
pub(crate) const TEMPORARY_MARK: &str = "journal-mark.tmp";
/// A segment that gets its final name only once it is on stable storage.
pub(crate) const TEMPORARY_SEGMENT: &str = "journal-next.tmp";
/// Space released when the disk is full, so that records can still be settled.
pub(crate) const RESERVE: &str = "journal-reserve";
pub(crate) const RESERVE_BYTES: usize = 64 * 1024;
pub(crate) const COPY_PREFIX: &str = "corrupt-";
const SEGMENT_SUFFIX: &str = ".journal";

const BYTES: usize = 64;
const CHECKED: usize = BYTES - 4;
const SEGMENT_MAGIC: [u8; 8] = *b"\x89rc-log\n";
const MARK_MAGIC: [u8; 8] = *b"\x89rc-mrk\n";

pub(crate) fn segment_name(number: u32) -> String {
    format!("{number:010}{SEGMENT_SUFFIX}")
}

pub(crate) fn segment_number(name: &str) -> Option<u32> {
    let number = name.strip_suffix(SEGMENT_SUFFIX)?.parse().ok()?;
    (segment_name(number) == name).then_some(number)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) number: u32,
    pub(crate) salt: u64,
    /// The first sequence number it may contain.
    pub(crate) base: u64,
    /// The previous segment and its end.
    pub(crate) previous: Option<Previous>,
}

/// The end of a segment that another segment continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Previous {
    pub(crate) number: u32,
    /// Data after this offset was never acknowledged.
    pub(crate) end: u64,
}

/// The high-water mark, written when a store is created and when it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) salt: u64,
    /// All lower sequence numbers are used up.
    pub(crate) next: u64,
    /// The last segment at that time and its length, all of it synced.
    pub(crate) last: Option<Previous>,
    /// How many records the log held.
    pub(crate) held: u64,
}

/// The result of decoding the first bytes of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<T> {
    Sound(T),
    /// Intact, but written by an unknown version.
    OtherVersion(u32),
    Damaged,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; BYTES] {
        let previous = self.previous.unwrap_or(NONE);
        let words = [self.salt, self.base, previous.end, 0];
        encode(SEGMENT_MAGIC, self.number, previous.number, words)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Found<Self> {
        let make = |number, other, [salt, base, end, _]: [u64; 4]| Self {
            number,
            salt,
            base,
            previous: previous(other, end),
        };
        decode(SEGMENT_MAGIC, bytes, make)
    }
}

impl Mark {
    pub(crate) fn encode(&self) -> [u8; BYTES] {
        let last = self.last.unwrap_or(NONE);
        let words = [self.salt, self.next, last.end, self.held];
        encode(MARK_MAGIC, last.number, 0, words)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Found<Self> {
        let make = |number, _, [salt, next, end, held]: [u64; 4]| Self {
            salt,
            next,
            last: previous(number, end),
            held,
        };
        decode(MARK_MAGIC, bytes, make)
    }
}

const NONE: Previous = Previous {
    number: 0,
    end: u64::MAX,
};

fn previous(number: u32, end: u64) -> Option<Previous> {
    (end != NONE.end).then_some(Previous { number, end })
}

fn encode(magic: [u8; 8], one: u32, other: u32, words: [u64; 4]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(&magic);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&one.to_le_bytes());
    bytes[16..20].copy_from_slice(&other.to_le_bytes());
    for (place, word) in bytes[24..56].chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    let checksum = crc32c::crc32c(&bytes[..CHECKED]);
    bytes[CHECKED..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// All versions share the magic, the position of the version, and the checksum.
fn decode<T>(magic: [u8; 8], bytes: &[u8], make: impl Fn(u32, u32, [u64; 4]) -> T) -> Found<T> {
    let parsed = || {
        let (bytes, _) = bytes.split_first_chunk::<BYTES>()?;
        let whole = crc32c::crc32c(&bytes[..CHECKED]).to_le_bytes() == bytes[CHECKED..];
        let mut fields = bytes.strip_prefix(&magic).filter(|_| whole)?;
        let version = fields.get_u32_le();
        if version != VERSION {
            return Some(Found::OtherVersion(version));
        }
        let [one, other, _] = [0; 3].map(|_| fields.get_u32_le());
        let words = [0; 4].map(|_| fields.get_u64_le());
        Some(Found::Sound(make(one, other, words)))
    };
    parsed().unwrap_or(Found::Damaged)
}

#[cfg(test)]
mod tests {
    use super::{Found, Mark, Previous, SegmentHeader, segment_name, segment_number};

    #[test]
    fn names_and_numbers_agree() {
        for number in [0, 1, 77, u32::MAX] {
            assert_eq!(segment_number(&segment_name(number)), Some(number));
        }
        for name in [
            "1.journal",
            "0000000001.log",
            "00000000001.journal",
            "journal-mark",
        ] {
            assert_eq!(segment_number(name), None, "{name}");
        }
    }

    #[test]
    fn headers_read_back_and_no_flipped_bit_passes() {
        let previous = Some(Previous {
            number: 4,
            end: 900,
        });
        for previous in [None, previous] {
            let header = SegmentHeader {
                number: 5,
                salt: 6,
                base: 7,
                previous,
            };
            let mark = Mark {
                salt: 6,
                next: 7,
                last: previous,
                held: 8,
            };
            assert_eq!(
                SegmentHeader::decode(&header.encode()),
                Found::Sound(header)
            );
            assert_eq!(Mark::decode(&mark.encode()), Found::Sound(mark));
            assert_eq!(SegmentHeader::decode(&mark.encode()), Found::Damaged);
            for bit in 0..512 {
                let mut bytes = header.encode();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(SegmentHeader::decode(&bytes), Found::Damaged, "bit {bit}");
            }
        }
        assert_eq!(Mark::decode(&[0; 20]), Found::Damaged);
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let mut bytes = Mark {
            salt: 6,
            next: 7,
            last: None,
            held: 8,
        }
        .encode();
        bytes[8] = 2;
        let checksum = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(Mark::decode(&bytes), Found::OtherVersion(2));
    }
}
