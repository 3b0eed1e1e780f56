//! Groups that are synced while others are written.

use std::io::ErrorKind;
use std::sync::Arc;

use super::sim::{Fault, Numbers, SimDisk};
use super::slow::{Gate, SlowDisk};
use crate::disk::{Settings, Store};
use crate::index::InMemory;
use crate::log::files::Disk;
use crate::{NewRecord, ReadLimits, RecordId, Settlement, StoreError, StreamName};

const ALL: ReadLimits = ReadLimits::new(std::num::NonZeroUsize::MAX, std::num::NonZeroU64::MAX);
/// So large that its sync is left to another thread.
const LARGE: usize = 600 * 1024;

fn name() -> StreamName {
    StreamName::new("overlapped").unwrap()
}

async fn open(disk: &SimDisk, gate: &Arc<Gate>) -> Arc<Store> {
    let slow = SlowDisk::new(disk.clone(), gate);
    let indexes = |_: &std::path::Path| Box::new(InMemory) as Box<_>;
    let disk = move |_: &std::path::Path| Ok(Arc::new(slow) as Arc<dyn Disk>);
    let store = Store::open_on(Settings::new("nowhere".into()), indexes, disk).await;
    Arc::new(store.unwrap())
}

fn record(first: u8, bytes: usize) -> Vec<NewRecord> {
    vec![NewRecord::new(name(), None, vec![first; bytes])]
}

fn append(
    store: &Arc<Store>,
    first: u8,
    bytes: usize,
) -> tokio::task::JoinHandle<Result<(), StoreError>> {
    let store = Arc::clone(store);
    tokio::spawn(async move { store.append(record(first, bytes)).await })
}

/// The first byte of each record, and its attempts.
async fn read(store: &Store) -> Vec<(u8, u32)> {
    let batch = store.oldest(&name(), None, ALL).await.unwrap();
    assert_eq!(batch.damaged.records, 0);
    let records = batch.records.iter();
    records
        .map(|record| (record.data[0], record.attempts))
        .collect()
}

async fn ids(store: &Store) -> Vec<RecordId> {
    let batch = store.oldest(&name(), None, ALL).await.unwrap();
    batch.records.iter().map(|record| record.id).collect()
}

/// A store with two records, a large one whose sync hangs, and one behind it.
struct Hanging {
    disk: SimDisk,
    gate: Arc<Gate>,
    store: Arc<Store>,
    large: tokio::task::JoinHandle<Result<(), StoreError>>,
    behind: tokio::task::JoinHandle<Result<(), StoreError>>,
}

async fn hanging() -> Hanging {
    let (disk, gate) = (SimDisk::new("nowhere".as_ref()), Arc::new(Gate::default()));
    let store = open(&disk, &gate).await;
    store.append(record(1, 10)).await.unwrap();
    store.append(record(2, 10)).await.unwrap();
    gate.hold("sync");
    let begun = gate.syncs_begun();
    let large = append(&store, 3, LARGE);
    let waiting = Arc::clone(&gate);
    let waited = tokio::task::spawn_blocking(move || waiting.wait_for_syncs(begun + 1));
    waited.await.unwrap();
    let before = disk.operations();
    let behind = append(&store, 4, LARGE);
    while disk.operations() == before {
        // Until it is written.
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    // Answered while the sync hangs, though it lies behind all that is staged.
    let [first, second] = ids(&store).await[..] else {
        panic!("two records are there");
    };
    let settled = Settlement::new(name()).delete([first]);
    let settled = settled.count_attempt([second]);
    assert_eq!(store.settle(settled).await.unwrap().records, 1);
    assert_eq!(read(&store).await, [(2, 1)]);
    assert_eq!(store.stats().records(), 1);
    Hanging {
        disk,
        gate,
        store,
        large,
        behind,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_large_group_is_synced_settlements_are_served_and_no_record_is_acknowledged() {
    let hanging = hanging().await;
    assert!(!hanging.large.is_finished() && !hanging.behind.is_finished());
    hanging.gate.release();
    hanging.large.await.unwrap().unwrap();
    hanging.behind.await.unwrap().unwrap();
    let expected = [(2, 1), (3, 0), (4, 0)];
    assert_eq!(read(&hanging.store).await, expected);
    let now = hanging.disk.events();
    for seed in 0..4 {
        let mut numbers = Numbers::new(seed);
        let left = hanging
            .disk
            .after_a_loss_of_power("nowhere".as_ref(), now, &mut numbers);
        let after = open(&left, &hanging.gate).await;
        let found = read(&after).await;
        let there = [3, 4].map(|record| found.contains(&(record, 0)));
        assert_eq!(there, [true; 2], "{found:?}");
        after.close().await.unwrap();
    }
    hanging.store.close().await.unwrap();
    let again = open(&hanging.disk, &hanging.gate).await;
    assert_eq!(read(&again).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_large_group_cannot_be_synced_only_its_callers_hear_it_and_settlements_stay() {
    for (failing, expected) in [(0, [(2, 1), (4, 0)]), (1, [(2, 1), (3, 0)])] {
        let hanging = hanging().await;
        let at = hanging.disk.operations() + failing;
        hanging.disk.fail(Fault {
            from: at,
            to: at + 1,
            kind: ErrorKind::Other,
        });
        hanging.gate.release();
        let outcomes = [hanging.large.await.unwrap(), hanging.behind.await.unwrap()];
        let failed = outcomes.map(|outcome| outcome.is_err());
        assert_eq!(failed, [failing == 0, failing == 1]);
        assert_eq!(read(&hanging.store).await, expected);
        assert_eq!(hanging.store.stats().records(), 2);
        let mut numbers = Numbers::new(7);
        // What was undone is written with the next group.
        hanging.store.append(record(5, 10)).await.unwrap();
        let now = hanging.disk.events();
        let killed = hanging
            .disk
            .after_a_kill("nowhere".as_ref(), now, &mut numbers);
        let after = open(&killed, &hanging.gate).await;
        assert_eq!(read(&after).await[..2], expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_closes_when_the_sync_that_it_waits_for_has_ended() {
    let hanging = hanging().await;
    let store = Arc::clone(&hanging.store);
    let closed = tokio::spawn(async move { store.close().await });
    hanging.gate.release();
    hanging.large.await.unwrap().unwrap();
    hanging.behind.await.unwrap().unwrap();
    closed.await.unwrap().unwrap();
    let again = open(&hanging.disk, &hanging.gate).await;
    assert_eq!(read(&again).await, [(2, 1), (3, 0), (4, 0)]);
}
