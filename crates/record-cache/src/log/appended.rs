//! Records to be appended, prepared by the caller's thread.

use super::frame;
use crate::NewRecord;

/// The records of one call, with what the writer would otherwise compute. Callers run on many
/// threads and the writer on one, so what callers compute does not delay the others.
#[derive(Debug)]
pub(crate) struct Appended {
    records: Vec<NewRecord>,
    checksums: Checksums,
    /// The length in bytes of all frames.
    length: u64,
}

/// The checksum of the body of each record.
#[derive(Debug)]
enum Checksums {
    /// The usual case, which needs no allocation.
    One(u32),
    Many(Vec<u32>),
}

impl Appended {
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

    pub(crate) fn records(&self) -> &[NewRecord] {
        &self.records
    }

    /// The records, each with the checksum of its body.
    pub(crate) fn checked(&self) -> impl ExactSizeIterator<Item = (&NewRecord, u32)> {
        let checksums = match &self.checksums {
            Checksums::One(one) => std::slice::from_ref(one),
            Checksums::Many(many) => many,
        };
        self.records.iter().zip(checksums.iter().copied())
    }

    /// The length in bytes of all frames.
    pub(crate) fn length(&self) -> u64 {
        self.length
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
