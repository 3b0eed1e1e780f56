//! The browser store's public type.

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
/// Once [`append`](RecordStore::append) returns `Ok`, the records survive what
/// [`Durability`](crate::Durability) says. `PowerLoss` requests a `strict` transaction, which
/// Chromium and Firefox sync to disk. `ProcessCrash` requests a `relaxed` one, which has left the
/// browser's processes: it survives their end, but not a machine crash. Browsers that support
/// neither decide for themselves. Records appended during a transaction go into the next one.
///
/// # Tabs
/// A database has one user at a time: a tab, worker or store. Others get [`StoreError::InUse`] or,
/// with [`slots`](IndexedDbStoreBuilder::slots), their own slot. When a tab is closed or crashes,
/// the browser releases what it held. This needs the Web Locks API, which only HTTPS and localhost
/// pages have.
///
/// A browser may also take the lock from an open store, as Safari does when a page enters the
/// back/forward cache. The next call takes it again, and counts what others have left. While
/// another store holds it, calls fail with [`StoreError::InUse`].
///
/// A page with a newer version that changes the layout takes over the database. Calls from the
/// older page then fail with [`StoreError::Incompatible`].
///
/// # Space
/// When a site has used up the space the browser grants it, `append` fails with
/// [`StoreError::Unavailable`], as on a full disk, and nothing is stored. Settling and clearing
/// still work. Attempts counted meanwhile are kept in memory until there is space for them.
///
/// # What the browser may do
/// When space is short, and in Safari after seven days without a visit, browsers evict everything a
/// site stored, unless the site was granted `navigator.storage.persist()`, which the page has to
/// request. The user may also delete it at any time. Records that vanish while the store is open
/// are reported as damaged, and so are records whose values the browser has lost.
///
/// A Chromium that was killed while it wrote may delete all of a site's databases two starts later,
/// because it then reads its own log as damaged. The store logs an error if it is the first to open
/// a database of the site.
///
/// Where a page may not store anything (some private windows, sandboxed frames, a setting), opening
/// fails with [`StoreError::Refused`]. A [`MemoryStore`](crate::MemoryStore) can be used instead.
/// Private windows that do allow storage delete it when they are closed.
pub struct IndexedDbStore {
    name: String,
    slot: Slot,
    counters: Arc<Counters>,
    calls: mpsc::UnboundedSender<Call>,
}

impl IndexedDbStore {
    /// A builder for a store.
    pub fn builder() -> IndexedDbStoreBuilder {
        IndexedDbStoreBuilder::new()
    }

    /// Opens a database with the default settings.
    ///
    /// # Errors
    /// Those of [`IndexedDbStoreBuilder::open`].
    ///
    /// # Cancel safety
    /// The database is released shortly afterwards.
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

    /// The name of the database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The slot in the database. Always 0 without [`slots`](IndexedDbStoreBuilder::slots).
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
            // The store was already closed.
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
