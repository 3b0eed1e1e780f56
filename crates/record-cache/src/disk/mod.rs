//! The shell around a log: a writer thread, a reader thread and their callers.
//!
//! An `append` or a settlement goes into the [`mailbox`] of the [`writer`], which collects calls
//! into [groups](group), writes and syncs each group as one, enters it in the catalog, and answers.
//! [Another thread](overlap) syncs large groups and closes deleted files. A read goes to the
//! [`reader`]. If the writer or the reader hangs, a [`watch`] answers its callers. After each group,
//! the writer does housekeeping: it [compacts](compact) the log and has the index write a checkpoint.
//! It [replaces](mend) an index that breaks, and [recovers](heal) when files are deleted.
//!
//! Locks: the two mailboxes, the catalog, the counters, the buffers. No lock is taken while another
//! is held. Only the writer changes the catalog and the counters, except that the reader takes the
//! losses that it reports.

mod close;
mod compact;
mod group;
mod heal;
mod mailbox;
mod mend;
mod open;
mod overlap;
mod reader;
mod shared;
mod system;
#[cfg(test)]
mod tests;
mod watch;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use self::close::Ending;
pub(crate) use self::shared::Request;
use self::shared::{Done, Read, Shared};
use self::system::SystemDisk;
pub use self::system::{check_directory, holds_nothing};
use crate::index::paged::IndexSettings;
use crate::index::{Indexes, Maker};
use crate::log::catalog::lock;
use crate::log::files::Disk;
use crate::{
    Amount, Durability, ReadBatch, ReadLimits, RecordId, StoreError, StoreStats, StreamName,
};

const SMALLEST_SEGMENT: u64 = 4 << 20;
const LARGEST_SEGMENT: u64 = 64 << 20;

/// A disk store, with either index.
#[derive(Debug)]
pub(crate) struct Store {
    shared: Arc<Shared>,
}

/// Options for opening a store.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) path: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) segment_bytes: u64,
    pub(crate) stall_limit: Duration,
}

impl Settings {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            durability: Durability::default(),
            segment_bytes: SMALLEST_SEGMENT,
            stall_limit: watch::STALL_LIMIT,
        }
    }

    /// Chooses the segment size for this many bytes of records.
    pub(crate) fn expect_bytes(&mut self, bytes: u64) {
        self.segment_bytes = (bytes / 4).clamp(SMALLEST_SEGMENT, LARGEST_SEGMENT);
    }
}

impl Store {
    pub(crate) async fn open(settings: Settings, index: IndexSettings) -> Result<Self, StoreError> {
        let indexes = |path: &Path| Box::new(Maker::new(path, index)) as Box<_>;
        let disk = |path: &Path| SystemDisk::take(path).map(|disk| Arc::new(disk) as Arc<dyn Disk>);
        Self::open_on(settings, indexes, disk).await
    }

    async fn open_on(
        mut settings: Settings,
        indexes: impl FnOnce(&Path) -> Box<dyn Indexes> + Send + 'static,
        disk: impl FnOnce(&Path) -> Result<Arc<dyn Disk>, StoreError> + Send + 'static,
    ) -> Result<Self, StoreError> {
        if !settings.path.is_absolute() {
            // Resolved only once: later steps must not depend on the working directory.
            settings.path = std::path::absolute(&settings.path).map_err(|error| {
                let context = format!("not a path: path={}", settings.path.display());
                StoreError::unavailable(context, error)
            })?;
        }
        let (watch, ended) = mpsc::channel();
        let shared = Arc::new(Shared::new(settings.path.clone(), watch));
        let (watched, limit) = (Arc::downgrade(&shared), settings.stall_limit);
        spawn("record-cache-watch", move || {
            watch::look_after(&watched, &ended, limit);
        })?;
        // If it cannot be opened or no one is waiting any more, it is dropped and thereby closed.
        let store = Self {
            shared: Arc::clone(&shared),
        };
        let (reply, outcome) = oneshot::channel();
        let ticket = shared.requests.expect(reply);
        let work = move || {
            // However this thread ends, no caller waits forever.
            let _ending = Ending(Arc::clone(&shared));
            let indexes = indexes(&settings.path);
            let opened = disk(&settings.path)
                .and_then(|disk| open::prepare(&shared, &settings, indexes, disk));
            match opened {
                Ok(writer) => {
                    shared.requests.answer(ticket, Ok(Done::default()));
                    writer.run();
                }
                Err(error) => shared.requests.answer(ticket, Err(error)),
            }
        };
        spawn("record-cache", work)?;
        outcome.await.unwrap_or(Err(StoreError::Closed))?;
        Ok(store)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.shared.path
    }

    pub(crate) async fn oldest(
        &self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Result<ReadBatch, StoreError> {
        let read = Read {
            stream: stream.clone(),
            after: after.map(RecordId::get),
            limits,
        };
        self.shared.reads.ask(read).await
    }

    pub(crate) fn stats(&self) -> StoreStats {
        lock(&self.shared.counters).stats()
    }

    pub(crate) async fn ask(&self, request: Request) -> Result<Amount, StoreError> {
        let Done { removed, appended } = self.shared.requests.ask(request).await?;
        drop(appended);
        Ok(removed)
    }

    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        match self.ask(Request::Close).await {
            Err(StoreError::Closed) => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    /// The `Debug` output common to all disk stores.
    pub(crate) fn debug(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        f.debug_struct(name)
            .field("path", &self.shared.path)
            .field("records", &stats.records())
            .field("bytes", &stats.bytes())
            .finish_non_exhaustive()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let (reply, _) = oneshot::channel();
        let _ = self.shared.requests.push(Request::Close, reply);
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned
        .map(drop)
        .map_err(|error| StoreError::unavailable("cannot start a thread", error))
}

/// Makes a newtype around [`Store`], and its builder, with this kind of index.
macro_rules! disk_store {
    ($(#[$doc:meta])* $store:ident, $builder:ident, $index:expr) => {
        $(#[$doc])*
        pub struct $store(pub(crate) crate::disk::Store);

        #[doc = concat!("Settings of a [`", stringify!($store), "`].")]
        ///
        /// ```
        /// # #[tokio::main(flavor = "current_thread")]
        /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
        /// # let directory = tempfile::tempdir()?;
        /// # let directory = directory.path();
        #[doc = concat!("use record_cache::{Durability, ", stringify!($store), "};")]
        ///
        /// // Up to a gigabyte, of which a machine crash may take the last moments.
        #[doc = concat!("let store = ", stringify!($store), "::builder(directory)")]
        ///     .durability(Durability::ProcessCrash)
        ///     .expected_bytes(1 << 30)
        ///     .open()
        ///     .await?;
        /// # record_cache::RecordStore::close(&store).await?;
        /// # Ok(())
        /// # }
        /// ```
        #[derive(Debug, Clone)]
        #[must_use = "a builder does nothing until `open` is called"]
        pub struct $builder {
            store: crate::disk::Settings,
            index: crate::index::paged::IndexSettings,
        }

        impl $store {
            /// Opens a directory with the default settings, creating it if needed.
            ///
            /// ```
            /// # #[tokio::main(flavor = "current_thread")]
            /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
            /// # let directory = tempfile::tempdir()?;
            /// # let directory = directory.path();
            #[doc = concat!("use record_cache::{", stringify!($store), ", RecordStore};")]
            ///
            #[doc = concat!("let store = ", stringify!($store), "::open(directory.join(\"records\")).await?;")]
            /// println!("{} records were left by the last run", store.stats().records());
            /// store.close().await?;
            /// # Ok(())
            /// # }
            /// ```
            ///
            /// # Errors
            #[doc = concat!("Those of [`", stringify!($builder), "::open`].")]
            ///
            /// # Cancel safety
            /// If the store is opened anyway, it is closed immediately.
            pub async fn open(path: impl Into<std::path::PathBuf>) -> Result<Self, StoreError> {
                Self::builder(path).open().await
            }

            /// A builder for a store in this directory.
            ///
            /// ```
            /// # #[tokio::main(flavor = "current_thread")]
            /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
            /// # let directory = tempfile::tempdir()?;
            /// # let directory = directory.path();
            #[doc = concat!("use record_cache::{Durability, ", stringify!($store), "};")]
            ///
            #[doc = concat!("let store = ", stringify!($store), "::builder(directory)")]
            ///     .durability(Durability::ProcessCrash)
            ///     .open()
            ///     .await?;
            /// # record_cache::RecordStore::close(&store).await?;
            /// # Ok(())
            /// # }
            /// ```
            pub fn builder(path: impl Into<std::path::PathBuf>) -> $builder {
                $builder {
                    store: crate::disk::Settings::new(path.into()),
                    index: $index,
                }
            }

            /// The directory of the store.
            ///
            /// ```
            /// # #[tokio::main(flavor = "current_thread")]
            /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
            /// # let directory = tempfile::tempdir()?;
            /// # let directory = directory.path();
            #[doc = concat!("# use record_cache::", stringify!($store), ";")]
            #[doc = concat!("let store = ", stringify!($store), "::open(directory).await?;")]
            /// assert_eq!(store.path(), directory);
            /// # record_cache::RecordStore::close(&store).await?;
            /// # Ok(())
            /// # }
            /// ```
            #[must_use]
            pub fn path(&self) -> &std::path::Path {
                self.0.path()
            }
        }

        impl $builder {
            /// What an appended record survives; [`Durability::PowerLoss`] unless set.
            pub fn durability(mut self, durability: Durability) -> Self {
                self.store.durability = durability;
                self
            }

            /// About how many bytes of records to expect at most. Default: 5 MiB.
            ///
            /// Not enforced. It sets the segment size: a quarter of this, between 4 MiB and 64 MiB.
            pub fn expected_bytes(mut self, bytes: u64) -> Self {
                self.store.expect_bytes(bytes);
                self
            }

            /// Opens the directory, creating it if needed.
            ///
            /// ```
            /// # #[tokio::main(flavor = "current_thread")]
            /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
            /// # let directory = tempfile::tempdir()?;
            /// # let directory = directory.path();
            #[doc = concat!("use record_cache::{RecordStore, ", stringify!($store), ", StoreError};")]
            ///
            #[doc = concat!("let store = ", stringify!($store), "::builder(directory).open().await?;")]
            #[doc = concat!("match ", stringify!($store), "::builder(directory).open().await {")]
            ///     // Two stores in one directory would corrupt each other's files.
            ///     Err(StoreError::InUse { path, .. }) => println!("{} is in use", path.display()),
            ///     other => drop(other?),
            /// }
            /// store.close().await?;
            /// # Ok(())
            /// # }
            /// ```
            ///
            /// # Errors
            /// - [`StoreError::InUse`] when another store holds the directory.
            /// - [`StoreError::Incompatible`] when the directory has another format or version, or
            ///   contains files that do not belong to a store; it is left unchanged.
            /// - [`StoreError::Unavailable`] when the directory cannot be created, read or written,
            ///   belongs to another user, or is writable by others, or when the disk does not
            ///   respond.
            ///
            /// # Cancel safety
            /// If the store is opened anyway, it is closed immediately.
            pub async fn open(self) -> Result<$store, StoreError> {
                let opened = crate::disk::Store::open(self.store, self.index);
                opened.await.map($store)
            }
        }

        #[async_trait::async_trait]
        impl crate::RecordStore for $store {
            async fn append(&self, records: Vec<crate::NewRecord>) -> Result<(), StoreError> {
                let records = crate::log::group::Prepared::new(records);
                let request = crate::disk::Request::Append(records);
                self.0.ask(request).await.map(drop)
            }

            async fn oldest(
                &self,
                stream: &crate::StreamName,
                after: Option<crate::RecordId>,
                limits: crate::ReadLimits,
            ) -> Result<crate::ReadBatch, StoreError> {
                self.0.oldest(stream, after, limits).await
            }

            async fn settle(
                &self,
                settlement: crate::Settlement,
            ) -> Result<crate::Amount, StoreError> {
                self.0.ask(crate::disk::Request::Settle(settlement)).await
            }

            async fn clear(&self) -> Result<crate::Amount, StoreError> {
                self.0.ask(crate::disk::Request::Clear).await
            }

            fn stats(&self) -> crate::StoreStats {
                self.0.stats()
            }

            async fn close(&self) -> Result<(), StoreError> {
                self.0.close().await
            }
        }

        impl std::fmt::Debug for $store {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.debug(stringify!($store), f)
            }
        }
    };
}
pub(crate) use disk_store;
