//! One stream within a pass: batch after batch, for as long as the pass wants more of it.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use record_cache::{Amount, RecordId, StreamName};
use tokio::task::{JoinError, JoinSet};
use tracing::Instrument;

use crate::cache::batch::Batch;
use crate::delivery::history::{Fared, StreamMemory};
use crate::delivery::plan::{Orders, Plan};
use crate::delivery::request::{Decided, Delivery, deliver};
use crate::{EngineError, FlushData};

/// Delivers batches of one stream.
///
/// While requests are under way, the next batch is read. Batches count as under way until the
/// store has taken what was decided on them, so what a crash can repeat is bounded by
/// `max_in_flight_per_stream`. A batch that was not accepted as a whole ends the lane, since
/// the next one is then a matter of waiting.
pub(crate) struct Lane {
    orders: Arc<Orders>,
    memory: StreamMemory,
    sending: JoinSet<Sent>,
    settling: FuturesUnordered<Settling>,
    /// Sent last; what is read next is behind it.
    last: Option<RecordId>,
    /// Read ahead.
    ahead: Option<Batch>,
    /// The last batch that was read takes all that there was.
    at_the_end: bool,
    /// Read, and not settled.
    under_way: Amount,
    /// Nothing more is to be sent.
    is_over: bool,
    has_begun: bool,
    has_failed: bool,
    progress_before: u64,
    report: Report,
}

/// What became of one stream in a pass.
pub(crate) struct Report {
    pub(crate) stream: StreamName,
    pub(crate) memory: StreamMemory,
    pub(crate) done: FlushData,
    /// Whether a request was made, or none was needed.
    pub(crate) reached: bool,
    /// Whether a request was made.
    pub(crate) sent: bool,
    /// Whether no record of any stream left the cache from when its last batch could have
    /// been sent until that was answered.
    pub(crate) stalled: bool,
    /// Whether the stream made way for another and wants to go on.
    pub(crate) wants_more: bool,
    /// What ends the whole pass.
    pub(crate) abort: Option<EngineError>,
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

impl Lane {
    /// `progress_before` is that of the pass when the stream began to wait for a slot.
    pub(crate) fn new(
        orders: Arc<Orders>,
        stream: StreamName,
        memory: StreamMemory,
        progress_before: u64,
    ) -> Self {
        Self {
            orders,
            memory,
            sending: JoinSet::new(),
            settling: FuturesUnordered::new(),
            last: None,
            ahead: None,
            at_the_end: false,
            under_way: Amount::default(),
            is_over: false,
            has_begun: false,
            has_failed: false,
            progress_before,
            report: Report {
                stream,
                memory,
                done: FlushData::default(),
                reached: false,
                sent: false,
                stalled: true,
                wants_more: false,
                abort: None,
            },
        }
    }

    pub(crate) async fn run(mut self) -> Report {
        loop {
            self.fill().await;
            tokio::select! {
                biased;
                Some(settled) = self.settling.next() => self.settled(settled),
                Some(sent) = self.sending.join_next() => self.sent(sent).await,
                else => break,
            }
        }
        if !self.report.sent {
            self.report.stalled = self.orders.progress() == self.progress_before;
        }
        self.report.memory = self.memory;
        self.report
    }

    /// Sends as much as may be sent now, then reads ahead.
    async fn fill(&mut self) {
        while self.may_begin() {
            let batch = match self.ahead.take() {
                Some(batch) => batch,
                None if self.at_the_end && !self.sending.is_empty() => return,
                None => match self.read().await {
                    Some(batch) => batch,
                    None => return,
                },
            };
            if !self.sending.is_empty() && !self.may_join(&batch) {
                // By the time the others are answered, there may be more to it.
                self.at_the_end = true;
                return;
            }
            self.send(batch);
        }
        let is_wanted = self.orders.goes_on() && self.wants_more();
        if is_wanted && self.ahead.is_none() && !self.at_the_end && !self.memory.is_slow() {
            // What is not full may grow until it is sent, and what cannot be read is read again.
            let read = self.read_behind().await.ok();
            self.ahead = read.filter(|batch| batch.is_full);
            self.at_the_end = self.ahead.is_none();
        }
    }

    /// Whether another batch may be begun now.
    fn may_begin(&mut self) -> bool {
        if self.is_over || !self.orders.may_start() {
            return false;
        }
        if !self.has_begun {
            return true;
        }
        let most = self.most_in_flight();
        self.sending.len() + self.settling.len() < most && self.wants_more()
    }

    /// Whether the pass wants more of this stream, and not of another first.
    fn wants_more(&mut self) -> bool {
        if self.is_over || !self.orders.goes_on() {
            return false;
        }
        if self.orders.makes_way() {
            self.report.wants_more = true;
            self.is_over = true;
            return false;
        }
        self.orders.wants_more(&self.report.stream, self.under_way)
    }

    /// Whether a batch is worth a request of its own while others are under way.
    fn may_join(&self, batch: &Batch) -> bool {
        batch.is_full || matches!(self.orders.plan, Plan::Adaptive)
    }

    fn most_in_flight(&self) -> usize {
        // After a failure one by one, until something goes through.
        if self.memory.failing_until().is_some() || !self.orders.goes_on() {
            1
        } else {
            self.orders.inner.options.max_in_flight_per_stream.get()
        }
    }

    /// The next batch, if there is one.
    async fn read(&mut self) -> Option<Batch> {
        match self.read_behind().await {
            Ok(batch) if batch.records.is_empty() => {
                self.is_over = self.sending.is_empty();
                self.at_the_end = true;
                self.report.reached = true;
                None
            }
            Ok(batch) => Some(batch),
            Err(error) => {
                self.end(error);
                None
            }
        }
    }

    /// What is behind the records that were sent last.
    async fn read_behind(&mut self) -> Result<Batch, EngineError> {
        let inner = &self.orders.inner;
        let max_bytes = self.memory.max_bytes(inner.sender.limits().max_bytes.get());
        let mut discarded = 0;
        let stream = &self.report.stream;
        let read = Batch::read(inner, stream, self.last, max_bytes, &mut discarded).await;
        if discarded > 0 {
            self.report.done.records_discarded += discarded;
            self.orders.note_progress();
        }
        read
    }

    fn send(&mut self, batch: Batch) {
        if self.has_begun {
            self.progress_before = self.orders.progress();
        }
        self.has_begun = true;
        self.at_the_end = false;
        self.last = batch.last;
        self.under_way += batch.amount;
        let (amount, progress_before) = (batch.amount, self.progress_before);
        let (orders, stream) = (Arc::clone(&self.orders), self.report.stream.clone());
        let sending = async move {
            let delivery = deliver(&orders.inner, &stream, batch, || orders.may_send()).await;
            if delivery.abort.is_some() {
                orders.abort();
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
                return self.end(EngineError::unknown(format!(
                    "a delivery broke off: {error}"
                )));
            }
        };
        let inner = &self.orders.inner;
        if let Some(link) = delivery.link {
            let most = inner.sender.limits().max_bytes.get();
            self.memory.learn_link(link, most);
        }
        self.report.sent |= delivery.reached;
        self.report.reached |= delivery.reached;
        if delivery.reached {
            self.learn(delivery.fared.unwrap_or(Fared::Delivered));
        } else {
            self.is_over |= !self.orders.may_send();
        }
        if delivery.unsettled.is_some() || delivery.done.made_progress() {
            self.orders.note_progress();
        }
        self.report.stalled = self.orders.progress() == progress_before;
        self.report.done.add(delivery.done);
        if let Some(error) = delivery.abort {
            self.end(error);
        }
        match delivery.unsettled {
            Some(decided) => self.settle(decided, amount).await,
            None => self.left(amount),
        }
    }

    /// Of batches that were under way together, the first failure is what counts.
    fn learn(&mut self, fared: Fared) {
        if self.has_failed {
            return;
        }
        let interval = self.orders.inner.options.interval();
        self.memory.learn(fared, interval, fastrand::f64());
        self.has_failed = fared != Fared::Delivered;
        self.is_over |= self.has_failed;
    }

    /// Hands a decision to the store, and does not wait until it has taken it.
    async fn settle(&mut self, decided: Decided, amount: Amount) {
        let orders = Arc::clone(&self.orders);
        let mut settling: Settling = Box::pin(async move {
            let done = decided.settle(&orders.inner).await;
            if done.is_err() {
                orders.abort();
            }
            Settled { amount, done }
        });
        match poll_fn(|context| Poll::Ready(settling.as_mut().poll(context))).await {
            Poll::Ready(settled) => self.settled(settled),
            Poll::Pending => self.settling.push(settling),
        }
    }

    fn settled(&mut self, settled: Settled) {
        self.left(settled.amount);
        match settled.done {
            Ok(done) => self.report.done.add(done),
            Err(error) => self.end(error),
        }
    }

    fn left(&mut self, amount: Amount) {
        self.under_way.records = self.under_way.records.saturating_sub(amount.records);
        self.under_way.bytes = self.under_way.bytes.saturating_sub(amount.bytes);
    }

    /// No new request starts in the whole pass; the first reason is the one that is told.
    fn end(&mut self, error: EngineError) {
        self.orders.abort();
        self.is_over = true;
        self.report.abort.get_or_insert(error);
    }
}
