//! One flush pass: streams in parallel, each with its own pipeline.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use record_cache::{QueueStats, StoreStats, StreamName};
use tokio::sync::OwnedMutexGuard;
use tracing::Instrument;

use crate::api::{EngineError, FlushData, SkippedStream};
use crate::delivery::context::{Environment, PassContext};
use crate::delivery::history::History;
use crate::delivery::pipeline::{Pipeline, Reach, Report};
use crate::delivery::plan::Plan;
use crate::lifecycle::runtime::{Instant, JoinError, JoinSet, sleep_until};
use crate::telemetry::log;

/// How often a busy, long pass looks for new streams, and asks again for the records of a stream
/// that had none.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The result of a pass.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) done: FlushData,
    pub(crate) error: Option<EngineError>,
    pub(crate) effect: Effect,
    /// Streams that had a turn.
    pub(crate) served: HashSet<StreamName>,
    /// Streams with another full batch waiting after one was delivered, if a timer should catch up.
    pub(super) behind: Vec<StreamName>,
}

/// Whether a pass made progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// No stream had a turn.
    Idle,
    /// No record of any stream left the cache between the moment the last batch could have been
    /// sent and its answer.
    Stalled,
    /// Records left the cache.
    Moved,
}

impl Passed {
    /// A pass that did nothing because of this error.
    pub(super) fn failed(error: EngineError) -> Self {
        Self {
            done: FlushData::default(),
            error: Some(error),
            effect: Effect::Stalled,
            served: HashSet::new(),
            behind: Vec::new(),
        }
    }

    /// Logs the error of an automatic pass.
    pub(crate) fn log(&self) {
        if let Some(error) = &self.error {
            let (kind, reason) = (error.kind(), error.reason());
            tracing::warn!(target: log::TARGET, kind, reason, "an automatic flush failed");
        }
    }

    pub(crate) fn into_result(self) -> Result<FlushData, EngineError> {
        match self.error {
            None => Ok(self.done),
            Some(error) => Err(error.after(self.done)),
        }
    }
}

/// Runs one pass. Holding `history` makes it the only one.
pub(super) async fn run(
    env: Arc<Environment>,
    history: OwnedMutexGuard<History>,
    plan: Plan,
) -> Passed {
    let pass = async move {
        let passed = run_within(env, history, plan).await;
        log::pass_ended(&passed.done, passed.error.as_ref());
        passed
    };
    pass.instrument(log::pass()).await
}

async fn run_within(
    env: Arc<Environment>,
    history: OwnedMutexGuard<History>,
    plan: Plan,
) -> Passed {
    let mut pass = Pass {
        context: Arc::new(PassContext::new(env, plan)),
        history,
        queue: VecDeque::new(),
        pipelines: JoinSet::new(),
        running: HashSet::new(),
        empty: HashMap::new(),
        delivered: HashSet::new(),
        unreached: Vec::new(),
        looked_at: Instant::now(),
        look_at: None,
        passed: Passed {
            done: FlushData::default(),
            error: None,
            effect: Effect::Idle,
            served: HashSet::new(),
            behind: Vec::new(),
        },
    };
    pass.look();
    loop {
        pass.fill();
        if pass.pipelines.is_empty() {
            return pass.end();
        }
        tokio::select! {
            biased;
            Some(finished) = pass.pipelines.join_next() => pass.finished(finished),
            () = until(pass.look_at) => pass.look(),
            () = backlog_changed(&pass.context) => pass.look(),
        }
    }
}

struct Pass {
    context: Arc<PassContext>,
    history: OwnedMutexGuard<History>,
    /// Streams waiting for a slot, each with the pass's progress when its wait began.
    queue: VecDeque<(StreamName, u64)>,
    pipelines: JoinSet<Report>,
    running: HashSet<StreamName>,
    /// Streams that had nothing to send, and when they are asked again.
    empty: HashMap<StreamName, Instant>,
    /// Streams that delivered records and have not failed since.
    delivered: HashSet<StreamName>,
    unreached: Vec<StreamName>,
    looked_at: Instant,
    /// When the next stream may become ready.
    look_at: Option<Instant>,
    passed: Passed,
}

impl Pass {
    /// Queues the streams that are ready.
    fn look(&mut self) {
        let is_first = self.passed.effect == Effect::Idle && self.queue.is_empty();
        self.looked_at = Instant::now();
        self.look_at = None;
        let stats = self.context.env.cache.stats();
        self.history.retain(|name| stats.streams.contains_key(name));
        let mut ready = self.ready(stats);
        // A catch-up pass leaves unreached streams to other passes.
        if is_first && !self.catches_up() {
            ready = self.history.order(ready);
        }
        let progress = self.context.progress();
        self.queue
            .extend(ready.into_iter().map(|name| (name, progress)));
        if !self.context.goes_on() {
            self.look_at = None;
        }
    }

    fn ready(&mut self, stats: StoreStats) -> Vec<StreamName> {
        let queued: HashSet<_> = self.queue.iter().map(|(name, _)| name.clone()).collect();
        let look = match &self.context.plan {
            Plan::Adaptive => self.context.env.cache.look_at_backlog(),
            Plan::Flush | Plan::Timer | Plan::CatchUp(_) | Plan::Drain { .. } => None,
        };
        let mut due: Option<HashSet<_>> = look.map(|look| {
            self.look_at = look.next;
            look.due.into_iter().collect()
        });
        if let Plan::CatchUp(streams) = &self.context.plan {
            due = Some(streams.iter().cloned().collect());
        }
        let now = self.looked_at;
        self.empty.retain(|_, asked_again| *asked_again > now);
        let mut ready = Vec::new();
        for name in stats.streams.into_keys() {
            if self.running.contains(&name) || queued.contains(&name) {
                continue;
            }
            let history = self.history.of(&name);
            let wait = match &self.context.plan {
                Plan::Flush => Duration::ZERO,
                Plan::Timer => history.timer_wait(),
                Plan::CatchUp(_) | Plan::Drain { .. } | Plan::Adaptive => history.wait(),
            };
            let is_due = due.as_ref().is_none_or(|due| due.contains(&name));
            let wait = match self.empty.get(&name) {
                Some(&asked_again) => wait.max(asked_again.saturating_duration_since(now)),
                None => wait,
            };
            if !wait.is_zero() {
                let at = Instant::now() + wait;
                self.look_at = Some(self.look_at.map_or(at, |look_at| look_at.min(at)));
            } else if is_due {
                ready.push(name);
            }
        }
        ready
    }

    /// Starts streams while slots are free and requests are allowed.
    fn fill(&mut self) {
        let slots = self.context.env.options.max_concurrent_streams.get();
        while self.pipelines.len() < slots && self.context.may_start() {
            let Some((stream, progress)) = self.queue.pop_front() else {
                break;
            };
            if self.context.is_turn_wanted() && self.passed.served.contains(&stream) {
                continue;
            }
            if self.passed.effect == Effect::Idle {
                self.passed.effect = Effect::Stalled;
            }
            self.running.insert(stream.clone());
            self.passed.served.insert(stream.clone());
            let history = self.history.of(&stream);
            let pipeline = Pipeline::new(Arc::clone(&self.context), stream, history, progress);
            self.pipelines.spawn(pipeline.run().in_current_span());
        }
        self.context.set_queued(self.queue.len());
    }

    fn finished(&mut self, finished: Result<Report, JoinError>) {
        match finished {
            Ok(report) => self.reported(report),
            Err(error) => {
                self.context.abort();
                let error = EngineError::unknown(format!("a delivery was cut short: {error}"));
                self.passed.error.get_or_insert(error);
            }
        }
        let is_time = self.queue.is_empty() || self.looked_at.elapsed() >= LOOK_EVERY;
        let goes_on = self.context.goes_on() && !self.is_at_its_end();
        if goes_on && is_time && !self.context.is_turn_wanted() {
            self.look();
        }
    }

    /// Whether a drain made no progress with the last of its streams, even if retries are possible
    /// by now.
    fn is_at_its_end(&self) -> bool {
        matches!(self.context.plan, Plan::Drain { .. })
            && self.passed.effect == Effect::Stalled
            && self.pipelines.is_empty()
            && self.queue.is_empty()
    }

    fn reported(&mut self, report: Report) {
        let stream = report.stream;
        self.running.remove(&stream);
        let delivered = report.done.records_flushed;
        if delivered > 0 {
            if self.history.works(&stream) {
                log::deliveries_work_again(&stream, delivered);
            }
        } else if report.history.is_failing() && self.history.fails(&stream) {
            let code = |skipped: &SkippedStream| skipped.code.clone();
            let refused = report.done.skipped_streams.first().and_then(code);
            let reason = match (&report.abort, &refused) {
                (Some(error), _) => error.word(),
                (None, Some(code)) => code,
                (None, None) => "sent_back",
            };
            log::deliveries_fail(&stream, reason);
        }
        self.history.remember(&stream, report.history);
        let cache = &self.context.env.cache;
        cache.set_retry(&stream, report.history.failing_until());
        self.passed.effect = if report.stalled {
            Effect::Stalled
        } else {
            Effect::Moved
        };
        if report.history.is_failing() {
            self.delivered.remove(&stream);
        } else if report.done.records_flushed > 0 {
            self.delivered.insert(stream.clone());
        }
        self.passed.done.add(report.done);
        if let Some(error) = report.abort {
            self.passed.error.get_or_insert(error);
        }
        if report.reach < Reach::Sent {
            let asked_again = Instant::now() + LOOK_EVERY;
            self.empty.insert(stream.clone(), asked_again);
        }
        if report.reach == Reach::Missed {
            self.unreached.push(stream);
        } else if report.wants_more {
            self.queue.push_back((stream, self.context.progress()));
        }
    }

    fn catches_up(&self) -> bool {
        matches!(self.context.plan, Plan::CatchUp(_))
    }

    /// Streams that delivered records and have another full batch waiting.
    fn behind(&self) -> Vec<StreamName> {
        let limits = self.context.env.sender.limits();
        let is_full = |name: &StreamName, queue: &QueueStats| {
            let max_bytes = self.history.of(name).max_bytes(limits.max_bytes.get());
            let full = self.history.of(name).full(limits.max_items.get());
            queue.records >= full || queue.bytes >= max_bytes
        };
        let waiting = self.context.env.cache.stats().streams.into_iter();
        waiting
            .filter(|(name, queue)| self.delivered.contains(name) && is_full(name, queue))
            .map(|(name, _)| name)
            .collect()
    }

    fn end(mut self) -> Passed {
        let left = self.context.env.cache.stats().streams;
        for stream in &self.passed.served {
            if !left.contains_key(stream) {
                self.context.env.meter.oldest(stream, Duration::ZERO);
            }
        }
        if self.context.env.options.interval().is_some() && !self.delivered.is_empty() {
            self.passed.behind = self.behind();
        }
        if !self.catches_up() {
            let queued = self.queue.into_iter().map(|(name, _)| name);
            self.unreached.extend(queued);
            self.history.set_unreached(self.unreached);
        }
        self.passed
    }
}

/// Waits until a given time, or forever.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Waits for something new to flush, if the pass is adaptive.
async fn backlog_changed(context: &PassContext) {
    match &context.plan {
        Plan::Adaptive => context.env.cache.backlog_changed().await,
        Plan::Flush | Plan::Timer | Plan::CatchUp(_) | Plan::Drain { .. } => {
            std::future::pending().await
        }
    }
}
