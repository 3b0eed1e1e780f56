//! The IndexedDB store, run in a browser by `cargo xtask ports browser`.

#![cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conforms;
mod damage;
mod locks;
mod raw;
mod refused;
mod shared;
mod versions;

use std::num::{NonZeroU64, NonZeroUsize};
use std::task::{Context, Waker};

use record_cache::{
    IndexedDbStore, NewRecord, ReadBatch, ReadLimits, RecordStore, StoreError, StreamName,
};
use wasm_bindgen_test::wasm_bindgen_test_configure;

wasm_bindgen_test_configure!(run_in_browser);

fn stream() -> StreamName {
    StreamName::new("orders").unwrap()
}

async fn append(store: &IndexedDbStore, numbers: std::ops::Range<u8>) {
    let records = numbers.map(|number| NewRecord::new(stream(), None, vec![number; 10]));
    store.append(records.collect()).await.unwrap();
}

/// Appends one record in each call, all in one group.
async fn append_together(
    store: &IndexedDbStore,
    numbers: std::ops::Range<u8>,
) -> Vec<Result<(), StoreError>> {
    let record = |number| NewRecord::new(stream(), None, vec![number; 10]);
    let mut calls: Vec<_> = numbers.map(|it| store.append(vec![record(it)])).collect();
    for call in &mut calls {
        let mut context = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut context).is_pending());
    }
    let mut outcomes = Vec::new();
    for call in calls {
        outcomes.push(call.await);
    }
    outcomes
}

async fn read(store: &IndexedDbStore) -> ReadBatch {
    let limits = ReadLimits::new(NonZeroUsize::MAX, NonZeroU64::MAX);
    store.oldest(&stream(), None, limits).await.unwrap()
}

/// The numbers of the stored records.
async fn numbers(store: &IndexedDbStore) -> Vec<u8> {
    let records = read(store).await.records;
    records.iter().map(|record| record.data[0]).collect()
}
