//! The store on disk.

mod append;
mod barrier;
mod before;
mod codec;
mod copy;
mod counters;
mod dead;
mod disk;
mod fault;
mod generation;
mod home;
mod index;
mod keys;
mod layout;
mod load;
mod manifest;
mod mark;
mod notes;
mod pieces;
mod queue;
mod read;
mod recover;
mod replay;
mod salvage;
mod segment;
mod settle;
mod space;
mod watch;
mod worker;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;

use self::counters::Counters;
use self::home::Home;
use self::queue::{Command, Queue, Reply};
use self::watch::Watch;
use self::worker::Worker;
use crate::{
    Amount, Durability, NewRecord, ReadBatch, ReadLimits, RecordId, RecordStore, Settlement,
    StoreError, StoreStats, StreamName,
};

const DEFAULT_EXPECTED_BYTES: u64 = 5 * 1024 * 1024;

/// How long the disk may take before callers are told that it does not answer.
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// Keeps records in a directory, by means of a [sled](https://docs.rs/sled) database.
///
/// What [`append`](RecordStore::append) returned `Ok` for survives what its
/// [`Durability`] says: the loss of power, or the end of the process. One thread owns
/// the database; what many tasks append while it commits goes into its next commit, so
/// that one sync serves them all.
///
/// A directory has one user at a time, in this process or another. The disk it takes is
/// bounded by about four times what it holds, and given back when it is empty. Damage
/// never keeps the store from opening: what cannot be read is moved aside within the
/// directory, to `corrupt-<unix time>`, what can be read of it is kept, and the number
/// of records lost is logged.
///
/// The database panics on some kinds of damage. The store contains that where panics
/// unwind; with `panic = "abort"` the process ends.
///
/// Dropping the store completes what was begun and releases the directory a moment
/// later; [`close`](RecordStore::close) waits for that.
pub struct SledStore {
    shared: Arc<Shared>,
    path: PathBuf,
}

/// Opens a [`SledStore`]; made by [`SledStore::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `open` is called"]
pub struct SledStoreBuilder {
    path: PathBuf,
    options: Options,
    stall_limit: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Options {
    durability: Durability,
    expected_bytes: u64,
}

/// What the store and its thread have in common.
#[derive(Debug)]
struct Shared {
    queue: Queue,
    counters: Counters,
    watch: Arc<Watch>,
    #[cfg(test)]
    commits: std::sync::atomic::AtomicU64,
}

impl Shared {
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "only tests count"))]
    fn count_commit(&self) {
        #[cfg(test)]
        self.commits
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

impl SledStoreBuilder {
    /// What a record survives; [`Durability::PowerLoss`] unless set.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.options.durability = durability;
        self
    }

    /// How many bytes of records the owner means to keep at most; 5 MiB unless set.
    ///
    /// The store does not enforce it. It chooses how coarsely disk is taken.
    pub fn expected_bytes(mut self, bytes: u64) -> Self {
        self.options.expected_bytes = bytes;
        self
    }

    /// Opens the directory, which is made where there is none.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another store holds the directory,
    /// [`StoreError::Incompatible`] when it is of another format, and
    /// [`StoreError::Unavailable`] when it cannot be made, written to or read.
    ///
    /// # Cancel safety
    /// The directory is released again, a moment later.
    pub async fn open(self) -> Result<SledStore, StoreError> {
        let Self {
            path,
            options,
            stall_limit,
        } = self;
        let cannot_start = |error| StoreError::unavailable("cannot start a thread", error);
        let shared = Arc::new(Shared {
            queue: Queue::default(),
            counters: Counters::default(),
            watch: Watch::start(stall_limit).map_err(cannot_start)?,
            #[cfg(test)]
            commits: std::sync::atomic::AtomicU64::new(0),
        });
        let store = SledStore {
            shared: Arc::clone(&shared),
            path,
        };
        let (opened, outcome) = oneshot::channel();
        let path = store.path.clone();
        let main = move || {
            let queue = Arc::clone(&shared);
            let end = catch_unwind(AssertUnwindSafe(|| work(&path, options, shared, opened)));
            if end.is_err() {
                queue.queue.closed(&Err(gone()));
            }
        };
        thread::Builder::new()
            .name("record-cache".to_owned())
            .spawn(main)
            .map_err(cannot_start)?;
        let outcome = store.shared.watch.unless_stalled(outcome).await;
        outcome
            .unwrap_or_else(|| Ok(Err(stalled())))
            .unwrap_or_else(|_| Err(gone()))?;
        Ok(store)
    }
}

/// The life of the thread that owns the database.
fn work(
    path: &Path,
    options: Options,
    shared: Arc<Shared>,
    opened: oneshot::Sender<Result<(), StoreError>>,
) {
    let queue = Arc::clone(&shared);
    let worker = Home::take(path).and_then(|home| Worker::open(shared, home, options));
    match worker {
        Ok(worker) => {
            let _ = opened.send(Ok(()));
            worker.run();
        }
        Err(error) => {
            queue.queue.close(None);
            queue.queue.closed(&Ok(()));
            let _ = opened.send(Err(error));
        }
    }
}

impl SledStore {
    /// Prepares to open a directory.
    pub fn builder(path: impl Into<PathBuf>) -> SledStoreBuilder {
        let options = Options {
            durability: Durability::default(),
            expected_bytes: DEFAULT_EXPECTED_BYTES,
        };
        SledStoreBuilder {
            path: path.into(),
            options,
            stall_limit: STALL_LIMIT,
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
        &self.path
    }

    async fn call<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, StoreError> {
        if self.shared.watch.is_stalled() {
            return Err(stalled());
        }
        let (reply, answer) = oneshot::channel();
        self.shared.queue.push(command(reply))?;
        match self.shared.watch.unless_stalled(answer).await {
            Some(answer) => answer.unwrap_or_else(|_| Err(gone())),
            None => Err(stalled()),
        }
    }
}

#[async_trait]
impl RecordStore for SledStore {
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), StoreError> {
        if records.is_empty() {
            return if self.shared.queue.is_open() {
                Ok(())
            } else {
                Err(StoreError::Closed)
            };
        }
        self.call(|reply| Command::Append { records, reply }).await
    }

    async fn oldest(
        &self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Result<ReadBatch, StoreError> {
        let stream = stream.clone();
        self.call(|reply| Command::Oldest {
            stream,
            after,
            limits,
            reply,
        })
        .await
    }

    async fn settle(&self, settlement: Settlement) -> Result<Amount, StoreError> {
        self.call(|reply| Command::Settle { settlement, reply })
            .await
    }

    async fn clear(&self) -> Result<Amount, StoreError> {
        self.call(|reply| Command::Clear { reply }).await
    }

    fn stats(&self) -> StoreStats {
        self.shared.counters.read()
    }

    async fn close(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.shared.queue.close(Some(reply));
        match self.shared.watch.unless_stalled(answer).await {
            Some(answer) => answer.unwrap_or_else(|_| Err(gone())),
            None => Err(stalled()),
        }
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.shared.queue.close(None);
    }
}

impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        f.debug_struct("SledStore")
            .field("path", &self.path)
            .field("records", &stats.records())
            .field("bytes", &stats.bytes())
            .finish_non_exhaustive()
    }
}

fn stalled() -> StoreError {
    StoreError::unavailable_because("the disk does not answer")
}

fn gone() -> StoreError {
    StoreError::unavailable_because("the thread of the store has ended")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use super::SledStore;
    use crate::{NewRecord, RecordStore, StreamName, conformance};

    #[tokio::test]
    async fn sled_store_conforms() {
        let directory = tempfile::tempdir().unwrap();
        let opened = std::cell::Cell::new(0);
        conformance::run_all(async || {
            opened.set(opened.get() + 1);
            let place = directory.path().join(opened.get().to_string());
            Arc::new(SledStore::open(place).await.unwrap()) as Arc<dyn RecordStore>
        })
        .await;
    }

    #[tokio::test]
    async fn sled_store_conforms_across_restarts() {
        let directory = tempfile::tempdir().unwrap();
        conformance::run_durable(directory.path(), async |place| {
            Arc::new(SledStore::open(place).await.unwrap()) as Arc<dyn RecordStore>
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn those_who_wait_share_a_commit() {
        const TASKS: u64 = 64;
        const CALLS: u64 = 20;
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(SledStore::open(directory.path()).await.unwrap());
        let tasks = (0..TASKS).map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let stream = StreamName::new("shared").unwrap();
                for _ in 0..CALLS {
                    let record = NewRecord::new(stream.clone(), None, vec![1; 100]);
                    store.append(vec![record]).await.unwrap();
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        let commits = store.shared.commits.load(Ordering::Relaxed);
        assert!(commits <= TASKS * CALLS / 8, "{commits} commits");
        store.close().await.unwrap();
    }
}
