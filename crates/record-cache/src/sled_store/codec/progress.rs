//! What became of records since they were written, apart from their payloads.

use super::{CHUNK_RECORDS, Codec, Kind, Reader, Writer};
use crate::sled_store::keys::StreamId;

const DONE: u64 = 0;
const PARTIAL: u64 = 1;

/// What became of the records from one sequence on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sled_store) enum Progress {
    /// They are all gone; there is no payload.
    Done {
        /// How many sequences this covers.
        count: u64,
        /// Their sizes, as far as a later payload counts them as before itself.
        bytes: u64,
    },
    /// Some of one payload are gone, or attempts were counted.
    Partial(Partial),
}

/// What became of the records of one payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sled_store) struct Partial {
    gone: Vec<bool>,
    attempts: Vec<u32>,
    gone_records: u64,
    gone_bytes: u64,
}

impl Partial {
    pub(in crate::sled_store) fn new(records: usize) -> Self {
        Self {
            gone: vec![false; records],
            attempts: vec![0; records],
            gone_records: 0,
            gone_bytes: 0,
        }
    }

    pub(in crate::sled_store) fn is_gone(&self, index: usize) -> bool {
        self.gone.get(index).copied().unwrap_or(true)
    }

    /// Nothing gone, but attempts counted, if any are.
    pub(in crate::sled_store) fn counted(attempts: &[u32]) -> Option<Self> {
        attempts.iter().any(|count| *count > 0).then(|| Self {
            attempts: attempts.to_vec(),
            ..Self::new(attempts.len())
        })
    }

    pub(in crate::sled_store) fn attempts(&self, index: usize) -> u32 {
        self.attempts.get(index).copied().unwrap_or(0)
    }

    pub(in crate::sled_store) fn records(&self) -> usize {
        self.gone.len()
    }

    pub(in crate::sled_store) const fn gone_records(&self) -> u64 {
        self.gone_records
    }

    pub(in crate::sled_store) const fn gone_bytes(&self) -> u64 {
        self.gone_bytes
    }

    pub(in crate::sled_store) fn all_gone(&self) -> bool {
        self.gone_records == self.gone.len() as u64
    }

    /// Whether the record was still there.
    pub(in crate::sled_store) fn remove(&mut self, index: usize, size: u64) -> bool {
        match self.gone.get_mut(index) {
            Some(gone) if !*gone => {
                *gone = true;
                self.gone_records += 1;
                self.gone_bytes += size;
                true
            }
            _ => false,
        }
    }

    pub(in crate::sled_store) fn set_attempts(&mut self, index: usize, attempts: u32) {
        if let Some(counted) = self.attempts.get_mut(index) {
            *counted = attempts;
        }
    }

    /// Whatever either of two states knows; states of one payload only ever grow.
    pub(in crate::sled_store) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.gone.iter_mut().zip(&other.gone) {
            *mine |= theirs;
        }
        for (mine, theirs) in self.attempts.iter_mut().zip(&other.attempts) {
            *mine = (*mine).max(*theirs);
        }
        self.gone_records = self.gone.iter().filter(|gone| **gone).count() as u64;
        self.gone_bytes = self.gone_bytes.max(other.gone_bytes);
    }
}

impl Progress {
    pub(in crate::sled_store) fn encode(
        &self,
        codec: &Codec,
        stream: StreamId,
        first: u64,
    ) -> Vec<u8> {
        let mut body = Writer::default();
        body.u32(stream).u64(first);
        match self {
            Self::Done { count, bytes } => {
                body.varint(DONE).u64(*count).u64(*bytes);
            }
            Self::Partial(partial) => {
                body.varint(PARTIAL)
                    .varint(partial.gone.len() as u64)
                    .u64(partial.gone_bytes);
                for eight in partial.gone.chunks(8) {
                    let bits = eight
                        .iter()
                        .rev()
                        .fold(0, |bits, gone| bits << 1 | u8::from(*gone));
                    body.bytes(&[bits]);
                }
                for run in partial.attempts.chunk_by(u32::eq) {
                    body.varint(run.len() as u64)
                        .varint(run.first().copied().unwrap_or(0).into());
                }
            }
        }
        codec.wrap(Kind::Progress, body.as_slice())
    }

    pub(in crate::sled_store) fn decode(body: &[u8]) -> Option<(StreamId, u64, Self)> {
        let mut body = Reader::new(body);
        let (stream, first) = (body.u32()?, body.u64()?);
        let progress = match body.varint()? {
            DONE => Self::Done {
                count: body.u64()?,
                bytes: body.u64()?,
            },
            PARTIAL => {
                let records = usize::try_from(body.varint()?).ok()?;
                if records > CHUNK_RECORDS {
                    return None;
                }
                let gone_bytes = body.u64()?;
                let bits = body.bytes(records.div_ceil(8))?;
                let gone: Vec<bool> = (0..records)
                    .map(|at| {
                        bits.get(at / 8)
                            .is_some_and(|byte| byte >> (at % 8) & 1 == 1)
                    })
                    .collect();
                let mut attempts = Vec::with_capacity(records);
                while attempts.len() < records {
                    let length = usize::try_from(body.varint()?).ok()?;
                    let value = u32::try_from(body.varint()?).ok()?;
                    if length == 0 || length > records - attempts.len() {
                        return None;
                    }
                    attempts.resize(attempts.len() + length, value);
                }
                let gone_records = gone.iter().filter(|gone| **gone).count() as u64;
                Self::Partial(Partial {
                    gone,
                    attempts,
                    gone_records,
                    gone_bytes,
                })
            }
            _ => return None,
        };
        body.is_empty().then_some((stream, first, progress))
    }
}
