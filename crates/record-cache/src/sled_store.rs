//! The log with its index in sled.

use std::path::{Path, PathBuf};

use crate::disk::{Settings, Store, record_store};
use crate::index::sled::{InSled, SledIndexSettings};
use crate::{Durability, StoreError};

/// Keeps records in an append-only log on disk, and where they lie in a
/// [sled](https://docs.rs/sled) database once there are many.
///
/// What [`append`](crate::RecordStore::append) returned `Ok` for survives what its
/// [`Durability`] says: the loss of power, or the end of the process. What many tasks append
/// while a write is under way goes into the next one, so one sync serves them all.
///
/// A directory has one user at a time, in this process or another. The disk it takes is
/// bounded by twice what it holds and two segments, and given back when it is empty. Damage
/// never keeps the store from opening: a damaged record is skipped and counted, and what
/// nothing can be read of is moved aside within the directory, to `corrupt-<unix time>`. The
/// database is built anew from the log when anything about it is odd. `JournalStore` (feature
/// `journal`) keeps the same files, so either opens what the other left.
///
/// Dropping the store completes what was begun and releases the directory a moment
/// later; [`close`](crate::RecordStore::close) waits for that.
pub struct SledStore(pub(crate) Store);

/// Opens a [`SledStore`]; made by [`SledStore::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `open` is called"]
pub struct SledStoreBuilder {
    store: Settings,
    index: SledIndexSettings,
}

impl SledStoreBuilder {
    /// What a record survives; [`Durability::PowerLoss`] unless set.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.store.durability = durability;
        self
    }

    /// How many bytes of records the owner means to keep at most; 5 MiB unless set.
    ///
    /// The store does not enforce it. It chooses how coarsely disk is taken.
    pub fn expected_bytes(mut self, bytes: u64) -> Self {
        self.store.expect_bytes(bytes);
        self
    }

    /// About how many records' places may be held in memory, and a 64th of that, up to 32,
    /// for each stream; 131,072 unless set.
    ///
    /// With more, they are in a database, and memory holds what was used last. A place takes
    /// some 30 bytes.
    pub fn records_in_memory(mut self, records: usize) -> Self {
        self.index.records_in_memory = records;
        self
    }

    /// Opens the directory, which is made where there is none.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another store holds the directory,
    /// [`StoreError::Incompatible`] when it is of another format, and
    /// [`StoreError::Unavailable`] when it cannot be made, written to or read, belongs to
    /// another user or can be written to by others, or when the disk does not answer.
    ///
    /// # Cancel safety
    /// The directory is released again, a moment later.
    pub async fn open(self) -> Result<SledStore, StoreError> {
        let Self { store, index } = self;
        let in_sled = |path: &Path| Box::new(InSled::new(path, index)) as Box<_>;
        Store::open(store, in_sled).await.map(SledStore)
    }
}

impl SledStore {
    /// Prepares to open a directory.
    pub fn builder(path: impl Into<PathBuf>) -> SledStoreBuilder {
        SledStoreBuilder {
            store: Settings::new(path.into()),
            index: SledIndexSettings::default(),
        }
    }

    /// Opens a directory with the default settings.
    ///
    /// # Errors
    /// Those of [`SledStoreBuilder::open`].
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::builder(path).open().await
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

record_store!(SledStore);
