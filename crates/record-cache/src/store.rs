//! The storage trait and its contract.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::num::{NonZeroU64, NonZeroUsize};

use async_trait::async_trait;

use crate::{NewRecord, Record, RecordId, StoreError, StreamName};

/// First-in, first-out queues of records, one per stream.
///
/// # Contract
/// - **Order.** Records of one stream are read in the order in which their `append` calls took
///   effect. Those of one call keep the order given.
/// - **Ids.** Ids within a stream only grow and are never reused, not even after `clear` or a
///   restart.
/// - **Atomic.** A call takes effect as a whole or not at all, even across a crash. If its future
///   is dropped midway, the call is either done or not done, never half done.
/// - **Durable.** Once `append` or `clear` returns `Ok`, its effect survives whatever the store
///   guarantees (each store says what). Once `settle` returns `Ok`, its effect survives at least
///   the end of the process. A power loss may undo all or part of a settlement, in which case
///   records are read again, in order.
/// - **Counters.** [`stats`](Self::stats) never blocks and never reads storage. Counters are
///   updated before the call that changes them returns. Sizes are [`Record::size`]; framing is not
///   counted.
/// - **Damage.** A damaged record is never returned. It is dropped, and reported once: in
///   [`ReadBatch::damaged`] of a read of its stream, or in what [`clear`](Self::clear) returns. Until
///   then, [`stats`](Self::stats) counts it as stored. Records found missing when a store opens were
///   never in its counters; only [`StoreStats::damaged_records`] counts them.
/// - **No limit.** A store does not limit what it holds; its owner does.
///
/// The suite in `record_cache::conformance` (feature `test-support`) checks all of this for any
/// implementation.
///
/// ```
/// use record_cache::{MemoryStore, NewRecord, ReadLimits, RecordStore, Settlement, StreamName};
/// use std::num::{NonZeroU64, NonZeroUsize};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let jobs = StreamName::new("jobs")?;
/// store.append(vec![NewRecord::new(jobs.clone(), None, "resize photo 17")]).await?;
///
/// let limits = ReadLimits::new(NonZeroUsize::MIN, NonZeroU64::MAX);
/// for job in store.oldest(&jobs, None, limits).await?.records {
///     // … do it, and only then …
///     store.settle(Settlement::new(jobs.clone()).delete([job.id])).await?;
/// }
/// assert_eq!(store.stats().records(), 0);
/// store.close().await?;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait RecordStore: Debug + Send + Sync + 'static {
    /// Appends all records, to one or more streams, or none of them.
    ///
    /// An empty list does nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use record_cache::{MemoryStore, NewRecord, ReadLimits, RecordStore, Settlement, StreamName};
    /// # use std::num::{NonZeroU64, NonZeroUsize};
    /// # let store = MemoryStore::new();
    /// # let orders = StreamName::new("orders")?;
    /// let order = NewRecord::new(orders, Some("customer-7".to_owned()), "an order");
    /// let invoice = NewRecord::new(StreamName::new("invoices")?, None, "its invoice");
    /// // Both or neither, even if the power fails.
    /// store.append(vec![order, invoice]).await?;
    /// # assert_eq!(store.stats().records(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the storage fails, and [`StoreError::Closed`] after
    /// [`close`](Self::close). In either case, nothing is stored.
    ///
    /// # Cancel safety
    /// Once polled, the records may be stored even if the future is dropped: all of them or none.
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), StoreError>;

    /// Reads the oldest records of a stream, or the oldest after `after`.
    ///
    /// Returns as many as the limits allow, in order, and at least one if there is any: a record
    /// larger than `limits.max_bytes` is returned alone. An unknown stream is empty. The cost
    /// depends on what is returned, not on how much is queued behind it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use record_cache::{MemoryStore, NewRecord, ReadLimits, RecordStore, Settlement, StreamName};
    /// # use std::num::{NonZeroU64, NonZeroUsize};
    /// # let store = MemoryStore::new();
    /// # let orders = StreamName::new("orders")?;
    /// # store.append(vec![NewRecord::new(orders.clone(), None, "an order"); 3]).await?;
    /// let limits = ReadLimits::new(NonZeroUsize::MIN, NonZeroU64::MAX);
    /// let mut last = None;
    /// loop {
    ///     let read = store.oldest(&orders, last, limits).await?;
    ///     let Some(record) = read.records.last() else { break };
    ///     println!("{:?}", record.data);
    ///     last = Some(record.id);
    /// }
    /// # assert_eq!(last.map(record_cache::RecordId::get), Some(2));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] and [`StoreError::Closed`].
    ///
    /// # Cancel safety
    /// Changes nothing, except that a report of damage may be lost.
    async fn oldest(
        &self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Result<ReadBatch, StoreError>;

    /// Deletes some records of a stream and counts an attempt on others, in one step.
    ///
    /// Ignores ids that no longer exist or never did. Returns what was deleted.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use record_cache::{MemoryStore, NewRecord, ReadLimits, RecordStore, Settlement, StreamName};
    /// # use std::num::{NonZeroU64, NonZeroUsize};
    /// # let store = MemoryStore::new();
    /// # let orders = StreamName::new("orders")?;
    /// # store.append(vec![NewRecord::new(orders.clone(), None, "an order"); 3]).await?;
    /// # let limits = ReadLimits::new(NonZeroUsize::MAX, NonZeroU64::MAX);
    /// let records = store.oldest(&orders, None, limits).await?.records;
    /// // The first was delivered, the others were not.
    /// let (delivered, failed) = records.split_at(1);
    /// let settlement = Settlement::new(orders)
    ///     .delete(delivered.iter().map(|record| record.id))
    ///     .count_attempt(failed.iter().map(|record| record.id));
    /// let removed = store.settle(settlement).await?;
    /// assert_eq!((removed.records, store.stats().records()), (1, 2));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] and [`StoreError::Closed`]; in either case, nothing has changed.
    ///
    /// # Cancel safety
    /// Once polled, the step may be taken even if the future is dropped.
    async fn settle(&self, settlement: Settlement) -> Result<Amount, StoreError>;

    /// Deletes all records of all streams, and saved copies of damaged data.
    ///
    /// Returns what was deleted, including damaged records that no read has reported.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use record_cache::{MemoryStore, NewRecord, ReadLimits, RecordStore, Settlement, StreamName};
    /// # use std::num::{NonZeroU64, NonZeroUsize};
    /// # let store = MemoryStore::new();
    /// # let orders = StreamName::new("orders")?;
    /// # store.append(vec![NewRecord::new(orders.clone(), None, "an order"); 3]).await?;
    /// let removed = store.clear().await?;
    /// println!("{} records, {} bytes deleted", removed.records, removed.bytes);
    /// # assert_eq!(removed.records, 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] and [`StoreError::Closed`].
    ///
    /// # Cancel safety
    /// Once polled, the store may be emptied even if the future is dropped.
    async fn clear(&self) -> Result<Amount, StoreError>;

    /// What the store holds, from its counters.
    ///
    /// After [`close`](Self::close), returns the last values.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use record_cache::{MemoryStore, NewRecord, ReadLimits, RecordStore, Settlement, StreamName};
    /// # use std::num::{NonZeroU64, NonZeroUsize};
    /// # let store = MemoryStore::new();
    /// # let orders = StreamName::new("orders")?;
    /// # store.append(vec![NewRecord::new(orders.clone(), None, "an order"); 3]).await?;
    /// let stats = store.stats();
    /// for (stream, queue) in &stats.streams {
    ///     println!("{stream}: {} records, {} bytes", queue.records, queue.bytes);
    /// }
    /// assert_eq!(stats.streams["orders"].records, 3);
    /// # Ok(())
    /// # }
    /// ```
    fn stats(&self) -> StoreStats;

    /// Waits for running calls, makes everything durable, and releases the storage.
    ///
    /// When it returns, the same place can be opened again. Closing again is `Ok`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use record_cache::{MemoryStore, NewRecord, ReadLimits, RecordStore, Settlement, StreamName};
    /// # use std::num::{NonZeroU64, NonZeroUsize};
    /// # let store = MemoryStore::new();
    /// # let orders = StreamName::new("orders")?;
    /// store.close().await?;
    /// let late = NewRecord::new(orders, None, "an order");
    /// assert!(store.append(vec![late]).await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the last writes could not be made durable. The storage is
    /// released anyway.
    ///
    /// # Cancel safety
    /// The store is closed shortly afterwards, even if the future is dropped.
    async fn close(&self) -> Result<(), StoreError>;
}

/// Limits on one read.
///
/// ```
/// use record_cache::ReadLimits;
/// use std::num::{NonZeroU64, NonZeroUsize};
///
/// // One request of a service that takes 500 records and 4 MiB.
/// const REQUEST: ReadLimits = ReadLimits::new(
///     NonZeroUsize::new(500).expect("not zero"),
///     NonZeroU64::new(4 << 20).expect("not zero"),
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadLimits {
    /// The most records.
    pub max_records: NonZeroUsize,
    /// The most bytes, by [`Record::size`], except that one record always fits.
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

/// The result of one read.
///
/// ```
/// use record_cache::ReadBatch;
///
/// fn log(read: &ReadBatch) {
///     println!("{} records", read.records.len());
///     if read.damaged.records > 0 {
///         eprintln!("{} records were damaged, and are lost", read.damaged.records);
///     }
/// }
/// # log(&ReadBatch::default());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadBatch {
    /// The records, oldest first.
    pub records: Vec<Record>,
    /// Damaged records of the stream that were dropped, by this read or since the last one. Also
    /// what a call deleted that had already failed because the disk did not respond.
    pub damaged: Amount,
}

impl ReadBatch {
    /// Creates a batch; for implementors of stores.
    ///
    /// ```
    /// use record_cache::{Amount, ReadBatch};
    ///
    /// // A store of your own found one damaged record of 18 bytes, and no other.
    /// let read = ReadBatch::new(Vec::new(), Amount::new(1, 18));
    /// assert_eq!(read.damaged.records, 1);
    /// ```
    #[must_use]
    pub const fn new(records: Vec<Record>, damaged: Amount) -> Self {
        Self { records, damaged }
    }
}

/// A decision about some records of one stream.
///
/// ```
/// use record_cache::{RecordId, Settlement, StreamName};
///
/// let settlement = Settlement::new(StreamName::new("orders")?)
///     .delete([RecordId::new(7), RecordId::new(8)])
///     .count_attempt([RecordId::new(9)]);
/// assert!(!settlement.is_empty());
/// # Ok::<(), record_cache::InvalidStreamName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settlement {
    /// The stream that the ids belong to.
    pub stream: StreamName,
    /// Records that are done.
    pub delete: Vec<RecordId>,
    /// Records that stay, with one more attempt counted.
    pub count_attempt: Vec<RecordId>,
}

impl Settlement {
    /// An empty settlement for this stream.
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
///
/// ```
/// use record_cache::Amount;
///
/// let mut removed = Amount::default();
/// removed += Amount::new(2, 36);
/// removed += Amount::new(1, 10);
/// assert_eq!(removed, Amount::new(3, 46));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Amount {
    /// How many records.
    pub records: usize,
    /// The total of their sizes.
    pub bytes: u64,
}

impl Amount {
    /// This many records of this many bytes in total.
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

/// Statistics of a store.
///
/// ```
/// use record_cache::{QueueStats, StoreStats, StreamName};
///
/// let streams = [("orders", 2, 36), ("views", 1, 10)];
/// let streams = streams.map(|(name, records, bytes)| {
///     Ok((StreamName::new(name)?, QueueStats::new(records, bytes)))
/// });
/// let streams = streams.into_iter().collect::<Result<_, record_cache::InvalidStreamName>>()?;
/// let stats = StoreStats::new(streams, 0);
/// assert_eq!((stats.records(), stats.bytes()), (3, 46));
/// # Ok::<(), record_cache::InvalidStreamName>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStats {
    /// The streams that hold at least one record, sorted by name. A damaged record counts until it
    /// is reported.
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

/// Statistics of one stream.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use record_cache::{MemoryStore, NewRecord, RecordStore, StreamName};
/// # let store = MemoryStore::new();
/// # let orders = StreamName::new("orders")?;
/// # store.append(vec![NewRecord::new(orders, None, "an order")]).await?;
/// let stats = store.stats();
/// let orders = stats.streams.get("orders").copied().unwrap_or_default();
/// assert_eq!((orders.records, orders.bytes), (1, 8));
/// # Ok(())
/// # }
/// ```
pub type QueueStats = Amount;
