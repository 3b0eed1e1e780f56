//! One stream within a pass: batch after batch, for as long as the pass allows.

use std::future::{Future, poll_fn};
use std::num::{NonZeroU64, NonZeroUsize};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use batcher::BatchLimits;
use record_cache::{Amount, RecordId, StreamName};
use tracing::Instrument;

use crate::api::{EngineError, FlushData};
use crate::cache::{Batch, Decision};
use crate::delivery::context::PassContext;
use crate::delivery::history::{Outcome, StreamHistory};
use crate::delivery::plan::Plan;
use crate::delivery::request::{Delivery, deliver};
use crate::lifecycle::runtime::{JoinError, JoinSet};

/// Delivers batches of one stream.
///
/// While requests are in flight, the next batch is read. A batch counts as in flight until the
/// store has carried out the decision about it, so `max_in_flight_per_stream` limits what a crash
/// can repeat. A batch that was not accepted whole ends the pipeline, since the next one must then
/// wait.
pub(super) struct Pipeline {
    context: Arc<PassContext>,
    history: StreamHistory,
    phase: Phase,
    sending: JoinSet<Sent>,
    /// Tasks, because each holds locks that reading ahead may wait for.
    settling: JoinSet<Settled>,
    /// The last record sent; reading continues after it.
    last: Option<RecordId>,
    ahead: Ahead,
    /// Records read but not settled.
    in_flight: Amount,
    progress_before: u64,
    report: Report,
}

/// How far a pipeline has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing was sent.
    Fresh,
    /// A batch was sent, and more may follow.
    Going,
    /// Nothing more will be sent.
    Over,
    /// Nothing more will be sent, because a batch failed. If several batches in flight failed, the
    /// first failure counts.
    Failed,
}

/// The result of reading ahead.
#[derive(Debug)]
enum Ahead {
    /// Nothing has been read.
    Unread,
    /// The next batch.
    Batch(Batch),
    /// Too few records were waiting to fill a batch. More may be there once others are answered.
    Short,
}

/// How far a stream got in a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// Not reached, although it needed a request.
    Missed,
    /// There was nothing to send.
    Empty,
    /// A request was made.
    Sent,
}

/// The outcome of one stream in a pass.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) stream: StreamName,
    pub(super) history: StreamHistory,
    pub(super) done: FlushData,
    pub(super) reach: Reach,
    /// Whether no record of any stream left the cache between the moment its last batch could have
    /// been sent and the answer.
    pub(super) stalled: bool,
    /// Whether the stream made way for another and wants to continue.
    pub(super) wants_more: bool,
    /// The error that ends the whole pass.
    pub(super) abort: Option<EngineError>,
}

type Settling = Pin<Box<dyn Future<Output = Settled> + Send>>;

struct Sent {
    amount: Amount,
    progress_before: u64,
    delivery: Delivery,
}

struct Settled {
    amount: Amount,
    done: Result<FlushData, EngineError>,
}

impl Pipeline {
    /// `progress_before` is the pass's progress when the stream began to wait for a slot.
    pub(super) fn new(
        context: Arc<PassContext>,
        stream: StreamName,
        history: StreamHistory,
        progress_before: u64,
    ) -> Self {
        Self {
            context,
            history,
            phase: Phase::Fresh,
            sending: JoinSet::new(),
            settling: JoinSet::new(),
            last: None,
            ahead: Ahead::Unread,
            in_flight: Amount::default(),
            progress_before,
            report: Report {
                stream,
                history,
                done: FlushData::default(),
                reach: Reach::Missed,
                stalled: true,
                wants_more: false,
                abort: None,
            },
        }
    }

    pub(super) async fn run(mut self) -> Report {
        loop {
            self.fill().await;
            tokio::select! {
                biased;
                Some(settled) = self.settling.join_next() => self.settled(settled),
                Some(sent) = self.sending.join_next() => self.sent(sent).await,
                else => break,
            }
        }
        if self.report.reach < Reach::Sent {
            self.report.stalled = self.context.progress() == self.progress_before;
        }
        self.report.history = self.history;
        self.report
    }

    /// Sends as much as is allowed now, then reads ahead.
    async fn fill(&mut self) {
        while self.may_begin() {
            let batch = match std::mem::replace(&mut self.ahead, Ahead::Unread) {
                Ahead::Batch(batch) => batch,
                Ahead::Short if !self.sending.is_empty() => {
                    self.ahead = Ahead::Short;
                    return;
                }
                Ahead::Short | Ahead::Unread => match self.read().await {
                    Some(batch) => batch,
                    None => return,
                },
            };
            if !self.sending.is_empty() && !self.may_join(&batch) {
                self.ahead = Ahead::Short;
                return;
            }
            self.send(batch);
        }
        let is_wanted = self.context.goes_on() && self.wants_more();
        if is_wanted && matches!(self.ahead, Ahead::Unread) && !self.history.is_slow() {
            // A partial batch may grow until it is sent. A failed read is retried.
            let read = self.read_behind().await.ok();
            self.ahead = match read.filter(|batch| batch.is_full) {
                Some(batch) => Ahead::Batch(batch),
                None => Ahead::Short,
            };
        }
    }

    /// Whether another batch may start now.
    fn may_begin(&mut self) -> bool {
        match self.phase {
            Phase::Over | Phase::Failed => false,
            Phase::Fresh => self.context.may_start(),
            Phase::Going => {
                self.context.may_start()
                    && self.sending.len() + self.settling.len() < self.most_in_flight()
                    && self.wants_more()
            }
        }
    }

    /// Whether the pass wants more from this stream before any other.
    fn wants_more(&mut self) -> bool {
        if self.is_over() || !self.context.goes_on() {
            return false;
        }
        if self.context.makes_way() {
            self.report.wants_more = true;
            self.stop();
            return false;
        }
        self.context.wants_more(&self.report.stream, self.in_flight)
    }

    /// Whether a batch is worth its own request while others are in flight.
    fn may_join(&self, batch: &Batch) -> bool {
        batch.is_full || matches!(self.context.plan, Plan::Adaptive)
    }

    fn most_in_flight(&self) -> usize {
        // After a failure, one batch at a time until one succeeds.
        if self.history.is_failing() || !self.context.goes_on() {
            1
        } else {
            self.context.env.options.max_in_flight_per_stream.get()
        }
    }

    /// The next batch, if there is one.
    async fn read(&mut self) -> Option<Batch> {
        match self.read_behind().await {
            Ok(batch) if batch.records.is_empty() => {
                if self.sending.is_empty() {
                    self.stop();
                }
                self.ahead = Ahead::Short;
                self.reached(Reach::Empty);
                None
            }
            Ok(batch) => Some(batch),
            Err(error) => {
                self.abort(error);
                None
            }
        }
    }

    /// Reads the records after the last ones sent.
    async fn read_behind(&mut self) -> Result<Batch, EngineError> {
        let env = &self.context.env;
        let most = env.sender.limits();
        let max_records = self.history.max_records(most.max_items.get());
        let max_bytes = self.history.max_bytes(most.max_bytes.get());
        let limits = BatchLimits::new(
            max_records.try_into().unwrap_or(NonZeroUsize::MIN),
            max_bytes.try_into().unwrap_or(NonZeroU64::MIN),
        );
        let stream = &self.report.stream;
        let read = env.cache.read(stream, self.last, limits).await;
        if read.expired > 0 {
            self.report.done.records_discarded += read.expired;
            self.context.note_progress();
        }
        let mut batch = read.batch?;
        let records = batch.records.len();
        if records > 1 {
            let fitted = env.sender.fit(stream, &batch.records).await;
            let fitted = fitted.clamp(1, records);
            batch.truncate(fitted);
            self.history
                .learn_fit(records, fitted, most.max_items.get());
        }
        Ok(batch)
    }

    fn send(&mut self, batch: Batch) {
        if self.phase != Phase::Fresh {
            self.progress_before = self.context.progress();
        }
        self.phase = Phase::Going;
        self.last = batch.last;
        self.in_flight += batch.amount;
        let (amount, progress_before) = (batch.amount, self.progress_before);
        let (context, stream) = (Arc::clone(&self.context), self.report.stream.clone());
        let sending = async move {
            let delivery = deliver(&context, &stream, batch).await;
            if delivery.abort.is_some() {
                context.abort();
            }
            Sent {
                amount,
                progress_before,
                delivery,
            }
        };
        self.sending.spawn(sending.in_current_span());
    }

    async fn sent(&mut self, sent: Result<Sent, JoinError>) {
        let Sent {
            amount,
            progress_before,
            delivery,
        } = match sent {
            Ok(sent) => sent,
            Err(error) => {
                return self.abort(EngineError::unknown(format!(
                    "a delivery was cut short: {error}"
                )));
            }
        };
        if let Some(link) = delivery.link {
            let most = self.context.env.sender.limits().max_bytes.get();
            self.history.learn_link(link, most);
        }
        if delivery.reached {
            self.reached(Reach::Sent);
            self.learn(delivery.outcome.unwrap_or(Outcome::Delivered));
        } else if !self.context.may_send() {
            self.stop();
        }
        if delivery.unsettled.is_some() || delivery.done.made_progress() {
            self.context.note_progress();
        }
        self.report.stalled = self.context.progress() == progress_before;
        self.report.done.add(delivery.done);
        if let Some(error) = delivery.abort {
            self.abort(error);
        }
        match delivery.unsettled {
            Some(decision) => self.settle(decision, amount).await,
            None => self.left(amount),
        }
    }

    /// If several batches in flight failed, the first failure counts.
    fn learn(&mut self, outcome: Outcome) {
        if self.phase == Phase::Failed {
            return;
        }
        let interval = self.context.env.options.interval();
        self.history.learn(outcome, interval, fastrand::f64());
        if outcome != Outcome::Delivered {
            self.phase = Phase::Failed;
        }
    }

    /// Passes a decision to the store without waiting for it. The first poll is made here, so the
    /// store gets the decision before anything that follows.
    async fn settle(&mut self, decision: Decision, amount: Amount) {
        let context = Arc::clone(&self.context);
        let mut settling: Settling = Box::pin(async move {
            let done = context.env.cache.settle(decision).await;
            if done.is_err() {
                context.abort();
            }
            Settled { amount, done }
        });
        match poll_fn(|task| Poll::Ready(settling.as_mut().poll(task))).await {
            Poll::Ready(settled) => self.settled(Ok(settled)),
            Poll::Pending => {
                self.settling.spawn(settling.in_current_span());
            }
        }
    }

    fn settled(&mut self, settled: Result<Settled, JoinError>) {
        let Settled { amount, done } = match settled {
            Ok(settled) => settled,
            Err(error) => {
                return self.abort(EngineError::unknown(format!(
                    "a settlement was cut short: {error}"
                )));
            }
        };
        self.left(amount);
        match done {
            Ok(done) => self.report.done.add(done),
            Err(error) => self.abort(error),
        }
    }

    fn left(&mut self, amount: Amount) {
        self.in_flight.records = self.in_flight.records.saturating_sub(amount.records);
        self.in_flight.bytes = self.in_flight.bytes.saturating_sub(amount.bytes);
    }

    fn reached(&mut self, reach: Reach) {
        self.report.reach = self.report.reach.max(reach);
    }

    fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over | Phase::Failed)
    }

    /// Stops sending from this stream.
    fn stop(&mut self) {
        if self.phase != Phase::Failed {
            self.phase = Phase::Over;
        }
    }

    /// Stops new requests in the whole pass. The first reason is reported.
    fn abort(&mut self, error: EngineError) {
        self.context.abort();
        self.stop();
        self.report.abort.get_or_insert(error);
    }
}
