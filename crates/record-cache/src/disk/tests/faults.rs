//! Makes each operation fail in turn.

use std::io::ErrorKind;

use super::history::{History, OTHER, SEGMENT_BYTES, Settled, TestStore, open, some};
use super::sim::{Fault, Numbers, SimDisk};
use crate::log::directory::set_aside;
use crate::log::files::Disk;
use crate::log::format::RESERVE;
use crate::{Durability, NewRecord, RecordStore, Settlement, StoreError, StreamName};

const DURABILITY: Durability = Durability::PowerLoss;
const STEPS: usize = 50;
/// The size of the mark and the reserve.
const OTHER_FILES: u64 = 64 + 64 * 1024;

async fn a_run(seed: u64) -> SimDisk {
    let disk = SimDisk::default();
    let store = open(&disk, DURABILITY).await.unwrap();
    let mut history = History::default();
    history
        .work(&store, &disk, &mut Numbers::new(seed), STEPS)
        .await;
    store.close().await.unwrap();
    disk
}

/// Makes some operations fail, then continues. Checks the running store, and again after a crash.
async fn a_fault_loses_nothing(seed: u64, fault: Fault) {
    let context = format!("seed {seed}, {fault:?}");
    let mut numbers = Numbers::new(seed);
    let disk = SimDisk::default();
    disk.fail(fault);
    let mut history = History::default();
    let store = loop {
        match open(&disk, DURABILITY).await {
            Ok(store) => break store,
            Err(StoreError::Unavailable { .. }) if disk.operations() <= fault.to => {}
            Err(error) => panic!("{context}: {error}"),
        }
    };
    history.work(&store, &disk, &mut numbers, STEPS).await;
    while disk.operations() < fault.to {
        history.work(&store, &disk, &mut numbers, 1).await;
    }
    // The fault is over: everything works again, on the same store.
    let before = store.stats().records();
    let stream = StreamName::new(OTHER).unwrap();
    let record = NewRecord::new(stream.clone(), None, "x");
    store.append(vec![record]).await.expect(&context);
    let last = store.oldest(&stream, None, some(1)).await.expect(&context);
    let settled = Settlement::new(stream).delete([last.records[0].id]);
    let removed = store.settle(settled).await.expect(&context);
    assert_eq!(removed.records, 1, "{context}");
    assert_eq!(store.stats().records(), before, "{context}");
    let now = disk.events();
    let checked = history.check(&store, now, Settled::Kept).await;
    checked.expect(&context);

    for _ in 0..2 {
        let left = disk.after_a_loss_of_power(now, &mut numbers);
        let after = open(&left, DURABILITY).await.expect(&context);
        let checked = history.check(&after, now, Settled::Doubtful).await;
        checked.expect(&context);
    }
    store.close().await.expect(&context);
    let again = open(&disk, DURABILITY).await.expect(&context);
    history.assert_kept(&again, &context).await;
}

#[tokio::test]
async fn any_operation_may_fail_once() {
    for seed in [21, 22] {
        for at in 0..a_run(seed).await.operations() {
            let fault = Fault::new(at..at + 1, ErrorKind::Other);
            a_fault_loses_nothing(seed, fault).await;
        }
    }
}

#[tokio::test]
async fn operations_may_fail_for_a_while() {
    for seed in [31, 32] {
        for at in (0..a_run(seed).await.operations()).step_by(3) {
            let fault = Fault::new(at..at + 7, ErrorKind::StorageFull);
            a_fault_loses_nothing(seed, fault).await;
        }
    }
}

#[test]
fn what_is_set_aside_takes_the_room_that_is_kept_when_there_is_none_left() {
    for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
        let disk = SimDisk::default();
        for name in [RESERVE, "damaged"] {
            disk.create(name).unwrap();
        }
        let at = disk.operations();
        disk.fail(Fault::new(at..at + 1, kind));
        let copy = set_aside(&disk, &["damaged".to_owned()]).unwrap();
        assert_eq!(disk.names().unwrap(), [copy], "{kind}");
    }
}

#[tokio::test]
async fn a_read_that_fails_is_an_error_and_no_damage() {
    for seed in [61, 62] {
        let reads = a_run(seed).await.reads();
        assert!(reads > 20, "only {reads} reads");
        for (at, length) in (0..reads).flat_map(|at| [(at, 1), (at, 4)]) {
            let context = format!("seed {seed}, read {at}, {length} fail");
            let mut numbers = Numbers::new(seed);
            let disk = SimDisk::default();
            disk.fail_reads(at..at + length);
            let mut history = History::default();
            let store = open_at_last(&disk).await;
            history.work(&store, &disk, &mut numbers, STEPS).await;
            store.close().await.expect(&context);
            drop(store);
            let store = open_at_last(&disk).await;
            while disk.reads() < at + length {
                history.work(&store, &disk, &mut numbers, 1).await;
            }
            history.assert_kept(&store, &context).await;
            store.close().await.expect(&context);
        }
    }
}

/// Retries until opening succeeds. Each failure must be a storage error.
async fn open_at_last(disk: &SimDisk) -> TestStore {
    for _ in 0..10 {
        match open(disk, DURABILITY).await {
            Ok(store) => return store,
            Err(error) => assert!(matches!(error, StoreError::Unavailable { .. }), "{error}"),
        }
    }
    panic!("it never opens");
}

#[tokio::test]
async fn a_stalled_stream_keeps_the_log_no_larger_than_documented() {
    let disk = SimDisk::default();
    let mut store = open(&disk, DURABILITY).await.unwrap();
    let [stalled, busy] = ["stalled", "busy"].map(|name| StreamName::new(name).unwrap());
    let frame = 40 + 7 + 100_u64;
    for round in 0..600_u64 {
        let data = vec![u8::try_from(round % 251).unwrap(); 100];
        let record = |name: &StreamName| NewRecord::new(name.clone(), None, data.clone());
        let mut records: Vec<_> = (0..5).map(|_| record(&busy)).collect();
        if round < 200 {
            records.push(record(&stalled));
        }
        store.append(records).await.unwrap();
        let held = store.oldest(&busy, None, some(usize::MAX)).await.unwrap();
        let ids = held.records.iter().map(|record| record.id);
        let settled = Settlement::new(busy.clone()).delete(ids);
        store.settle(settled).await.unwrap();
        if round % 7 == 6 {
            store.close().await.unwrap();
            store = open(&disk, DURABILITY).await.unwrap();
        }
        let live = store.stats().records() as u64 * frame;
        let used = disk.bytes_in_use();
        let most = 2 * live + 2 * SEGMENT_BYTES + OTHER_FILES;
        assert!(
            used <= most,
            "round {round}: {used} bytes are used, {most} allowed"
        );
    }
    let held = store.oldest(&stalled, None, some(usize::MAX)).await;
    assert_eq!(held.unwrap().records.len(), 200);
    store.clear().await.unwrap();
    assert!(
        disk.bytes_in_use() <= SEGMENT_BYTES + OTHER_FILES,
        "an empty store keeps one segment"
    );
}
