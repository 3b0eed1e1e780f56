//! The conformance suite for the IndexedDB store and the in-memory store.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use record_cache::{Durability, IndexedDbStore, MemoryStore, RecordStore, conformance};
use wasm_bindgen_test::wasm_bindgen_test;

#[wasm_bindgen_test]
async fn a_store_that_survives_a_loss_of_power_conforms() {
    conforms("power", Durability::PowerLoss).await;
}

#[wasm_bindgen_test]
async fn a_store_that_survives_a_crash_of_the_process_conforms() {
    conforms("process", Durability::ProcessCrash).await;
}

#[wasm_bindgen_test]
async fn the_memory_store_conforms() {
    conformance::run_all(async || Arc::new(MemoryStore::new()) as Arc<dyn RecordStore>).await;
}

async fn conforms(name: &str, durability: Durability) {
    let open = async |database: String| {
        let builder = IndexedDbStore::builder().name(database);
        let store = builder.durability(durability).open().await.unwrap();
        Arc::new(store) as Arc<dyn RecordStore>
    };
    let count = Cell::new(0);
    conformance::run_all(async || {
        count.set(count.get() + 1);
        open(format!("{name}-{}", count.get())).await
    })
    .await;
    conformance::run_durable(Path::new(name), async |place| {
        open(place.to_str().unwrap().to_owned()).await
    })
    .await;
}
