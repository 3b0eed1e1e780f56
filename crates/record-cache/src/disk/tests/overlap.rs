//! Groups that are synced while others are written.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::broken::fragile;
use super::history::in_memory;
use super::sim::{Numbers, SimDisk};
use super::slow::{Gate, open_slow};
use crate::disk::{Settings, Store};
use crate::log::files::Disk;
use crate::log::format::segment_name;
use crate::{NewRecord, ReadLimits, RecordId, Settlement, StoreError, StreamName};

const ALL: ReadLimits = ReadLimits::new(std::num::NonZeroUsize::MAX, std::num::NonZeroU64::MAX);
/// Large enough to be synced on another thread: more than an eighth of the smallest segment.
const LARGE: usize = 600 * 1024;

fn name() -> StreamName {
    StreamName::new("overlapped").unwrap()
}

async fn open(disk: &SimDisk, gate: &Arc<Gate>) -> Arc<Store> {
    let settings = Settings::new("nowhere".into());
    let store = open_slow(disk, gate, settings, in_memory).await;
    Arc::new(store.unwrap())
}

/// A store whose first index breaks when its remaining calls are used up.
async fn open_fragile(disk: &SimDisk, gate: &Arc<Gate>) -> (Arc<Store>, Arc<Mutex<usize>>) {
    let (indexes, calls) = fragile(&[1000]);
    let settings = Settings::new("nowhere".into());
    let store = open_slow(disk, gate, settings, indexes).await;
    (Arc::new(store.unwrap()), calls)
}

fn record(first: u8, bytes: usize) -> Vec<NewRecord> {
    vec![NewRecord::new(name(), None, vec![first; bytes])]
}

/// An append under way.
type Append = JoinHandle<Result<(), StoreError>>;

fn append(store: &Arc<Store>, first: u8, bytes: usize) -> Append {
    let store = Arc::clone(store);
    tokio::spawn(async move { store.append(record(first, bytes)).await })
}

/// Starts a large append whose sync hangs, and waits until the sync has begun.
async fn append_hanging(store: &Arc<Store>, gate: &Gate, first: u8) -> Append {
    let begun = gate.syncs_begun();
    gate.hold("sync");
    let large = append(store, first, LARGE);
    until(|| gate.syncs_begun() > begun).await;
    large
}

/// Starts a call and waits until the writer has taken it.
async fn taken<T>(
    store: &Store,
    call: impl Future<Output = T> + Send + 'static,
) -> Pin<Box<dyn Future<Output = T> + Send>> {
    let mut call = Box::pin(call);
    let asked = poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_pending()));
    assert!(asked.await);
    until(|| store.shared.requests.len() == 0).await;
    call
}

async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        sleep(Duration::from_millis(1)).await;
    }
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

/// A store with two records, a large append whose sync hangs, and another append behind it.
struct Hanging {
    disk: SimDisk,
    gate: Arc<Gate>,
    store: Arc<Store>,
    large: Append,
    behind: Append,
}

async fn hanging() -> Hanging {
    let (disk, gate) = (SimDisk::default(), Arc::default());
    let store = open(&disk, &gate).await;
    store.append(record(1, 10)).await.unwrap();
    store.append(record(2, 10)).await.unwrap();
    let large = append_hanging(&store, &gate, 3).await;
    let before = disk.operations();
    let behind = append(&store, 4, LARGE);
    // Waits until the second append is written.
    until(|| disk.operations() > before).await;
    // Answered while the sync hangs, although it lies after everything staged.
    let [first, second] = ids(&store).await[..] else {
        panic!("two records are there");
    };
    let settled = Settlement::new(name())
        .delete([first])
        .count_attempt([second]);
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
        let left = hanging.disk.after_a_loss_of_power(now, &mut numbers);
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
async fn when_a_group_cannot_be_synced_what_is_behind_it_fails_too_and_settlements_stay() {
    let both = vec![(2, 1)];
    let second = vec![(2, 1), (3, 0)];
    for (failing, expected) in [(0, both), (1, second)] {
        let hanging = hanging().await;
        hanging.disk.fail_after(failing, 1);
        hanging.gate.release();
        let outcomes = [hanging.large.await.unwrap(), hanging.behind.await.unwrap()];
        let failed = outcomes.map(|outcome| outcome.is_err());
        assert_eq!(failed, [failing == 0, true]);
        assert_eq!(read(&hanging.store).await, expected);
        assert_eq!(hanging.store.stats().records(), expected.len());
        let mut numbers = Numbers::new(7);
        // Undone settlements are written with the next group.
        hanging.store.append(record(5, 10)).await.unwrap();
        let now = hanging.disk.events();
        let killed = hanging.disk.after_a_kill(now, &mut numbers);
        let after = open(&killed, &hanging.gate).await;
        let expected = [expected, vec![(5, 0)]].concat();
        assert_eq!(read(&after).await, expected);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_hangs_is_noticed_though_settlements_are_served_beside_it() {
    let (disk, gate) = (SimDisk::default(), Arc::default());
    let mut settings = Settings::new("nowhere".into());
    settings.stall_limit = Duration::from_millis(200);
    let store = open_slow(&disk, &gate, settings, in_memory).await;
    let store = Arc::new(store.unwrap());
    store.append(record(1, 10)).await.unwrap();
    let first = ids(&store).await[0];
    let large = append_hanging(&store, &gate, 2).await;
    let attempt = || Settlement::new(name()).count_attempt([first]);
    let mut served = 0;
    while store.settle(attempt()).await.is_ok() {
        served += 1;
        assert!(served < 1000, "the limit has long passed");
        sleep(Duration::from_millis(2)).await;
    }
    let error = large.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("does not respond"), "{error}");
    gate.release();
    while store.settle(Settlement::new(name())).await.is_err() {
        sleep(Duration::from_millis(1)).await;
    }
    // A call that reported failure stored nothing.
    store.append(record(3, 10)).await.unwrap();
    let found = read(&store).await;
    let found: Vec<u8> = found.into_iter().map(|(first, _)| first).collect();
    assert_eq!(found, [1, 3]);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_breaks_meanwhile_is_built_again_with_each_record_once() {
    let (disk, gate) = (SimDisk::default(), Arc::default());
    let (store, calls) = open_fragile(&disk, &gate).await;
    store.append(record(1, 10)).await.unwrap();
    store.append(record(2, 10)).await.unwrap();
    let held = ids(&store).await;
    let large = append_hanging(&store, &gate, 3).await;
    let attempt = |n: usize| Settlement::new(name()).count_attempt([held[n]]);
    store.settle(attempt(0)).await.unwrap();
    *calls.lock().unwrap() = 0;
    let settling = (Arc::clone(&store), attempt(1));
    let breaking = async move { settling.0.settle(settling.1).await };
    let breaking = taken(&store, breaking).await;
    gate.release();
    large.await.unwrap().unwrap();
    breaking.await.unwrap();
    assert_eq!(read(&store).await, [(1, 1), (2, 1), (3, 0)]);
    assert_eq!(store.stats().records(), 3);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_synced_is_not_in_an_index_that_is_built_then() {
    let (disk, gate) = (SimDisk::default(), Arc::default());
    let (store, calls) = open_fragile(&disk, &gate).await;
    store.append(record(1, 10)).await.unwrap();
    let first = ids(&store).await[0];
    let large = append_hanging(&store, &gate, 2).await;
    let attempt = Settlement::new(name()).count_attempt([first]);
    store.settle(attempt).await.unwrap();
    // The data cannot be truncated either.
    disk.fail_after(0, 2);
    gate.release();
    large.await.unwrap().unwrap_err();
    *calls.lock().unwrap() = 0;
    assert_eq!(read(&store).await, [(1, 1)]);
    assert_eq!(store.stats().records(), 1);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_written_again_although_nothing_is_requested() {
    let (disk, gate) = (SimDisk::default(), Arc::default());
    let store = open(&disk, &gate).await;
    store.append(record(1, 10)).await.unwrap();
    gate.delete();
    until(|| !gate.is_gone()).await;
    assert_eq!(read(&store).await, [(1, 0)]);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_while_groups_overlap_is_written_again() {
    let (disk, gate) = (SimDisk::default(), Arc::default());
    let store = open(&disk, &gate).await;
    store.append(record(1, 10)).await.unwrap();
    let large = append_hanging(&store, &gate, 2).await;
    gate.delete();
    let appending = Arc::clone(&store);
    let behind = async move { appending.append(record(3, LARGE)).await };
    let behind = taken(&store, behind).await;
    gate.release();
    large.await.unwrap().unwrap();
    behind.await.unwrap();
    let expected = [(1, 0), (2, 0), (3, 0)];
    assert_eq!(read(&store).await, expected);
    let now = disk.events();
    let mut numbers = Numbers::new(8);
    let left = disk.after_a_loss_of_power(now, &mut numbers);
    let after = open(&left, &gate).await;
    assert_eq!(read(&after).await, expected);
    assert!(!left.names().unwrap().contains(&segment_name(0)));
    after.close().await.unwrap();
    store.close().await.unwrap();
}
