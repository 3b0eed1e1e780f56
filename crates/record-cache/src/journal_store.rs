//! A store made for first in, first out: a log in segments, without a database.

mod buffers;
mod disk;
mod fetch;
mod format;
mod frame;
mod group;
mod home;
mod index;
mod log;
mod mailbox;
mod open;
mod outline;
mod reader;
mod replay;
mod reserve;
mod scan;
mod shared;
mod takeover;
#[cfg(test)]
mod tests;
mod tidy;
mod writer;

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use async_trait::async_trait;
use tokio::sync::oneshot;

use self::disk::{Disk, SystemDisk};
use self::log::{Log, lock};
use self::reader::Read;
use self::reserve::Reserve;
use self::shared::{Reply, Request, Shared};
pub use self::takeover::{Moved, move_records};
use self::writer::Writer;
use crate::{
    Amount, Durability, NewRecord, ReadBatch, ReadLimits, RecordId, RecordStore, Settlement,
    StoreError, StoreStats, StreamName,
};

const SMALLEST_SEGMENT: u64 = 4 << 20;
const LARGEST_SEGMENT: u64 = 64 << 20;

/// Keeps records in an append-only log on disk, at the speed of the disk.
///
/// What many tasks append while a write is under way goes into the next one, so one
/// sync serves all. Payloads stay on disk; in memory there are 24 bytes for each record.
///
/// # What is promised
/// With [`Durability::PowerLoss`] (the default) a record is on stable storage when
/// `append` returns. With [`Durability::ProcessCrash`] it is with the operating system,
/// and only a crash of the machine can lose it. [`clear`](RecordStore::clear) and
/// [`close`](RecordStore::close) are durable in both.
///
/// The log takes at most twice the bytes that the records held take with their frames,
/// and two segments; an empty store keeps one segment.
///
/// An incomplete write at the end of the log is dropped when it is opened. A damaged
/// record is skipped and counted; all others are kept. The directory has one user at a
/// time, in this process or another.
///
/// [`take_over`](Self::take_over) moves the records of another store here, each once, and
/// `take_over_sled` (feature `sled`) those of a directory of the sled store.
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
pub struct JournalStore {
    shared: Arc<Shared>,
}

/// Settings of a [`JournalStore`].
#[derive(Debug, Clone)]
#[must_use]
pub struct JournalStoreBuilder {
    path: PathBuf,
    durability: Durability,
    segment_bytes: u64,
}

impl JournalStore {
    /// A store in this directory, which is made if there is none, with defaults.
    ///
    /// # Errors
    /// As [`JournalStoreBuilder::open`].
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::builder(path).open().await
    }

    /// A store in this directory, which is made if there is none.
    pub fn builder(path: impl Into<PathBuf>) -> JournalStoreBuilder {
        let (durability, segment_bytes) = (Durability::default(), SMALLEST_SEGMENT);
        JournalStoreBuilder {
            path: path.into(),
            durability,
            segment_bytes,
        }
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.shared
            .requests
            .push(request(reply))
            .map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl JournalStoreBuilder {
    /// What an appended record survives.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How many bytes will be held at most, roughly; 5 MiB unless set.
    ///
    /// It decides how large a segment grows: a quarter of this, from 4 MiB to 64 MiB.
    pub fn expected_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = (bytes / 4).clamp(SMALLEST_SEGMENT, LARGEST_SEGMENT);
        self
    }

    /// Opens the store.
    ///
    /// # Errors
    /// - [`StoreError::InUse`] when another store holds the directory.
    /// - [`StoreError::Incompatible`] when the directory has another format or version,
    ///   or files that are none of a journal's; it is left as it is.
    /// - [`StoreError::Unavailable`] when the directory cannot be made, read or written.
    ///
    /// # Cancel safety
    /// A store that is opened after all is closed at once.
    pub async fn open(self) -> Result<JournalStore, StoreError> {
        self.open_with(|path| Arc::new(SystemDisk::new(path))).await
    }

    async fn open_with(
        self,
        disk: impl FnOnce(&Path) -> Arc<dyn Disk> + Send + 'static,
    ) -> Result<JournalStore, StoreError> {
        let (opened, outcome) = oneshot::channel();
        let work = move || match self.prepare(disk) {
            Ok(writer) => {
                let store = JournalStore {
                    shared: Arc::clone(&writer.shared),
                };
                // When nobody waits any more, the store is dropped here, and so closed.
                let _ = opened.send(Ok(store));
                writer.run();
            }
            Err(error) => drop(opened.send(Err(error))),
        };
        spawn("record-journal", work)?;
        outcome.await.unwrap_or_else(|_| {
            Err(StoreError::unavailable_because(
                "the journal cannot be opened",
            ))
        })
    }

    fn prepare(self, disk: impl FnOnce(&Path) -> Arc<dyn Disk>) -> Result<Writer, StoreError> {
        let lock: File = home::take(&self.path)?;
        let disk = disk(&self.path);
        let opened = open::open(&*disk, self.durability)?;
        let (durability, salt) = (self.durability, opened.salt);
        let continuation = opened.continuation;
        let log = Log::new(
            Arc::clone(&disk),
            durability,
            self.segment_bytes,
            salt,
            continuation,
        );
        let shared = Arc::new(Shared::new(self.path, opened.index));
        let reserve = Reserve::find(&*disk);
        let mut writer = Writer {
            shared: Arc::clone(&shared),
            disk,
            durability,
            log,
            rest: 0,
            reserve,
            came_meanwhile: 0,
            lock,
        };
        writer.recover(opened.stranded)?;
        spawn("record-journal-reader", move || reader::run(&shared))?;
        Ok(writer)
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned
        .map(drop)
        .map_err(|error| StoreError::unavailable("cannot start a thread", error))
}

#[async_trait]
impl RecordStore for JournalStore {
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), StoreError> {
        if records.is_empty() {
            let closed = self.shared.requests.is_closed();
            return if closed {
                Err(StoreError::Closed)
            } else {
                Ok(())
            };
        }
        self.ask(|reply| Request::Append {
            records,
            origin: None,
            reply,
        })
        .await
    }

    async fn oldest(
        &self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Result<ReadBatch, StoreError> {
        let (reply, answer) = oneshot::channel();
        let after = after.map(RecordId::get);
        let read = Read {
            stream: stream.clone(),
            after,
            limits,
            reply,
        };
        self.shared
            .reads
            .push(read)
            .map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    async fn settle(&self, settlement: Settlement) -> Result<Amount, StoreError> {
        self.ask(|reply| Request::Settle { settlement, reply })
            .await
    }

    async fn clear(&self) -> Result<Amount, StoreError> {
        self.ask(|reply| Request::Clear { reply }).await
    }

    fn stats(&self) -> StoreStats {
        lock(&self.shared.index).stats()
    }

    async fn close(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        if self.shared.requests.push(Request::Close { reply }).is_err() {
            return Ok(());
        }
        answer.await.unwrap_or(Ok(()))
    }
}

impl Drop for JournalStore {
    fn drop(&mut self) {
        let (reply, _) = oneshot::channel();
        let _ = self.shared.requests.push(Request::Close { reply });
    }
}

impl fmt::Debug for JournalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        f.debug_struct("JournalStore")
            .field("path", &self.shared.path)
            .field("records", &stats.records())
            .field("bytes", &stats.bytes())
            .finish_non_exhaustive()
    }
}
