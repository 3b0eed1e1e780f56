//! Locks that the browser takes away from an open store.

use record_cache::{Amount, IndexedDbStore, NewRecord, RecordStore, StoreError};
use wasm_bindgen_test::wasm_bindgen_test;

use super::{append, numbers, raw, read, stream};

#[wasm_bindgen_test]
async fn a_store_whose_lock_was_stolen_writes_only_once_it_has_it_again() {
    let store = IndexedDbStore::open("stolen").await.unwrap();
    append(&store, 0..3).await;
    raw::done(raw::steal("record-cache/stolen/0")).await;
    let appended = append_one(&store).await;
    assert!(
        matches!(appended, Err(StoreError::InUse { .. })),
        "{appended:?}"
    );
    raw::done(raw::give_back("record-cache/stolen/0")).await;
    append(&store, 3..5).await;
    assert_eq!(numbers(&store).await, [0, 1, 2, 3, 4]);
    let other = IndexedDbStore::open("stolen").await;
    assert!(matches!(other, Err(StoreError::InUse { .. })), "{other:?}");
}

#[wasm_bindgen_test]
async fn what_others_did_with_a_stolen_lock_is_counted_and_is_no_damage() {
    let store = IndexedDbStore::open("borrowed").await.unwrap();
    append(&store, 0..3).await;
    raw::done(raw::steal("record-cache/borrowed/0")).await;
    raw::done(raw::give_back("record-cache/borrowed/0")).await;
    let other = IndexedDbStore::open("borrowed").await.unwrap();
    other.clear().await.unwrap();
    append(&other, 3..5).await;
    let last = read(&other).await.records[1].id;
    let appended = append_one(&store).await;
    assert!(
        matches!(appended, Err(StoreError::InUse { .. })),
        "{appended:?}"
    );
    other.close().await.unwrap();
    append(&store, 5..6).await;
    let batch = read(&store).await;
    assert_eq!(batch.damaged, Amount::new(1, 10), "its room is free");
    assert!(batch.records[2].id > last);
    assert_eq!(read(&store).await.damaged, Amount::default());
    assert_eq!(numbers(&store).await, [3, 4, 5]);
    let stats = store.stats();
    assert_eq!((stats.records(), stats.damaged_records), (3, 0));
}

#[wasm_bindgen_test]
async fn a_page_that_was_frozen_takes_its_lock_again() {
    let store = unaware("frozen").await;
    append(&store, 0..2).await;
    raw::done(raw::steal("record-cache/frozen/0")).await;
    raw::come_back();
    let appended = append_one(&store).await;
    assert!(
        matches!(appended, Err(StoreError::InUse { .. })),
        "{appended:?}"
    );
    raw::done(raw::give_back("record-cache/frozen/0")).await;
    append(&store, 2..4).await;
    raw::come_back();
    append(&store, 4..5).await;
    assert_eq!(numbers(&store).await, [0, 1, 2, 3, 4]);
    store.close().await.unwrap();
}

#[wasm_bindgen_test]
async fn an_id_is_never_used_twice_even_if_nobody_says_that_the_lock_is_gone() {
    let store = unaware("unaware").await;
    append(&store, 0..2).await;
    raw::done(raw::steal("record-cache/unaware/0")).await;
    raw::done(raw::give_back("record-cache/unaware/0")).await;
    let other = IndexedDbStore::open("unaware").await.unwrap();
    append(&other, 2..4).await;
    // A record of another size has another key, even with the same id.
    let appended = append_one(&store).await;
    assert!(
        matches!(appended, Err(StoreError::Unavailable { .. })),
        "{appended:?}"
    );
    assert_eq!(numbers(&other).await, [0, 1, 2, 3]);
    append_one(&store).await.unwrap();
    assert_eq!(numbers(&store).await, [0, 1, 2, 3, 99]);
    let mut ids: Vec<_> = read(&store).await.records.iter().map(|r| r.id).collect();
    ids.dedup();
    assert_eq!(ids.len(), 5);
}

/// A store that the browser does not tell when it loses its lock.
async fn unaware(name: &str) -> IndexedDbStore {
    raw::silence_locks();
    let store = IndexedDbStore::open(name).await;
    raw::hear_locks();
    store.unwrap()
}

async fn append_one(store: &IndexedDbStore) -> Result<(), StoreError> {
    let record = NewRecord::new(stream(), None, vec![99; 7]);
    store.append(vec![record]).await
}

#[wasm_bindgen_test]
async fn a_request_for_a_lock_that_is_given_up_leaves_the_queue() {
    let open = async || IndexedDbStore::builder().name("queue").slots().open().await;
    let (first, second) = (open().await.unwrap(), open().await.unwrap());
    assert_eq!((first.slot(), second.slot()), (0, 1));
    let waiting = raw::done(raw::waiting("record-cache/queue/0")).await;
    assert_eq!(waiting.as_f64(), Some(0.0));
}
