//! The log with its index in sled.

use std::path::{Path, PathBuf};

use crate::disk::{Settings, Store, record_store};
use crate::index::sled::{InSled, SledIndexSettings};
use crate::{Durability, StoreError};

/// Stores records in an append-only log on disk and, once there are many, their positions in a
/// [sled](https://docs.rs/sled) database.
///
/// When [`append`](crate::RecordStore::append) returns `Ok`, the records survive what the
/// [`Durability`] says: power loss, or the end of the process. Records that tasks append during a
/// write go into the next write, so one sync serves them all.
///
/// A directory has one user at a time, in this process or another. The log takes at most twice the
/// bytes of the live frames plus two segments, and disk space is returned when it is empty. Damage
/// never prevents opening: a damaged record is skipped and counted, and unreadable files are moved
/// aside within the directory, to `corrupt-<unix time>`. The database is rebuilt from the log if
/// anything is wrong with it. `JournalStore` (feature `journal`) uses the same files, so each opens
/// what the other left.
///
/// Dropping the store finishes pending work and releases the directory shortly afterwards;
/// [`close`](crate::RecordStore::close) waits for that.
pub struct SledStore(pub(crate) Store);

/// Opens a [`SledStore`]; created by [`SledStore::builder`].
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

    /// Roughly the most bytes of records that will be stored. Default: 5 MiB.
    ///
    /// This is not enforced. It determines the size of segments.
    pub fn expected_bytes(mut self, bytes: u64) -> Self {
        self.store.expect_bytes(bytes);
        self
    }

    /// About how many records' positions to keep in memory, plus a 64th of that, up to 32, for
    /// each stream. Default: 131,072.
    ///
    /// With more records, the positions are in a database, and memory holds those used last. A
    /// position takes about 30 bytes.
    pub fn records_in_memory(mut self, records: usize) -> Self {
        self.index.records_in_memory = records;
        self
    }

    /// Opens the directory, which is created if needed.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another store holds the directory, [`StoreError::Incompatible`]
    /// when it has another format, and [`StoreError::Unavailable`] when it cannot be created,
    /// written or read, belongs to another user, is writable by others, or when the disk does not
    /// respond.
    ///
    /// # Cancel safety
    /// The directory is released shortly afterwards.
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
