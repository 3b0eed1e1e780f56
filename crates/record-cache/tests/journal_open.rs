//! Who may open a directory, and what is made in it.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod journal_support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use journal_support::{
    Numbers, disk_usage, limits, numbers, open, read_all, record, segments, stream,
};
use record_cache::{
    Durability, JournalStore, MemoryStore, NewRecord, ReadBatch, ReadLimits, Record, RecordId,
    RecordStore, Removed, Settlement, StoreError, StoreStats, StreamName, move_records,
};
use tempfile::TempDir;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_directory_has_one_user_at_a_time() {
    let place = TempDir::new().unwrap();
    let store = open(place.path()).await;
    let second = JournalStore::open(place.path()).await;
    assert!(
        matches!(second, Err(StoreError::InUse { .. })),
        "{second:?}"
    );
    store
        .append(vec![record(&stream("s"), 1, 10)])
        .await
        .unwrap();
    store.close().await.unwrap();
    let second = open(place.path()).await;
    assert_eq!(second.stats().records(), 1, "the first was not disturbed");
    second.close().await.unwrap();
}

#[tokio::test]
async fn a_dropped_store_releases_its_directory() {
    let place = TempDir::new().unwrap();
    drop(open(place.path()).await);
    let mut tries = 0;
    while let Err(error) = JournalStore::open(place.path()).await {
        assert!(matches!(error, StoreError::InUse { .. }), "{error}");
        tries += 1;
        assert!(tries < 10_000, "it is never released");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn files_are_private() {
    let place = TempDir::new().unwrap();
    let path = place.path().join("made/for/it");
    let store = open(&path).await;
    store
        .append(vec![record(&stream("s"), 1, 10)])
        .await
        .unwrap();
    store.close().await.unwrap();
    for made in ["made", "made/for", "made/for/it"] {
        assert_eq!(mode(&place.path().join(made)), 0o700, "{made}");
    }
    let files: Vec<_> = fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(files.len() >= 3, "lock, mark and segment");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn a_foreign_directory_is_left_as_it_is() {
    for foreign in [
        "manifest",
        "gen-00000000-0000000000000000",
        "db",
        "notes.txt",
    ] {
        let place = TempDir::new().unwrap();
        fs::write(place.path().join(foreign), "something").unwrap();
        let refused = JournalStore::open(place.path()).await;
        let Err(StoreError::Incompatible { found, .. }) = refused else {
            panic!("{foreign}: {refused:?}");
        };
        assert!(found.contains(foreign), "{found}");
        assert_eq!(
            fs::read_dir(place.path()).unwrap().count(),
            1,
            "nothing was added"
        );
    }
}

#[tokio::test]
async fn another_version_is_left_as_it_is() {
    for of_the_mark in [true, false] {
        let place = TempDir::new().unwrap();
        let store = open(place.path()).await;
        store
            .append(vec![record(&stream("s"), 1, 10)])
            .await
            .unwrap();
        store.close().await.unwrap();
        let file = if of_the_mark {
            place.path().join("journal-mark")
        } else {
            segments(place.path())[0].clone()
        };
        let mut bytes = fs::read(&file).unwrap();
        bytes[8] = 2;
        let checksum = crc32c_of(&bytes[..60]);
        bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
        fs::write(&file, &bytes).unwrap();
        let refused = JournalStore::open(place.path()).await;
        let Err(StoreError::Incompatible { found, .. }) = refused else {
            panic!("{refused:?}")
        };
        assert!(found.contains("version 2"), "{found}");
        assert_eq!(fs::read(&file).unwrap(), bytes, "untouched");
    }
}

/// Bit by bit, so that the test does not share the store's arithmetic.
fn crc32c_of(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    })
}

#[tokio::test]
async fn a_place_where_no_directory_can_be_is_unavailable() {
    let place = TempDir::new().unwrap();
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let refused = JournalStore::open(&path).await;
        let Err(error @ StoreError::Unavailable { .. }) = refused else {
            panic!("{refused:?}")
        };
        assert!(error.to_string().contains("file"), "{error}");
    }
}

#[tokio::test]
async fn ids_grow_after_a_clear_and_a_crash() {
    let place = TempDir::new().unwrap();
    let name = stream("cleared");
    let store = open(place.path()).await;
    store
        .append((0..5).map(|n| record(&name, n, 10)).collect())
        .await
        .unwrap();
    let last = read_all(&store, &name).await.records[4].id;
    store.clear().await.unwrap();
    let crashed = TempDir::new().unwrap();
    journal_support::copy(place.path(), crashed.path());
    store.close().await.unwrap();
    let store = open(crashed.path()).await;
    assert_eq!(store.stats().records(), 0);
    store.append(vec![record(&name, 7, 10)]).await.unwrap();
    assert!(read_all(&store, &name).await.records[0].id > last);
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_disk_is_bounded_under_churn_and_given_back() {
    const SEGMENT: u64 = 4 << 20;
    let place = TempDir::new().unwrap();
    let builder = JournalStore::builder(place.path()).durability(Durability::ProcessCrash);
    let store = builder.open().await.unwrap();
    let (stalled, busy) = (stream("stalled"), stream("busy"));
    let mut random = Numbers::new(3);
    let mut most = 0;
    for round in 0..1500_u64 {
        let mut records: Vec<NewRecord> = (0..40)
            .map(|n| record(&busy, n, 900 + random.below(200)))
            .collect();
        if round % 2 == 0 && round < 1000 {
            records.extend((0..6).map(|n| record(&stalled, n, 1000)));
        }
        store.append(records).await.unwrap();
        let held = store.oldest(&busy, None, limits(60)).await.unwrap().records;
        let ids = held.iter().map(|record| record.id);
        store
            .settle(Settlement::new(busy.clone()).delete(ids))
            .await
            .unwrap();
        let live = store.stats().bytes();
        let used = disk_usage(place.path());
        assert!(
            used <= 2 * live + 2 * SEGMENT,
            "round {round}: {used} bytes for {live}"
        );
        most = most.max(used);
    }
    assert!(most > 2 * SEGMENT, "several segments were in use: {most}");
    assert_eq!(
        read_all(&store, &stalled).await.records.len(),
        500 * 6,
        "the stalled ones stay"
    );
    for name in [&stalled, &busy] {
        let ids: Vec<_> = read_all(&store, name)
            .await
            .records
            .iter()
            .map(|r| r.id)
            .collect();
        store
            .settle(Settlement::new(name.clone()).delete(ids))
            .await
            .unwrap();
    }
    // Tidying follows the answer; the next call comes behind it.
    store.settle(Settlement::new(busy)).await.unwrap();
    store.append(Vec::new()).await.unwrap();
    store.close().await.unwrap();
    assert!(
        disk_usage(place.path()) <= SEGMENT + (128 << 10),
        "one segment when empty"
    );
}

async fn contents(store: &dyn RecordStore, names: &[&str]) -> Vec<Vec<Record>> {
    let mut contents = Vec::new();
    for name in names {
        contents.push(read_all(store, &stream(name)).await.records);
    }
    contents
}

/// Equal but for the ids.
fn assert_same(moved: &[Vec<Record>], original: &[Vec<Record>]) {
    for (moved, original) in moved.iter().zip(original) {
        assert_eq!(moved.len(), original.len());
        for (moved, original) in moved.iter().zip(original) {
            let mut moved = moved.clone();
            moved.id = original.id;
            assert_eq!(moved, *original);
        }
    }
}

async fn a_source(store: &dyn RecordStore) {
    for name in ["one", "two"] {
        let records = (0..2500).map(|n| record(&stream(name), n, 200)).collect();
        store.append(records).await.unwrap();
        let tried = store
            .oldest(&stream(name), None, limits(700))
            .await
            .unwrap()
            .records;
        let ids = tried.iter().map(|record| record.id);
        store
            .settle(Settlement::new(stream(name)).count_attempt(ids))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn records_move_from_store_to_store_as_they_are() {
    let place = TempDir::new().unwrap();
    let (memory, journal) = (MemoryStore::new(), open(&place.path().join("j")).await);
    a_source(&memory).await;
    let original = contents(&memory, &["one", "two"]).await;
    let report = move_records(&memory, &journal).await.unwrap();
    assert_eq!(report.moved.records, 5000);
    assert_same(&contents(&journal, &["one", "two"]).await, &original);
    assert_eq!(memory.stats().records(), 0);
    let other = open(&place.path().join("k")).await;
    assert_eq!(
        other.take_over(&journal, "j").await.unwrap().moved.records,
        5000
    );
    assert_same(&contents(&other, &["one", "two"]).await, &original);
    journal.close().await.unwrap();
    other.close().await.unwrap();
}

#[tokio::test]
async fn a_take_over_that_is_interrupted_anywhere_moves_each_record_once() {
    for settlements in 0..6 {
        let place = TempDir::new().unwrap();
        let memory = MemoryStore::new();
        a_source(&memory).await;
        let original = contents(&memory, &["one", "two"]).await;
        let source = Stubborn {
            memory,
            settlements: AtomicUsize::new(settlements),
        };
        let target = open(place.path()).await;
        let interrupted = target.take_over(&source, "source").await;
        assert!(
            matches!(interrupted, Err(StoreError::Unavailable { .. })),
            "{interrupted:?}"
        );
        assert!(
            source.stats().records() + target.stats().records() > 5000,
            "one batch is in both"
        );
        target.close().await.unwrap();
        drop(target);

        source.settlements.store(usize::MAX, Ordering::Relaxed);
        let target = open(place.path()).await;
        let report = target.take_over(&source, "source").await.unwrap();
        assert!(
            report.moved_before.records > 0,
            "what had been moved is found"
        );
        assert_same(&contents(&target, &["one", "two"]).await, &original);
        assert_eq!(source.stats().records(), 0);
        target.close().await.unwrap();
    }
}

#[tokio::test]
async fn another_source_of_the_same_name_is_not_mistaken_for_the_first() {
    let place = TempDir::new().unwrap();
    let target = open(place.path()).await;
    for round in 0..3_u64 {
        // Ids begin at zero each time.
        let source = MemoryStore::new();
        let numbers = round * 100..round * 100 + 10;
        source
            .append(numbers.map(|n| record(&stream("s"), n, 10)).collect())
            .await
            .unwrap();
        let report = target.take_over(&source, "same").await.unwrap();
        assert_eq!((report.moved.records, report.moved_before.records), (10, 0));
    }
    let found = numbers(&read_all(&target, &stream("s")).await);
    let expected: Vec<u64> = (0..3)
        .flat_map(|round| round * 100..round * 100 + 10)
        .collect();
    assert_eq!(found, expected);
    target.close().await.unwrap();
}

#[cfg(feature = "sled")]
#[tokio::test]
async fn a_sled_cache_is_refused_as_a_directory_and_moves_over_as_a_store() {
    let place = TempDir::new().unwrap();
    let path = place.path().join("sled");
    let sled = record_cache::SledStore::open(&path).await.unwrap();
    a_source(&sled).await;
    let original = contents(&sled, &["one", "two"]).await;
    sled.close().await.unwrap();
    let refused = JournalStore::open(&path).await;
    assert!(
        matches!(refused, Err(StoreError::Incompatible { .. })),
        "{refused:?}"
    );

    let sled = record_cache::SledStore::open(&path).await.unwrap();
    let journal = open(&place.path().join("journal")).await;
    let report = journal.take_over(&sled, "sled").await.unwrap();
    assert_eq!(report.moved.records, 5000);
    assert_same(&contents(&journal, &["one", "two"]).await, &original);
    assert_eq!(sled.stats().records(), 0);
    sled.close().await.unwrap();
    journal.close().await.unwrap();
}

/// A source that fails to settle after some times.
#[derive(Debug)]
struct Stubborn {
    memory: MemoryStore,
    settlements: AtomicUsize,
}

#[async_trait]
impl RecordStore for Stubborn {
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), StoreError> {
        self.memory.append(records).await
    }

    async fn oldest(
        &self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Result<ReadBatch, StoreError> {
        self.memory.oldest(stream, after, limits).await
    }

    async fn settle(&self, settlement: Settlement) -> Result<Removed, StoreError> {
        let left = self.settlements.load(Ordering::Relaxed).checked_sub(1);
        let left = left.ok_or_else(|| StoreError::unavailable_because("the process ended"))?;
        self.settlements.store(left, Ordering::Relaxed);
        self.memory.settle(settlement).await
    }

    async fn clear(&self) -> Result<Removed, StoreError> {
        self.memory.clear().await
    }

    fn stats(&self) -> StoreStats {
        self.memory.stats()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.memory.close().await
    }
}
