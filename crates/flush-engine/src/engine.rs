//! [`FlushEngine`]: the engine's public interface.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use record_cache::{NewRecord, RecordStore};

use crate::api::{
    CacheStats, ClearCacheData, CloseOptions, EngineError, EngineOptions, FlushData, FlushStrategy,
    RecordData, RecordSender,
};
use crate::cache::{Cache, Incoming};
use crate::delivery::{Passes, Plan};
use crate::lifecycle::runtime::Runtime;
use crate::lifecycle::{Closer, Intake, Lifecycle};
use crate::schedule;
use crate::telemetry::Meter;

/// The hidden lines that begin an example: an engine, whose sender reaches a service that accepts
/// everything.
macro_rules! example {
    () => {
        "# use std::num::{NonZeroU64, NonZeroUsize};
# use std::sync::Arc;
# use flush_engine::*;
# use record_cache::{MemoryStore, NewRecord, Record, StreamName};
# #[derive(Debug)]
# struct Sender;
# #[async_trait::async_trait]
# impl RecordSender for Sender {
#     fn limits(&self) -> BatchLimits {
#         BatchLimits::new(NonZeroUsize::MAX, NonZeroU64::MAX)
#     }
#     async fn send(&self, _: &StreamName, batch: &[Record]) -> Result<Vec<Verdict>, SendError> {
#         Ok(vec![Verdict::Accepted(None); batch.len()])
#     }
# }
# #[tokio::main]
# async fn main() -> Result<(), Box<dyn std::error::Error>> {
# let store = Arc::new(MemoryStore::new());
# let engine = FlushEngine::start(store, Arc::new(Sender), EngineOptions::DEFAULT)?;
# let orders = StreamName::new(\"orders\")?;
# let order = NewRecord::new(orders, None, \"an order\");"
    };
}

/// Stores records and delivers them through a sender.
///
/// Clones share one engine. When the last one is dropped, the timer stops, requests in flight end,
/// and the store is closed shortly afterwards.
///
/// ```
#[doc = example!()]
/// engine.record(vec![order.clone()]).await?;
/// let flushed = engine.flush().await?;
/// assert_eq!(flushed.records_flushed, 1);
///
/// engine.disable();
/// assert_eq!(engine.intake(), Intake::Disabled);
/// assert_eq!(engine.record(vec![order]).await?.records_stored, 0);
/// engine.enable();
/// assert!(engine.is_enabled());
///
/// engine.close().await?;
/// assert!(engine.is_closed());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FlushEngine {
    handle: Arc<EngineHandle>,
}

impl FlushEngine {
    /// Starts an engine on a store, which may hold records already.
    ///
    /// ```
    #[doc = example!()]
    /// let mut options = EngineOptions::default();
    /// options.flush_strategy = FlushStrategy::None;
    /// let engine = FlushEngine::start(Arc::new(MemoryStore::new()), Arc::new(Sender), options)?;
    /// assert_eq!(engine.intake(), Intake::Open);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`EngineError::Validation`] outside a tokio runtime, or in one without timers.
    pub fn start(
        store: Arc<dyn RecordStore>,
        sender: Arc<dyn RecordSender>,
        options: EngineOptions,
    ) -> Result<Self, EngineError> {
        let runtime = Runtime::with_timers()?;
        let meter = Meter::new(&options);
        let strategy = options.flush_strategy;
        let lifecycle = Arc::new(Lifecycle::new(runtime));
        let cache = Arc::new(Cache::new(
            store,
            sender.limits(),
            &options,
            meter.clone(),
            Arc::clone(&lifecycle),
        ));
        let passes = Arc::new(Passes::new(
            Arc::clone(&cache),
            sender,
            options,
            meter,
            Arc::clone(&lifecycle),
        ));
        let closed = Arc::clone(&cache);
        let closer = Closer::new(Arc::clone(&lifecycle), move || {
            let cache = Arc::clone(&closed);
            async move { cache.close().await }
        });
        let engine = Self {
            handle: Arc::new(EngineHandle {
                cache,
                passes,
                lifecycle,
                closer,
            }),
        };
        engine.flush_by(strategy);
        Ok(engine)
    }

    fn flush_by(&self, strategy: FlushStrategy) {
        let EngineHandle {
            cache,
            passes,
            lifecycle,
            ..
        } = &*self.handle;
        let (passes, lifecycle) = (Arc::clone(passes), Arc::clone(lifecycle));
        match strategy {
            FlushStrategy::Interval(interval) => {
                let tasks = Arc::clone(&lifecycle);
                tasks.spawn(schedule::flush_every(passes, lifecycle, interval));
            }
            FlushStrategy::Adaptive { .. } => {
                let tasks = Arc::clone(&lifecycle);
                let cache = Arc::clone(cache);
                tasks.spawn(schedule::flush_what_waits(cache, passes, lifecycle));
            }
            FlushStrategy::None => {}
        }
    }

    /// Adopts records from free slots for as long as the engine is open.
    #[cfg(any(feature = "sled", feature = "journal"))]
    pub fn adopt_from(&self, slots: crate::Slots) {
        let EngineHandle {
            cache,
            passes,
            lifecycle,
            ..
        } = &*self.handle;
        lifecycle.spawn(schedule::adopt_while_open(
            slots,
            Arc::clone(cache),
            Arc::clone(passes),
            Arc::clone(lifecycle),
        ));
    }

    /// Starts a pass whenever the page goes into the background, unless flushing is left to the
    /// caller. Keeps `kept` alive while the engine is open.
    #[cfg(all(feature = "browser", target_arch = "wasm32", target_os = "unknown"))]
    pub(crate) fn live_in_page(&self, kept: impl Send + 'static, strategy: FlushStrategy) {
        let EngineHandle {
            passes, lifecycle, ..
        } = &*self.handle;
        let open = Arc::clone(lifecycle);
        lifecycle.spawn(async move {
            open.closing().await;
            drop(kept);
        });
        if strategy != FlushStrategy::None {
            lifecycle.spawn(schedule::flush_when_hidden(
                crate::lifecycle::runtime::page_hidden(),
                Arc::clone(passes),
                Arc::clone(lifecycle),
            ));
        }
    }

    /// Whether records are accepted.
    #[must_use]
    pub fn intake(&self) -> Intake {
        self.handle.lifecycle.intake()
    }

    /// Stores records, all or none. While the engine is disabled, drops them.
    ///
    /// If the cache is full, [`OverflowPolicy`](crate::OverflowPolicy) decides.
    ///
    /// ```
    #[doc = example!()]
    /// match engine.record(vec![order]).await {
    ///     Ok(recorded) => println!("{} records stored", recorded.records_stored),
    ///     Err(EngineError::LimitExceeded(limit)) => println!("no room: {limit}"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # assert_eq!(engine.cache_stats().records, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`EngineError::LimitExceeded`] when the cache or a stream's share is full,
    /// [`EngineError::Storage`] when the store fails, [`EngineError::Closed`]. In each case,
    /// nothing is stored.
    ///
    /// # Cancel safety
    /// Once polled, the records may be stored even if the future is dropped: all of them or none.
    pub async fn record(&self, records: Vec<NewRecord>) -> Result<RecordData, EngineError> {
        match self.intake() {
            Intake::Closed => return Err(EngineError::Closed),
            Intake::Disabled => return Ok(RecordData::default()),
            Intake::Open => {}
        }
        let records_stored = records.len();
        let incoming = Incoming::new(records);
        if !incoming.is_empty() {
            self.handle.cache.append(incoming).await?;
        }
        Ok(RecordData { records_stored })
    }

    /// Like [`record`](Self::record), but blocks. For threads outside any runtime.
    ///
    /// ```
    #[doc = example!()]
    /// let thread = std::thread::spawn({
    ///     let engine = engine.clone();
    ///     move || engine.record_blocking(vec![order])
    /// });
    /// thread.join().map_err(|_| "the thread panicked")??;
    /// # assert_eq!(engine.cache_stats().records, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As `record`, and [`EngineError::Validation`] on a runtime thread, or if the engine was
    /// started in a single-threaded runtime, where the call would never return.
    pub fn record_blocking(&self, records: Vec<NewRecord>) -> Result<RecordData, EngineError> {
        let lifecycle = &self.handle.lifecycle;
        lifecycle.block_on("record_blocking", self.record(records))
    }

    /// Runs one pass: at most one batch of each stream. Works while disabled.
    ///
    /// Returns immediately if a pass is running, or if called from a handler; see
    /// [`FlushData::flush_in_progress`].
    ///
    /// # Errors
    /// [`EngineError::Unknown`] when a request had no readable answer, [`EngineError::Storage`]
    /// when the store failed, [`EngineError::Closed`]. None of these errors loses a record.
    ///
    /// # Cancel safety
    /// The pass continues even if the future is dropped.
    pub async fn flush(&self) -> Result<FlushData, EngineError> {
        self.check_open()?;
        // A pass would wait for this handler. If a pass called the handler, that pass is running.
        if self.handle.lifecycle.is_within_callback() {
            return Ok(FlushData::in_progress());
        }
        match self.handle.passes.try_run(Plan::Flush).await {
            Some(passed) => passed.into_result(),
            None => Ok(FlushData::in_progress()),
        }
    }

    /// Delivers batch after batch from all streams, in parallel, and adds up the results.
    ///
    /// Waits for a running pass first. Ends when the cache is empty, when every cached stream had a
    /// turn and neither the last batch nor any concurrent one delivered or discarded anything, at
    /// the first error, or at the deadline. No request starts after the deadline, but requests in
    /// flight finish. A stream that fails is retried after a backoff.
    ///
    /// ```
    #[doc = example!()]
    /// use std::time::Duration;
    ///
    /// engine.record(vec![order; 3]).await?;
    /// let drained = engine.drain(Duration::from_secs(5)).await?;
    /// assert_eq!(drained.records_flushed, 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`flush`](Self::flush); the error carries the totals. [`EngineError::Validation`] when
    /// called from a handler.
    ///
    /// # Cancel safety
    /// If the future is dropped, requests in flight finish and no new ones start.
    pub async fn drain(&self, deadline: Duration) -> Result<FlushData, EngineError> {
        self.check_open()?;
        let lifecycle = &self.handle.lifecycle;
        lifecycle.refuse_within_callback("drain")?;
        let stop = lifecycle.until_closing();
        let _stopped_with_this_future = stop.clone().drop_guard();
        let (cache, passes) = (self.handle.cache.clone(), self.handle.passes.clone());
        let drain = schedule::drain(cache, passes, deadline, stop);
        lifecycle.run_to_end(drain).await
    }

    /// Deletes all cached records, including those in flight.
    ///
    /// ```
    #[doc = example!()]
    /// engine.record(vec![order]).await?;
    /// assert_eq!(engine.clear().await?.records_cleared, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`EngineError::Storage`] when the store fails, [`EngineError::Closed`],
    /// [`EngineError::Validation`] when called from a handler.
    ///
    /// # Cancel safety
    /// The cache is cleared even if the future is dropped.
    pub async fn clear(&self) -> Result<ClearCacheData, EngineError> {
        self.check_open()?;
        self.handle
            .lifecycle
            .refuse_within_callback("clear_cache")?;
        let cache = Arc::clone(&self.handle.cache);
        let clear = async move { cache.clear().await };
        self.handle.lifecycle.run_to_end(clear).await
    }

    /// Accepts records again and resumes the timer. Does nothing if the engine is enabled.
    pub fn enable(&self) {
        self.handle.lifecycle.switch(true);
    }

    /// Drops new records and pauses the timer. Cached records stay cached.
    pub fn disable(&self) {
        self.handle.lifecycle.switch(false);
    }

    /// Whether the engine is enabled. Records are accepted only while it is also open.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.handle.lifecycle.is_enabled()
    }

    /// Whether [`close`](Self::close) has begun.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.handle.lifecycle.is_closing()
    }

    /// Cache contents, taken from counters. After closing, the last known values.
    ///
    /// ```
    #[doc = example!()]
    /// engine.record(vec![order]).await?;
    /// let stats = engine.cache_stats();
    /// println!("{} of {} bytes used", stats.bytes, stats.cache_max_bytes);
    /// # assert_eq!(stats.records, 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn cache_stats(&self) -> CacheStats {
        self.handle.cache.report()
    }

    /// Drains for a limited time, then closes like [`close`](Self::close), whatever the outcome.
    ///
    /// From the first poll on, no records are accepted and other operations return
    /// [`EngineError::Closed`]. Calling `close` or dropping the last clone ends the drain. A second
    /// call waits for the first, but no longer than its own limit, and reports nothing.
    ///
    /// Returns the result of the drain.
    ///
    /// ```
    #[doc = example!()]
    /// use std::time::Duration;
    ///
    /// engine.record(vec![order]).await?;
    /// let options = CloseOptions::default().drain(Duration::from_secs(5));
    /// let last = engine.close_with(options).await?;
    /// assert_eq!((last.records_flushed, engine.is_closed()), (1, true));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`drain`](Self::drain) and [`close`](Self::close), with the totals of the drain. The
    /// engine is closed in any case.
    ///
    /// # Cancel safety
    /// The engine drains and closes even if the future is dropped.
    pub async fn close_with(&self, options: CloseOptions) -> Result<FlushData, EngineError> {
        self.handle.lifecycle.refuse_within_callback("close_with")?;
        let closer = &self.handle.closer;
        let within = options.drain;
        if within.is_zero() {
            closer.close().await?;
            return Ok(FlushData::default());
        }
        let (cache, passes) = (self.handle.cache.clone(), self.handle.passes.clone());
        let drain = |stop| schedule::drain(cache, passes, within, stop);
        closer.close_after(within, drain).await
    }

    /// Stops the timer, waits for requests in flight, and closes the store.
    ///
    /// Concurrent calls all wait until the engine is closed. Later calls do nothing.
    ///
    /// # Errors
    /// [`EngineError::Storage`] when the store could not make its last writes durable; the engine
    /// is closed anyway. [`EngineError::Validation`] when called from a handler; the call then does
    /// nothing.
    ///
    /// # Cancel safety
    /// The engine closes even if the future is dropped.
    pub async fn close(&self) -> Result<(), EngineError> {
        self.handle.lifecycle.refuse_within_callback("close")?;
        self.handle.closer.close().await
    }

    fn check_open(&self) -> Result<(), EngineError> {
        if self.is_closed() {
            Err(EngineError::Closed)
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for FlushEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EngineHandle {
            cache,
            passes,
            lifecycle,
            ..
        } = &*self.handle;
        f.debug_struct("FlushEngine")
            .field("cache", cache)
            .field("passes", passes)
            .field("intake", &lifecycle.intake())
            .finish_non_exhaustive()
    }
}

/// Shared by the clones of an engine but not by its tasks. Dropping it ends the tasks.
struct EngineHandle {
    cache: Arc<Cache>,
    passes: Arc<Passes>,
    lifecycle: Arc<Lifecycle>,
    closer: Closer,
}

impl Drop for EngineHandle {
    fn drop(&mut self) {
        self.closer.begin_unattended();
    }
}
