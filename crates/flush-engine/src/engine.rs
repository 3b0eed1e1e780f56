//! The engine as its owner sees it.

use std::fmt;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Duration;

use record_cache::{Amount, NewRecord, RecordStore};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, RwLock, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::Admission;
use crate::closing;
use crate::expiry::Expiry;
use crate::inner::{Closing, Inner};
use crate::meter::Meter;
use crate::orders::Plan;
use crate::overflow::Overflow;
use crate::signals::Turns;
use crate::stream_state::PassMemory;
use crate::{
    CacheStats, ClearCacheData, CloseOptions, EngineError, EngineOptions, FlushData, FlushStrategy,
    OverflowPolicy, RecordData, RecordSender, adaptive, drain, overflow, scheduler,
};

/// Takes records into a store and delivers them through a sender.
///
/// Clones share one engine. When the last one is dropped, the timer stops, requests under
/// way end, and the store is closed a moment later.
#[derive(Clone)]
pub struct FlushEngine {
    handle: Arc<EngineHandle>,
}

/// Whether an engine takes records in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intake {
    /// Records are stored.
    Open,
    /// Records are dropped without a word.
    Disabled,
    /// Records are refused.
    Closed,
}

impl FlushEngine {
    /// Starts an engine on a store, which may hold records already.
    ///
    /// # Errors
    /// [`EngineError::Unknown`] outside a tokio runtime, or in one without timers.
    pub fn start(
        store: Arc<dyn RecordStore>,
        sender: Arc<dyn RecordSender>,
        options: EngineOptions,
    ) -> Result<Self, EngineError> {
        let runtime = runtime().map_err(EngineError::unknown)?;
        let meter = Meter::new(&options);
        let max_bytes = options.cache_max_bytes.get();
        let inner = Arc::new(Inner {
            admission: Admission::new(max_bytes, &store.stats(), meter.clone()),
            meter,
            overflow: Overflow::default(),
            claims: Arc::default(),
            expiry: Expiry::new(options.max_record_age),
            memory: Arc::new(Mutex::new(PassMemory::default())),
            pass_ended: watch::Sender::new(()),
            turns: Turns::new(),
            arrivals: adaptive::arrivals(&options, sender.limits(), &store.stats()),
            clears: RwLock::new(0),
            enabled: watch::Sender::new(true),
            closing: CancellationToken::new(),
            sending_ends: CancellationToken::new(),
            closed: watch::Sender::new(Closing::NotBegun),
            tasks: TaskTracker::new(),
            runtime,
            store,
            sender,
            options,
        });
        match inner.options.flush_strategy {
            FlushStrategy::Interval(interval) => {
                let timer = scheduler::run(Arc::clone(&inner), interval);
                inner.tasks.spawn(timer);
            }
            FlushStrategy::Adaptive { .. } => {
                inner.tasks.spawn(adaptive::run(Arc::clone(&inner)));
            }
            FlushStrategy::None => {}
        }
        Ok(Self {
            handle: Arc::new(EngineHandle { inner }),
        })
    }

    /// From now on, takes over the records of slots that nobody holds.
    #[cfg(feature = "sled")]
    pub fn adopt_from(&self, slots: crate::Slots) {
        let adopting = crate::slots::adopt_while_open(slots, Arc::clone(self.inner()));
        self.inner()
            .tasks
            .spawn_on(adopting, &self.inner().runtime());
    }

    /// Whether records are taken in.
    #[must_use]
    pub fn intake(&self) -> Intake {
        match (self.is_closed(), self.is_enabled()) {
            (true, _) => Intake::Closed,
            (false, false) => Intake::Disabled,
            (false, true) => Intake::Open,
        }
    }

    /// Stores records, all or none. While the engine is disabled, drops them.
    ///
    /// Where the cache is full, [`OverflowPolicy`] decides.
    ///
    /// # Errors
    /// [`EngineError::LimitExceeded`] when the cache has no room for them,
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
            Intake::Open if records.is_empty() => return Ok(RecordData::default()),
            Intake::Open => {}
        }
        let room = Amount::new(records.len(), records.iter().map(NewRecord::size).sum());
        match self.inner().options.overflow_policy {
            OverflowPolicy::Reject => {
                self.inner().admission.reserve(room)?;
                let appended = self.inner().append(records, room).await;
                appended.map_err(EngineError::storage)?;
            }
            OverflowPolicy::DropOldest => {
                let record = overflow::record(Arc::clone(self.inner()), records, room);
                self.inner().run_to_end(record).await?;
            }
        }
        Ok(RecordData::default())
    }

    /// Runs one pass: at most one batch for each stream. Works while disabled.
    ///
    /// Returns at once when a pass is running; see [`FlushData::flush_in_progress`].
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
        match self.inner().try_pass(Plan::Flush).await {
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
    /// As [`flush`](Self::flush); the error carries the sums.
    ///
    /// # Cancel safety
    /// Requests under way are finished although the future was dropped; no other starts.
    pub async fn drain(&self, deadline: Duration) -> Result<FlushData, EngineError> {
        self.check_open()?;
        let stop = self.inner().closing.child_token();
        let _stopped_with_this_future = stop.clone().drop_guard();
        let drain = drain::run(Arc::clone(self.inner()), deadline, stop);
        self.inner().run_to_end(drain).await
    }

    /// Deletes all cached records, those of a request under way included.
    ///
    /// # Errors
    /// [`EngineError::Storage`] when the store fails, [`EngineError::Closed`].
    ///
    /// # Cancel safety
    /// The cache is cleared although the future was dropped.
    pub async fn clear(&self) -> Result<ClearCacheData, EngineError> {
        self.check_open()?;
        let inner = Arc::clone(self.inner());
        let clear = async move {
            let mut clears = inner.clears.write().await;
            let removed = inner.store.clear().await.map_err(EngineError::storage)?;
            *clears += 1;
            inner.admission.release(removed);
            Ok(ClearCacheData::new(removed.records))
        };
        self.inner().run_to_end(clear).await
    }

    /// Takes records in again and resumes the timer. Changes nothing if that is so already.
    pub fn enable(&self) {
        self.switch(true);
    }

    /// Drops new records and pauses the timer. What is cached stays cached.
    pub fn disable(&self) {
        self.switch(false);
    }

    /// Whether records are taken in, if the engine is not closed.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        *self.inner().enabled.borrow()
    }

    /// Whether [`close`](Self::close) has begun.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner().closing.is_cancelled()
    }

    /// What the cache holds, from counters. After closing, the last values.
    #[must_use]
    pub fn cache_stats(&self) -> CacheStats {
        self.inner().store.stats().into()
    }

    /// Drains for a while, then closes as [`close`](Self::close) does, whatever came of it.
    ///
    /// From the first poll on, nothing is taken in and other operations return
    /// [`EngineError::Closed`]. Whoever calls `close` meanwhile, or drops the last clone, ends
    /// the drain. A second call waits for the first one, but not longer than it would drain
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
        closing::close_with(self.inner(), options).await
    }

    /// Stops the timer, waits for requests under way, and closes the store.
    ///
    /// All calls wait for the end; calls after that do nothing.
    ///
    /// # Errors
    /// [`EngineError::Storage`] when the store could not make its last writes durable.
    /// The engine is closed all the same.
    ///
    /// # Cancel safety
    /// The engine closes although the future was dropped.
    pub async fn close(&self) -> Result<(), EngineError> {
        closing::close(self.inner()).await
    }

    fn check_open(&self) -> Result<(), EngineError> {
        if self.is_closed() {
            Err(EngineError::Closed)
        } else {
            Ok(())
        }
    }

    fn switch(&self, to: bool) {
        if !self.is_closed() {
            self.inner()
                .enabled
                .send_if_modified(|on| std::mem::replace(on, to) != to);
        }
    }

    fn inner(&self) -> &Arc<Inner> {
        &self.handle.inner
    }
}

/// The runtime that an engine can run in, or why this is none.
pub(crate) fn runtime() -> Result<Handle, &'static str> {
    let runtime = Handle::try_current()
        .map_err(|_| "there is no tokio runtime here; start the client within one")?;
    // There is no other way to ask a runtime whether it has timers.
    if catch_unwind(|| drop(sleep(Duration::ZERO))).is_err() {
        return Err("the tokio runtime has no timers; enable them where it is built");
    }
    Ok(runtime)
}

impl fmt::Debug for FlushEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FlushEngine")
            .field(&self.handle.inner)
            .finish()
    }
}

/// What clones of an engine share, and its tasks do not: dropping it ends them.
struct EngineHandle {
    inner: Arc<Inner>,
}

impl Drop for EngineHandle {
    fn drop(&mut self) {
        closing::begin_unattended(&self.inner);
    }
}
