//! One flush pass: streams side by side, each in a lane of its own.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use record_cache::{StoreStats, StreamName};
use tokio::sync::OwnedMutexGuard;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

use crate::delivery::history::PassMemory;
use crate::delivery::pipeline::{Lane, Report};
use crate::delivery::plan::{Orders, Plan};
use crate::lifecycle::inner::Inner;
use crate::telemetry::log;
use crate::{EngineError, FlushData};

/// How often a pass that goes on looks for new streams while it is busy.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a pass did.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) done: FlushData,
    pub(crate) error: Option<EngineError>,
    /// Whether the last batch came to nothing, and nothing else moved beside it.
    pub(crate) stalled: bool,
    /// Whether any stream had its turn.
    pub(crate) began: bool,
}

impl Passed {
    /// A pass that did nothing, for this reason.
    pub(crate) fn failed(error: EngineError) -> Self {
        Self {
            done: FlushData::default(),
            error: Some(error),
            stalled: true,
            began: true,
        }
    }

    /// Tells of the error of a pass that nobody asked for.
    pub(crate) fn log(&self) {
        if let Some(error) = &self.error {
            let kind = error.kind();
            tracing::warn!(target: log::TARGET, kind, "an automatic flush failed");
        }
    }

    pub(crate) fn into_result(self) -> Result<FlushData, EngineError> {
        match self.error {
            None => Ok(self.done),
            Some(error) => Err(error.after(self.done)),
        }
    }
}

/// Runs one pass. Holding `memory` makes it the only one.
pub(crate) async fn run(
    inner: Arc<Inner>,
    memory: OwnedMutexGuard<PassMemory>,
    plan: Plan,
) -> Passed {
    let pass = async move {
        let passed = run_within(inner, memory, plan).await;
        log::pass_ended(&passed);
        passed
    };
    pass.instrument(log::pass()).await
}

async fn run_within(inner: Arc<Inner>, memory: OwnedMutexGuard<PassMemory>, plan: Plan) -> Passed {
    let mut pass = Pass {
        turn: Turn {
            memory,
            _end: EndOfPass(Arc::clone(&inner)),
        },
        orders: Arc::new(Orders::new(inner, plan)),
        queue: VecDeque::new(),
        lanes: JoinSet::new(),
        running: HashSet::new(),
        served: HashSet::new(),
        spent: HashSet::new(),
        unreached: Vec::new(),
        looked_at: Instant::now(),
        look_at: None,
        passed: Passed {
            done: FlushData::default(),
            error: None,
            stalled: true,
            began: false,
        },
    };
    pass.look();
    loop {
        pass.fill();
        if pass.lanes.is_empty() {
            return pass.end();
        }
        tokio::select! {
            biased;
            Some(finished) = pass.lanes.join_next() => pass.finished(finished),
            () = until(pass.look_at) => pass.look(),
            () = arrival(&pass.orders) => pass.look(),
        }
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
    orders: Arc<Orders>,
    /// Streams that wait for a slot, and the progress when they began to.
    queue: VecDeque<(StreamName, u64)>,
    lanes: JoinSet<Report>,
    running: HashSet<StreamName>,
    /// Streams that had a turn.
    served: HashSet<StreamName>,
    /// Streams in which there was nothing to send.
    spent: HashSet<StreamName>,
    unreached: Vec<StreamName>,
    looked_at: Instant,
    /// When a stream may be ready that is not now.
    look_at: Option<Instant>,
    passed: Passed,
    turn: Turn,
}

impl Pass {
    /// Queues the streams that are ready.
    fn look(&mut self) {
        let inner = Arc::clone(&self.orders.inner);
        let is_first = !self.passed.began && self.queue.is_empty();
        self.looked_at = Instant::now();
        self.look_at = None;
        let stats = inner.store.stats();
        self.turn
            .memory
            .retain(|name| stats.streams.contains_key(name));
        let ready = self.ready(stats);
        let ready = if is_first {
            self.turn.memory.order(ready)
        } else {
            ready
        };
        let progress = self.orders.progress();
        self.queue
            .extend(ready.into_iter().map(|name| (name, progress)));
        if !self.orders.goes_on() {
            self.look_at = None;
        }
    }

    fn ready(&mut self, stats: StoreStats) -> Vec<StreamName> {
        let queued: HashSet<_> = self.queue.iter().map(|(name, _)| name.clone()).collect();
        let arrivals = self.orders.inner.arrivals.as_ref();
        let due: Option<HashSet<_>> = match (&self.orders.plan, arrivals) {
            (Plan::Adaptive, Some(arrivals)) => {
                let look = arrivals.look(|| self.orders.inner.store.stats());
                self.look_at = look.next;
                Some(look.due.into_iter().collect())
            }
            _ => None,
        };
        let mut ready = Vec::new();
        for name in stats.streams.into_keys() {
            let is_taken = self.running.contains(&name)
                || self.spent.contains(&name)
                || queued.contains(&name);
            if is_taken {
                continue;
            }
            let memory = self.turn.memory.of(&name);
            let wait = match &self.orders.plan {
                Plan::Flush => Duration::ZERO,
                Plan::Timer => memory.timer_wait(),
                Plan::Drain { .. } | Plan::Adaptive => memory.wait(),
            };
            let is_due = due.as_ref().is_none_or(|due| due.contains(&name));
            if !wait.is_zero() {
                let at = Instant::now() + wait;
                self.look_at = Some(self.look_at.map_or(at, |look_at| look_at.min(at)));
            } else if is_due {
                ready.push(name);
            }
        }
        ready
    }

    /// Starts streams while there are free slots and requests may be made.
    fn fill(&mut self) {
        let slots = self.orders.inner.options.max_concurrent_streams.get();
        while self.lanes.len() < slots && self.orders.may_start() {
            let Some((stream, progress)) = self.queue.pop_front() else {
                break;
            };
            if self.orders.is_turn_wanted() && self.served.contains(&stream) {
                continue;
            }
            self.passed.began = true;
            self.running.insert(stream.clone());
            self.served.insert(stream.clone());
            let memory = self.turn.memory.of(&stream);
            let lane = Lane::new(Arc::clone(&self.orders), stream, memory, progress);
            self.lanes.spawn(lane.run().in_current_span());
        }
        self.orders.set_queued(self.queue.len());
    }

    fn finished(&mut self, finished: Result<Report, JoinError>) {
        match finished {
            Ok(report) => self.reported(report),
            Err(error) => {
                self.orders.abort();
                let error = EngineError::unknown(format!("a delivery broke off: {error}"));
                self.passed.error.get_or_insert(error);
            }
        }
        let is_time = self.queue.is_empty() || self.looked_at.elapsed() >= LOOK_EVERY;
        if self.orders.goes_on() && is_time && !self.orders.is_turn_wanted() {
            self.look();
        }
    }

    fn reported(&mut self, report: Report) {
        let stream = report.stream;
        self.running.remove(&stream);
        self.turn.memory.remember(&stream, report.memory);
        if let Some(arrivals) = &self.orders.inner.arrivals {
            arrivals.set_retry(&stream, report.memory.failing_until());
        }
        self.passed.stalled = report.stalled;
        self.passed.done.add(report.done);
        if let Some(error) = report.abort {
            self.passed.error.get_or_insert(error);
        }
        if !report.sent {
            self.spent.insert(stream.clone());
        }
        if !report.reached {
            self.unreached.push(stream);
        } else if report.wants_more {
            self.queue.push_back((stream, self.orders.progress()));
        }
    }

    fn end(mut self) -> Passed {
        let queued = self.queue.into_iter().map(|(name, _)| name);
        self.unreached.extend(queued);
        self.turn.memory.set_unreached(self.unreached);
        self.passed
    }
}

/// Waits for a moment, or for ever.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Waits until there is something new to flush.
async fn arrival(orders: &Orders) {
    match (&orders.plan, &orders.inner.arrivals) {
        (Plan::Adaptive, Some(arrivals)) => arrivals.woken().await,
        _ => std::future::pending().await,
    }
}
