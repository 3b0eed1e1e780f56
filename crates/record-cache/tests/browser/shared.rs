//! Several stores sharing one database. `cargo xtask ports browser` does the same with real tabs.

use record_cache::{IndexedDbStore, RecordStore, Settlement, StoreError};
use wasm_bindgen_test::wasm_bindgen_test;

use super::{append, numbers, raw, read, stream};

#[wasm_bindgen_test]
async fn a_database_has_one_user_at_a_time() {
    let first = IndexedDbStore::open("mine").await.unwrap();
    append(&first, 0..3).await;
    let second = IndexedDbStore::open("mine").await;
    assert!(
        matches!(second, Err(StoreError::InUse { .. })),
        "{second:?}"
    );
    assert_eq!(numbers(&first).await, [0, 1, 2]);
    drop(first);
    // The database is free a moment later.
    let second = IndexedDbStore::open("mine").await.unwrap();
    assert_eq!(numbers(&second).await, [0, 1, 2]);
}

#[wasm_bindgen_test]
async fn an_opening_that_is_given_up_releases_the_database() {
    for _ in 0..5 {
        let mut opening = Box::pin(IndexedDbStore::open("given-up"));
        let waker = std::task::Waker::noop();
        let mut context = std::task::Context::from_waker(waker);
        assert!(opening.as_mut().poll(&mut context).is_pending());
    }
    IndexedDbStore::open("given-up").await.unwrap();
}

#[wasm_bindgen_test]
async fn with_slots_each_has_its_own_records_and_those_left_behind_are_taken_over() {
    let open = async || {
        IndexedDbStore::builder()
            .name("ours")
            .slots()
            .open()
            .await
            .unwrap()
    };
    let (first, second) = (open().await, open().await);
    assert_eq!((first.slot(), second.slot()), (0, 1));
    append(&first, 0..2).await;
    append(&second, 10..12).await;
    let tried = read(&second).await.records[1].id;
    let attempt = Settlement::new(stream()).count_attempt([tried]);
    second.settle(attempt).await.unwrap();
    assert_eq!(numbers(&first).await, [0, 1]);
    assert_eq!(numbers(&second).await, [10, 11]);
    second.close().await.unwrap();

    let third = open().await;
    assert_eq!(third.slot(), 1);
    assert_eq!(numbers(&third).await, [10, 11]);
    third.close().await.unwrap();
    first.close().await.unwrap();

    let last = open().await;
    assert_eq!(last.slot(), 0);
    let records = read(&last).await.records;
    let found: Vec<_> = records.iter().map(|r| (r.data[0], r.attempts)).collect();
    assert_eq!(found, [(0, 0), (1, 0), (10, 0), (11, 1)]);
    assert_eq!(last.stats().records(), 4);
    append(&last, 20..21).await;
    assert_eq!(numbers(&last).await, [0, 1, 10, 11, 20]);
    last.close().await.unwrap();
    let alone = IndexedDbStore::open("ours").await.unwrap();
    assert_eq!(numbers(&alone).await, [0, 1, 10, 11, 20]);
}

#[wasm_bindgen_test]
async fn records_that_cannot_be_taken_over_do_not_keep_a_store_from_opening() {
    let open = async || {
        let builder = IndexedDbStore::builder().name("full");
        builder.slots().open().await
    };
    let mut stores = Vec::new();
    for tens in 0..3 {
        let store = open().await.unwrap();
        append(&store, tens * 10..tens * 10 + 2).await;
        stores.push(store);
    }
    for store in stores {
        store.close().await.unwrap();
    }
    raw::fail_adds(1);
    let opened = open().await;
    raw::add_again();
    let store = opened.unwrap();
    assert_eq!(store.slot(), 0);
    assert_eq!(numbers(&store).await, [0, 1, 20, 21]);
    assert_eq!(store.stats().records(), 4);
    store.close().await.unwrap();
    let store = open().await.unwrap();
    assert_eq!(numbers(&store).await, [0, 1, 20, 21, 10, 11]);
}
