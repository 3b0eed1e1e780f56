//! Databases of another version or another owner.

use record_cache::{IndexedDbStore, NewRecord, RecordStore, StoreError};
use wasm_bindgen_test::wasm_bindgen_test;

use super::{append, append_together, numbers, raw, stream};

#[wasm_bindgen_test]
async fn a_newer_database_is_left_as_it_is() {
    raw::done(raw::make("newer", 7)).await;
    let opened = IndexedDbStore::open("newer").await;
    assert!(
        matches!(opened, Err(StoreError::Incompatible { .. })),
        "{opened:?}"
    );
    assert_eq!(raw::done(raw::version("newer")).await, "7: cats");
}

#[wasm_bindgen_test]
async fn a_database_of_somebody_else_is_left_as_it_is() {
    raw::done(raw::make("cats", 1)).await;
    let opened = IndexedDbStore::open("cats").await;
    assert!(
        matches!(opened, Err(StoreError::Incompatible { .. })),
        "{opened:?}"
    );
    assert_eq!(raw::done(raw::version("cats")).await, "1: cats");
}

#[wasm_bindgen_test]
async fn a_store_makes_way_for_a_newer_version() {
    let store = IndexedDbStore::open("old").await.unwrap();
    append(&store, 0..3).await;
    raw::done(raw::make("old", 2)).await;
    let record = NewRecord::new(stream(), None, "too late");
    let appended = store.append(vec![record]).await;
    assert!(
        matches!(appended, Err(StoreError::Incompatible { .. })),
        "{appended:?}"
    );
    store.close().await.unwrap();
    assert_eq!(
        raw::done(raw::version("old")).await,
        "2: attempts,cats,records,slots"
    );
}

#[wasm_bindgen_test]
async fn an_opening_waits_for_a_database_that_others_keep_but_not_for_ever() {
    let store = IndexedDbStore::open("kept").await.unwrap();
    append(&store, 0..3).await;
    store.close().await.unwrap();
    raw::done(raw::hold("kept")).await;
    let dropped = raw::drop_database("kept");
    let opened = IndexedDbStore::open("kept").await;
    assert!(
        matches!(opened, Err(StoreError::Unavailable { .. })),
        "{opened:?}"
    );
    raw::release("kept");
    raw::done(dropped).await;
    let store = IndexedDbStore::open("kept").await.unwrap();
    assert!(numbers(&store).await.is_empty());
}

#[wasm_bindgen_test]
async fn appends_that_wait_for_a_database_together_fail_together() {
    let store = IndexedDbStore::open("stuck").await.unwrap();
    append(&store, 0..1).await;
    raw::done(raw::hold("stuck")).await;
    raw::done(raw::drop_blocked("stuck")).await;
    let begun = js_sys::Date::now();
    for appended in append_together(&store, 1..4).await {
        assert!(
            matches!(appended, Err(StoreError::Unavailable { .. })),
            "{appended:?}"
        );
    }
    let seconds = (js_sys::Date::now() - begun) / 1e3;
    assert!(seconds < 19.0, "each waited on its own: {seconds}");
    raw::release("stuck");
    append(&store, 1..2).await;
}
