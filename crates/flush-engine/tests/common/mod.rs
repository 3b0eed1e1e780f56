//! A scripted service, a store that fails on demand, and an engine between the two.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test file uses a part of this"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that fails fails its test"
)]

mod service;
mod store;

use std::future::poll_fn;
use std::num::{NonZeroU64, NonZeroUsize};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use flush_engine::{
    EngineError, EngineOptions, FlushEngine, FlushStrategy, LimitExceeded, RecordSender,
};
use record_cache::{MemoryStore, NewRecord, RecordStore, StreamName};

pub(crate) use self::service::{Call, Gate, Reply, Service};
pub(crate) use self::store::{Op, ScriptedStore, Step};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// An engine, its service and its store.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) engine: FlushEngine,
    pub(crate) service: Arc<Service>,
    pub(crate) store: Arc<ScriptedStore>,
}

/// No timer, and no on_discard; otherwise the defaults.
pub(crate) fn options() -> EngineOptions {
    let mut options = EngineOptions::DEFAULT;
    options.flush_strategy = FlushStrategy::None;
    options
}

pub(crate) fn every(interval: Duration) -> EngineOptions {
    let mut options = EngineOptions::DEFAULT;
    options.flush_strategy = FlushStrategy::Interval(interval);
    options
}

impl Rig {
    pub(crate) fn new(service: Service) -> Self {
        Self::with(service, options())
    }

    pub(crate) fn with(service: Service, options: EngineOptions) -> Self {
        Self::on(ScriptedStore::obedient(), service, options)
    }

    pub(crate) fn on(store: ScriptedStore, service: Service, options: EngineOptions) -> Self {
        let (store, service) = (Arc::new(store), Arc::new(service));
        let engine = FlushEngine::start(
            Arc::clone(&store) as Arc<dyn RecordStore>,
            Arc::clone(&service) as Arc<dyn RecordSender>,
            options,
        )
        .unwrap();
        Self {
            engine,
            service,
            store,
        }
    }

    pub(crate) async fn record(&self, stream: &str, data: &str) {
        self.engine.record(vec![new(stream, data)]).await.unwrap();
    }

    pub(crate) async fn record_each<D: AsRef<str>>(
        &self,
        stream: &str,
        data: impl IntoIterator<Item = D>,
    ) {
        for data in data {
            self.record(stream, data.as_ref()).await;
        }
    }

    pub(crate) fn cached(&self) -> usize {
        self.engine.cache_stats().records
    }

    /// How often each cached record of a stream was charged, oldest first.
    pub(crate) async fn attempts(&self, stream: &str) -> Vec<u32> {
        let records = self.store.read_all(stream).await;
        records.into_iter().map(|record| record.attempts).collect()
    }

    /// Fails unless the cache, now empty, takes `cache_max_bytes` to the last byte.
    pub(crate) async fn assert_all_room_is_free(&self, max_bytes: u64) {
        assert_eq!(self.engine.cache_stats().bytes, 0);
        let whole = "x".repeat(usize::try_from(max_bytes).unwrap());
        self.record("room", &whole).await;
        let refused = self.engine.record(vec![new("room", "x")]).await;
        assert!(is_full(&refused), "{refused:?}");
        assert_eq!(self.engine.clear().await.unwrap().records_cleared, 1);
    }
}

pub(crate) fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

pub(crate) fn new(stream_name: &str, data: &str) -> NewRecord {
    NewRecord::new(stream(stream_name), None, data.to_owned())
}

pub(crate) fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{n:04}")).collect()
}

pub(crate) fn bytes(bytes: u64) -> NonZeroU64 {
    NonZeroU64::new(bytes).unwrap()
}

pub(crate) fn count(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

pub(crate) fn is_full<T>(result: &Result<T, EngineError>) -> bool {
    matches!(
        result,
        Err(EngineError::LimitExceeded(LimitExceeded::Full { .. }))
    )
}

/// Polls a future so many times, letting others run after each, and drops it. Tells
/// whether it was ready before that.
pub(crate) async fn cancel_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = poll_once(future.as_mut()).await {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

pub(crate) async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

/// Polls until the condition holds.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
