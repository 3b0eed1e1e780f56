//! The checkpoint record, which can also reveal missing blocks.

use super::block::Stored;
use crate::index::Checkpoint;
use crate::index::varint::{put_number, take_number};

const FORMAT: u8 = 2;
const PREFIX: u8 = b'c';
/// The bytes per value. A record with many segments needs several.
const PART: usize = 3_000;

/// The totals of the blocks in the database, independent of their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) blocks: u64,
    pub(super) bytes: u64,
    sum: u64,
}

impl Totals {
    pub(super) fn add(&mut self, stored: Stored) {
        self.blocks += 1;
        self.bytes += u64::from(stored.length.get());
        self.sum = self.sum.wrapping_add(spread(stored));
    }

    pub(super) fn subtract(&mut self, stored: Stored) {
        self.blocks -= 1;
        self.bytes -= u64::from(stored.length.get());
        self.sum = self.sum.wrapping_sub(spread(stored));
    }
}

/// Spreads checksums so that two errors do not cancel out in the sum.
fn spread(stored: Stored) -> u64 {
    (u64::from(stored.crc) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The keys and values of the record.
pub(super) fn encode(at: &Checkpoint, totals: Totals) -> Vec<([u8; 3], Vec<u8>)> {
    let mut record = vec![FORMAT];
    record.extend(at.salt.to_le_bytes());
    record.extend(at.last_frame.to_le_bytes());
    for number in [
        at.segment.into(),
        at.offset,
        at.next_sequence,
        totals.blocks,
        totals.bytes,
        totals.sum,
        at.segments.len() as u64,
    ] {
        put_number(&mut record, number);
    }
    for (segment, records, bytes) in &at.segments {
        put_number(&mut record, (*segment).into());
        put_number(&mut record, *records);
        put_number(&mut record, *bytes);
    }
    record.extend(crc32c::crc32c(&record).to_le_bytes());
    let parts = record.chunks(PART).map(<[u8]>::to_vec);
    (0..).map(key).zip(parts).collect()
}

pub(super) fn key(part: u16) -> [u8; 3] {
    let [high, low] = part.to_be_bytes();
    [PREFIX, high, low]
}

pub(super) fn is_part(key: &[u8]) -> bool {
    key.first() == Some(&PREFIX)
}

/// Decodes a record from the concatenated values of all its parts.
pub(super) fn decode(record: &[u8]) -> Option<(Checkpoint, Totals)> {
    let (body, crc) = record.split_last_chunk()?;
    if u32::from_le_bytes(*crc) != crc32c::crc32c(body) {
        return None;
    }
    let (&[FORMAT], rest) = body.split_first_chunk()? else {
        return None;
    };
    let (salt, rest) = rest.split_first_chunk()?;
    let (last_frame, mut rest) = rest.split_first_chunk()?;
    let mut number = || take_number(&mut rest);
    let segment = u32::try_from(number()?).ok()?;
    let (offset, next_sequence) = (number()?, number()?);
    let totals = Totals {
        blocks: number()?,
        bytes: number()?,
        sum: number()?,
    };
    let count = number()?;
    let mut segments = Vec::new();
    for _ in 0..count {
        segments.push((u32::try_from(number()?).ok()?, number()?, number()?));
    }
    let at = Checkpoint {
        salt: u64::from_le_bytes(*salt),
        segment,
        offset,
        last_frame: u32::from_le_bytes(*last_frame),
        next_sequence,
        segments,
    };
    rest.is_empty().then_some((at, totals))
}

#[cfg(test)]
mod tests {
    use super::{Totals, decode, encode, key};
    use crate::index::Checkpoint;

    #[test]
    fn a_checkpoint_is_read_as_it_was_written_however_many_segments_it_has() {
        for segments in [0, 1, 2_000] {
            let at = Checkpoint {
                salt: u64::MAX - 5,
                segment: u32::MAX,
                offset: 1 << 40,
                last_frame: 77,
                next_sequence: u64::MAX,
                segments: (0..segments).map(|n| (n, u64::from(n) << 30, 5)).collect(),
            };
            let totals = Totals {
                blocks: 3,
                bytes: 4,
                sum: 5,
            };
            let parts = encode(&at, totals);
            assert!(parts.iter().all(|(_, value)| value.len() <= 3_000));
            assert!((0..).map(key).zip(&parts).all(|(key, part)| key == part.0));
            let mut whole = Vec::new();
            parts.iter().for_each(|(_, value)| whole.extend(value));
            assert_eq!(decode(&whole), Some((at, totals)));
            for at in 0..whole.len().min(300) {
                whole[at] ^= 4;
                assert_eq!(decode(&whole), None);
                whole[at] ^= 4;
            }
            assert_eq!(decode(&whole[1..]), None);
        }
    }
}
