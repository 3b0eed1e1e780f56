//! A scripted service, a store that fails on demand, and an engine between them.

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

mod discards;
mod service;

use std::future::poll_fn;
use std::num::{NonZeroU64, NonZeroUsize};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

pub(crate) use amplify_test_support::stores::{Gate, Op, ScriptedStore, Step};
use flush_engine::{
    EngineError, EngineOptions, FlushData, FlushEngine, FlushStrategy, LimitExceeded, RecordSender,
};
use record_cache::{MemoryStore, NewRecord, Record, RecordStore, StreamName};
use tokio::task::JoinHandle;

pub(crate) use self::discards::Discards;
pub(crate) use self::service::{Call, Reply, Service};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// A call running alongside the test.
pub(crate) type Beside<T> = JoinHandle<Result<T, EngineError>>;

/// An engine, its service and its store.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) engine: FlushEngine,
    pub(crate) service: Arc<Service>,
    pub(crate) store: Arc<ScriptedStore>,
}

/// No timer and no on_discard; otherwise the defaults.
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

/// The usual options, with a cache of this size.
pub(crate) fn bounded(max_bytes: u64) -> EngineOptions {
    let mut options = options();
    options.cache_max_bytes = bytes(max_bytes);
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
        Self::sharing(&Arc::new(store), &Arc::new(service), options)
    }

    /// The usual options, with some changes.
    pub(crate) fn tuned(service: Service, change: impl FnOnce(&mut EngineOptions)) -> Self {
        let mut options = options();
        change(&mut options);
        Self::with(service, options)
    }

    pub(crate) fn sharing(
        store: &Arc<ScriptedStore>,
        service: &Arc<Service>,
        options: EngineOptions,
    ) -> Self {
        let (store, service) = (Arc::clone(store), Arc::clone(service));
        let sender = Arc::clone(&service) as Arc<dyn RecordSender>;
        Self {
            engine: FlushEngine::start(store.clone(), sender, options).unwrap(),
            service,
            store,
        }
    }

    /// Takes the rig apart, so a test can drop only the engine.
    pub(crate) fn into_parts(self) -> (FlushEngine, Arc<Service>, Arc<ScriptedStore>) {
        (self.engine, self.service, self.store)
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

    /// Records numbered data of a stream in one call.
    pub(crate) async fn record_at_once(&self, stream: &str, count: usize) {
        let records = numbered(count).into_iter().map(|data| new(stream, &data));
        self.record_all(records.collect()).await;
    }

    pub(crate) async fn record_all(&self, records: Vec<NewRecord>) {
        self.engine.record(records).await.unwrap();
    }

    pub(crate) async fn flush(&self) -> FlushData {
        self.engine.flush().await.unwrap()
    }

    pub(crate) async fn drain(&self, deadline: Duration) -> FlushData {
        self.engine.drain(deadline).await.unwrap()
    }

    /// Clears the cache and returns how many records were cleared.
    pub(crate) async fn clear(&self) -> usize {
        self.engine.clear().await.unwrap().records_cleared
    }

    /// Calls the engine in a task alongside the test.
    pub(crate) fn beside<F>(&self, call: impl FnOnce(FlushEngine) -> F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        tokio::spawn(call(self.engine.clone()))
    }

    pub(crate) fn recording(&self, records: Vec<NewRecord>) -> Beside<flush_engine::RecordData> {
        self.beside(|engine| async move { engine.record(records).await })
    }

    pub(crate) fn flushing(&self) -> Beside<FlushData> {
        self.beside(|engine| async move { engine.flush().await })
    }

    pub(crate) fn clearing(&self) -> Beside<flush_engine::ClearCacheData> {
        self.beside(|engine| async move { engine.clear().await })
    }

    pub(crate) fn draining(&self, deadline: Duration) -> Beside<FlushData> {
        self.beside(|engine| async move { engine.drain(deadline).await })
    }

    pub(crate) fn closing(&self) -> Beside<()> {
        self.beside(|engine| async move { engine.close().await })
    }

    pub(crate) fn cached(&self) -> usize {
        self.engine.cache_stats().records
    }

    /// The cached records of a stream, oldest first.
    pub(crate) async fn cached_of(&self, stream: &str) -> Vec<String> {
        self.store.read_all(stream).await.iter().map(text).collect()
    }

    /// How often each cached record of a stream was charged, oldest first.
    pub(crate) async fn attempts(&self, stream: &str) -> Vec<u32> {
        let records = self.store.read_all(stream).await;
        records.into_iter().map(|record| record.attempts).collect()
    }

    /// Checks that the cache, now empty, has room for exactly `max_bytes`.
    pub(crate) async fn assert_all_room_is_free(&self, max_bytes: u64) {
        assert_eq!(self.engine.cache_stats().bytes, 0);
        let whole = "x".repeat(usize::try_from(max_bytes).unwrap());
        self.record("room", &whole).await;
        let refused = self.engine.record(vec![new("room", "x")]).await;
        assert!(is_full(&refused), "{refused:?}");
        assert_eq!(self.clear().await, 1);
    }
}

pub(crate) fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

pub(crate) fn new(stream_name: &str, data: &str) -> NewRecord {
    NewRecord::new(stream(stream_name), None, data.to_owned())
}

/// A record from 1970.
pub(crate) fn ancient(stream: &str, data: &str) -> NewRecord {
    let mut record = new(stream, data);
    record.recorded_at = SystemTime::UNIX_EPOCH;
    record
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

pub(crate) fn text(record: &Record) -> String {
    String::from_utf8(record.data.to_vec()).unwrap()
}

pub(crate) fn is_closed<T>(result: &Result<T, EngineError>) -> bool {
    matches!(result, Err(EngineError::Closed))
}

pub(crate) fn is_storage<T>(result: &Result<T, EngineError>) -> bool {
    matches!(result, Err(EngineError::Storage { .. }))
}

pub(crate) fn is_unknown<T>(result: &Result<T, EngineError>) -> bool {
    matches!(result, Err(EngineError::Unknown { .. }))
}

/// What a pass had done before a request got no answer.
pub(crate) fn unknown(result: Result<FlushData, EngineError>) -> FlushData {
    match result {
        Err(EngineError::Unknown { flushed, .. }) => *flushed.unwrap(),
        other => panic!("not an unknown error: {other:?}"),
    }
}

/// What a pass had done before the store failed.
pub(crate) fn storage(result: Result<FlushData, EngineError>) -> FlushData {
    match result {
        Err(EngineError::Storage { flushed, .. }) => *flushed.unwrap(),
        other => panic!("not a storage error: {other:?}"),
    }
}

pub(crate) fn never_fits<T>(result: &Result<T, EngineError>) -> bool {
    matches!(
        result,
        Err(EngineError::LimitExceeded(LimitExceeded::NeverFits { .. }))
    )
}

pub(crate) fn is_full<T>(result: &Result<T, EngineError>) -> bool {
    matches!(
        result,
        Err(EngineError::LimitExceeded(LimitExceeded::Full { .. }))
    )
}

/// Polls a future `polls` times, yielding after each poll, then drops it. Returns its output if it
/// was ready by then.
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

/// The output of a future that is ready on its first poll. `None` if a blocking caller would have
/// to wait.
pub(crate) fn at_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Runs a test with paused time, from a test that is not `async`.
pub(crate) fn block_on_paused(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    runtime.unwrap().block_on(test);
}

/// Polls until the condition holds.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
