//! A disk that is full, and one that must not be written to.
//!
//! Mounts small file systems, so it needs root and the feature `mount-tests`; without the
//! feature it is not built, rather than built and skipped.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod journal_support;

use std::fs;

use journal_support::mounted::{Mounted, fill};
use journal_support::{limits, numbers, read_all, record, stream};
use record_cache::{Durability, JournalStore, RecordStore, Settlement, StoreError};

async fn a_full_disk_refuses_and_recovers(durability: Durability) {
    let disk = Mounted::of_size("12m");
    let other_file = disk.path().join("other");
    fs::write(&other_file, vec![1; 3 << 20]).unwrap();
    let path = disk.path().join("cache");
    let store = JournalStore::builder(&path)
        .durability(durability)
        .open()
        .await
        .unwrap();
    let name = stream("full");
    let mut accepted = fill(&store, 0).await;
    assert!(accepted.len() > 1000, "{}", accepted.len());
    for _ in 0..5 {
        let refused = store.append(vec![record(&name, 9, 100_000)]).await;
        assert!(
            matches!(refused, Err(StoreError::Unavailable { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(
        numbers(&read_all(&store, &name).await),
        accepted,
        "all that was accepted"
    );

    // There is room again: the same store works.
    fs::remove_file(&other_file).unwrap();
    accepted.extend(fill(&store, 1_000_000).await);
    assert_eq!(numbers(&read_all(&store, &name).await), accepted);
    store.close().await.unwrap();
    drop(store);
    let store = JournalStore::builder(&path)
        .durability(durability)
        .open()
        .await
        .unwrap();
    assert_eq!(numbers(&read_all(&store, &name).await), accepted);
    assert_eq!(store.stats().damaged_records, 0);
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers_with_syncs() {
    a_full_disk_refuses_and_recovers(Durability::PowerLoss).await;
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers_without_syncs() {
    a_full_disk_refuses_and_recovers(Durability::ProcessCrash).await;
}

#[tokio::test]
async fn a_disk_that_the_cache_itself_filled_can_be_drained() {
    let disk = Mounted::of_size("13m");
    let path = disk.path().join("cache");
    let store = JournalStore::open(&path).await.unwrap();
    let name = stream("full");
    let mut accepted = fill(&store, 0).await;
    // Not a byte is left, and another file takes what the refused call gave back.
    let mut filler = fs::File::create(disk.path().join("filler")).unwrap();
    while std::io::Write::write(&mut filler, &[1; 512]).is_ok() {}
    for round in 0.. {
        let held = store.oldest(&name, None, limits(300)).await.unwrap();
        let (first, rest) = accepted.split_at(held.records.len());
        assert_eq!(numbers(&held), first, "in order");
        if held.records.is_empty() {
            break;
        }
        let ids = held.records.iter().map(|record| record.id);
        let settled = store
            .settle(Settlement::new(name.clone()).delete(ids))
            .await;
        settled.unwrap_or_else(|error| panic!("round {round}: {error}"));
        accepted = rest.to_vec();
    }
    assert!(fill(&store, 0).await.len() > 1000, "there is room again");
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_disk_that_turns_read_only_loses_nothing() {
    let disk = Mounted::of_size("20m");
    let path = disk.path().join("cache");
    let name = stream("full");
    let store = JournalStore::open(&path).await.unwrap();
    store
        .append((0..100).map(|n| record(&name, n, 100)).collect())
        .await
        .unwrap();
    store.close().await.unwrap();
    drop(store);
    disk.remount("ro");
    let refused = JournalStore::open(&path).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable { .. })),
        "{refused:?}"
    );
    disk.remount("rw");
    let store = JournalStore::open(&path).await.unwrap();
    assert_eq!(
        numbers(&read_all(&store, &name).await),
        (0..100).collect::<Vec<u64>>()
    );
}
