//! Tests faults that come one after another, before anything else is written.

use super::broken::three_records;
use super::history::{TestStore, open, some};
use super::sim::SimDisk;
use crate::{Durability, NewRecord, RecordStore, Settlement, StreamName};

async fn append(store: &TestStore, name: &StreamName) -> Result<(), crate::StoreError> {
    let record = NewRecord::new(name.clone(), None, vec![2; 50]);
    store.append(vec![record]).await
}

/// Deletes the oldest record. Nothing syncs that.
async fn settle_first(store: &TestStore, name: &StreamName) {
    let held = store.oldest(name, None, some(9)).await.unwrap().records;
    let settlement = Settlement::new(name.clone()).delete([held[0].id]);
    store.settle(settlement).await.unwrap();
}

/// The records that the next process finds if this one is killed now.
async fn left_after_a_kill(disk: &SimDisk) -> usize {
    let disk = disk.as_it_is();
    let store = open(&disk, Durability::PowerLoss).await;
    let store = store.unwrap();
    let records = store.stats().records();
    store.close().await.unwrap();
    records
}

#[tokio::test]
async fn a_kill_after_a_failed_sync_brings_nothing_back() {
    let disk = SimDisk::default();
    let (store, name, _) = three_records(&disk).await;
    settle_first(&store, &name).await;
    // The write succeeds; the sync fails.
    disk.fail_after(1, 1);
    append(&store, &name).await.unwrap_err();
    // Waits for the end of the turn.
    store.settle(Settlement::new(name)).await.unwrap();
    assert_eq!(left_after_a_kill(&disk).await, 2);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_close_that_cannot_keep_settlements_fails() {
    let disk = SimDisk::default();
    let (store, name, _) = three_records(&disk).await;
    settle_first(&store, &name).await;
    // The write succeeds. Nothing does from the sync on.
    disk.fail_after(1, 1_000_000);
    append(&store, &name).await.unwrap_err();
    store.close().await.unwrap_err();
    assert_eq!(left_after_a_kill(&disk).await, 3, "which is why it failed");
}

#[tokio::test]
async fn an_index_built_between_failures_has_what_was_settled() {
    let faults = (0..10).flat_map(|first| (0..10).map(move |gap| (first, gap)));
    for (first, gap) in faults {
        let disk = SimDisk::default();
        let (store, name, calls) = three_records(&disk).await;
        settle_first(&store, &name).await;
        // The write succeeds; the sync fails, and some of what follows.
        disk.fail_after(1, 1 + first);
        disk.fail_after(2 + first + gap, 20);
        append(&store, &name).await.unwrap_err();
        let mut held = 2;
        held += usize::from(append(&store, &name).await.is_ok());
        if store.clear().await.is_ok() {
            held = 0;
        }
        *calls.lock().unwrap() = 0;
        let read = store.oldest(&name, None, some(9)).await.unwrap();
        assert_eq!(read.records.len(), held, "{first}, {gap}");
        assert_eq!(store.stats().records(), held, "{first}, {gap}");
    }
}

#[tokio::test]
async fn an_index_built_between_failures_counts_an_attempt_once() {
    for failing in 1..12 {
        let disk = SimDisk::default();
        let (store, name, calls) = three_records(&disk).await;
        let held = store.oldest(&name, None, some(9)).await.unwrap().records;
        let tried = Settlement::new(name.clone()).count_attempt([held[0].id]);
        store.settle(tried).await.unwrap();
        disk.fail_after(0, failing);
        let is_cleared = store.clear().await.is_ok();
        *calls.lock().unwrap() = 0;
        let read = store.oldest(&name, None, some(9)).await.unwrap();
        let attempts: Vec<u32> = read.records.iter().map(|record| record.attempts).collect();
        let expected: &[u32] = if is_cleared { &[] } else { &[1, 0, 0] };
        assert_eq!(attempts, expected, "{failing} operations fail");
    }
}
