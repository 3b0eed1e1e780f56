//! Blocks: neighbouring entries of one stream, in memory or in the database.

use std::num::NonZeroU16;

use crate::StreamName;
use crate::index::Entry;
use crate::index::varint::{put_number, take_number};

/// The most entries in a block.
pub(super) const BLOCK: usize = 256;

/// The segment size of sled's log. Smaller segments limit the size of values; larger ones cost
/// memory and disk space.
pub(super) const SEGMENT_BYTES: usize = 256 * 1024;

/// Up to this size, sled never writes a value to a separate file: a leaf of 16 to 19 values fits
/// into its log in one piece.
pub(super) const LARGEST_VALUE: usize = (SEGMENT_BYTES / 4 - 52) / 20;

/// The position of a block in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) stream: u64,
    pub(super) start: u64,
}

impl Key {
    const PREFIX: u8 = b'b';

    pub(super) fn bytes(self) -> [u8; 17] {
        let mut bytes = [Self::PREFIX; 17];
        bytes[1..9].copy_from_slice(&self.stream.to_be_bytes());
        bytes[9..].copy_from_slice(&self.start.to_be_bytes());
        bytes
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (&[Self::PREFIX], rest) = bytes.split_first_chunk()? else {
            return None;
        };
        let (stream, rest) = rest.split_first_chunk()?;
        Some(Self {
            stream: u64::from_be_bytes(*stream),
            start: u64::from_be_bytes(rest.try_into().ok()?),
        })
    }
}

/// Identifies the value stored in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) crc: u32,
    pub(super) length: NonZeroU16,
}

#[derive(Debug)]
pub(super) struct Block {
    /// No entry has a lower number, and no other block of the stream starts here.
    pub(super) start: u64,
    /// No entry has a higher number.
    pub(super) last: u64,
    /// Empty while they are only in the database.
    pub(super) entries: Vec<Entry>,
    /// How many entries are only in the database: all or none.
    pub(super) unloaded: u32,
    pub(super) stored: Option<Stored>,
    /// Whether it was used since unloading last came by.
    pub(super) used: bool,
    /// Whether it must be written.
    pub(super) changed: bool,
}

impl Block {
    /// A block not yet in the database.
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        Self {
            start: entries.first().map_or(0, |entry| entry.sequence),
            last: entries.last().map_or(0, |entry| entry.sequence),
            entries,
            unloaded: 0,
            stored: None,
            used: true,
            changed: true,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.entries.len() + self.unloaded as usize
    }

    /// Whether later entries belong into another block.
    pub(super) fn is_full(&self) -> bool {
        self.unloaded > 0 || self.entries.len() >= BLOCK
    }

    pub(super) fn key(&self, stream: u64) -> Key {
        Key {
            stream,
            start: self.start,
        }
    }

    /// Moves the second half of its entries to a new block that follows it.
    pub(super) fn split(&mut self) -> Self {
        let behind = self.entries.split_off(self.entries.len() / 2);
        if let Some(entry) = self.entries.last() {
            self.last = entry.sequence;
        }
        self.changed = true;
        Self::new(behind)
    }
}

/// The beginning of a stored value.
#[derive(Debug)]
pub(super) struct Header<'a> {
    pub(super) name: &'a str,
    /// The total size of the records in bytes.
    pub(super) bytes: u64,
    /// The block, unloaded.
    pub(super) block: Block,
    entries: &'a [u8],
}

/// Encodes a block as a value. `None` if the value would be too large.
///
/// The value is a header, the entries (each as the difference from the previous one), and a
/// checksum of the key and all of that.
pub(super) fn encode(
    key: Key,
    name: &StreamName,
    last: u64,
    entries: &[Entry],
) -> Option<(Vec<u8>, Stored)> {
    let name = name.as_str().as_bytes();
    let mut value = Vec::with_capacity(64 + name.len() + 8 * entries.len());
    put_number(&mut value, entries.len() as u64);
    put_number(&mut value, last.wrapping_sub(key.start));
    put_number(&mut value, entries.iter().map(|e| u64::from(e.size)).sum());
    put_number(&mut value, name.len() as u64);
    value.extend(name);
    let mut before = nothing_before(key);
    for entry in entries {
        put_entry(&mut value, before, *entry);
        before = *entry;
    }
    let crc = checksum(key, &value);
    value.extend(crc.to_le_bytes());
    let length = NonZeroU16::new(u16::try_from(value.len()).ok()?)?;
    (value.len() <= LARGEST_VALUE).then_some((value, Stored { crc, length }))
}

/// Reads the header of a value, if the value is valid.
pub(super) fn header(key: Key, value: &[u8]) -> Option<Header<'_>> {
    let (body, crc) = value.split_last_chunk()?;
    let crc = u32::from_le_bytes(*crc);
    if crc != checksum(key, body) {
        return None;
    }
    let length = NonZeroU16::new(u16::try_from(value.len()).ok()?)?;
    let mut rest = body;
    let count = u32::try_from(take_number(&mut rest)?).ok()?;
    let last = key.start.wrapping_add(take_number(&mut rest)?);
    let bytes = take_number(&mut rest)?;
    let name_length = usize::try_from(take_number(&mut rest)?).ok()?;
    let (name, entries) = rest.split_at_checked(name_length)?;
    Some(Header {
        name: std::str::from_utf8(name).ok()?,
        bytes,
        block: Block {
            start: key.start,
            last,
            entries: Vec::new(),
            unloaded: count,
            stored: Some(Stored { crc, length }),
            used: false,
            changed: false,
        },
        entries,
    })
}

/// Decodes a value, if it is the one that was stored.
pub(super) fn decode(key: Key, value: &[u8], stored: Stored) -> Option<Vec<Entry>> {
    let header = header(key, value)?;
    if header.block.stored != Some(stored) {
        return None;
    }
    let mut rest = header.entries;
    let mut before = nothing_before(key);
    let mut entries = Vec::with_capacity(rest.len().min(header.block.count()));
    for _ in 0..header.block.unloaded {
        before = take_entry(&mut rest, before)?;
        entries.push(before);
    }
    rest.is_empty().then_some(entries)
}

fn checksum(key: Key, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&key.bytes()), body)
}

/// What the first entry is compared with.
fn nothing_before(key: Key) -> Entry {
    Entry {
        sequence: key.start,
        ..Entry::default()
    }
}

fn put_entry(value: &mut Vec<u8>, before: Entry, entry: Entry) {
    put_number(value, entry.sequence.wrapping_sub(before.sequence));
    put_number(value, zigzag(entry.segment.wrapping_sub(before.segment)));
    put_number(value, zigzag(entry.place.wrapping_sub(before.place)));
    put_number(value, entry.size.into());
    put_number(value, entry.attempts.into());
}

fn take_entry(value: &mut &[u8], before: Entry) -> Option<Entry> {
    let mut number = || take_number(value);
    Some(Entry {
        sequence: before.sequence.wrapping_add(number()?),
        segment: before.segment.wrapping_add(unzigzag(number()?)?),
        place: before.place.wrapping_add(unzigzag(number()?)?),
        size: u32::try_from(number()?).ok()?,
        attempts: u32::try_from(number()?).ok()?,
    })
}

/// Encodes a wrapping difference so that values near zero are small.
fn zigzag(difference: u32) -> u64 {
    let signed = difference.cast_signed();
    u64::from(((signed << 1) ^ (signed >> 31)).cast_unsigned())
}

fn unzigzag(number: u64) -> Option<u32> {
    let number = u32::try_from(number).ok()?;
    Some((number >> 1) ^ (number & 1).wrapping_neg())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::{BLOCK, Block, Entry, Key, LARGEST_VALUE, decode, encode, header};
    use crate::StreamName;

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let steps = vec(
            (any::<u8>(), any::<[u64; 2]>(), any::<[u32; 4]>()),
            1..BLOCK,
        );
        steps.prop_map(|steps| {
            let mut entries: Vec<Entry> = Vec::new();
            for (kind, [number, _], [segment, place, size, attempts]) in steps {
                let before = entries.last().copied();
                let is = |bit: u8| kind & bit != 0;
                let sequence = match before {
                    None => number >> 1,
                    Some(before) if is(1) => before.sequence + 1,
                    Some(before) => before.sequence + 1 + (number >> 20),
                };
                let before = before.unwrap_or(Entry {
                    sequence,
                    segment,
                    place,
                    size,
                    attempts,
                });
                entries.push(Entry {
                    sequence,
                    segment: if is(2) { before.segment } else { segment },
                    place: if is(4) {
                        before.place.wrapping_add(size)
                    } else {
                        place
                    },
                    size: if is(8) { before.size } else { size },
                    attempts: if is(16) { 0 } else { attempts },
                });
            }
            entries
        })
    }

    proptest! {
        #[test]
        fn a_block_is_read_as_it_was_written(entries in entries(), stream in any::<u64>()) {
            let name = StreamName::new("orders").unwrap();
            let first = entries[0].sequence;
            let key = Key { stream, start: first - first.min(3) };
            let last = entries[entries.len() - 1].sequence + 2;
            let Some((value, stored)) = encode(key, &name, last, &entries) else {
                prop_assert!(entries.len() > 90, "{} entries did not fit", entries.len());
                return Ok(());
            };
            prop_assert!(value.len() <= LARGEST_VALUE);
            prop_assert_eq!(Key::parse(&key.bytes()), Some(key));
            let head = header(key, &value).unwrap();
            let bytes: u64 = entries.iter().map(|entry| u64::from(entry.size)).sum();
            prop_assert_eq!((head.name, head.block.last, head.bytes), ("orders", last, bytes));
            prop_assert_eq!(head.block.count(), entries.len());
            prop_assert_eq!(decode(key, &value, stored), Some(entries));
        }

        #[test]
        fn a_value_with_a_flipped_bit_is_refused(entries in entries(), at in any::<usize>()) {
            let name = StreamName::new("orders").unwrap();
            let key = Key { stream: 1, start: entries[0].sequence };
            let Some((mut value, _)) = encode(key, &name, u64::MAX, &entries) else {
                return Ok(());
            };
            let bit = at % (8 * value.len());
            value[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(header(key, &value).is_none());
        }
    }

    #[test]
    fn a_value_under_another_key_is_refused() {
        let name = StreamName::new("orders").unwrap();
        let [key, other] = [7, 8].map(|start| Key { stream: 1, start });
        let entry = Entry {
            sequence: 9,
            segment: 1,
            place: 64,
            size: 5,
            attempts: 0,
        };
        let (value, _) = encode(key, &name, 9, &[entry]).unwrap();
        assert!(header(key, &value).is_some());
        assert!(header(other, &value).is_none());
    }

    #[test]
    fn a_record_that_follows_one_like_it_takes_six_bytes() {
        let name = StreamName::new("orders").unwrap();
        let entries: Vec<Entry> = (0..BLOCK)
            .map(|n| u32::try_from(n).unwrap())
            .map(|n| Entry {
                sequence: n.into(),
                segment: 3,
                place: 64 + 144 * n,
                size: 100,
                attempts: 0,
            })
            .collect();
        let key = Key {
            stream: 1,
            start: 0,
        };
        let (value, _) = encode(key, &name, 255, &entries).unwrap();
        assert!(value.len() < 6 * BLOCK + 40, "{}", value.len());
    }

    #[test]
    fn a_block_is_as_small_as_documented() {
        assert_eq!(size_of::<Block>(), 56);
    }
}
