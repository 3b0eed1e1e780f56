//! The storage trait and its contract.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::num::{NonZeroU64, NonZeroUsize};

use async_trait::async_trait;

use crate::{NewRecord, Record, RecordId, StoreError, StreamName};

/// A first-in, first-out queue of records for each stream.
///
/// # Contract
/// - **Order.** Records of one stream are read in the order in which their
///   `append` calls took effect; those of one call in the order given.
/// - **Ids.** Ids of one stream only grow and are never given out twice, not
///   even after `clear` or a restart.
/// - **Atomic.** A call takes effect whole or not at all, across a crash too.
///   A future that is dropped midway leaves its call done or undone, never half.
/// - **Durable.** What `append` and `clear` return `Ok` for survives what the
///   store promises to survive (each store says what). What `settle` returns
///   `Ok` for survives at least the end of the process; a power failure may undo
///   it, or parts of it, so that records are read again, in their order.
/// - **Counters.** [`stats`](Self::stats) never blocks and never reads storage.
///   The counters change before the call that changes them returns. Sizes are
///   [`Record::size`], framing is not counted.
/// - **Damage.** A record that cannot be read back whole is never returned: it
///   is dropped, and reported once, in [`ReadBatch::damaged`]. What is found missing
///   when a store opens was never in its counters: only
///   [`StoreStats::damaged_records`] tells of it.
/// - **No limit.** A store knows no limit on what it holds; its owner does.
///
/// The suite in `record_cache::conformance` (feature `test-support`)
/// checks all of this for any implementation.
#[async_trait]
pub trait RecordStore: Debug + Send + Sync + 'static {
    /// Appends all records, to one stream or to many, or none of them.
    ///
    /// An empty list does nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the storage refuses, and
    /// [`StoreError::Closed`] after [`close`](Self::close). Nothing is stored then.
    ///
    /// # Cancel safety
    /// Once polled, the records may be stored although the future was dropped:
    /// all of them or none.
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), StoreError>;

    /// Reads the oldest records of a stream, those after `after` if it is given.
    ///
    /// Returns as many as the limits allow, in order, but at least one where there
    /// is one: a record larger than `limits.max_bytes` is returned alone. An unknown
    /// stream is an empty one. Costs what it returns, whatever lies behind.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] and [`StoreError::Closed`].
    ///
    /// # Cancel safety
    /// Changes nothing but the report of damage, which may be lost.
    async fn oldest(
        &self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Result<ReadBatch, StoreError>;

    /// Deletes some records of a stream and counts an attempt on others, in one step.
    ///
    /// Ids that are not there (any more) are passed over. Returns what was deleted.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] and [`StoreError::Closed`]; nothing has changed then.
    ///
    /// # Cancel safety
    /// Once polled, the step may be taken although the future was dropped.
    async fn settle(&self, settlement: Settlement) -> Result<Amount, StoreError>;

    /// Deletes all records of all streams, and copies kept of damaged data.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] and [`StoreError::Closed`].
    ///
    /// # Cancel safety
    /// Once polled, the store may be emptied although the future was dropped.
    async fn clear(&self) -> Result<Amount, StoreError>;

    /// What the store holds now, from counters.
    ///
    /// After [`close`](Self::close) it gives the last values.
    fn stats(&self) -> StoreStats;

    /// Waits for calls under way, makes everything durable and releases the storage.
    ///
    /// When it returns, the same place can be opened again. Closing again is `Ok`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the last writes could not be made durable.
    /// The storage is released all the same.
    ///
    /// # Cancel safety
    /// The store is closed, a moment later, although the future was dropped.
    async fn close(&self) -> Result<(), StoreError>;
}

/// How much one read may return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadLimits {
    /// Records at most.
    pub max_records: NonZeroUsize,
    /// Bytes of [`Record::size`] at most, except that one record always fits.
    pub max_bytes: NonZeroU64,
}

impl ReadLimits {
    /// Limits by count and by bytes.
    #[must_use]
    pub const fn new(max_records: NonZeroUsize, max_bytes: NonZeroU64) -> Self {
        Self {
            max_records,
            max_bytes,
        }
    }
}

/// What one read returned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadBatch {
    /// The records, oldest first.
    pub records: Vec<Record>,
    /// Damaged records that this read came upon and dropped.
    pub damaged: Amount,
}

impl ReadBatch {
    /// Puts a batch together; for implementors of stores.
    #[must_use]
    pub const fn new(records: Vec<Record>, damaged: Amount) -> Self {
        Self { records, damaged }
    }
}

/// What became of some records of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settlement {
    /// The stream that the ids belong to.
    pub stream: StreamName,
    /// Records that are done.
    pub delete: Vec<RecordId>,
    /// Records that stay, with their count of attempts raised by one.
    pub count_attempt: Vec<RecordId>,
}

impl Settlement {
    /// Nothing yet, for this stream.
    #[must_use]
    pub const fn new(stream: StreamName) -> Self {
        Self {
            stream,
            delete: Vec::new(),
            count_attempt: Vec::new(),
        }
    }

    /// Deletes these records.
    #[must_use]
    pub fn delete(mut self, ids: impl IntoIterator<Item = RecordId>) -> Self {
        self.delete.extend(ids);
        self
    }

    /// Counts one attempt on these records.
    #[must_use]
    pub fn count_attempt(mut self, ids: impl IntoIterator<Item = RecordId>) -> Self {
        self.count_attempt.extend(ids);
        self
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.delete.is_empty() && self.count_attempt.is_empty()
    }
}

/// A number of records and the sum of their sizes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Amount {
    /// Records.
    pub records: usize,
    /// Their sizes, added up.
    pub bytes: u64,
}

impl Amount {
    /// So many records of so many bytes.
    #[must_use]
    pub const fn new(records: usize, bytes: u64) -> Self {
        Self { records, bytes }
    }
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

/// What a store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStats {
    /// The streams that hold at least one record, in the order of their names.
    pub streams: BTreeMap<StreamName, QueueStats>,
    /// Records lost to damage since the store was opened.
    pub damaged_records: u64,
}

impl StoreStats {
    /// Statistics of these streams; for implementors of stores.
    #[must_use]
    pub const fn new(streams: BTreeMap<StreamName, QueueStats>, damaged_records: u64) -> Self {
        Self {
            streams,
            damaged_records,
        }
    }

    /// Records in all streams.
    #[must_use]
    pub fn records(&self) -> usize {
        self.streams.values().map(|queue| queue.records).sum()
    }

    /// Bytes in all streams.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.streams.values().map(|queue| queue.bytes).sum()
    }
}

/// What one stream holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStats {
    /// Records.
    pub records: usize,
    /// Their sizes, added up.
    pub bytes: u64,
}

impl QueueStats {
    /// So many records of so many bytes; for implementors of stores.
    #[must_use]
    pub const fn new(records: usize, bytes: u64) -> Self {
        Self { records, bytes }
    }
}
