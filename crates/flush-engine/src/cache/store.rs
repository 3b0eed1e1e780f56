//! The store, with its panics contained.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::FutureExt;
use record_cache::{
    Amount, NewRecord, ReadBatch, ReadLimits, RecordId, RecordStore, Settlement, StoreError,
    StoreStats, StreamName,
};

use crate::api::EngineError;
use crate::telemetry::log;

/// A store whose panics never reach the caller.
#[derive(Debug)]
pub(super) struct ContainedStore(Arc<dyn RecordStore>);

/// Why a store call failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The store returned an error.
    Refused(StoreError),
    /// The store panicked. The call may or may not have taken effect.
    Panicked,
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) => error,
            Failure::Panicked => Self::unavailable_because("the store panicked"),
        }
    }
}

impl From<Failure> for EngineError {
    fn from(failure: Failure) -> Self {
        Self::storage(failure.into())
    }
}

impl ContainedStore {
    pub(super) fn new(store: Arc<dyn RecordStore>) -> Self {
        Self(store)
    }

    pub(super) async fn append(&self, records: Vec<NewRecord>) -> Result<(), Failure> {
        contained(async { self.0.append(records).await }).await
    }

    pub(super) async fn oldest(
        &self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Result<ReadBatch, Failure> {
        contained(async { self.0.oldest(stream, after, limits).await }).await
    }

    pub(super) async fn settle(&self, settlement: Settlement) -> Result<Amount, Failure> {
        contained(async { self.0.settle(settlement).await }).await
    }

    pub(super) async fn clear(&self) -> Result<Amount, Failure> {
        contained(async { self.0.clear().await }).await
    }

    pub(super) async fn close(&self) -> Result<(), Failure> {
        contained(async { self.0.close().await }).await
    }

    /// A store that panics in `stats` counts as empty.
    pub(super) fn stats(&self) -> StoreStats {
        catch_unwind(AssertUnwindSafe(|| self.0.stats())).unwrap_or_else(|_panic| {
            tracing::error!(target: log::TARGET, "the store panicked in stats");
            StoreStats::default()
        })
    }
}

/// Also catches a panic in the call that creates the future.
async fn contained<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, Failure> {
    let ended = AssertUnwindSafe(call).catch_unwind().await;
    match ended {
        Ok(done) => done.map_err(Failure::Refused),
        Err(_panic) => Err(Failure::Panicked),
    }
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU64, NonZeroUsize};

    use async_trait::async_trait;

    use super::*;

    /// Panics on each call.
    #[derive(Debug)]
    struct Panicking;

    #[async_trait]
    impl RecordStore for Panicking {
        async fn append(&self, _: Vec<NewRecord>) -> Result<(), StoreError> {
            panic!("told to")
        }

        async fn oldest(
            &self,
            _: &StreamName,
            _: Option<RecordId>,
            _: ReadLimits,
        ) -> Result<ReadBatch, StoreError> {
            panic!("told to")
        }

        async fn settle(&self, _: Settlement) -> Result<Amount, StoreError> {
            panic!("told to")
        }

        async fn clear(&self) -> Result<Amount, StoreError> {
            panic!("told to")
        }

        fn stats(&self) -> StoreStats {
            panic!("told to")
        }

        async fn close(&self) -> Result<(), StoreError> {
            panic!("told to")
        }
    }

    #[tokio::test]
    async fn every_call_returns_though_the_store_panics() {
        let store = ContainedStore::new(Arc::new(Panicking));
        let stream = StreamName::new("a").unwrap();
        let all = ReadLimits::new(NonZeroUsize::MAX, NonZeroU64::MAX);
        let ended = [
            store.append(Vec::new()).await,
            store.oldest(&stream, None, all).await.map(drop),
            store.settle(Settlement::new(stream)).await.map(drop),
            store.clear().await.map(drop),
            store.close().await,
        ];
        for ended in ended {
            assert!(matches!(ended, Err(Failure::Panicked)), "{ended:?}");
        }
        assert_eq!(store.stats(), StoreStats::default());
    }
}
