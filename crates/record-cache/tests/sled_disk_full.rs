//! A disk that is full, and one that must not be written to.
//!
//! Mounts small file systems, so it needs root and the feature `mount-tests`; without the
//! feature it is not built, rather than built and skipped.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sled_support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use record_cache::{Durability, RecordStore, Settlement, SledStore, StoreError};
use sled_support::mounted::{Mounted, fill};
use sled_support::{Numbers, limits, number_of, numbers, read_all, record, stream, times};

/// Being refused takes no longer, on a machine with other things to do.
const AT_ONCE: Duration = Duration::from_secs(5);

async fn open(path: &Path, durability: Durability) -> SledStore {
    let builder = SledStore::builder(path).durability(durability);
    builder.open().await.unwrap()
}

async fn a_full_disk_refuses_and_recovers(durability: Durability) {
    let disk = Mounted::of_size("16m");
    let other_file = disk.path().join("other");
    fs::write(&other_file, vec![1; 5 << 20]).unwrap();
    let path = disk.path().join("cache");
    let store = open(&path, durability).await;
    let name = stream("full");
    let mut accepted = fill(&store, 0).await;
    assert!(accepted.len() > 1000, "{}", accepted.len());
    for _ in 0..5 {
        let refused = store.append(vec![record(&name, 9, 100_000)]);
        let refused = tokio::time::timeout(AT_ONCE, refused).await.unwrap();
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
    assert!(accepted.last() > Some(&1_000_000), "it takes records again");
    assert_eq!(numbers(&read_all(&store, &name).await), accepted);
    store.close().await.unwrap();
    drop(store);

    // sled cannot be opened on a full disk, but a moment after there is room.
    disk.fill_but_for(0);
    let refused = SledStore::open(&path).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable { .. })),
        "{refused:?}"
    );
    disk.free();
    disk.remount("size=32m");
    let store = open(&path, durability).await;
    assert_eq!(numbers(&read_all(&store, &name).await), accepted);
    assert_eq!(store.stats().damaged_records, 0);
    store.close().await.unwrap();
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
    let disk = Mounted::of_size("16m");
    let path = disk.path().join("cache");
    let store = open(&path, Durability::PowerLoss).await;
    let name = stream("full");
    let mut accepted = fill(&store, 0).await;
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

/// The disk fills up and is freed at random moments; what was acknowledged stays, in order.
async fn comes_and_goes(durability: Durability, seed: u64) {
    let disk = Mounted::of_size("24m");
    let path = disk.path().join("cache");
    let mut random = Numbers::new(seed);
    let name = stream("full");
    let mut store = open(&path, durability).await;
    let mut held: BTreeMap<u64, u32> = BTreeMap::new();
    let (mut filled, mut refusals) = (false, 0);
    for n in 0..times("SLED_FULL_ACTIONS", 400) as u64 {
        match random.below(20) {
            0 | 1 if filled => {
                disk.free();
                filled = false;
            }
            0 => {
                disk.fill_but_for([0, 100_000, 700_000, 2_500_000][random.below(4)]);
                filled = true;
            }
            1 if !filled => {
                store.close().await.unwrap();
                store = open(&path, durability).await;
            }
            2 => match store.clear().await {
                Ok(cleared) => {
                    assert_eq!(cleared.records, held.len());
                    held.clear();
                }
                Err(error) => refused(&error, filled, &mut refusals),
            },
            3..=9 => match store.oldest(&name, None, limits(60)).await {
                Ok(batch) => {
                    let settlement = Settlement::new(name.clone())
                        .delete(batch.records.iter().skip(3).map(|record| record.id))
                        .count_attempt(batch.records.iter().take(3).map(|record| record.id));
                    match store.settle(settlement).await {
                        Ok(removed) => {
                            for record in batch.records.iter().take(3) {
                                *held.get_mut(&number_of(record)).unwrap() += 1;
                            }
                            for record in batch.records.iter().skip(3) {
                                held.remove(&number_of(record)).unwrap();
                            }
                            assert_eq!(removed.records, batch.records.len().saturating_sub(3));
                        }
                        Err(error) => refused(&error, filled, &mut refusals),
                    }
                }
                Err(error) => refused(&error, filled, &mut refusals),
            },
            _ => {
                let count = 1 + random.below(30) as u64;
                let ids = n * 100..n * 100 + count;
                let length = [50, 900, 30_000][random.below(3)];
                let new = ids.clone().map(|n| record(&name, n, length)).collect();
                match store.append(new).await {
                    Ok(()) => held.extend(ids.map(|n| (n, 0))),
                    Err(error) => refused(&error, true, &mut refusals),
                }
            }
        }
        assert_eq!(store.stats().records(), held.len(), "after {n}");
        if let Ok(batch) = store.oldest(&name, None, limits(usize::MAX)).await {
            let found = batch.records.iter();
            let found: Vec<_> = found.map(|r| (number_of(r), r.attempts)).collect();
            assert_eq!(found, held.clone().into_iter().collect::<Vec<_>>(), "{n}");
        } else {
            assert!(filled, "{n}: no read although there is room");
        }
    }
    assert!(refusals > 10, "it was never full: {refusals}");
    assert_eq!(store.stats().damaged_records, 0);
}

#[track_caller]
fn refused(error: &StoreError, filled: bool, refusals: &mut usize) {
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(filled, "refused although there is room: {error}");
    *refusals += 1;
}

#[tokio::test]
async fn nothing_is_lost_on_a_disk_that_is_full_at_times_with_syncs() {
    comes_and_goes(Durability::PowerLoss, 1).await;
}

#[tokio::test]
async fn nothing_is_lost_on_a_disk_that_is_full_at_times_without_syncs() {
    comes_and_goes(Durability::ProcessCrash, 2).await;
}

#[tokio::test]
async fn a_disk_that_turns_read_only_loses_nothing() {
    let disk = Mounted::of_size("20m");
    let path = disk.path().join("cache");
    let name = stream("full");
    let store = open(&path, Durability::PowerLoss).await;
    store
        .append((0..100).map(|n| record(&name, n, 100)).collect())
        .await
        .unwrap();
    store.close().await.unwrap();
    drop(store);
    disk.remount("ro");
    let refused = SledStore::open(&path).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable { .. })),
        "{refused:?}"
    );
    disk.remount("rw");
    let store = open(&path, Durability::PowerLoss).await;
    assert_eq!(
        numbers(&read_all(&store, &name).await),
        (0..100).collect::<Vec<u64>>()
    );
    store.close().await.unwrap();
}
