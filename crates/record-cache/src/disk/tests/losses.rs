//! Records that are gone although the caller did not delete them. Until a call reports them, they
//! count as stored. Each is reported once.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use super::broken::three_records;
use super::history::{OTHER, TestStore, in_memory, open, settings, some};
use super::sim::SimDisk;
use super::slow::{Gate, open_slow};
use crate::log::files::Disk;
use crate::log::format::segment_name;
use crate::log::frame::HEADER_BYTES;
use crate::{
    Amount, Durability, NewRecord, QueueStats, ReadBatch, RecordId, RecordStore, Settlement,
    StreamName,
};

const FEW: &str = "few";
const LENGTH: usize = 50;
/// How long a disk may hang here. Other operations never take that long.
const LIMIT: Duration = Duration::from_millis(500);

fn name(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

/// This many damaged records.
fn lost(records: usize) -> Amount {
    Amount::new(records, (records * LENGTH) as u64)
}

/// A store with three records in one stream.
async fn a_store(disk: &SimDisk) -> TestStore {
    let store = open(disk, Durability::PowerLoss).await.unwrap();
    append_three(&store).await;
    store
}

async fn append_three(store: &TestStore) {
    let record = NewRecord::new(name(FEW), None, vec![1; LENGTH]);
    store.append(vec![record; 3]).await.unwrap();
}

/// The same on a disk that hangs while the gate says so.
async fn a_slow_store(disk: &SimDisk, gate: &Arc<Gate>) -> TestStore {
    let mut settings = settings(Durability::default());
    settings.stall_limit = LIMIT;
    let store = open_slow(disk, gate, settings, in_memory).await;
    let store = TestStore(store.unwrap());
    append_three(&store).await;
    store
}

/// Overwrites some of the three records, without their headers or with them.
fn damage(disk: &SimDisk, records: usize, with_header: bool) {
    let file = disk.open(&segment_name(0)).unwrap();
    let length = usize::try_from(file.length().unwrap()).unwrap();
    let mut bytes = Vec::new();
    file.read(&mut bytes, length, 0).unwrap();
    let is_payload = |at: &usize| bytes[*at..].starts_with(&[1; LENGTH]);
    let payloads: Vec<usize> = (0..length - LENGTH).filter(is_payload).collect();
    assert_eq!(payloads.len(), 3);
    let header = HEADER_BYTES + FEW.len();
    let before = if with_header { header } else { 0 };
    for at in &payloads[..records] {
        let nothing = vec![0; before + LENGTH];
        let written = file.write(&mut [IoSlice::new(&nothing)], (at - before) as u64);
        written.unwrap();
    }
}

/// Fills and empties another stream until the first segment was compacted away.
async fn until_compacted(store: &TestStore, disk: &SimDisk) {
    let busy = name("busy");
    while disk.names().unwrap().contains(&segment_name(0)) {
        let record = NewRecord::new(busy.clone(), None, vec![2; 500]);
        store.append(vec![record; 4]).await.unwrap();
        let held = store.oldest(&busy, None, some(9)).await.unwrap().records;
        let ids = held.iter().map(|record| record.id);
        let settlement = Settlement::new(busy.clone()).delete(ids);
        store.settle(settlement).await.unwrap();
    }
}

async fn read(store: &TestStore) -> ReadBatch {
    store.oldest(&name(FEW), None, some(9)).await.unwrap()
}

/// What the store says it holds of the stream.
fn held(store: &TestStore) -> Option<QueueStats> {
    store.stats().streams.get(FEW).copied()
}

/// Checks that the caller is told of the loss by the next read, and by no later one.
async fn assert_told_once(store: &TestStore, gone: usize, damaged_records: u64) {
    assert_eq!(held(store), Some(lost(3)), "not told yet");
    assert_eq!(store.stats().damaged_records, damaged_records);
    let found = read(store).await;
    assert_eq!((found.records.len(), found.damaged), (3 - gone, lost(gone)));
    let left = (gone < 3).then(|| lost(3 - gone));
    assert_eq!(held(store), left);
    let again = read(store).await;
    assert_eq!((again.records, again.damaged), (found.records, lost(0)));
    assert_eq!(held(store), left);
    assert_eq!(store.stats().damaged_records, damaged_records);
}

#[tokio::test]
async fn what_compaction_drops_is_reported_even_if_its_stream_is_empty_then() {
    for gone in [1, 3] {
        let disk = SimDisk::default();
        let store = a_store(&disk).await;
        damage(&disk, gone, false);
        until_compacted(&store, &disk).await;
        assert_told_once(&store, gone, gone as u64).await;
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_compaction_drops_is_in_what_a_clear_returns() {
    for gone in [1, 3] {
        let disk = SimDisk::default();
        let store = a_store(&disk).await;
        damage(&disk, gone, false);
        until_compacted(&store, &disk).await;
        let record = NewRecord::new(name(OTHER), None, vec![3; LENGTH]);
        store.append(vec![record]).await.unwrap();
        assert_eq!(store.clear().await.unwrap(), lost(4));
        let stats = store.stats();
        assert!(stats.streams.is_empty(), "{stats:?}");
        assert_eq!(stats.damaged_records, gone as u64);
        let again = (read(&store).await.damaged, store.clear().await.unwrap());
        assert_eq!(again, (lost(0), lost(0)), "told once");
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_healing_drops_is_reported_even_if_its_stream_is_empty_then() {
    for gone in [1, 3] {
        let (disk, gate) = (SimDisk::default(), Arc::new(Gate::default()));
        let store = a_slow_store(&disk, &gate).await;
        damage(&disk, gone, false);
        gate.delete();
        let record = NewRecord::new(name(OTHER), None, "x");
        store.append(vec![record]).await.unwrap();
        assert_told_once(&store, gone, gone as u64).await;
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_an_index_lacks_that_is_built_again_is_reported() {
    for gone in [1, 3] {
        let disk = SimDisk::default();
        let (store, name, calls) = three_records(&disk).await;
        damage(&disk, gone, true);
        *calls.lock().unwrap() = 0;
        // Needs the index, and reads nothing.
        let nothing = Settlement::new(name).delete([RecordId::new(999)]);
        store.settle(nothing).await.unwrap();
        assert_told_once(&store, gone, gone as u64).await;
        store.close().await.unwrap();
        let store = open(&disk, Durability::PowerLoss).await;
        let stats = store.unwrap().stats();
        assert_eq!((stats.records(), stats.damaged_records), (3 - gone, 0));
    }
}

#[tokio::test]
async fn what_an_index_lacks_that_is_built_again_is_in_what_a_clear_returns() {
    let disk = SimDisk::default();
    let (store, name, calls) = three_records(&disk).await;
    damage(&disk, 2, true);
    *calls.lock().unwrap() = 0;
    let nothing = Settlement::new(name).delete([RecordId::new(999)]);
    store.settle(nothing).await.unwrap();
    assert_eq!(store.clear().await.unwrap(), lost(3));
    assert_eq!(store.stats().damaged_records, 2);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_read_that_fails_leaves_the_report_to_the_next_one() {
    let disk = SimDisk::default();
    let store = a_store(&disk).await;
    damage(&disk, 2, false);
    until_compacted(&store, &disk).await;
    disk.fail_reads(disk.reads()..usize::MAX);
    store.oldest(&name(FEW), None, some(9)).await.unwrap_err();
    disk.heal_reads();
    assert_told_once(&store, 2, 2).await;
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_comes_too_late_leaves_the_report_to_the_next_one() {
    let (disk, gate) = (SimDisk::default(), Arc::new(Gate::default()));
    let store = a_slow_store(&disk, &gate).await;
    damage(&disk, 3, false);
    gate.hold("read");
    store.oldest(&name(FEW), None, some(9)).await.unwrap_err();
    gate.release();
    let found = loop {
        match store.oldest(&name(FEW), None, some(9)).await {
            Ok(found) => break found,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(found.damaged, lost(3));
    assert_eq!(held(&store), None);
    assert_eq!(store.stats().damaged_records, 3);
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_is_lost_is_not_counted_again_if_the_whole_log_is_lost_later() {
    let disk = SimDisk::default();
    let store = a_store(&disk).await;
    damage(&disk, 2, false);
    until_compacted(&store, &disk).await;
    store.close().await.unwrap();
    for segment in disk.names().unwrap() {
        if segment.ends_with(".journal") {
            disk.remove(&segment).unwrap();
        }
    }
    let store = open(&disk, Durability::PowerLoss).await.unwrap();
    assert_eq!(store.stats().damaged_records, 1);
    store.close().await.unwrap();
}

/// Waits until the store has noticed that the disk responds again.
async fn recovered(store: &TestStore) {
    while store.settle(Settlement::new(name(OTHER))).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_settlement_deletes_that_comes_too_late_is_reported() {
    let (disk, gate) = (SimDisk::default(), Arc::new(Gate::default()));
    let store = a_slow_store(&disk, &gate).await;
    let first = read(&store).await.records[0].id;
    gate.hold("write");
    let settlement = Settlement::new(name(FEW)).delete([first]);
    store.settle(settlement).await.unwrap_err();
    gate.release();
    recovered(&store).await;
    assert_told_once(&store, 1, 0).await;
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_clear_deletes_that_comes_too_late_is_reported() {
    for again in [false, true] {
        let (disk, gate) = (SimDisk::default(), Arc::new(Gate::default()));
        let store = a_slow_store(&disk, &gate).await;
        gate.hold("write");
        store.clear().await.unwrap_err();
        gate.release();
        recovered(&store).await;
        if again {
            assert_eq!(store.clear().await.unwrap(), lost(3));
            assert_eq!(read(&store).await, ReadBatch::default());
        } else {
            assert_told_once(&store, 3, 0).await;
        }
        store.close().await.unwrap();
    }
}
