//! The store of the example keeps the contract.

#[path = "../src/bin/custom_store/json_file.rs"]
mod json_file;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use record_cache::{RecordStore, StoreError, conformance};

use tempfile::TempDir;

use self::json_file::JsonFile;

/// A directory in memory, where the system has one: the suite makes thousands of syncing calls.
#[expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
fn directory() -> TempDir {
    TempDir::new_in("/dev/shm").unwrap_or_else(|_| TempDir::new().unwrap())
}

#[tokio::test]
async fn the_store_keeps_its_contract_while_it_is_open() {
    let directory = directory();
    let count = AtomicUsize::new(0);
    conformance::run_all(async || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let path = directory.path().join(format!("{number}.json"));
        Arc::new(JsonFile::open(path).unwrap()) as Arc<dyn RecordStore>
    })
    .await;
}

#[tokio::test]
async fn the_store_keeps_its_contract_across_restarts() {
    let directory = directory();
    conformance::run_durable(directory.path(), async |place| {
        Arc::new(JsonFile::open(place.with_extension("json")).unwrap()) as Arc<dyn RecordStore>
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_open_is_refused() {
    let directory = directory();
    let path = directory.path().join("waiting.json");
    let first = JsonFile::open(path.clone()).unwrap();
    let second = JsonFile::open(path.clone());
    assert!(matches!(second, Err(StoreError::InUse { .. })));
    first.close().await.unwrap();
    JsonFile::open(path).unwrap();
}
