//! A store that fails on demand, for testing its users.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use crate::{
    Amount, NewRecord, ReadBatch, ReadLimits, RecordId, RecordStore, Settlement, StoreError,
    StoreStats, StreamName,
};

/// Forwards calls to another store, but makes some of them fail.
///
/// A failing call does nothing, as the contract of [`RecordStore`] requires, except that
/// [`close`](RecordStore::close) still releases the storage. To test that a user of a store loses
/// nothing, make each of its calls fail in turn:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use record_cache::{FailAfter, MemoryStore, NewRecord, RecordStore, StreamName};
///
/// let store = FailAfter::new(MemoryStore::new(), 1);
/// let record = || NewRecord::new(StreamName::new("orders").unwrap(), None, "an order");
/// assert!(store.append(vec![record()]).await.is_ok());
/// assert!(store.append(vec![record()]).await.is_err());
/// assert!(store.append(vec![record()]).await.is_ok());
/// assert_eq!((store.stats().records(), store.calls()), (2, 3));
/// # }
/// ```
#[derive(Debug)]
pub struct FailAfter<S> {
    store: S,
    passing: u64,
    failing: u64,
    calls: AtomicU64,
}

impl<S> FailAfter<S> {
    /// Forwards this many calls, fails the next one, and forwards all others.
    pub const fn new(store: S, calls: u64) -> Self {
        Self {
            store,
            passing: calls,
            failing: 1,
            calls: AtomicU64::new(0),
        }
    }

    /// Makes this many consecutive calls fail, instead of one.
    ///
    /// ```
    /// # use record_cache::{FailAfter, MemoryStore, NewRecord, RecordStore, StreamName};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // A disk that is full for two calls.
    /// let store = FailAfter::new(MemoryStore::new(), 0).failures(2);
    /// let record = NewRecord::new(StreamName::new("orders")?, None, "an order");
    /// assert!(store.append(vec![record.clone()]).await.is_err());
    /// assert!(store.append(vec![record.clone()]).await.is_err());
    /// assert!(store.append(vec![record]).await.is_ok());
    /// assert_eq!(store.store().stats().records(), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub const fn failures(mut self, calls: u64) -> Self {
        self.failing = calls;
        self
    }

    /// The number of calls so far, not counting [`stats`](RecordStore::stats).
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// The underlying store, which never fails on demand.
    pub const fn store(&self) -> &S {
        &self.store
    }

    fn count(&self) -> Result<(), StoreError> {
        let before = self.calls.fetch_add(1, Ordering::SeqCst);
        match before.checked_sub(self.passing) {
            Some(failed) if failed < self.failing => {
                Err(StoreError::unavailable_because("this call was set to fail"))
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: RecordStore> RecordStore for FailAfter<S> {
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), StoreError> {
        self.count()?;
        self.store.append(records).await
    }

    async fn oldest(
        &self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Result<ReadBatch, StoreError> {
        self.count()?;
        self.store.oldest(stream, after, limits).await
    }

    async fn settle(&self, settlement: Settlement) -> Result<Amount, StoreError> {
        self.count()?;
        self.store.settle(settlement).await
    }

    async fn clear(&self) -> Result<Amount, StoreError> {
        self.count()?;
        self.store.clear().await
    }

    fn stats(&self) -> StoreStats {
        self.store.stats()
    }

    async fn close(&self) -> Result<(), StoreError> {
        let counted = self.count();
        self.store.close().await.and(counted)
    }
}
