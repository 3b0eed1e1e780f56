//! The types that stores accept and return.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

/// The name of one queue within a store.
///
/// Cheap to clone: clones share the text.
///
/// ```
/// use record_cache::StreamName;
///
/// let orders = StreamName::new("orders")?;
/// assert_eq!(orders.as_str(), "orders");
/// assert_eq!(format!("waiting for {orders}"), "waiting for orders");
/// assert!(StreamName::new("").is_err());
/// # Ok::<(), record_cache::InvalidStreamName>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName(Arc<str>);

impl StreamName {
    /// The longest name a store accepts, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 1024;

    /// Validates a name: 1 to [`MAX_BYTES`](Self::MAX_BYTES) bytes.
    ///
    /// # Errors
    /// [`InvalidStreamName`] when the name is empty or too long.
    pub fn new(name: impl Into<Arc<str>>) -> Result<Self, InvalidStreamName> {
        let name = name.into();
        if name.is_empty() || name.len() > Self::MAX_BYTES {
            return Err(InvalidStreamName { bytes: name.len() });
        }
        Ok(Self(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for StreamName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// A stream name that is empty or longer than [`StreamName::MAX_BYTES`].
///
/// ```
/// use record_cache::StreamName;
///
/// let error = StreamName::new("x".repeat(2000)).expect_err("too long");
/// assert_eq!(error.to_string(), "a stream name must have 1 to 1024 bytes; this one has 2000");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a stream name must have 1 to {max} bytes; this one has {bytes}", max = StreamName::MAX_BYTES)]
#[non_exhaustive]
pub struct InvalidStreamName {
    /// The length that was given.
    pub bytes: usize,
}

/// The position of a record in its stream.
///
/// Ids within a stream only grow and are never reused, not even after
/// [`clear`](crate::RecordStore::clear) or a restart. Ids of different streams are unrelated.
///
/// ```
/// use record_cache::RecordId;
///
/// // An id orders the records of a stream.
/// let (first, second) = (RecordId::new(7), RecordId::new(8));
/// assert!(first < second);
/// assert_eq!(second.get(), 8);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId(u64);

impl RecordId {
    /// Creates an id from its number; for implementors of stores.
    #[must_use]
    pub const fn new(sequence: u64) -> Self {
        Self(sequence)
    }

    /// The number within the stream.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A record to be appended.
///
/// ```
/// use record_cache::{NewRecord, StreamName};
///
/// let orders = StreamName::new("orders")?;
/// let record = NewRecord::new(orders, Some("customer-7".to_owned()), "an order");
/// assert_eq!(record.size(), 18); // data and key
/// // To the shard with this hash, whatever the key.
/// let record = record.with_explicit_hash_key(Some(0));
/// # Ok::<(), record_cache::InvalidStreamName>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewRecord {
    /// The stream to append to.
    pub stream: StreamName,
    /// The caller's key, if any, such as a partition key.
    pub key: Option<String>,
    /// Overrides the key when choosing a shard, if set (Kinesis' explicit hash key).
    pub explicit_hash_key: Option<u128>,
    /// The payload.
    pub data: Bytes,
    /// When it was recorded; stored to the millisecond.
    pub recorded_at: SystemTime,
    /// Attempts counted by the store it was moved from.
    pub attempts: u32,
}

impl NewRecord {
    /// A record with the current time.
    #[must_use]
    pub fn new(stream: StreamName, key: Option<String>, data: impl Into<Bytes>) -> Self {
        Self {
            stream,
            key,
            explicit_hash_key: None,
            data: data.into(),
            recorded_at: crate::clock::now(),
            attempts: 0,
        }
    }

    /// Sets [`explicit_hash_key`](Self#structfield.explicit_hash_key).
    #[must_use]
    pub fn with_explicit_hash_key(mut self, hash_key: Option<u128>) -> Self {
        self.explicit_hash_key = hash_key;
        self
    }

    /// A record moved from another store, with its time and attempts.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use record_cache::{MemoryStore, NewRecord, ReadLimits, RecordStore, StoreError, StreamName};
    /// use std::num::{NonZeroU64, NonZeroUsize};
    ///
    /// /// Copies the head of a stream to another store.
    /// async fn copy(from: &MemoryStore, to: &MemoryStore, stream: &StreamName) -> Result<(), StoreError> {
    ///     let limits = ReadLimits::new(NonZeroUsize::MAX, NonZeroU64::MAX);
    ///     let batch = from.oldest(stream, None, limits).await?.records.into_iter();
    ///     to.append(batch.map(|record| NewRecord::moved(stream.clone(), record)).collect()).await
    /// }
    /// # let (from, to) = (MemoryStore::new(), MemoryStore::new());
    /// # let orders = StreamName::new("orders")?;
    /// # from.append(vec![NewRecord::new(orders.clone(), None, "an order")]).await?;
    /// # copy(&from, &to, &orders).await?;
    /// # assert_eq!(to.stats(), from.stats());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn moved(stream: StreamName, record: Record) -> Self {
        Self {
            stream,
            key: record.key,
            explicit_hash_key: record.explicit_hash_key,
            data: record.data,
            recorded_at: record.recorded_at,
            attempts: record.attempts,
        }
    }

    /// The size that counts against limits: payload and key in bytes, without the hash key.
    #[must_use]
    pub fn size(&self) -> u64 {
        size(self.key.as_deref(), &self.data)
    }
}

impl fmt::Debug for NewRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewRecord")
            .field("stream", &self.stream)
            .field("bytes", &self.size())
            .finish_non_exhaustive()
    }
}

/// A record as it is read back.
///
/// ```
/// use record_cache::{Record, RecordId};
/// use std::time::SystemTime;
///
/// // What a store of your own returns.
/// let key = Some("customer-7".to_owned());
/// let record = Record::new(RecordId::new(7), key, "an order".into(), 0, SystemTime::now());
/// let record = record.with_explicit_hash_key(None);
/// assert_eq!(record.size(), 18); // data and key
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// Its place in the stream.
    pub id: RecordId,
    /// The caller's key.
    pub key: Option<String>,
    /// Overrides the key when choosing a shard.
    pub explicit_hash_key: Option<u128>,
    /// The payload.
    pub data: Bytes,
    /// Attempts counted by [`settle`](crate::RecordStore::settle).
    pub attempts: u32,
    /// When it was recorded, to the millisecond.
    pub recorded_at: SystemTime,
}

impl Record {
    /// Creates a record without a hash key; for implementors of stores.
    #[must_use]
    pub fn new(
        id: RecordId,
        key: Option<String>,
        data: Bytes,
        attempts: u32,
        recorded_at: SystemTime,
    ) -> Self {
        Self {
            id,
            key,
            explicit_hash_key: None,
            data,
            attempts,
            recorded_at,
        }
    }

    /// Sets [`explicit_hash_key`](Self#structfield.explicit_hash_key).
    #[must_use]
    pub fn with_explicit_hash_key(mut self, hash_key: Option<u128>) -> Self {
        self.explicit_hash_key = hash_key;
        self
    }

    /// The size that counts against limits: payload and key in bytes, without the hash key.
    #[must_use]
    pub fn size(&self) -> u64 {
        size(self.key.as_deref(), &self.data)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("id", &self.id)
            .field("bytes", &self.size())
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

fn size(key: Option<&str>, data: &Bytes) -> u64 {
    data.len() as u64 + key.map_or(0, |key| key.len() as u64)
}
