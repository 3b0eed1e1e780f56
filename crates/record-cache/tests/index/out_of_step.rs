//! Indexes that lag behind their log, or run ahead of a log that lost its tail.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use record_cache::{Record, RecordStore, Settlement, StoreStats};
use tempfile::TempDir;

use crate::support::subject::for_each_store;
use crate::support::{
    MARK, Numbers, STREAMS, Subject, change, copy, crash, delete, in_memory, indexes, limits,
    read_all, record, remove_indexes, segments, stream, times,
};
use crate::{WRITER, assert_has_an_index};

for_each_store!(
    an_older_index_that_is_put_back_catches_up,
    an_index_that_runs_ahead_of_its_log_is_not_believed,
    an_index_of_another_cache_is_not_believed,
    an_index_of_a_log_that_went_on_otherwise_is_not_believed,
);

/// The contents of a store.
#[derive(Debug, PartialEq, Eq)]
struct Contents {
    records: BTreeMap<&'static str, Vec<Record>>,
    stats: StoreStats,
}

async fn contents(store: &dyn RecordStore) -> Contents {
    let mut records = BTreeMap::new();
    for name in STREAMS {
        records.insert(name, read_all(store, &stream(name)).await.records);
    }
    Contents {
        records,
        stats: store.stats(),
    }
}

/// Appends and settles enough for the index to be written several times.
async fn some_work(store: &dyn RecordStore, random: &mut Numbers) {
    for _ in 0..30 {
        let name = stream(STREAMS[random.below(3)]);
        let new = (0..20).map(|n| record(&name, n, random.below(60)));
        store.append(new.collect()).await.unwrap();
        let name = stream(STREAMS[random.below(3)]);
        let some = limits(1 + random.below(25));
        let held = store.oldest(&name, None, some).await.unwrap();
        let ids = || held.records.iter().map(|record| record.id);
        let settlement = Settlement::new(name)
            .delete(ids().step_by(2))
            .count_attempt(ids().skip(1).step_by(2));
        store.settle(settlement).await.unwrap();
    }
}

/// Copies of a store at several moments of its life, each with its contents.
struct Life {
    moments: Vec<(TempDir, Contents)>,
}

impl Life {
    /// Takes each copy at a close or a crash.
    async fn new(random: &mut Numbers, moments: usize) -> Self {
        let mut work = in_memory();
        let mut life = Self {
            moments: Vec::new(),
        };
        for _ in 0..moments {
            let store = WRITER.open_fast(work.path()).await;
            some_work(&*store, random).await;
            let held = contents(&*store).await;
            let place = in_memory();
            if random.below(2) == 0 {
                store.close().await.unwrap();
                copy(work.path(), place.path());
            } else {
                crash(&*store, work.path(), place.path()).await;
                // The store continues with the files that the crash left.
                work = in_memory();
                copy(place.path(), work.path());
            }
            assert_has_an_index(place.path());
            life.moments.push((place, held));
        }
        life
    }

    /// The log of one moment with the index of another.
    fn combined(&self, log: usize, index: usize, under_the_old_name: bool) -> TempDir {
        let place = in_memory();
        copy(self.moments[log].0.path(), place.path());
        let own = indexes(place.path());
        let other = indexes(self.moments[index].0.path());
        for (own, other) in own.iter().zip(&other) {
            fs::remove_dir_all(own).unwrap();
            let name = if under_the_old_name { other } else { own };
            copy(other, &place.path().join(name.file_name().unwrap()));
        }
        place
    }
}

async fn check(opener: Subject, path: &Path, expected: &Contents, context: &str) {
    for round in 0..2 {
        let store = opener.open_fast(path).await;
        let found = contents(&*store).await;
        assert!(found == *expected, "{context}, opening {round}");
        store.close().await.unwrap();
    }
    let store = opener.open_fast(path).await;
    some_work(&*store, &mut Numbers::new(1)).await;
    let held = contents(&*store).await;
    store.close().await.unwrap();
    let store = opener.open_fast(path).await;
    assert!(contents(&*store).await == held, "{context}, worked on");
    store.close().await.unwrap();
}

async fn an_older_index_that_is_put_back_catches_up(opener: Subject) {
    for seed in 0..times("INDEX_CASES", 15).div_ceil(5) {
        let mut random = Numbers::new(20 + seed as u64);
        let life = Life::new(&mut random, 5).await;
        for (log, (_, held)) in life.moments.iter().enumerate() {
            for index in 0..log {
                for old_name in [true, false] {
                    let context = format!("{seed}: log {log}, index {index}, old name {old_name}");
                    let place = life.combined(log, index, old_name);
                    check(opener, place.path(), held, &context).await;
                }
            }
        }
    }
}

async fn an_index_that_runs_ahead_of_its_log_is_not_believed(opener: Subject) {
    for seed in 0..times("INDEX_CASES", 15).div_ceil(5) {
        let mut random = Numbers::new(40 + seed as u64);
        let life = Life::new(&mut random, 4).await;
        for (log, (_, held)) in life.moments.iter().enumerate() {
            for index in log + 1..life.moments.len() {
                let context = format!("{seed}: log {log}, index {index}");
                let place = life.combined(log, index, false);
                check(opener, place.path(), held, &context).await;
            }
        }
        // The log loses its tail. The store must hold what it would without any index.
        let (newest, _) = life.moments.last().unwrap();
        for case in 0..times("INDEX_CASES", 15) {
            let cut = in_memory();
            copy(newest.path(), cut.path());
            let last = segments(cut.path()).pop().unwrap();
            change(&last, |bytes| {
                let part = if case % 2 == 0 { 20 } else { 1 };
                let most = bytes.len() / part;
                bytes.truncate(bytes.len() - random.below(most));
            });
            if random.below(2) == 0 && cut.path().join(MARK).exists() {
                fs::remove_file(cut.path().join(MARK)).unwrap();
            }
            let without = in_memory();
            copy(cut.path(), without.path());
            remove_indexes(without.path());
            let store = Subject::Journal.open_fast(without.path()).await;
            let mut expected = contents(&*store).await;
            store.close().await.unwrap();
            let store = opener.open_fast(cut.path()).await;
            let found = contents(&*store).await;
            assert!(found == expected, "{seed}: cut {case}");
            store.close().await.unwrap();
            expected.stats.damaged_records = 0;
            let context = format!("{seed}: cut {case}");
            check(opener, cut.path(), &expected, &context).await;
        }
    }
}

async fn an_index_of_another_cache_is_not_believed(opener: Subject) {
    let mut random = Numbers::new(60);
    let one = Life::new(&mut random, 2).await;
    let other = Life::new(&mut random, 2).await;
    for (log, (place, held)) in one.moments.iter().enumerate() {
        for (index, (foreign, _)) in other.moments.iter().enumerate() {
            let mixed = in_memory();
            copy(place.path(), mixed.path());
            for (own, foreign) in indexes(mixed.path()).iter().zip(indexes(foreign.path())) {
                fs::remove_dir_all(own).unwrap();
                copy(&foreign, own);
            }
            let context = format!("log {log}, index {index}");
            check(opener, mixed.path(), held, &context).await;
        }
    }
}

async fn an_index_of_a_log_that_went_on_otherwise_is_not_believed(opener: Subject) {
    let work = in_memory();
    let store = WRITER.open_fast(work.path()).await;
    some_work(&*store, &mut Numbers::new(80)).await;
    store.close().await.unwrap();
    // Two continuations of one log with the same length, in which different records are settled.
    let mut futures = Vec::new();
    for future in 0..2_usize {
        let place = in_memory();
        copy(work.path(), place.path());
        let store = WRITER.open_fast(place.path()).await;
        let name = stream("one");
        for round in 0..5 {
            let new = (0..40).map(|n| record(&name, 1_000 * (future as u64 + 1) + n, 30));
            store.append(new.collect()).await.unwrap();
            let held = read_all(&*store, &name).await.records;
            let place = round + 10 * future;
            delete(&*store, &name, &held[place..=place]).await;
        }
        let held = contents(&*store).await;
        store.close().await.unwrap();
        assert_has_an_index(place.path());
        futures.push((place, held));
    }
    let life = Life { moments: futures };
    for (log, index) in [(0, 1), (1, 0)] {
        let place = life.combined(log, index, false);
        let held = &life.moments[log].1;
        let context = format!("log {log}, index {index}");
        check(opener, place.path(), held, &context).await;
    }
}
