//! The conformance suite, run on every store and on the store that fails on demand.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use record_cache::{
    Durability, FailAfter, MemoryStore, NewRecord, RecordStore, Settlement, StreamName, conformance,
};
use support::Subject;
use support::subject::for_each_store;
use tempfile::TempDir;

mod one_thread {
    use super::*;

    for_each_store!(
        a_store_that_survives_a_loss_of_power_conforms,
        a_store_that_survives_a_crash_of_the_process_conforms,
    );
}

for_each_store!(fn a_store_conforms_on_many_threads);

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_store_conforms() {
    conformance::run_all(async || Arc::new(MemoryStore::new()) as Arc<dyn RecordStore>).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_told_to_fail_conforms() {
    let open =
        async || Arc::new(FailAfter::new(MemoryStore::new(), u64::MAX)) as Arc<dyn RecordStore>;
    conformance::run_all(open).await;
}

#[tokio::test]
async fn a_call_that_fails_does_nothing_and_closing_closes_all_the_same() {
    let name = StreamName::new("a").expect("a name");
    let record = || NewRecord::new(name.clone(), None, "data");
    let store = FailAfter::new(MemoryStore::new(), 1).failures(3);
    store.append(vec![record()]).await.expect("it passes");
    assert!(store.append(vec![record()]).await.is_err());
    let settlement = Settlement::new(name.clone()).delete([0, 1].map(record_cache::RecordId::new));
    assert!(store.settle(settlement).await.is_err());
    assert!(store.clear().await.is_err());
    assert_eq!(store.stats().records(), 1);
    store.append(vec![record()]).await.expect("it passes again");
    assert_eq!((store.stats().records(), store.calls()), (2, 5));

    let store = FailAfter::new(MemoryStore::new(), 0);
    assert!(store.close().await.is_err());
    assert!(store.store().append(vec![record()]).await.is_err());
}

async fn a_store_that_survives_a_loss_of_power_conforms(subject: Subject) {
    conforms(subject, Durability::PowerLoss).await;
}

async fn a_store_that_survives_a_crash_of_the_process_conforms(subject: Subject) {
    conforms(subject, Durability::ProcessCrash).await;
}

fn a_store_conforms_on_many_threads(subject: Subject) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(conforms(subject, Durability::PowerLoss));
}

async fn conforms(subject: Subject, durability: Durability) {
    let directory = TempDir::new().unwrap();
    let count = AtomicU32::new(0);
    conformance::run_all(async || {
        let number = count.fetch_add(1, Ordering::Relaxed).to_string();
        let place = directory.path().join("stores").join(number);
        subject.open_with(&place, durability).await
    })
    .await;
    conformance::run_durable(directory.path(), async |place| {
        subject.open_with(place, durability).await
    })
    .await;
}
