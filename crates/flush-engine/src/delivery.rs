//! One batch of one stream: sent, judged, settled.

use std::future::Future;
use std::ops::Range;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use record_cache::{Record, RecordId, Settlement, StoreError, StreamName};
use tokio::time::Instant;
use tracing::Instrument;

use crate::batch::Batch;
use crate::bisect::{Bisection, Refusal};
use crate::claims::Claim;
use crate::discard::{DiscardReason, DiscardedRecord};
use crate::inner::Inner;
use crate::retry::{Charge, charge};
use crate::stream_state::{Fared, Link};
use crate::{EngineError, Fault, FlushData, NoAnswer, SendError, SkippedStream, Verdict, trace};

/// What became of one batch.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    /// What was done; `skipped_streams` has one entry at most.
    pub(crate) done: FlushData,
    /// Whether a request was made.
    pub(crate) reached: bool,
    /// How the records fared; nothing said is all well.
    pub(crate) fared: Option<Fared>,
    /// How the last request fared.
    pub(crate) link: Option<Link>,
    /// What ends the whole pass.
    pub(crate) abort: Option<EngineError>,
    /// Every record was accepted, which the store has not been told yet.
    pub(crate) unsettled: Option<Decided>,
}

/// Delivers one batch of a stream, in more than one request if the service refuses it.
///
/// `may_send` is asked before each request.
pub(crate) async fn deliver(
    inner: &Inner,
    stream: &StreamName,
    batch: Batch,
    may_send: impl Fn() -> bool,
) -> Delivery {
    let mut delivery = Delivery::default();
    let claim = batch.claim;
    let mut course = Course {
        inner,
        stream,
        open: vec![true; batch.records.len()],
        batch: batch.records,
        clears: batch.clears,
    };
    if let Err(error) = course.run(&mut delivery, may_send).await {
        delivery.fared = Some(Fared::NoAnswer);
        delivery.abort = Some(error);
    }
    if let Some(decided) = &mut delivery.unsettled {
        decided.claim = claim;
    }
    delivery
}

/// What was decided on records, for the store to keep.
#[derive(Debug)]
pub(crate) struct Decided {
    settlement: Settlement,
    /// How often the cache was cleared before the records were read.
    clears: u64,
    /// Held until the store has taken the decision.
    claim: Option<Claim>,
    done: FlushData,
}

impl Decided {
    /// Makes decisions lasting, in one step of the store. Of records that were cleared
    /// meanwhile nothing is left to decide: they count as cleared, and only so.
    pub(crate) async fn settle(self, inner: &Inner) -> Result<FlushData, EngineError> {
        let clears = inner.clears.read().await;
        if *clears != self.clears {
            return Ok(FlushData::default());
        }
        let stream = self.settlement.stream.clone();
        let settling = AssertUnwindSafe(inner.store.settle(self.settlement)).catch_unwind();
        let removed = settling
            .await
            .unwrap_or_else(|_panic| Err(StoreError::unavailable_because("the store panicked")))
            .map_err(EngineError::storage)?;
        drop((clears, self.claim));
        inner.admission.release(removed);
        let (done, meter) = (self.done, &inner.meter);
        meter.flushed(&stream, done.records_flushed);
        meter.retried(&stream, done.records_retried);
        let reason = DiscardReason::RetriesExhausted;
        meter.discarded(&stream, reason, done.records_discarded);
        Ok(done)
    }
}

/// The way of one batch to the service.
struct Course<'a> {
    inner: &'a Inner,
    stream: &'a StreamName,
    batch: Vec<Record>,
    /// How often the cache was cleared before the batch was read.
    clears: u64,
    /// Which records nothing has been decided on yet.
    open: Vec<bool>,
}

/// Records about which something was decided at once.
#[derive(Default)]
struct Decisions {
    accepted: Vec<RecordId>,
    charged: Vec<(Record, Option<String>)>,
}

impl Course<'_> {
    async fn run(
        &mut self,
        delivery: &mut Delivery,
        may_send: impl Fn() -> bool,
    ) -> Result<(), EngineError> {
        let least = self.batch.iter().map(|record| record.attempts).min();
        let least_charged = self.batch.iter().filter(|r| Some(r.attempts) == least);
        let least_charged = least_charged.count();
        let mut bisection = Bisection::new(self.batch.len(), least_charged, fastrand::f64());
        while let Some(part) = bisection.next_part() {
            if !may_send() || self.was_cleared().await {
                break;
            }
            delivery.reached = true;
            let records = &self.batch[part.clone()];
            let begun = Instant::now();
            let span = trace::request(self.stream, records);
            let answer = self.send(records).instrument(span).await;
            let limits = self.inner.sender.limits();
            let meter = &self.inner.meter;
            meter.request(self.stream, records, limits, begun.elapsed(), &answer);
            let (fault, code, message) = match answer {
                Ok(verdicts) => {
                    delivery.link = Some(Link::Answered);
                    let accepted = self.answered(part, verdicts, delivery).await?;
                    bisection.answered(accepted);
                    continue;
                }
                Err(SendError::NoAnswer {
                    reason,
                    message,
                    source,
                }) => {
                    if reason == NoAnswer::TimedOut {
                        let bytes = records.iter().map(Record::size).sum();
                        delivery.link = Some(Link::TimedOut { bytes });
                    }
                    return Err(EngineError::no_answer(reason, message, source));
                }
                Err(SendError::Refused {
                    fault,
                    code,
                    message,
                }) => (fault, code, message),
            };
            delivery.fared = Some(match fault {
                Fault::Records | Fault::Stream => Fared::SentBack,
                Fault::Service | Fault::Unreadable => Fared::TurnedAway,
            });
            let skipped = SkippedStream::new(self.stream, code.clone(), message);
            delivery.done.skipped_streams = vec![skipped];
            let charged = match fault {
                Fault::Records => match bisection.refused(part.clone()) {
                    Refusal::Halved => {
                        if part.len() == self.batch.len() {
                            self.batch.sort_by_key(|record| record.attempts);
                        }
                        continue;
                    }
                    Refusal::Pinned => part,
                    Refusal::StreamAtFault => 0..self.batch.len(),
                },
                Fault::Stream => part,
                Fault::Service | Fault::Unreadable => break,
            };
            self.refused(charged, code, delivery).await?;
            if fault == Fault::Stream {
                break;
            }
        }
        if let Some(skipped) = delivery.done.skipped_streams.first() {
            tracing::warn!(
                target: trace::TARGET,
                stream = %self.stream,
                code = skipped.code.as_deref(),
                "the service refused a request; the records stay cached"
            );
        }
        Ok(())
    }

    /// One request, bounded in time; what the sender does wrong is no answer.
    async fn send(&self, records: &[Record]) -> Result<Vec<Verdict>, SendError> {
        let request = self.inner.sender.send(self.stream, records);
        let contained = AssertUnwindSafe(request).catch_unwind();
        let verdicts = match bounded(self.inner, contained).await {
            Some(Ok(answer)) => answer?,
            Some(Err(_panic)) => return Err(SendError::no_answer("the request panicked")),
            None => {
                return Err(SendError::timed_out(format!(
                    "no answer within the request timeout of {:?}",
                    self.inner.options.request_timeout
                )));
            }
        };
        if verdicts.len() == records.len() {
            return Ok(verdicts);
        }
        Err(SendError::unreadable(format!(
            "the service answered for {} records, {} were sent",
            verdicts.len(),
            records.len()
        )))
    }

    async fn answered(
        &mut self,
        part: Range<usize>,
        verdicts: Vec<Verdict>,
        delivery: &mut Delivery,
    ) -> Result<usize, EngineError> {
        let mut decisions = Decisions::default();
        for (at, verdict) in part.zip(verdicts) {
            self.open[at] = false;
            let record = &self.batch[at];
            match verdict {
                Verdict::Accepted => decisions.accepted.push(record.id),
                Verdict::Failed { code } => decisions.charged.push((record.clone(), Some(code))),
            }
        }
        if !decisions.charged.is_empty() {
            delivery.fared = Some(Fared::SentBack);
        }
        let accepted = decisions.accepted.len();
        if accepted == self.batch.len() {
            let settlement = Settlement::new(self.stream.clone()).delete(decisions.accepted);
            delivery.unsettled = Some(self.decided(settlement, FlushData::flushed(accepted)));
        } else {
            self.settle(decisions, delivery).await?;
        }
        Ok(accepted)
    }

    /// Charges those records of a refused range that nothing was decided on before.
    async fn refused(
        &mut self,
        range: Range<usize>,
        code: Option<String>,
        delivery: &mut Delivery,
    ) -> Result<(), EngineError> {
        let mut decisions = Decisions::default();
        for at in range {
            if std::mem::take(&mut self.open[at]) {
                decisions
                    .charged
                    .push((self.batch[at].clone(), code.clone()));
            }
        }
        self.settle(decisions, delivery).await
    }

    /// Hands decisions to the store, and records that are given up to whoever asked for them.
    async fn settle(
        &self,
        decisions: Decisions,
        delivery: &mut Delivery,
    ) -> Result<(), EngineError> {
        if self.was_cleared().await {
            return Ok(());
        }
        let mut done = FlushData::flushed(decisions.accepted.len());
        let mut settlement = Settlement::new(self.stream.clone()).delete(decisions.accepted);
        for (record, code) in decisions.charged {
            match charge(record.attempts, self.inner.options.max_retries) {
                Charge::Retry => {
                    settlement.count_attempt.push(record.id);
                    done.records_retried += 1;
                }
                Charge::Discard => {
                    settlement.delete.push(record.id);
                    self.give_up(record, code);
                    done.records_discarded += 1;
                }
            }
        }
        let done = self.decided(settlement, done).settle(self.inner).await?;
        delivery.done.add(done);
        Ok(())
    }

    fn decided(&self, settlement: Settlement, done: FlushData) -> Decided {
        Decided {
            settlement,
            clears: self.clears,
            claim: None,
            done,
        }
    }

    async fn was_cleared(&self) -> bool {
        *self.inner.clears.read().await != self.clears
    }

    fn give_up(&self, record: Record, code: Option<String>) {
        let attempts = record.attempts.saturating_add(1);
        tracing::error!(
            target: trace::TARGET,
            stream = %self.stream,
            code = code.as_deref(),
            attempts,
            bytes = record.size(),
            "a record was given up: its retries are exhausted"
        );
        if let Some(handler) = &self.inner.options.on_discard {
            let reason = DiscardReason::RetriesExhausted;
            handler.call(DiscardedRecord::new(
                self.stream,
                record,
                attempts,
                reason,
                code,
            ));
        }
    }
}

async fn bounded<T>(inner: &Inner, request: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(inner.options.request_timeout, request)
        .await
        .ok()
}
