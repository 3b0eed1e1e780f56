//! The engine as its owner sees it.

use std::fmt;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Duration;

use record_cache::{NewRecord, RecordStore};
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::api::{
    CacheStats, ClearCacheData, CloseOptions, EngineError, EngineOptions, FlushData, FlushStrategy,
    InvalidSetting, RecordData, RecordSender,
};
use crate::cache::{Cache, Incoming};
use crate::delivery::{Passes, Plan};
use crate::lifecycle::{Closer, Intake, Lifecycle};
use crate::schedule;
use crate::telemetry::Meter;

/// Takes records into a store and delivers them through a sender.
///
/// Clones share one engine. When the last one is dropped, the timer stops, requests under
/// way end, and the store is closed a moment later.
#[derive(Clone)]
pub struct FlushEngine {
    handle: Arc<EngineHandle>,
}

impl FlushEngine {
    /// Starts an engine on a store, which may hold records already.
    ///
    /// # Errors
    /// [`EngineError::Validation`] outside a tokio runtime, or in one without timers.
    pub fn start(
        store: Arc<dyn RecordStore>,
        sender: Arc<dyn RecordSender>,
        options: EngineOptions,
    ) -> Result<Self, EngineError> {
        let runtime = runtime()?;
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

    /// From now on, takes over the records of slots that no instance holds.
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

    /// Whether records are taken in.
    #[must_use]
    pub fn intake(&self) -> Intake {
        self.handle.lifecycle.intake()
    }

    /// Stores records, all or none. While the engine is disabled, drops them.
    ///
    /// Where the cache is full, [`OverflowPolicy`](crate::OverflowPolicy) decides.
    ///
    /// # Errors
    /// [`EngineError::LimitExceeded`] when the cache, or the share of a stream, has no room for them,
    /// [`EngineError::Storage`] when the store fails, [`EngineError::Closed`]. Nothing is
    /// stored then.
    ///
    /// # Cancel safety
    /// Once polled, the records may be stored although the future was dropped: all of
    /// them or none.
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

    /// As [`record`](Self::record), waiting on a thread that belongs to no runtime.
    ///
    /// # Errors
    /// As `record`, and [`EngineError::Validation`] on a thread of a runtime, or if the engine was
    /// started in a runtime of a single thread: it would never end there.
    pub fn record_blocking(&self, records: Vec<NewRecord>) -> Result<RecordData, EngineError> {
        let lifecycle = &self.handle.lifecycle;
        lifecycle.block_on("record_blocking", self.record(records))
    }

    /// Runs one pass: at most one batch for each stream. Works while disabled.
    ///
    /// Returns at once when a pass is running, and from within a handler; see
    /// [`FlushData::flush_in_progress`].
    ///
    /// # Errors
    /// [`EngineError::Unknown`] when a request had no answer that can be read,
    /// [`EngineError::Storage`] when the store failed, [`EngineError::Closed`]. No record
    /// is lost by any of them.
    ///
    /// # Cancel safety
    /// The pass goes on although the future was dropped.
    pub async fn flush(&self) -> Result<FlushData, EngineError> {
        self.check_open()?;
        // A pass would wait for the handler; a handler within a pass finds that one running.
        if self.handle.lifecycle.is_within_callback() {
            return Ok(FlushData::in_progress());
        }
        match self.handle.passes.try_run(Plan::Flush).await {
            Some(passed) => passed.into_result(),
            None => Ok(FlushData::in_progress()),
        }
    }

    /// Delivers batch after batch of all streams, side by side, and adds up what was done.
    ///
    /// Waits for a pass under way first. Ends when the cache is empty, when neither the last
    /// batch nor any beside it delivered or discarded anything, at the first error, or at the
    /// deadline: then no request starts any more and those under way are finished. A stream
    /// that failed is left alone for a while before it is tried again.
    ///
    /// # Errors
    /// As [`flush`](Self::flush); the error carries the sums. [`EngineError::Validation`] from
    /// within a handler.
    ///
    /// # Cancel safety
    /// Requests under way are finished although the future was dropped; no other starts.
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

    /// Deletes all cached records, those of a request under way included.
    ///
    /// # Errors
    /// [`EngineError::Storage`] when the store fails, [`EngineError::Closed`],
    /// [`EngineError::Validation`] from within a handler.
    ///
    /// # Cancel safety
    /// The cache is cleared although the future was dropped.
    pub async fn clear(&self) -> Result<ClearCacheData, EngineError> {
        self.check_open()?;
        self.handle
            .lifecycle
            .refuse_within_callback("clear_cache")?;
        let cache = Arc::clone(&self.handle.cache);
        let clear = async move { cache.clear().await };
        self.handle.lifecycle.run_to_end(clear).await
    }

    /// Takes records in again and resumes the timer. Changes nothing if that is so already.
    pub fn enable(&self) {
        self.handle.lifecycle.switch(true);
    }

    /// Drops new records and pauses the timer. What is cached stays cached.
    pub fn disable(&self) {
        self.handle.lifecycle.switch(false);
    }

    /// Whether records are taken in, if the engine is not closed.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.handle.lifecycle.is_enabled()
    }

    /// Whether [`close`](Self::close) has begun.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.handle.lifecycle.is_closing()
    }

    /// What the cache holds, from counters. After closing, the last values.
    #[must_use]
    pub fn cache_stats(&self) -> CacheStats {
        self.handle.cache.report()
    }

    /// Drains for a while, then closes as [`close`](Self::close) does, whatever came of it.
    ///
    /// From the first poll on, nothing is taken in and other operations return
    /// [`EngineError::Closed`]. Calling `close` meanwhile, or dropping the last clone, ends the
    /// drain. A second call waits for the first one, but not longer than it would drain
    /// itself, and has nothing to report.
    ///
    /// Returns what the drain did.
    ///
    /// # Errors
    /// As [`drain`](Self::drain) and [`close`](Self::close), with the sums of the drain. The
    /// engine is closed all the same.
    ///
    /// # Cancel safety
    /// The engine drains and closes although the future was dropped.
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

    /// Stops the timer, waits for requests under way, and closes the store.
    ///
    /// All calls wait for the end; calls after that do nothing.
    ///
    /// # Errors
    /// [`EngineError::Storage`] when the store could not make its last writes durable.
    /// The engine is closed all the same. [`EngineError::Validation`] from within a handler:
    /// nothing was done.
    ///
    /// # Cancel safety
    /// The engine closes although the future was dropped.
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

/// The runtime that an engine can run in.
pub(crate) fn runtime() -> Result<Handle, InvalidSetting> {
    let invalid = |problem: &str| {
        InvalidSetting::new(
            "runtime",
            problem,
            "start the client within a tokio runtime that has timers",
        )
    };
    let runtime = Handle::try_current().map_err(|_| invalid("there is no tokio runtime here"))?;
    // There is no other way to ask a runtime whether it has timers.
    if catch_unwind(|| drop(sleep(Duration::ZERO))).is_err() {
        return Err(invalid("the tokio runtime has no timers"));
    }
    Ok(runtime)
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

/// What clones of an engine share, and its tasks do not: dropping it ends them.
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
