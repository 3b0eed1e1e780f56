//! How much the cache holds, how much it may hold, and whether more fits. No locks, no waiting.

use std::borrow::Cow;
use std::collections::HashMap;

use record_cache::{Amount, QueueStats, StoreStats, StreamName};

use crate::api::{EngineOptions, LimitExceeded};
use crate::cache::incoming::Incoming;

/// A cache holds at most one record per this many bytes of its limit, so small and empty records
/// are bounded too.
const BYTES_PER_RECORD: u64 = 16;

/// Stored records and reservations, measured against the limits.
#[derive(Debug)]
pub(super) struct Room {
    max: Load,
    /// The share of one stream in bytes.
    max_share: Option<u64>,
    held: Load,
    /// Bytes of each stream. Empty unless streams have a bounded share.
    by_stream: HashMap<StreamName, u64>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load {
    pub(super) bytes: u64,
    pub(super) records: u64,
}

/// Room for some records, in total and by stream.
#[derive(Debug, Clone)]
pub(super) struct Needed<'a> {
    pub(super) all: Load,
    pub(super) by_stream: Cow<'a, [(StreamName, Amount)]>,
}

/// How much must be deleted before new records fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shortfall {
    /// Bytes to delete from each stream that has used up its share.
    pub(super) of_streams: Vec<(StreamName, u64)>,
    /// Amount to delete from all streams, including those.
    pub(super) of_all: Amount,
}

impl Room {
    pub(super) fn new(options: &EngineOptions, stats: &StoreStats) -> Self {
        let max_bytes = options.cache_max_bytes.get();
        let bytes = |(name, queue): (&StreamName, &QueueStats)| (name.clone(), queue.bytes);
        Self {
            max: Load {
                bytes: max_bytes,
                records: max_bytes / BYTES_PER_RECORD,
            },
            max_share: options.max_stream_share,
            held: Load {
                bytes: stats.bytes(),
                records: stats.records() as u64,
            },
            by_stream: match options.max_stream_share {
                Some(_) => stats.streams.iter().map(bytes).collect(),
                None => HashMap::new(),
            },
        }
    }

    pub(super) const fn held(&self) -> Load {
        self.held
    }

    /// Refuses records that would not fit even into an empty cache.
    pub(super) fn check_ever_fits(&self, needed: &Needed<'_>) -> Result<(), LimitExceeded> {
        if !needed.all.fits_beside(Load::default(), self.max) {
            return Err(LimitExceeded::NeverFits {
                needed: needed.all.bytes,
                needed_records: needed.all.records,
                max_bytes: self.max.bytes,
                max_records: self.max.records,
            });
        }
        let Some(max_share) = self.max_share else {
            return Ok(());
        };
        let mut by_stream = needed.by_stream.iter();
        match by_stream.find(|(_, new)| new.bytes > max_share) {
            None => Ok(()),
            Some((stream, new)) => Err(LimitExceeded::StreamNeverFits {
                stream_name: stream.as_str().to_owned(),
                needed: new.bytes,
                max_stream_share: max_share,
            }),
        }
    }

    /// Refuses records that do not fit beside what is held.
    pub(super) fn check_fits(&self, needed: &Needed<'_>) -> Result<(), LimitExceeded> {
        if let Some((stream, _)) = self.over_shares(&needed.by_stream).next() {
            let new = needed.by_stream.iter().find(|(name, _)| name == stream);
            return Err(LimitExceeded::StreamFull {
                stream_name: stream.as_str().to_owned(),
                needed: new.map_or(0, |(_, new)| new.bytes),
                held: self.held_of(stream),
                max_stream_share: self.max_share.unwrap_or(u64::MAX),
            });
        }
        if needed.all.fits_beside(self.held, self.max) {
            Ok(())
        } else {
            Err(self.full(needed.all))
        }
    }

    /// Whether there is room if each limit is at least what is needed: what exceeds a limit fits
    /// when nothing else counts against it.
    #[cfg(any(feature = "sled", feature = "journal"))]
    pub(super) fn has_room_alone(&self, needed: &Needed<'_>) -> bool {
        let max = Load {
            bytes: self.max.bytes.max(needed.all.bytes),
            records: self.max.records.max(needed.all.records),
        };
        let max_share = self.max_share.unwrap_or(u64::MAX);
        let mut by_stream = needed.by_stream.iter();
        let has_share = by_stream.all(|(stream, new)| {
            let held = self.held_of(stream);
            new.bytes <= max_share.max(new.bytes).saturating_sub(held)
        });
        has_share && needed.all.fits_beside(self.held, max)
    }

    /// The error for records that the full cache has no room for.
    pub(super) fn full(&self, needed: Load) -> LimitExceeded {
        LimitExceeded::Full {
            needed: needed.bytes,
            needed_records: needed.records,
            held: self.held.bytes,
            held_records: self.held.records,
            max_bytes: self.max.bytes,
            max_records: self.max.records,
        }
    }

    pub(super) fn take(&mut self, needed: &Needed<'_>) {
        self.held.bytes += needed.all.bytes;
        self.held.records += needed.all.records;
        if self.max_share.is_some() {
            for (stream, new) in needed.by_stream.iter() {
                *self.by_stream.entry(stream.clone()).or_default() += new.bytes;
            }
        }
    }

    pub(super) fn put_back(&mut self, removed: Load, by_stream: &[(StreamName, Amount)]) {
        self.held.bytes = self.held.bytes.saturating_sub(removed.bytes);
        self.held.records = self.held.records.saturating_sub(removed.records);
        if self.max_share.is_some() {
            for (stream, removed) in by_stream {
                let left = self.held_of(stream).saturating_sub(removed.bytes);
                if left == 0 {
                    self.by_stream.remove(stream);
                } else {
                    self.by_stream.insert(stream.clone(), left);
                }
            }
        }
    }

    /// How much must be deleted before records fit. If a lowered limit left the cache over its
    /// limit, one step towards the limit.
    pub(super) fn shortfall(&self, incoming: &Incoming) -> Shortfall {
        const STEP: Load = Load {
            bytes: 1024 * 1024,
            records: 1024,
        };
        let over = self.over_shares(&incoming.by_stream);
        let of_streams = over.map(|(name, over)| (name.clone(), over)).collect();
        let needed = Load::from(incoming.amount);
        let shortfall = |held: u64, needed: u64, max: u64, step: u64| {
            let excess = held.saturating_sub(max);
            let all = held.saturating_add(needed).saturating_sub(max);
            if excess > 0 { excess.min(step) } else { all }
        };
        let (held, max) = (self.held, self.max);
        let records = shortfall(held.records, needed.records, max.records, STEP.records);
        let bytes = shortfall(held.bytes, needed.bytes, max.bytes, STEP.bytes);
        Shortfall {
            of_streams,
            of_all: Amount::new(records.try_into().unwrap_or(usize::MAX), bytes),
        }
    }

    /// The streams that would exceed their shares, and by how many bytes.
    fn over_shares<'a>(
        &self,
        by_stream: &'a [(StreamName, Amount)],
    ) -> impl Iterator<Item = (&'a StreamName, u64)> {
        let max_share = self.max_share.unwrap_or(u64::MAX);
        by_stream.iter().filter_map(move |(stream, new)| {
            let bytes = self.held_of(stream).saturating_add(new.bytes);
            let over = bytes.saturating_sub(max_share);
            // A record without bytes takes up no share.
            (over > 0 && new.bytes > 0).then_some((stream, over))
        })
    }

    fn held_of(&self, stream: &StreamName) -> u64 {
        self.by_stream.get(stream).copied().unwrap_or_default()
    }
}

impl Load {
    fn fits_beside(self, held: Self, max: Self) -> bool {
        self.bytes <= max.bytes.saturating_sub(held.bytes)
            && self.records <= max.records.saturating_sub(held.records)
    }
}

impl From<Amount> for Load {
    fn from(amount: Amount) -> Self {
        Self {
            bytes: amount.bytes,
            records: amount.records as u64,
        }
    }
}

impl<'a> From<&'a Incoming> for Needed<'a> {
    fn from(incoming: &'a Incoming) -> Self {
        Self {
            all: Load::from(incoming.amount),
            by_stream: Cow::Borrowed(&incoming.by_stream),
        }
    }
}

impl Needed<'_> {
    pub(super) fn into_owned(self) -> Needed<'static> {
        Needed {
            all: self.all,
            by_stream: Cow::Owned(self.by_stream.into_owned()),
        }
    }
}
