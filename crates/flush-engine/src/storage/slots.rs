//! Directories for several instances of one program, side by side.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;

use record_cache::{
    Amount, Durability, NewRecord, ReadLimits, Record, RecordStore, Settlement, SledStore,
    StoreError, StreamName,
};

use crate::cache::{Adopted, Cache, Incoming};
use crate::lifecycle::Lifecycle;
use crate::storage::default_directory::Claim;
use crate::telemetry::log;

/// Instances of one program on one machine that are looked for at most.
const MAX_SLOTS: u32 = 256;

/// A directory of slots: each instance takes a free one, and takes over the records of
/// those that are free.
#[derive(Debug, Clone)]
pub struct Slots {
    directory: PathBuf,
    durability: Durability,
    cache_max_bytes: u64,
    own: Option<u32>,
    /// Keeps other clients of this process out of the directory.
    _claim: Option<Arc<Claim>>,
}

pub(crate) async fn open_sled(
    path: PathBuf,
    durability: Durability,
    cache_max_bytes: u64,
) -> Result<SledStore, StoreError> {
    SledStore::builder(path)
        .durability(durability)
        .expected_bytes(cache_max_bytes)
        .open()
        .await
}

impl Slots {
    pub(crate) fn below(directory: PathBuf, durability: Durability, cache_max_bytes: u64) -> Self {
        Self {
            directory,
            durability,
            cache_max_bytes,
            own: None,
            _claim: None,
        }
    }

    pub(super) fn with(self, claim: Claim) -> Self {
        Self {
            _claim: Some(Arc::new(claim)),
            ..self
        }
    }

    /// Opens the first free slot, so that a lone instance finds its own records.
    pub(crate) async fn take_free_one(self) -> Result<(Self, SledStore), StoreError> {
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

    async fn open(&self, slot: u32) -> Result<SledStore, StoreError> {
        open_sled(self.path(slot), self.durability, self.cache_max_bytes).await
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
                    if let Err(error) = empty(&orphan, cache, lifecycle).await {
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
async fn empty(orphan: &SledStore, cache: &Cache, lifecycle: &Lifecycle) -> Result<(), StoreError> {
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
    orphan: &SledStore,
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
            Ok(vec![Verdict::Accepted; batch.len()])
        }
    }

    fn slots(directory: &TempDir) -> Slots {
        let directory = directory.path().join("records");
        Slots::below(directory, Durability::ProcessCrash, 1 << 20)
    }

    fn engine(store: SledStore, slots: Slots, max_bytes: u64) -> FlushEngine {
        let mut options = EngineOptions::DEFAULT;
        options.flush_strategy = FlushStrategy::None;
        options.cache_max_bytes = NonZeroU64::new(max_bytes).unwrap();
        let engine = FlushEngine::start(Arc::new(store), Arc::new(Nobody), options).unwrap();
        engine.adopt_from(slots);
        engine
    }

    fn numbered(stream: &str, numbers: std::ops::Range<usize>) -> Vec<NewRecord> {
        let stream = StreamName::new(stream).unwrap();
        let record = |n| NewRecord::new(stream.clone(), None, format!("{n:04}"));
        numbers.map(record).collect()
    }

    async fn read(store: &SledStore, stream: &str) -> Vec<Record> {
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
        let engine = FlushEngine::start(Arc::new(own_store), sender.clone(), options).unwrap();
        engine.adopt_from(own);
        let delivered = until(|| sender.0.load(Ordering::SeqCst) == 3);
        let in_time = tokio::time::timeout(Duration::from_secs(60), delivered);
        assert!(in_time.await.is_ok(), "what was adopted waits for a record");
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
