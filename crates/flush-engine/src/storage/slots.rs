//! Directories for several instances of one program, side by side.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use record_cache::{
    Amount, Durability, NewRecord, ReadLimits, Record, RecordStore, Settlement, StoreError,
    StreamName,
};

use crate::api::InvalidSetting;
use crate::cache::{Adopted, Cache, Incoming};
use crate::lifecycle::Lifecycle;
use crate::storage::directories::{DefaultDirectory, absolute};
use crate::storage::on_disk::OnDisk;
use crate::telemetry::log;

/// Instances of one program on one machine that are looked for at most.
const MAX_SLOTS: u32 = 256;

/// A directory of slots: each instance takes a free one, and takes over the records of
/// those that are free.
#[derive(Debug, Clone)]
pub struct Slots {
    kind: OnDisk,
    directory: PathBuf,
    durability: Durability,
    cache_max_bytes: u64,
    own: Option<u32>,
    /// Where other processes may be, but no other client of this one.
    _held: Option<Arc<Held>>,
}

/// Default directories that clients of this process have.
static HELD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// A default directory that a client of this process has, until this is dropped.
#[derive(Debug)]
struct Held(PathBuf);

impl Held {
    /// `None` if another client has it.
    fn new(directory: PathBuf) -> Option<Self> {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(directory.clone()).then(|| Self(directory))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        held.remove(&self.0);
    }
}

/// The name of the executable, also once it was replaced while it runs.
fn executable() -> Option<OsString> {
    let path = std::env::current_exe().ok()?;
    // So Linux marks the path of a file that is not there any more.
    let name = path.file_name()?.to_string_lossy();
    match name.strip_suffix(" (deleted)") {
        Some(replaced) if !path.exists() => Path::new(replaced).file_stem().map(Into::into),
        _ => path.file_stem().map(Into::into),
    }
}

impl Slots {
    /// The default directory of a client, which no other one of this process has.
    pub(crate) fn of_this_program(
        kind: OnDisk,
        default: &DefaultDirectory,
        durability: Durability,
        cache_max_bytes: u64,
    ) -> Result<Self, InvalidSetting> {
        let unknown = |what: &str| {
            InvalidSetting::new(
                "storage_path",
                format!("there is no default, because {what} is not known"),
                "set storage_path, or call in_memory",
            )
        };
        let data = dirs::data_local_dir().ok_or_else(|| unknown("the local data directory"))?;
        let program = match &default.name {
            Some(name) => name.into(),
            None => executable().ok_or_else(|| unknown("the name of the executable"))?,
        };
        let directory = data.join(program).join(&default.records);
        let directory = absolute(directory).map_err(|_| unknown("the working directory"))?;
        let held = Held::new(directory.clone()).ok_or_else(|| {
            InvalidSetting::new(
                "name",
                "another client of this process has the same default directory",
                "give each client a name or a storage_path of its own, or share one client",
            )
        })?;
        Ok(Self {
            _held: Some(Arc::new(held)),
            ..Self::below(kind, directory, durability, cache_max_bytes)
        })
    }

    pub(crate) fn below(
        kind: OnDisk,
        directory: PathBuf,
        durability: Durability,
        cache_max_bytes: u64,
    ) -> Self {
        Self {
            kind,
            directory,
            durability,
            cache_max_bytes,
            own: None,
            _held: None,
        }
    }

    /// Opens the first free slot, so that a lone instance finds its own records.
    pub(crate) async fn take_free_one(self) -> Result<(Self, Arc<dyn RecordStore>), StoreError> {
        for slot in 0..MAX_SLOTS {
            match self.open(slot).await {
                Ok(store) => {
                    return Ok((
                        Self {
                            own: Some(slot),
                            ..self
                        },
                        store,
                    ));
                }
                Err(StoreError::InUse { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::in_use(self.directory))
    }

    async fn open(&self, slot: u32) -> Result<Arc<dyn RecordStore>, StoreError> {
        let path = self.path(slot);
        self.kind
            .open(path, self.durability, self.cache_max_bytes)
            .await
    }

    /// The directory of the client's own slot.
    pub(crate) fn own_path(&self) -> Option<PathBuf> {
        self.own.map(|slot| self.path(slot))
    }

    fn path(&self, slot: u32) -> PathBuf {
        self.directory.join(format!("slot-{slot}"))
    }

    /// Moves the records of all free slots into the engine's own store, as far
    /// as there is room.
    pub(crate) async fn adopt(&self, cache: &Cache, lifecycle: &Lifecycle) {
        for slot in (0..MAX_SLOTS).filter(|&slot| Some(slot) != self.own) {
            if lifecycle.is_closing() {
                return;
            }
            // A slot that was never used is not to be made now.
            if !self.path(slot).is_dir() {
                continue;
            }
            match self.open(slot).await {
                Ok(orphan) => {
                    if let Err(error) = empty(&*orphan, cache, lifecycle).await {
                        tracing::warn!(
                            target: log::TARGET,
                            slot,
                            %error,
                            "the records of another instance could not be adopted"
                        );
                    }
                    // What is left is on disk already; the next one to open it will say.
                    let _ = orphan.close().await;
                }
                Err(StoreError::InUse { .. }) => {}
                Err(error) => tracing::warn!(
                    target: log::TARGET,
                    slot,
                    %error,
                    "the records of another instance could not be opened"
                ),
            }
        }
    }
}

/// Moves all records of a store, oldest first, as far as there is room. A crash between the
/// two steps of a move leaves records in both stores: they are delivered twice, never lost.
async fn empty(
    orphan: &dyn RecordStore,
    cache: &Cache,
    lifecycle: &Lifecycle,
) -> Result<(), StoreError> {
    const STEP: ReadLimits = ReadLimits::new(
        NonZeroUsize::new(256).expect("not zero"),
        NonZeroU64::new(256 * 1024).expect("not zero"),
    );
    let mut adopted = Amount::default();
    for stream in orphan.stats().streams.into_keys() {
        loop {
            let read = orphan.oldest(&stream, None, STEP).await?;
            log::damage(&stream, read.damaged);
            let records = read.records;
            if records.is_empty() || lifecycle.is_closing() {
                break;
            }
            match adopt_step(orphan, cache, &stream, records).await? {
                Adopted::Stored(amount) => adopted += amount,
                Adopted::NoRoom => break,
            }
        }
    }
    if adopted.records > 0 {
        tracing::info!(
            target: log::TARGET,
            records = adopted.records,
            bytes = adopted.bytes,
            "adopted the records of an instance that has ended"
        );
    }
    Ok(())
}

async fn adopt_step(
    orphan: &dyn RecordStore,
    cache: &Cache,
    stream: &StreamName,
    records: Vec<Record>,
) -> Result<Adopted, StoreError> {
    let moved = Settlement::new(stream.clone()).delete(records.iter().map(|record| record.id));
    let records = records
        .into_iter()
        .map(|record| NewRecord::moved(stream.clone(), record));
    let adopted = cache.adopt(Incoming::new(records.collect())).await?;
    if let Adopted::Stored(_) = adopted {
        orphan.settle(moved).await?;
    }
    Ok(adopted)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;
    use batcher::BatchLimits;
    use tempfile::TempDir;

    use super::*;
    use crate::FlushEngine;
    use crate::api::{EngineOptions, FlushStrategy, RecordSender, SendError, Verdict};

    /// Is never sent anything.
    #[derive(Debug)]
    struct Nobody;

    #[async_trait]
    impl RecordSender for Nobody {
        fn limits(&self) -> BatchLimits {
            BatchLimits::new(NonZeroUsize::MAX, NonZeroU64::MAX)
        }

        async fn send(&self, _: &StreamName, _: &[Record]) -> Result<Vec<Verdict>, SendError> {
            Err(SendError::no_answer("nobody is there"))
        }
    }

    /// Accepts everything, and counts it.
    #[derive(Debug, Default)]
    struct Counting(AtomicUsize);

    #[async_trait]
    impl RecordSender for Counting {
        fn limits(&self) -> BatchLimits {
            BatchLimits::new(NonZeroUsize::MAX, NonZeroU64::MAX)
        }

        async fn send(&self, _: &StreamName, batch: &[Record]) -> Result<Vec<Verdict>, SendError> {
            self.0.fetch_add(batch.len(), Ordering::SeqCst);
            Ok(vec![Verdict::Accepted(None); batch.len()])
        }
    }

    fn slots(directory: &TempDir) -> Slots {
        slots_of(OnDisk::USUAL, directory)
    }

    fn slots_of(kind: OnDisk, directory: &TempDir) -> Slots {
        let directory = directory.path().join("records");
        Slots::below(kind, directory, Durability::ProcessCrash, 1 << 20)
    }

    fn engine(store: Arc<dyn RecordStore>, slots: Slots, max_bytes: u64) -> FlushEngine {
        let mut options = EngineOptions::DEFAULT;
        options.flush_strategy = FlushStrategy::None;
        options.cache_max_bytes = NonZeroU64::new(max_bytes).unwrap();
        let engine = FlushEngine::start(store, Arc::new(Nobody), options).unwrap();
        engine.adopt_from(slots);
        engine
    }

    fn numbered(stream: &str, numbers: std::ops::Range<usize>) -> Vec<NewRecord> {
        let stream = StreamName::new(stream).unwrap();
        let record = |n| NewRecord::new(stream.clone(), None, format!("{n:04}"));
        numbers.map(record).collect()
    }

    async fn read(store: &Arc<dyn RecordStore>, stream: &str) -> Vec<Record> {
        let all = ReadLimits::new(NonZeroUsize::MAX, NonZeroU64::MAX);
        let stream = StreamName::new(stream).unwrap();
        store.oldest(&stream, None, all).await.unwrap().records
    }

    fn texts(records: &[Record]) -> Vec<&str> {
        let texts = records
            .iter()
            .map(|record| std::str::from_utf8(&record.data));
        texts.map(Result::unwrap).collect()
    }

    async fn until(condition: impl Fn() -> bool) {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn each_instance_takes_the_first_slot_that_nobody_holds() {
        let directory = TempDir::new().unwrap();
        let (first, first_store) = slots(&directory).take_free_one().await.unwrap();
        let (second, second_store) = slots(&directory).take_free_one().await.unwrap();
        assert_eq!((first.own, second.own), (Some(0), Some(1)));
        first_store.append(numbered("a", 0..3)).await.unwrap();
        first_store.close().await.unwrap();
        let (third, third_store) = slots(&directory).take_free_one().await.unwrap();
        assert_eq!(third.own, Some(0));
        assert_eq!(read(&third_store, "a").await.len(), 3);
        third_store.close().await.unwrap();
        second_store.close().await.unwrap();
    }

    #[tokio::test]
    async fn records_that_nobody_holds_are_adopted_in_order_with_their_attempts() {
        let directory = TempDir::new().unwrap();
        let (own, own_store) = slots(&directory).take_free_one().await.unwrap();
        let (_, orphan) = slots(&directory).take_free_one().await.unwrap();
        let (_, held) = slots(&directory).take_free_one().await.unwrap();
        orphan.append(numbered("a", 0..700)).await.unwrap();
        orphan.append(numbered("b", 0..2)).await.unwrap();
        let first = read(&orphan, "a").await[0].id;
        let charged = Settlement::new(StreamName::new("a").unwrap()).count_attempt([first]);
        orphan.settle(charged).await.unwrap();
        orphan.close().await.unwrap();
        held.append(numbered("a", 900..901)).await.unwrap();

        let engine = engine(own_store, own.clone(), 1 << 20);
        until(|| engine.cache_stats().records == 702).await;
        engine.close().await.unwrap();
        assert_eq!(held.stats().records(), 1);
        let adopted = own.open(0).await.unwrap();
        let records = read(&adopted, "a").await;
        let expected: Vec<_> = (0..700).map(|n| format!("{n:04}")).collect();
        assert_eq!(texts(&records), expected);
        assert_eq!((records[0].attempts, records[1].attempts), (1, 0));
        assert_eq!(read(&adopted, "b").await.len(), 2);
        let emptied = own.open(1).await.unwrap();
        assert_eq!(emptied.stats().records(), 0);
        for store in [adopted, emptied, held] {
            store.close().await.unwrap();
        }
    }

    #[tokio::test]
    async fn no_more_is_adopted_than_there_is_room_for() {
        let directory = TempDir::new().unwrap();
        let (own, own_store) = slots(&directory).take_free_one().await.unwrap();
        let (_, orphan) = slots(&directory).take_free_one().await.unwrap();
        orphan.append(numbered("a", 0..600)).await.unwrap();
        orphan.close().await.unwrap();
        // Room for 300 records, which are moved 256 at a time.
        let engine = engine(own_store, own.clone(), 300 * 16);
        until(|| engine.cache_stats().records == 256).await;
        engine.close().await.unwrap();
        let left = own.open(1).await.unwrap();
        let records = read(&left, "a").await;
        assert_eq!(records.len(), 600 - 256);
        assert_eq!(&records[0].data[..], b"0256");
        left.close().await.unwrap();
    }

    #[tokio::test]
    async fn an_idle_adaptive_engine_delivers_what_it_adopts() {
        let directory = TempDir::new().unwrap();
        let (own, own_store) = slots(&directory).take_free_one().await.unwrap();
        let (_, orphan) = slots(&directory).take_free_one().await.unwrap();
        orphan.append(numbered("a", 0..3)).await.unwrap();
        orphan.close().await.unwrap();

        let sender = Arc::new(Counting::default());
        let mut options = EngineOptions::DEFAULT;
        options.flush_strategy = FlushStrategy::Adaptive {
            max_delay: Duration::from_millis(1),
            max_records: 100,
            max_bytes: 1 << 20,
        };
        let engine = FlushEngine::start(own_store, sender.clone(), options).unwrap();
        engine.adopt_from(own);
        let delivered = until(|| sender.0.load(Ordering::SeqCst) == 3);
        let in_time = tokio::time::timeout(Duration::from_secs(60), delivered);
        assert!(in_time.await.is_ok(), "what was adopted waits for a record");
        engine.close().await.unwrap();
    }

    #[cfg(all(feature = "sled", feature = "journal"))]
    #[tokio::test]
    async fn a_journal_takes_over_what_the_other_store_left_in_any_slot() {
        let directory = TempDir::new().unwrap();
        let (_, first) = slots_of(OnDisk::Sled, &directory)
            .take_free_one()
            .await
            .unwrap();
        let (_, second) = slots_of(OnDisk::Sled, &directory)
            .take_free_one()
            .await
            .unwrap();
        first.append(numbered("a", 0..3)).await.unwrap();
        second.append(numbered("b", 0..4)).await.unwrap();
        first.close().await.unwrap();
        second.close().await.unwrap();
        let journal = slots_of(OnDisk::Journal, &directory);
        let (own, own_store) = journal.take_free_one().await.unwrap();
        assert_eq!(read(&own_store, "a").await.len(), 3);
        let engine = engine(own_store, own, 1 << 20);
        until(|| engine.cache_stats().records == 7).await;
        engine.close().await.unwrap();
    }

    #[tokio::test]
    async fn slots_that_were_never_used_are_not_made() {
        let directory = TempDir::new().unwrap();
        let (own, own_store) = slots(&directory).take_free_one().await.unwrap();
        let path = own.directory.clone();
        let engine = engine(own_store, own, 1 << 20);
        engine.close().await.unwrap();
        let names: Vec<_> = std::fs::read_dir(path).unwrap().collect();
        assert_eq!(names.len(), 1);
    }
}
