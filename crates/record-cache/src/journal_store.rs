//! The log with its index in memory.

use std::path::{Path, PathBuf};

use crate::disk::{Settings, Store, record_store};
use crate::index::InMemory;
use crate::{Durability, StoreError};

/// Stores records in an append-only log on disk, at the speed of the disk.
///
/// Records that tasks append during a write go into the next write, so one sync serves them all.
/// Payloads stay on disk; memory holds 24 bytes per record.
///
/// # What is promised
/// With [`Durability::PowerLoss`] (the default) a record is on stable storage when
/// `append` returns. With [`Durability::ProcessCrash`] it is with the operating system,
/// and only a crash of the machine can lose it. [`clear`](crate::RecordStore::clear) and
/// [`close`](crate::RecordStore::close) are durable in both.
///
/// The log takes at most twice the bytes of the live frames plus two segments; an empty store keeps
/// one segment.
///
/// An incomplete write at the end of the log is dropped when it is opened. A damaged record is
/// skipped and counted; all others are kept. The directory has one user at a time, in this process
/// or another. `SledStore` (feature `sled`) uses the same files, so each opens what the other left.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use record_cache::{JournalStore, NewRecord, RecordStore, StreamName};
///
/// let directory = tempfile::tempdir()?;
/// let store = JournalStore::open(directory.path().join("cache")).await?;
/// let stream = StreamName::new("orders")?;
/// store.append(vec![NewRecord::new(stream, None, "an order")]).await?;
/// store.close().await?;
/// # Ok(())
/// # }
/// ```
pub struct JournalStore(pub(crate) Store);

/// Settings of a [`JournalStore`].
#[derive(Debug, Clone)]
#[must_use]
pub struct JournalStoreBuilder(Settings);

impl JournalStore {
    /// Opens a store in this directory, with defaults. The directory is created if needed.
    ///
    /// # Errors
    /// As [`JournalStoreBuilder::open`].
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::builder(path).open().await
    }

    /// A builder of a store in this directory, which is created if needed.
    pub fn builder(path: impl Into<PathBuf>) -> JournalStoreBuilder {
        JournalStoreBuilder(Settings::new(path.into()))
    }
}

impl JournalStoreBuilder {
    /// What an appended record survives.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.0.durability = durability;
        self
    }

    /// Roughly the most bytes that will be stored. Default: 5 MiB.
    ///
    /// Determines the size of segments: a quarter of this, from 4 MiB to 64 MiB.
    pub fn expected_bytes(mut self, bytes: u64) -> Self {
        self.0.expect_bytes(bytes);
        self
    }

    /// Opens the store.
    ///
    /// # Errors
    /// - [`StoreError::InUse`] when another store holds the directory.
    /// - [`StoreError::Incompatible`] when the directory has another format or version, or files
    ///   that do not belong to a store; it is left unchanged.
    /// - [`StoreError::Unavailable`] when the directory cannot be created, read or written, belongs
    ///   to another user, is writable by others, or when the disk does not respond.
    ///
    /// # Cancel safety
    /// If the store is opened anyway, it is closed at once.
    pub async fn open(self) -> Result<JournalStore, StoreError> {
        let in_memory = |_: &Path| Box::new(InMemory) as Box<_>;
        Store::open(self.0, in_memory).await.map(JournalStore)
    }
}

record_store!(JournalStore);
