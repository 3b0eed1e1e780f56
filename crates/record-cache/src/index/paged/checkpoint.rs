//! The checkpoint record, which can also reveal missing blocks.

use super::block::Stored;
use crate::index::Checkpoint;
use crate::index::varint::{put_number, take_number};

const FORMAT: u8 = 3;
const PREFIX: u8 = b'c';
/// The bytes per value. A record with many segments needs several.
const PART: usize = 3_000;

/// The totals of the blocks in the database, independent of their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) bytes: u64,
    /// The sum of their checksums.
    sum: u64,
}

impl Totals {
    pub(super) fn add(&mut self, stored: Stored) {
        self.bytes += u64::from(stored.length.get());
        self.sum += u64::from(stored.crc);
    }
}

/// The keys and values of the record.
pub(super) fn encode(at: &Checkpoint, totals: Totals) -> Vec<([u8; 3], Vec<u8>)> {
    let mut record = vec![FORMAT];
    let head = [
        at.salt,
        at.segment.into(),
        at.offset,
        at.last_frame.into(),
        at.next_sequence,
        totals.bytes,
        totals.sum,
        at.segments.len() as u64,
    ];
    let segments = at.segments.iter();
    let segments = segments.flat_map(|&(number, records, bytes)| [number.into(), records, bytes]);
    for number in head.into_iter().chain(segments) {
        put_number(&mut record, number);
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
    let (&[FORMAT], mut rest) = body.split_first_chunk()? else {
        return None;
    };
    let mut number = || take_number(&mut rest);
    let mut at = Checkpoint {
        salt: number()?,
        segment: u32::try_from(number()?).ok()?,
        offset: number()?,
        last_frame: u32::try_from(number()?).ok()?,
        next_sequence: number()?,
        segments: Vec::new(),
    };
    let totals = Totals {
        bytes: number()?,
        sum: number()?,
    };
    for _ in 0..number()? {
        let segment = u32::try_from(number()?).ok()?;
        at.segments.push((segment, number()?, number()?));
    }
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
            let totals = Totals { bytes: 4, sum: 5 };
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
