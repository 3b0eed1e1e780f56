//! Deleted segments, whose space the system frees only when their files are closed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::history::in_memory;
use super::sim::SimDisk;
use super::slow::{Gate, open_slow};
use crate::disk::{Settings, Store};
use crate::log::catalog::lock;
use crate::log::files::Disk;
use crate::log::format::RESERVE;
use crate::{NewRecord, ReadLimits, Settlement, StreamName};

const ALL: ReadLimits = ReadLimits::new(std::num::NonZeroUsize::MAX, std::num::NonZeroU64::MAX);
const SEGMENT_BYTES: u64 = 64 << 10;
/// Much longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn name() -> StreamName {
    StreamName::new("deleted").unwrap()
}

async fn append(store: &Store) -> Result<(), crate::StoreError> {
    let data = vec![7; 20 << 10];
    store.append(vec![NewRecord::new(name(), None, data)]).await
}

async fn settle(store: &Store, records: usize) {
    let batch = store.oldest(&name(), None, ALL).await.unwrap();
    let ids = batch.records.iter().take(records).map(|record| record.id);
    let settled = store.settle(Settlement::new(name()).delete(ids)).await;
    assert_eq!(settled.unwrap().records, records);
}

async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap();
}

/// A store that has deleted a segment, whose file does not get closed.
async fn closing() -> (Arc<Store>, Arc<Gate>, SimDisk) {
    let (disk, gate) = (SimDisk::default(), Arc::new(Gate::default()));
    let mut settings = Settings::new("nowhere".into());
    settings.segment_bytes = SEGMENT_BYTES;
    let store = open_slow(&disk, &gate, settings, in_memory).await.unwrap();
    for _ in 0..8 {
        append(&store).await.unwrap();
    }
    let begun = gate.closes_aside();
    gate.hold("close aside");
    settle(&store, 5).await;
    until(|| gate.closes_aside() > begun).await;
    (Arc::new(store), gate, disk)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_waits_until_the_file_of_a_deleted_segment_is_closed() {
    let (store, gate, _) = closing().await;
    let calls = async {
        settle(&store, 1).await;
        append(&store).await.unwrap();
    };
    let ended = timeout(PATIENCE, calls).await;
    gate.release();
    ended.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_to_a_full_disk_waits_for_the_space_of_a_deleted_segment() {
    let (store, gate, _) = closing().await;
    gate.fill();
    let waiting = Arc::clone(&store);
    let append = tokio::spawn(async move { append(&waiting).await });
    until(|| gate.writes_refused() > 0).await;
    gate.release();
    append.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_on_a_full_disk_spends_no_reserve_while_a_file_is_being_closed() {
    let (store, gate, disk) = closing().await;
    gate.fill();
    let waiting = Arc::clone(&store);
    let settle = tokio::spawn(async move { settle(&waiting, 1).await });
    until(|| gate.writes_refused() > 0).await;
    gate.release();
    settle.await.unwrap();
    assert!(disk.names().unwrap().iter().any(|name| name == RESERVE));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_file_is_being_closed_the_writer_closes_the_next_one() {
    let (store, gate, _) = closing().await;
    let aside = gate.closes_aside();
    settle(&store, 3).await;
    append(&store).await.unwrap();
    gate.release();
    store.close().await.unwrap();
    assert_eq!(gate.closes_aside(), aside);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_closed_once_its_files_are() {
    let (store, gate, _) = closing().await;
    let closing = Arc::clone(&store);
    let close = tokio::spawn(async move { closing.close().await });
    until(|| lock(&store.shared.catalog).closed).await;
    // A close that does not wait ends sooner.
    sleep(Duration::from_millis(50)).await;
    assert!(!close.is_finished());
    gate.release();
    close.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clear_returns_once_the_files_are_closed() {
    let (store, gate, _) = closing().await;
    let clearing = Arc::clone(&store);
    let clear = tokio::spawn(async move { clearing.clear().await });
    until(|| lock(&store.shared.counters).stored() == 0).await;
    // A clear that does not wait ends sooner.
    sleep(Duration::from_millis(50)).await;
    assert!(!clear.is_finished());
    gate.release();
    assert_eq!(clear.await.unwrap().unwrap().records, 3);
}
