//! A record as the bytes of one value, with a checksum.
//!
//! ```text
//! checksum u32 · format u8 · flags u8 · attempts u32 · milliseconds u64
//! [hash key u128] [length of the key u32] [key] data
//! ```
//!
//! Numbers are little-endian. The checksum is the CRC-32C of everything after it. It is needed
//! because not every browser verifies what it reads from the disk.

use bytes::Bytes;

use crate::NewRecord;
use crate::clock;

const FORMAT: u8 = 1;
const HASHED: u8 = 1;
const KEYED: u8 = 2;
const CHECKSUM_BYTES: usize = size_of::<u32>();

/// Encodes a record.
pub(super) fn encode(record: &NewRecord) -> Vec<u8> {
    let key = record.key.as_deref();
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let flags = flag(record.explicit_hash_key.is_some(), HASHED) | flag(key.is_some(), KEYED);
    let mut frame = Vec::with_capacity(48 + key.map_or(0, str::len) + record.data.len());
    frame.extend([0; CHECKSUM_BYTES]);
    frame.extend([FORMAT, flags]);
    frame.extend(record.attempts.to_le_bytes());
    frame.extend(clock::to_unix_millis(record.recorded_at).to_le_bytes());
    if let Some(hash_key) = record.explicit_hash_key {
        frame.extend(hash_key.to_le_bytes());
    }
    if let Some(key) = key {
        // A page's memory cannot hold a key of 4 GiB.
        frame.extend(u32::try_from(key.len()).unwrap_or(u32::MAX).to_le_bytes());
        frame.extend(key.as_bytes());
    }
    frame.extend(&*record.data);
    let checksum = checksum(&frame);
    if let Some(place) = frame.first_chunk_mut() {
        *place = checksum.to_le_bytes();
    }
    frame
}

/// The contents of a frame.
pub(super) struct Content {
    pub(super) key: Option<String>,
    pub(super) explicit_hash_key: Option<u128>,
    pub(super) data: Bytes,
    pub(super) attempts: u32,
    pub(super) recorded_at: std::time::SystemTime,
}

impl Content {
    pub(super) fn decode(frame: Vec<u8>) -> Option<Self> {
        if u32::from_le_bytes(*frame.first_chunk()?) != checksum(&frame) {
            return None;
        }
        let mut rest = Bytes::from(frame);
        take::<CHECKSUM_BYTES>(&mut rest)?;
        let [format, flags] = take(&mut rest)?;
        if format != FORMAT {
            return None;
        }
        let attempts = u32::from_le_bytes(take(&mut rest)?);
        let millis = u64::from_le_bytes(take(&mut rest)?);
        let explicit_hash_key = match flags & HASHED {
            0 => None,
            _ => Some(u128::from_le_bytes(take(&mut rest)?)),
        };
        let key = match flags & KEYED {
            0 => None,
            _ => {
                let length = usize::try_from(u32::from_le_bytes(take(&mut rest)?)).ok()?;
                let key = (length <= rest.len()).then(|| rest.split_to(length))?;
                Some(String::from_utf8(key.into()).ok()?)
            }
        };
        Some(Self {
            key,
            explicit_hash_key,
            data: rest,
            attempts,
            recorded_at: clock::from_unix_millis(millis),
        })
    }
}

fn take<const N: usize>(rest: &mut Bytes) -> Option<[u8; N]> {
    let taken = *rest.first_chunk()?;
    let _ = rest.split_to(N);
    Some(taken)
}

fn checksum(frame: &[u8]) -> u32 {
    crc32c::crc32c(frame.get(CHECKSUM_BYTES..).unwrap_or_default())
}
