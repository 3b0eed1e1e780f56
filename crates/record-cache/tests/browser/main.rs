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

use record_cache::{IndexedDbStore, NewRecord, ReadBatch, ReadLimits, RecordStore, StreamName};
use wasm_bindgen_test::wasm_bindgen_test_configure;

wasm_bindgen_test_configure!(run_in_browser);

fn stream() -> StreamName {
    StreamName::new("orders").unwrap()
}

async fn append(store: &IndexedDbStore, numbers: std::ops::Range<u8>) {
    let records = numbers.map(|number| NewRecord::new(stream(), None, vec![number; 10]));
    store.append(records.collect()).await.unwrap();
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
