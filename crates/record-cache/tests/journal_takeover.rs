//! Moving the records of another store into a journal, each once, whatever happens meanwhile.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod journal_support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use journal_support::{Numbers, limits, numbers, open, read_all, record, stream, times};
use record_cache::{
    Amount, JournalStore, MemoryStore, NewRecord, ReadBatch, ReadLimits, Record, RecordId,
    RecordStore, Settlement, SledStore, StoreError, StoreStats, StreamName, move_records,
};
use tempfile::TempDir;

const CHILD: &str = "JOURNAL_TAKEOVER_CHILD";

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

/// When a source fails as if the process had ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// The batch is in both stores.
    BeforeSettling,
    /// It is in the journal only.
    AfterSettling,
}

#[tokio::test]
async fn a_take_over_that_is_interrupted_anywhere_moves_each_record_once() {
    for from_sled in [false, true] {
        for failure in [Failure::BeforeSettling, Failure::AfterSettling] {
            for settlements in 0..6 {
                let place = TempDir::new().unwrap();
                let old = place.path().join("sled");
                let source: Arc<dyn RecordStore> = if from_sled {
                    Arc::new(SledStore::open(&old).await.unwrap())
                } else {
                    Arc::new(MemoryStore::new())
                };
                interrupted_take_over(source, place.path(), failure, settlements).await;
            }
        }
    }
}

async fn interrupted_take_over(
    store: Arc<dyn RecordStore>,
    place: &Path,
    failure: Failure,
    settlements: usize,
) {
    a_source(&*store).await;
    let original = contents(&*store, &["one", "two"]).await;
    let source = Stubborn {
        store,
        failure,
        settlements: AtomicUsize::new(settlements),
    };
    let path = place.join("journal");
    let target = open(&path).await;
    let interrupted = target.take_over(&source, "source").await;
    assert!(
        matches!(interrupted, Err(StoreError::Unavailable { .. })),
        "{interrupted:?}"
    );
    let held = source.stats().records() + target.stats().records();
    assert_eq!(held > 5000, failure == Failure::BeforeSettling, "{held}");
    target.close().await.unwrap();
    drop(target);

    source.settlements.store(usize::MAX, Ordering::Relaxed);
    let target = open(&path).await;
    let report = target.take_over(&source, "source").await.unwrap();
    assert_eq!(
        report.moved_before.records > 0,
        failure == Failure::BeforeSettling,
        "what had been moved is found"
    );
    assert_same(&contents(&target, &["one", "two"]).await, &original);
    assert_eq!(source.stats().records(), 0);
    target.close().await.unwrap();
    source.close().await.unwrap();
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

#[tokio::test]
async fn a_sled_cache_moves_over_from_its_directory() {
    let place = TempDir::new().unwrap();
    let (old, new) = (place.path().join("sled"), place.path().join("journal"));
    let sled = SledStore::open(&old).await.unwrap();
    a_source(&sled).await;
    let original = contents(&sled, &["one", "two"]).await;
    sled.close().await.unwrap();
    let refused = JournalStore::open(&old).await;
    assert!(
        matches!(refused, Err(StoreError::Incompatible { .. })),
        "{refused:?}"
    );

    let journal = open(&new).await;
    let held = SledStore::open(&old).await.unwrap();
    let refused = journal.take_over_sled(&old).await;
    assert!(
        matches!(refused, Err(StoreError::InUse { .. })),
        "{refused:?}"
    );
    held.close().await.unwrap();
    for expected in [5000, 0, 0] {
        let report = journal.take_over_sled(&old).await.unwrap();
        assert_eq!(report.moved.records, expected);
    }
    assert_same(&contents(&journal, &["one", "two"]).await, &original);
    journal.close().await.unwrap();
}

#[tokio::test]
async fn where_no_sled_cache_is_nothing_happens() {
    let place = TempDir::new().unwrap();
    let journal = open(&place.path().join("journal")).await;
    let nowhere = place.path().join("nowhere");
    let report = journal.take_over_sled(&nowhere).await.unwrap();
    assert_eq!(report, record_cache::Moved::default());
    assert!(!nowhere.exists(), "nothing is made");
    journal.close().await.unwrap();
}

// ---- killed

#[test]
fn a_take_over_that_is_killed_at_any_moment_moves_each_record_once() {
    if let Ok(place) = std::env::var(CHILD) {
        return on_a_runtime(child(Path::new(&place)));
    }
    let mut random = Numbers::new(12);
    let (mut kills, mut midway) = (0, 0);
    let mut rounds = 0;
    // A fast machine is done before many a kill.
    while rounds < times("JOURNAL_TAKEOVERS", 4) || (midway < 3 && rounds < 60) {
        rounds += 1;
        let place = TempDir::new().unwrap();
        let (old, new) = (place.path().join("sled"), place.path().join("journal"));
        let original = on_a_runtime(async {
            let sled = SledStore::open(&old).await.unwrap();
            for _ in 0..3 {
                a_source(&sled).await;
            }
            let original = contents(&sled, &["one", "two"]).await;
            sled.close().await.unwrap();
            original
        });
        let time = |random: &mut Numbers| {
            let most = 160_000 >> random.below(4);
            Duration::from_micros(random.below(most) as u64)
        };
        while !killed_after(place.path(), time(&mut random)) {
            kills += 1;
            if random.below(2) == 0 {
                // What is left opens, and is not touched by being looked at.
                midway += on_a_runtime(async {
                    let (sled, journal) = (SledStore::open(&old).await.unwrap(), open(&new).await);
                    let held = (sled.stats().records(), journal.stats().records());
                    sled.close().await.unwrap();
                    journal.close().await.unwrap();
                    assert!(held.0 + held.1 >= 15_000, "{held:?}");
                    usize::from(held.0 > 0 && held.1 > 0)
                });
            }
        }
        on_a_runtime(async {
            let (sled, journal) = (SledStore::open(&old).await.unwrap(), open(&new).await);
            assert_eq!(sled.stats().records(), 0);
            assert_eq!(journal.stats().damaged_records, 0);
            assert_same(&contents(&journal, &["one", "two"]).await, &original);
            sled.close().await.unwrap();
            journal.close().await.unwrap();
        });
    }
    assert!(
        midway > 2,
        "{midway} of {kills} kills were seen to be midway"
    );
}

fn on_a_runtime<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(work)
}

async fn child(place: &Path) {
    let journal = open(&place.join("journal")).await;
    println!("\nbegins");
    journal.take_over_sled(place.join("sled")).await.unwrap();
    journal.close().await.unwrap();
}

/// Lets a process move records for some time; says whether it came to its end.
#[expect(
    clippy::disallowed_methods,
    reason = "the moment of the kill is drawn, not waited for"
)]
fn killed_after(place: &Path, time: Duration) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_take_over_that_is_killed_at_any_moment_moves_each_record_once",
            "--nocapture",
        ])
        .env(CHILD, place)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Open until the end: it says more than this.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "begins"));
    std::thread::sleep(time);
    child.kill().unwrap();
    child.wait().unwrap().success()
}

/// A source that fails to settle after some times.
#[derive(Debug)]
struct Stubborn {
    store: Arc<dyn RecordStore>,
    failure: Failure,
    settlements: AtomicUsize,
}

#[async_trait]
impl RecordStore for Stubborn {
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), StoreError> {
        self.store.append(records).await
    }

    async fn oldest(
        &self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Result<ReadBatch, StoreError> {
        self.store.oldest(stream, after, limits).await
    }

    async fn settle(&self, settlement: Settlement) -> Result<Amount, StoreError> {
        let left = self.settlements.load(Ordering::Relaxed).checked_sub(1);
        let Some(left) = left else {
            if self.failure == Failure::AfterSettling {
                self.store.settle(settlement).await?;
            }
            return Err(StoreError::unavailable_because("the process ended"));
        };
        self.settlements.store(left, Ordering::Relaxed);
        self.store.settle(settlement).await
    }

    async fn clear(&self) -> Result<Amount, StoreError> {
        self.store.clear().await
    }

    fn stats(&self) -> StoreStats {
        self.store.stats()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.store.close().await
    }
}
