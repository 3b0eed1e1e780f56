use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};

use amplify_kinesis::record_cache::{
    Amount, MemoryStore, NewRecord, ReadBatch, ReadLimits, RecordId, RecordStore, Settlement,
    StoreError, StoreStats, StreamName,
};
use async_trait::async_trait;

/// What a [`FailingStore`] can be told to fail at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreCall {
    Append,
    Oldest,
    Settle,
    Clear,
    Close,
}

/// Keeps records in memory, and fails where it is told to.
#[derive(Debug, Default)]
pub struct FailingStore {
    inner: MemoryStore,
    failing: Mutex<HashSet<StoreCall>>,
}

impl FailingStore {
    pub fn fail(&self, call: StoreCall) {
        self.failing().insert(call);
    }

    pub fn repair(&self) {
        self.failing().clear();
    }

    fn failing(&self) -> MutexGuard<'_, HashSet<StoreCall>> {
        self.failing.lock().unwrap()
    }

    fn check(&self, call: StoreCall) -> Result<(), StoreError> {
        if self.failing().contains(&call) {
            return Err(StoreError::unavailable(
                "writing to the disk of a test",
                "no space left",
            ));
        }
        Ok(())
    }
}

#[async_trait]
impl RecordStore for FailingStore {
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), StoreError> {
        self.check(StoreCall::Append)?;
        self.inner.append(records).await
    }

    async fn oldest(
        &self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Result<ReadBatch, StoreError> {
        self.check(StoreCall::Oldest)?;
        self.inner.oldest(stream, after, limits).await
    }

    async fn settle(&self, settlement: Settlement) -> Result<Amount, StoreError> {
        self.check(StoreCall::Settle)?;
        self.inner.settle(settlement).await
    }

    async fn clear(&self) -> Result<Amount, StoreError> {
        self.check(StoreCall::Clear)?;
        self.inner.clear().await
    }

    fn stats(&self) -> StoreStats {
        self.inner.stats()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await?;
        self.check(StoreCall::Close)
    }
}
