//! The smallest custom store that meets the contract. Start from a copy of this file, which passes
//! every call to a working store. Replace the calls one by one and run the suite.

use std::sync::Arc;

use async_trait::async_trait;
use record_cache::{
    Amount, MemoryStore, NewRecord, ReadBatch, ReadLimits, RecordId, RecordStore, Settlement,
    StoreError, StoreStats, StreamName, conformance,
};

#[derive(Debug, Default)]
struct Toy(MemoryStore);

#[async_trait]
impl RecordStore for Toy {
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), StoreError> {
        self.0.append(records).await
    }

    async fn oldest(
        &self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Result<ReadBatch, StoreError> {
        self.0.oldest(stream, after, limits).await
    }

    async fn settle(&self, settlement: Settlement) -> Result<Amount, StoreError> {
        self.0.settle(settlement).await
    }

    async fn clear(&self) -> Result<Amount, StoreError> {
        self.0.clear().await
    }

    fn stats(&self) -> StoreStats {
        self.0.stats()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.0.close().await
    }
}

#[tokio::test]
async fn a_toy_store_conforms() {
    conformance::run_all(async || Arc::new(Toy::default()) as Arc<dyn RecordStore>).await;
}
