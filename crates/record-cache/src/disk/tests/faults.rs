//! Makes each operation fail in turn.

use std::io::ErrorKind;

use tempfile::TempDir;

use super::history::{History, OTHER, SEGMENT_BYTES, Settled, open};
use super::sim::{Fault, Numbers, SimDisk};
use crate::log::directory::set_aside;
use crate::log::files::Disk;
use crate::log::format::RESERVE;
use crate::{Durability, RecordStore, StoreError};

const STEPS: usize = 50;
/// The size of the mark and the reserve.
const OTHER_FILES: u64 = 64 + 64 * 1024;

async fn a_run(seed: u64) -> SimDisk {
    let place = TempDir::new().unwrap();
    let disk = SimDisk::new(place.path());
    let store = open(place.path(), &disk, Durability::PowerLoss)
        .await
        .unwrap();
    History::default()
        .work(&store, &disk, &mut Numbers::new(seed), STEPS)
        .await;
    store.close().await.unwrap();
    disk
}

/// Makes some operations fail, then continues. Checks the running store, and again after a crash.
async fn a_fault_loses_nothing(seed: u64, fault: Fault) {
    let context = format!("seed {seed}, {fault:?}");
    let mut numbers = Numbers::new(seed);
    let place = TempDir::new().unwrap();
    let disk = SimDisk::new(place.path());
    disk.fail(fault);
    let mut history = History::default();
    let store = loop {
        match open(place.path(), &disk, Durability::PowerLoss).await {
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
    let stream = crate::StreamName::new(OTHER).unwrap();
    let record = crate::NewRecord::new(stream.clone(), None, "x");
    store.append(vec![record]).await.expect(&context);
    let limits = crate::ReadLimits::new(std::num::NonZeroUsize::MIN, std::num::NonZeroU64::MIN);
    let last = store
        .oldest(&stream, None, limits)
        .await
        .expect(&context)
        .records;
    let settled = crate::Settlement::new(stream).delete([last[0].id]);
    assert_eq!(
        store.settle(settled).await.expect(&context).records,
        1,
        "{context}"
    );
    assert_eq!(store.stats().records(), before, "{context}");
    let now = disk.events();
    history
        .check(&store, now, Settled::Kept)
        .await
        .expect(&context);

    for _ in 0..2 {
        let place = TempDir::new().unwrap();
        let left = disk.after_a_loss_of_power(place.path(), now, &mut numbers);
        let after = open(place.path(), &left, Durability::PowerLoss)
            .await
            .expect(&context);
        history
            .check(&after, now, Settled::Doubtful)
            .await
            .expect(&context);
    }
    store.close().await.expect(&context);
    let again = open(place.path(), &disk, Durability::PowerLoss)
        .await
        .expect(&context);
    history
        .check(&again, usize::MAX, Settled::Kept)
        .await
        .expect(&context);
}

#[tokio::test]
async fn any_operation_may_fail_once() {
    for seed in [21, 22] {
        for at in 0..a_run(seed).await.operations() {
            let fault = Fault {
                from: at,
                to: at + 1,
                kind: ErrorKind::Other,
            };
            a_fault_loses_nothing(seed, fault).await;
        }
    }
}

#[tokio::test]
async fn operations_may_fail_for_a_while() {
    for seed in [31, 32] {
        for at in (0..a_run(seed).await.operations()).step_by(3) {
            let fault = Fault {
                from: at,
                to: at + 7,
                kind: ErrorKind::StorageFull,
            };
            a_fault_loses_nothing(seed, fault).await;
        }
    }
}

#[test]
fn what_is_set_aside_takes_the_room_that_is_kept_when_there_is_none_left() {
    for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
        let disk = SimDisk::new("nowhere".as_ref());
        for name in [RESERVE, "damaged"] {
            disk.create(name).unwrap();
        }
        let at = disk.operations();
        disk.fail(Fault {
            from: at,
            to: at + 1,
            kind,
        });
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
            let place = TempDir::new().unwrap();
            let disk = SimDisk::new(place.path());
            disk.fail_reads(Fault {
                from: at,
                to: at + length,
                kind: ErrorKind::Other,
            });
            let mut history = History::default();
            let store = open_at_last(place.path(), &disk).await;
            history.work(&store, &disk, &mut numbers, STEPS).await;
            store.close().await.expect(&context);
            drop(store);
            let store = open_at_last(place.path(), &disk).await;
            while disk.reads() < at + length {
                history.work(&store, &disk, &mut numbers, 1).await;
            }
            let checked = history.check(&store, usize::MAX, Settled::Kept).await;
            checked.expect(&context);
            store.close().await.expect(&context);
        }
    }
}

/// Retries until opening succeeds. Each failure must be a storage error.
async fn open_at_last(path: &std::path::Path, disk: &SimDisk) -> super::history::TestStore {
    for _ in 0..10 {
        match open(path, disk, Durability::PowerLoss).await {
            Ok(store) => return store,
            Err(error) => assert!(matches!(error, StoreError::Unavailable { .. }), "{error}"),
        }
    }
    panic!("it never opens");
}

#[tokio::test]
async fn a_stalled_stream_keeps_the_log_no_larger_than_documented() {
    let place = TempDir::new().unwrap();
    let disk = SimDisk::new(place.path());
    let mut store = open(place.path(), &disk, Durability::PowerLoss)
        .await
        .unwrap();
    let name = |name: &str| crate::StreamName::new(name).unwrap();
    let (stalled, busy) = (name("stalled"), name("busy"));
    let limits = crate::ReadLimits::new(std::num::NonZeroUsize::MAX, std::num::NonZeroU64::MAX);
    let frame = 40 + 7 + 100_u64;
    for round in 0..600_u64 {
        let record = |name: &crate::StreamName| {
            crate::NewRecord::new(
                name.clone(),
                None,
                vec![u8::try_from(round % 251).unwrap(); 100],
            )
        };
        let mut records: Vec<_> = (0..5).map(|_| record(&busy)).collect();
        if round < 200 {
            records.push(record(&stalled));
        }
        store.append(records).await.unwrap();
        let held = store.oldest(&busy, None, limits).await.unwrap().records;
        let ids = held.iter().map(|record| record.id);
        store
            .settle(crate::Settlement::new(busy.clone()).delete(ids))
            .await
            .unwrap();
        if round % 7 == 6 {
            store.close().await.unwrap();
            store = open(place.path(), &disk, Durability::PowerLoss)
                .await
                .unwrap();
        }
        let live = store.stats().records() as u64 * frame;
        let used = disk.bytes_in_use();
        let most = 2 * live + 2 * SEGMENT_BYTES + OTHER_FILES;
        assert!(
            used <= most,
            "round {round}: {used} bytes are used, {most} allowed"
        );
    }
    assert_eq!(
        store
            .oldest(&stalled, None, limits)
            .await
            .unwrap()
            .records
            .len(),
        200
    );
    store.clear().await.unwrap();
    assert!(
        disk.bytes_in_use() <= SEGMENT_BYTES + OTHER_FILES,
        "an empty store keeps one segment"
    );
}
