//! The journal keeps the contract that every store keeps.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use record_cache::{Durability, JournalStore, RecordStore, conformance};
use tempfile::TempDir;

async fn conforms(durability: Durability) {
    let directory = TempDir::new().unwrap();
    let count = AtomicU32::new(0);
    conformance::run_all(async || {
        let n = count.fetch_add(1, Ordering::Relaxed);
        let path = directory.path().join(n.to_string());
        let store = JournalStore::builder(path)
            .durability(durability)
            .open()
            .await
            .unwrap();
        Arc::new(store) as Arc<dyn RecordStore>
    })
    .await;
    conformance::run_durable(directory.path(), async |path| {
        let store = JournalStore::builder(path)
            .durability(durability)
            .open()
            .await
            .unwrap();
        Arc::new(store) as Arc<dyn RecordStore>
    })
    .await;
}

#[tokio::test]
async fn a_journal_that_survives_a_loss_of_power_conforms() {
    conforms(Durability::PowerLoss).await;
}

#[tokio::test]
async fn a_journal_that_survives_a_crash_of_the_process_conforms() {
    conforms(Durability::ProcessCrash).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_conforms_on_many_threads() {
    conforms(Durability::PowerLoss).await;
}
