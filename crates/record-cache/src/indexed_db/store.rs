//! The store as its users see it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::IndexedDbStoreBuilder;
use super::actor::{Call, Reply};
use super::counters::Counters;
use super::schema::Slot;
use crate::{
    Amount, NewRecord, ReadBatch, ReadLimits, RecordId, RecordStore, Settlement, StoreError,
    StoreStats, StreamName,
};

/// Stores records in the browser's database, IndexedDB.
///
/// When [`append`](RecordStore::append) returns `Ok`, the records survive what the
/// [`Durability`](crate::Durability) says. `PowerLoss` asks the browser for a `strict` transaction: Chromium
/// and Firefox sync it to the disk. `ProcessCrash` asks for a `relaxed` one, which has left the
/// browser's processes; it survives their end, not that of the machine. Browsers that know neither
/// decide for themselves. Records that tasks append during a transaction go into the next one.
///
/// # Tabs
/// A database has one user at a time: tab, worker or store. Others get [`StoreError::InUse`], or with
/// [`slots`](IndexedDbStoreBuilder::slots) a slot of their own. The browser releases what a tab held when it
/// ends, however it does. This needs the Web Locks API, which only pages from HTTPS and localhost
/// have.
///
/// A page of a newer version that changes the layout takes the database over; calls of the older one
/// then fail with [`StoreError::Incompatible`].
///
/// # Space
/// When the space that the browser grants a site is used up, `append` fails with
/// [`StoreError::Unavailable`] as on a full disk, and nothing is stored; settling and clearing
/// go on. Attempts counted meanwhile are kept in memory until there is room for them.
///
/// # What the browser may do
/// Under pressure for space, and Safari after seven days without a visit, browsers evict everything
/// that a site stored, unless the site was granted `navigator.storage.persist()`, which is for the page
/// to ask for. So may the user, at any time. Records that vanish from under an open store are reported
/// as damaged.
///
/// Where a page may store nothing at all (some private windows, sandboxed frames, a setting), opening fails
/// with [`StoreError::Refused`]. A [`MemoryStore`](crate::MemoryStore) can take its place. Private windows that do store
/// forget it when they are closed.
pub struct IndexedDbStore {
    name: String,
    slot: Slot,
    counters: Arc<Counters>,
    calls: mpsc::UnboundedSender<Call>,
}

impl IndexedDbStore {
    /// Prepares to open a database.
    pub fn builder() -> IndexedDbStoreBuilder {
        IndexedDbStoreBuilder::new()
    }

    /// Opens a database with the default settings.
    ///
    /// # Errors
    /// Those of [`IndexedDbStoreBuilder::open`].
    pub async fn open(name: impl Into<String>) -> Result<Self, StoreError> {
        Self::builder().name(name).open().await
    }

    pub(super) fn new(
        name: String,
        slot: Slot,
        counters: Arc<Counters>,
        calls: mpsc::UnboundedSender<Call>,
    ) -> Self {
        Self {
            name,
            slot,
            counters,
            calls,
        }
    }

    /// The database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The slot of the database; 0 unless [`slots`](IndexedDbStoreBuilder::slots) found it taken.
    #[must_use]
    pub fn slot(&self) -> u32 {
        self.slot.0
    }

    async fn call<T>(&self, call: impl FnOnce(Reply<T>) -> Call) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.calls.send(call(reply));
        sent.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl RecordStore for IndexedDbStore {
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), StoreError> {
        self.call(|reply| Call::Append(records, reply)).await
    }

    async fn oldest(
        &self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Result<ReadBatch, StoreError> {
        let stream = stream.clone();
        self.call(|reply| Call::Oldest {
            stream,
            after,
            limits,
            reply,
        })
        .await
    }

    async fn settle(&self, settlement: Settlement) -> Result<Amount, StoreError> {
        self.call(|reply| Call::Settle(settlement, reply)).await
    }

    async fn clear(&self) -> Result<Amount, StoreError> {
        self.call(Call::Clear).await
    }

    fn stats(&self) -> StoreStats {
        self.counters.get()
    }

    async fn close(&self) -> Result<(), StoreError> {
        match self.call(Call::Close).await {
            // It was before.
            Err(StoreError::Closed) => Ok(()),
            closed => closed,
        }
    }
}

impl fmt::Debug for IndexedDbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexedDbStore")
            .field("name", &self.name)
            .field("slot", &self.slot.0)
            .finish_non_exhaustive()
    }
}
