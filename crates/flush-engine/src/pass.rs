//! One flush pass: at most one batch for each stream, streams side by side.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use record_cache::StreamName;
use tokio::sync::OwnedMutexGuard;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tracing::Instrument;

use crate::delivery::{Delivery, deliver};
use crate::inner::Inner;
use crate::stream_state::{Fared, PassMemory};
use crate::{EngineError, FlushData, trace};

/// What bounds a pass.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PassLimits {
    /// No request starts after this moment.
    pub(crate) deadline: Option<Instant>,
    /// Which streams are left alone.
    pub(crate) patience: Patience,
}

/// Which streams a pass leaves alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Patience {
    /// None.
    #[default]
    Impatient,
    /// Those that the service turns away, for some intervals of the timer.
    Timer,
    /// Those that failed a moment ago.
    Drain,
}

/// Runs one pass. Holding `memory` makes it the only one.
pub(crate) async fn run(
    inner: Arc<Inner>,
    memory: OwnedMutexGuard<PassMemory>,
    limits: PassLimits,
) -> Result<FlushData, EngineError> {
    let span = trace::pass();
    let pass = async move {
        let ended = run_within(inner, memory, limits).await;
        trace::pass_ended(&ended);
        ended
    };
    pass.instrument(span).await
}

async fn run_within(
    inner: Arc<Inner>,
    memory: OwnedMutexGuard<PassMemory>,
    limits: PassLimits,
) -> Result<FlushData, EngineError> {
    let mut turn = Turn {
        memory,
        _end: EndOfPass(Arc::clone(&inner)),
    };
    let memory = &mut *turn.memory;
    let stats = inner.store.stats();
    memory.retain(|name| stats.streams.contains_key(name));
    let mut streams = memory.order(stats.streams.into_keys().collect());
    streams.retain(|name| match limits.patience {
        Patience::Impatient => true,
        Patience::Timer => memory.of(name).timer_wait().is_zero(),
        Patience::Drain => memory.of(name).wait().is_zero(),
    });
    let mut pass = Pass {
        waiting: streams.into(),
        running: JoinSet::new(),
        aborted: Arc::new(AtomicBool::new(false)),
        unreached: Vec::new(),
        done: FlushData::default(),
        error: None,
        limits,
        inner,
    };
    pass.fill(memory);
    while let Some(finished) = pass.running.join_next().await {
        pass.finished(finished, memory);
        pass.fill(memory);
    }
    pass.unreached.extend(pass.waiting);
    memory.set_unreached(pass.unreached);
    drop(turn);
    match pass.error {
        None => Ok(pass.done),
        Some(error) => Err(error.after(pass.done)),
    }
}

/// What makes a pass the only one, until it is dropped.
struct Turn {
    memory: OwnedMutexGuard<PassMemory>,
    // Dropped last, so that whoever hears of the end finds no pass running.
    _end: EndOfPass,
}

/// Announces the end of a pass, however it comes about.
struct EndOfPass(Arc<Inner>);

impl Drop for EndOfPass {
    fn drop(&mut self) {
        self.0.pass_ended.send_replace(());
    }
}

struct Pass {
    inner: Arc<Inner>,
    limits: PassLimits,
    waiting: VecDeque<StreamName>,
    running: JoinSet<(StreamName, Delivery)>,
    unreached: Vec<StreamName>,
    aborted: Arc<AtomicBool>,
    done: FlushData,
    error: Option<EngineError>,
}

impl Pass {
    /// Starts streams while there are free slots and requests may be made.
    fn fill(&mut self, memory: &PassMemory) {
        let slots = self.inner.options.max_concurrent_streams.get();
        while self.running.len() < slots && may_send(&self.inner, self.limits, &self.aborted) {
            let Some(stream) = self.waiting.pop_front() else {
                return;
            };
            let most = self.inner.sender.limits().max_bytes.get();
            let max_bytes = memory.of(&stream).max_bytes(most);
            let (inner, limits) = (Arc::clone(&self.inner), self.limits);
            let aborted = Arc::clone(&self.aborted);
            let delivery = async move {
                let may_send = || may_send(&inner, limits, &aborted);
                let delivery = deliver(&inner, &stream, max_bytes, may_send).await;
                if delivery.abort.is_some() {
                    aborted.store(true, Ordering::Relaxed);
                }
                (stream, delivery)
            };
            self.running.spawn(delivery.in_current_span());
        }
    }

    fn finished(
        &mut self,
        finished: Result<(StreamName, Delivery), JoinError>,
        memory: &mut PassMemory,
    ) {
        let (stream, delivery) = match finished {
            Ok(finished) => finished,
            Err(error) => {
                self.abort(EngineError::unknown(format!(
                    "a delivery broke off: {error}"
                )));
                return;
            }
        };
        let mut of_stream = memory.of(&stream);
        if let Some(link) = delivery.link {
            of_stream.learn_link(link, self.inner.sender.limits().max_bytes.get());
        }
        if delivery.reached {
            let fared = delivery.fared.unwrap_or(Fared::Delivered);
            of_stream.learn(fared, self.inner.options.interval(), fastrand::f64());
        }
        memory.remember(&stream, of_stream);
        if !delivery.reached {
            self.unreached.push(stream);
        }
        self.done.add(delivery.done);
        if let Some(error) = delivery.abort {
            self.abort(error);
        }
    }

    /// No new request starts; the first reason is the one that is told.
    fn abort(&mut self, error: EngineError) {
        self.aborted.store(true, Ordering::Relaxed);
        self.error.get_or_insert(error);
    }
}

fn may_send(inner: &Inner, limits: PassLimits, aborted: &AtomicBool) -> bool {
    let in_time = limits
        .deadline
        .is_none_or(|deadline| Instant::now() < deadline);
    in_time && !aborted.load(Ordering::Relaxed) && !inner.sending_ends.is_cancelled()
}
