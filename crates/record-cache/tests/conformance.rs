//! The memory store and the sled store keep the contract.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use record_cache::{Durability, MemoryStore, RecordStore, SledStore, conformance};

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_store_conforms() {
    conformance::run_all(async || Arc::new(MemoryStore::new()) as Arc<dyn RecordStore>).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sled_store_that_survives_a_loss_of_power_conforms() {
    sled_conforms(Durability::PowerLoss).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sled_store_that_survives_a_crash_of_the_process_conforms() {
    sled_conforms(Durability::ProcessCrash).await;
}

async fn sled_conforms(durability: Durability) {
    let directory = tempfile::tempdir().expect("a directory");
    let count = AtomicU32::new(0);
    let open = async |path: &Path| {
        let store = SledStore::builder(path).durability(durability).open().await;
        Arc::new(store.expect("the store opens")) as Arc<dyn RecordStore>
    };
    conformance::run_all(async || {
        let number = count.fetch_add(1, Ordering::Relaxed).to_string();
        open(&directory.path().join("stores").join(number)).await
    })
    .await;
    conformance::run_durable(directory.path(), open).await;
}
