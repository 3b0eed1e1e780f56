//! Disks that hang.

use std::sync::Arc;
use std::time::Duration;

use super::history::in_memory;
use super::sim::SimDisk;
use super::slow::{Gate, open_slow};
use crate::disk::{Settings, Store};
use crate::{NewRecord, ReadLimits, Settlement, StoreError, StreamName};

const LIMIT: Duration = Duration::from_millis(40);
const ALL: ReadLimits = ReadLimits::new(std::num::NonZeroUsize::MAX, std::num::NonZeroU64::MAX);

fn name() -> StreamName {
    StreamName::new("stalled").unwrap()
}

async fn open(disk: &SimDisk, gate: &Arc<Gate>) -> Result<Store, StoreError> {
    let mut settings = Settings::new("nowhere".into());
    settings.stall_limit = LIMIT;
    open_slow(disk, gate, settings, in_memory).await
}

fn append(data: &'static str) -> Vec<NewRecord> {
    vec![NewRecord::new(name(), None, data)]
}

fn is_stalled<T: std::fmt::Debug>(outcome: Result<T, StoreError>) {
    let error = outcome.expect_err("the disk hangs");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("does not respond"), "{error}");
}

async fn read(store: &Store) -> Vec<bytes::Bytes> {
    let records = store.oldest(&name(), None, ALL).await.unwrap().records;
    records.into_iter().map(|record| record.data).collect()
}

/// Waits until the store has noticed that the disk responds again.
async fn recovered(store: &Store) {
    while store.settle(Settlement::new(name())).await.is_err() {
        tokio::task::yield_now().await;
    }
}

/// Waits until no store uses the disk behind the gate.
async fn unused(gate: &Gate) {
    while gate.users() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_keeps_nobody_waiting_and_goes_on_when_it_answers() {
    for hanging in ["write", "sync"] {
        let (disk, gate) = (SimDisk::default(), Arc::default());
        let store = open(&disk, &gate).await.unwrap();
        store.append(append("before")).await.unwrap();
        gate.hold(hanging);
        let (first, second) =
            tokio::join!(store.append(append("one")), store.append(append("two")));
        is_stalled(first);
        is_stalled(second);
        is_stalled(store.append(append("three")).await);
        is_stalled(store.settle(Settlement::new(name())).await);
        is_stalled(store.clear().await);
        let found = read(&store).await;
        assert_eq!(found, ["before"], "{hanging}: what is there can be read");
        gate.release();
        recovered(&store).await;
        // A call that reported failure stored nothing.
        store.append(append("after")).await.unwrap();
        assert_eq!(read(&store).await, ["before", "after"], "{hanging}");
        assert_eq!(store.stats().records(), 2, "{hanging}");
        store.close().await.unwrap();
        let store = open(&disk, &gate).await.unwrap();
        let found = read(&store).await;
        assert_eq!(found, ["before", "after"], "{hanging}, opened again");
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_hangs_keeps_nobody_waiting() {
    let (disk, gate) = (SimDisk::default(), Arc::default());
    let store = open(&disk, &gate).await.unwrap();
    store.append(append("one")).await.unwrap();
    gate.hold("read");
    is_stalled(store.oldest(&name(), None, ALL).await);
    is_stalled(store.oldest(&name(), None, ALL).await);
    store.append(append("two")).await.unwrap();
    gate.release();
    while store.oldest(&name(), None, ALL).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(read(&store).await, ["one", "two"]);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_that_hangs_ends_and_the_store_that_opens_later_is_closed() {
    let (disk, gate) = (SimDisk::default(), Arc::default());
    let store = open(&disk, &gate).await.unwrap();
    store.append(append("one")).await.unwrap();
    store.close().await.unwrap();
    gate.hold("open");
    is_stalled(open(&disk, &gate).await);
    assert!(gate.users() > 0, "the opening is still under way");
    gate.release();
    unused(&gate).await;
    let store = open(&disk, &gate).await.unwrap();
    assert_eq!(read(&store).await, ["one"]);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_that_hangs_ends_and_is_completed_later() {
    let (disk, gate) = (SimDisk::default(), Arc::default());
    let store = open(&disk, &gate).await.unwrap();
    store.append(append("one")).await.unwrap();
    gate.hold("write");
    is_stalled(store.close().await);
    is_stalled(store.close().await);
    gate.release();
    unused(&gate).await;
    store.close().await.unwrap();
    let store = open(&disk, &gate).await.unwrap();
    assert_eq!(read(&store).await, ["one"]);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_that_comes_while_the_disk_hangs_is_done_later() {
    let (disk, gate) = (SimDisk::default(), Arc::default());
    let store = open(&disk, &gate).await.unwrap();
    gate.hold("write");
    is_stalled(store.append(append("one")).await);
    is_stalled(store.close().await);
    drop(store);
    gate.release();
    unused(&gate).await;
    let store = open(&disk, &gate).await.unwrap();
    assert!(read(&store).await.is_empty(), "it was refused");
    store.close().await.unwrap();
}
