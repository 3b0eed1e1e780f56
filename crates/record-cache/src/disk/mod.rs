//! The shell around a log: a writer thread, a reader thread and their callers.
//!
//! An `append` or a settlement goes into the [`mailbox`] of the [`writer`], which collects calls
//! into groups, writes and syncs each group as one, enters it in the catalog, and answers. While a
//! large group is synced, the next one is [written](overlap) behind it. A read goes to the
//! [`reader`]. A [`watch`] answers in their place if one of the two hangs. After each
//! group, the writer does housekeeping: it [compacts](compact) the log and has the index write a
//! checkpoint. It [replaces](mend) an index that breaks, and [recovers](heal) when files are
//! deleted.
//!
//! Locks, none of which is taken while another is held: the two mailboxes, the catalog, the
//! counters, the buffers. Only the writer changes the catalog and the counters.

mod compact;
mod heal;
mod mailbox;
mod mend;
mod reader;
mod shared;
mod system;
#[cfg(test)]
mod tests;
mod watch;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use self::mailbox::Refused;

use self::shared::{Read, Reply, Request, Shared, gone, stalled};
use self::system::SystemDisk;
pub use self::system::check_directory;
use self::writer::Writer;
use crate::index::{Broken, Found, Indexes};
use crate::log::Failure;
use crate::log::catalog::lock;
use crate::log::directory;
use crate::log::end::{Log, refused};
use crate::log::files::Disk;
use crate::log::open::{Opened, check_version, open};
use crate::log::reserve::Reserve;
use crate::{
    Amount, Durability, NewRecord, ReadBatch, ReadLimits, RecordId, Settlement, StoreError,
    StoreStats, StreamName, clock,
};

const SMALLEST_SEGMENT: u64 = 4 << 20;
const LARGEST_SEGMENT: u64 = 64 << 20;

/// A disk store, with either index.
pub(crate) struct Store {
    shared: Arc<Shared>,
    /// Commits of groups that append.
    #[cfg(test)]
    commits: Arc<std::sync::atomic::AtomicU64>,
}

/// How a store is to be opened.
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

    /// Chooses the size of a segment for this many bytes of records.
    pub(crate) fn expect_bytes(&mut self, bytes: u64) {
        self.segment_bytes = (bytes / 4).clamp(SMALLEST_SEGMENT, LARGEST_SEGMENT);
    }
}

impl Store {
    pub(crate) async fn open(
        settings: Settings,
        indexes: impl FnOnce(&Path) -> Box<dyn Indexes> + Send + 'static,
    ) -> Result<Self, StoreError> {
        let disk = |path: &Path| SystemDisk::take(path).map(|disk| Arc::new(disk) as Arc<dyn Disk>);
        Self::open_on(settings, indexes, disk).await
    }

    async fn open_on(
        mut settings: Settings,
        indexes: impl FnOnce(&Path) -> Box<dyn Indexes> + Send + 'static,
        disk: impl FnOnce(&Path) -> Result<Arc<dyn Disk>, StoreError> + Send + 'static,
    ) -> Result<Self, StoreError> {
        if !settings.path.is_absolute() {
            // Only once: later steps must not depend on the working directory.
            settings.path = std::path::absolute(&settings.path).map_err(|error| {
                let context = format!("not a path: path={}", settings.path.display());
                StoreError::unavailable(context, error)
            })?;
        }
        let shared = Arc::new(Shared::new(settings.path.clone()));
        let watcher = watch::start(Arc::downgrade(&shared), settings.stall_limit)?;
        shared.watcher.get_or_init(|| watcher);
        let (reply, outcome) = oneshot::channel();
        let ticket = shared.requests.expect(Reply::Opened(reply));
        let work = move || {
            let indexes = indexes(&settings.path);
            let opened =
                disk(&settings.path).and_then(|disk| prepare(&shared, &settings, indexes, disk));
            let reply = shared.requests.reply(ticket);
            match opened {
                Ok(writer) => {
                    let store = writer.store();
                    match reply {
                        // If no one waits any more, the store is dropped and thereby closed.
                        Some(Reply::Opened(reply)) => drop(reply.send(Ok(store))),
                        _ => drop(store),
                    }
                    drop(shared);
                    writer.run();
                }
                Err(error) => {
                    drop(shared.reads.close());
                    if let Some(reply) = reply {
                        reply.refuse(&error);
                    }
                }
            }
        };
        spawn("record-cache", work)?;
        outcome.await.unwrap_or_else(|_| Err(gone()))
    }

    #[cfg(feature = "sled")]
    pub(crate) fn path(&self) -> &Path {
        &self.shared.path
    }

    pub(crate) async fn append(&self, records: Vec<NewRecord>) -> Result<(), StoreError> {
        if records.is_empty() {
            let closed = self.shared.requests.is_closed();
            return if closed {
                Err(StoreError::Closed)
            } else {
                Ok(())
            };
        }
        self.ask(Request::Append(records), Reply::Done).await
    }

    pub(crate) async fn oldest(
        &self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Result<ReadBatch, StoreError> {
        let (reply, answer) = oneshot::channel();
        let read = Read {
            stream: stream.clone(),
            after: after.map(RecordId::get),
            limits,
        };
        self.shared.reads.push(read, reply).map_err(refusal)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    pub(crate) async fn settle(&self, settlement: Settlement) -> Result<Amount, StoreError> {
        self.ask(Request::Settle(settlement), Reply::Removed).await
    }

    pub(crate) async fn clear(&self) -> Result<Amount, StoreError> {
        self.ask(Request::Clear, Reply::Removed).await
    }

    pub(crate) fn stats(&self) -> StoreStats {
        lock(&self.shared.counters).stats()
    }

    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        match self.ask(Request::Close, Reply::Done).await {
            Err(StoreError::Closed) => Ok(()),
            outcome => outcome,
        }
    }

    async fn ask<T>(
        &self,
        request: Request,
        reply: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Reply,
    ) -> Result<T, StoreError> {
        let (sender, answer) = oneshot::channel();
        self.shared
            .requests
            .push(request, reply(sender))
            .map_err(refusal)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Shows what is the same in all stores.
    pub(crate) fn debug(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        f.debug_struct(name)
            .field("path", &self.shared.path)
            .field("records", &stats.records())
            .field("bytes", &stats.bytes())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.debug("Store", f)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let (reply, _) = oneshot::channel();
        let _ = self
            .shared
            .requests
            .push(Request::Close, Reply::Done(reply));
    }
}

fn refusal<R>(refused: Refused<R>) -> StoreError {
    match refused {
        Refused::Closed(_) => StoreError::Closed,
        Refused::Stalled(_) => stalled(),
    }
}

/// Reads the directory, and prepares it for writing.
fn prepare(
    shared: &Arc<Shared>,
    settings: &Settings,
    mut indexes: Box<dyn Indexes>,
    disk: Arc<dyn Disk>,
) -> Result<Writer, StoreError> {
    // Before an index is opened, which writes into the directory.
    check_version(&*disk)?;
    let began = clock::monotonic();
    let alive = || shared.requests.sign();
    let mut found = indexes.open();
    let mut broken = None;
    let (opened, stranded) = loop {
        let failure = match found.map_err(Failure::from).and_then(|found| {
            let mut opened = open(&*disk, settings.durability, found, &alive)?;
            let stranded = opened.catalog.current(&opened.stranded)?;
            Ok((opened, stranded))
        }) {
            Ok(opened) => break opened,
            Err(failure) => failure,
        };
        match failure {
            Failure::Store(error) => return Err(error),
            Failure::Disk(error) => return Err(refused(&*disk, "cannot read the log", "", error)),
            Failure::Index(Broken(reason)) => {
                broken.get_or_insert(Broken(reason));
                let index = mend::next(&mut *indexes);
                found = Ok(Found { index, kept: None });
            }
        }
    };
    if let Some(broken) = &broken {
        mend::note_rebuilt(&settings.path, broken, began, 0);
    }
    let Opened {
        catalog,
        counters,
        salt,
        continuation,
        needless,
        must_restate,
        ..
    } = opened;
    let (durability, segment_bytes) = (settings.durability, settings.segment_bytes);
    let log = Log::new(
        Arc::clone(&disk),
        durability,
        segment_bytes,
        salt,
        continuation,
    );
    *lock(&shared.catalog) = catalog;
    *lock(&shared.counters) = counters;
    let mut writer = Writer {
        shared: Arc::clone(shared),
        reserve: Reserve::find(&*disk),
        disk,
        indexes,
        durability,
        log,
        rest: 0,
        came_meanwhile: 0,
        looked: clock::monotonic(),
        #[cfg(test)]
        commits: Arc::default(),
    };
    writer.recover(&stranded, must_restate, &needless)?;
    if !writer.indexes.keep_files() {
        directory::remove_indexes(&*writer.disk);
    }
    let shared = Arc::clone(shared);
    spawn("record-cache-reader", move || reader::run(&shared))?;
    Ok(writer)
}

impl Writer {
    fn store(&self) -> Store {
        Store {
            shared: Arc::clone(&self.shared),
            #[cfg(test)]
            commits: Arc::clone(&self.commits),
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned
        .map(drop)
        .map_err(|error| StoreError::unavailable("cannot start a thread", error))
}

/// Implements `RecordStore` for a newtype around [`Store`].
macro_rules! record_store {
    ($store:ident) => {
        #[async_trait::async_trait]
        impl crate::RecordStore for $store {
            async fn append(&self, records: Vec<crate::NewRecord>) -> Result<(), StoreError> {
                self.0.append(records).await
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
                self.0.settle(settlement).await
            }

            async fn clear(&self) -> Result<crate::Amount, StoreError> {
                self.0.clear().await
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
pub(crate) use record_store;
