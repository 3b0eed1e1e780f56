//! One batch of one stream: sent, judged, settled.

use std::ops::Range;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use record_cache::{Record, StreamName};
use tracing::Instrument;

use crate::api::{EngineError, Fault, FlushData, NoAnswer, SendError, SkippedStream, Verdict};
use crate::cache::{Batch, Decision};
use crate::delivery::bisect::{Bisection, Refusal};
use crate::delivery::charge::{Charge, charge};
use crate::delivery::context::{Environment, PassContext};
use crate::delivery::history::{Link, Outcome};
use crate::lifecycle::runtime::{Instant, timeout};
use crate::telemetry::{GivenUp, log};

/// The result of one batch.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// The totals. `skipped_streams` has at most one entry.
    pub(super) done: FlushData,
    /// Whether a request was made.
    pub(super) reached: bool,
    /// The outcome for the records; `None` if all were accepted.
    pub(super) outcome: Option<Outcome>,
    /// The outcome of the last request.
    pub(super) link: Option<Link>,
    /// The error that ends the whole pass.
    pub(super) abort: Option<EngineError>,
    /// All records were accepted, but the store has not deleted them yet.
    pub(super) unsettled: Option<Decision>,
}

/// Delivers one batch of a stream, in more than one request if the service refuses it.
pub(super) async fn deliver(context: &PassContext, stream: &StreamName, batch: Batch) -> Delivery {
    let mut delivery = Delivery::default();
    let claim = batch.claim;
    let mut exchange = Exchange {
        context,
        env: &context.env,
        stream,
        undecided: vec![true; batch.records.len()],
        given_up: GivenUp::default(),
        batch: batch.records,
        clears: batch.clears,
    };
    if let Err(error) = exchange.run(&mut delivery).await {
        delivery.outcome = Some(Outcome::NoAnswer);
        delivery.abort = Some(error);
    }
    exchange.log(&delivery);
    if let Some(decision) = &mut delivery.unsettled {
        decision.hold(claim);
    }
    delivery
}

/// What an answer said about the records of a part.
struct Answered {
    accepted: usize,
    /// The new positions of the records that were refused together.
    refused_together: Range<usize>,
}

/// One batch and its requests.
struct Exchange<'a> {
    context: &'a PassContext,
    env: &'a Environment,
    stream: &'a StreamName,
    batch: Vec<Record>,
    /// How often the cache had been cleared when the batch was read.
    clears: u64,
    /// Which records are still undecided.
    undecided: Vec<bool>,
    given_up: GivenUp,
}

impl Exchange<'_> {
    async fn run(&mut self, delivery: &mut Delivery) -> Result<(), EngineError> {
        let least = self.batch.iter().map(|record| record.attempts).min();
        let least_charged = self.batch.iter().filter(|r| Some(r.attempts) == least);
        let least_charged = least_charged.count();
        let mut bisection = Bisection::new(self.batch.len(), least_charged, fastrand::f64());
        while let Some(part) = bisection.next_part() {
            if !self.context.may_send() || self.was_cleared().await {
                break;
            }
            delivery.reached = true;
            let records = &self.batch[part.clone()];
            if let Some(oldest) = records.first() {
                let age = self.env.cache.age(oldest);
                self.env.meter.oldest(self.stream, age);
            }
            let begun = Instant::now();
            let span = log::request(self.stream, records);
            let answer = self.send(records).instrument(span).await;
            let limits = self.env.sender.limits();
            let meter = &self.env.meter;
            meter.request(self.stream, records, limits, begun.elapsed(), &answer);
            let (fault, code, message) = match answer {
                Ok(verdicts) => {
                    delivery.link = Some(Link::Answered);
                    let answered = self.answered(part, verdicts, delivery).await?;
                    bisection.answered(answered.accepted);
                    if !answered.refused_together.is_empty() {
                        bisection.refused(answered.refused_together);
                    }
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
            delivery.outcome = Some(match fault {
                Fault::Records | Fault::Stream => Outcome::SentBack,
                Fault::Service | Fault::Unreadable => Outcome::TurnedAway,
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
        Ok(())
    }

    /// Logs one line for refused records and one for discarded records.
    fn log(&self, delivery: &Delivery) {
        let done = &delivery.done;
        if let Some(skipped) = done.skipped_streams.first() {
            let gone = done.records_flushed + done.records_discarded;
            tracing::warn!(
                target: log::TARGET,
                stream = %self.stream,
                code = skipped.code.as_deref(),
                kept = self.batch.len().saturating_sub(gone),
                "the service refused a request"
            );
        }
        log::given_up(self.stream, &self.given_up);
    }

    /// Makes one request with a time limit. A panic in the sender or a wrong number of verdicts
    /// counts as no answer.
    async fn send(&self, records: &[Record]) -> Result<Vec<Verdict>, SendError> {
        let limit = self.env.options.request_timeout;
        let request = self.env.sender.send(self.stream, records);
        let contained = AssertUnwindSafe(request).catch_unwind();
        let verdicts = match timeout(limit, contained).await {
            Ok(Ok(answer)) => answer?,
            Ok(Err(_panic)) => return Err(SendError::no_answer("the request panicked")),
            Err(_elapsed) => {
                return Err(SendError::timed_out(format!(
                    "no answer within the request timeout of {limit:?}"
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

    /// Decides about the records of an answered part. Records refused together are moved to the end
    /// of the part, in order.
    async fn answered(
        &mut self,
        part: Range<usize>,
        verdicts: Vec<Verdict>,
        delivery: &mut Delivery,
    ) -> Result<Answered, EngineError> {
        let mut decision = self.decision();
        let mut accepted = 0;
        let mut together = Vec::new();
        for (at, verdict) in part.clone().zip(verdicts) {
            self.undecided[at] = false;
            match verdict {
                Verdict::Accepted(receipt) => {
                    let record = &self.batch[at];
                    decision.accept(record.id);
                    if self.env.cache.tells_delivered() {
                        decision.tell(record.key.clone(), receipt);
                    }
                    accepted += 1;
                    continue;
                }
                Verdict::Failed { code } => {
                    self.charge(&self.batch[at], Some(code), &mut decision);
                }
                Verdict::FailedTogether { code } => {
                    decision.keep(&self.batch[at]);
                    together.push((at, code));
                }
                Verdict::Kept => decision.keep(&self.batch[at]),
            }
            delivery.outcome = Some(Outcome::SentBack);
        }
        if together.len() == 1 {
            // Nothing to split.
            for (at, code) in together.drain(..) {
                self.charge(&self.batch[at], Some(code), &mut decision);
            }
        }
        if accepted == self.batch.len() {
            delivery.unsettled = Some(decision);
        } else {
            self.settle(decision, delivery).await?;
        }
        let first = part.end - together.len();
        let together: Vec<_> = together.into_iter().map(|(at, _)| at).collect();
        self.set_apart(part.clone(), &together);
        Ok(Answered {
            accepted,
            refused_together: first..part.end,
        })
    }

    /// Moves undecided records to the end of a part. Both groups keep their order.
    fn set_apart(&mut self, part: Range<usize>, undecided: &[usize]) {
        if undecided.is_empty() {
            return;
        }
        let records = part.clone().zip(self.batch.drain(part.clone()));
        let (apart, decided): (Vec<_>, Vec<_>) =
            records.partition(|(at, _)| undecided.binary_search(at).is_ok());
        self.undecided[part.end - apart.len()..part.end].fill(true);
        let in_order = decided.into_iter().chain(apart);
        let in_order = in_order.map(|(_, record)| record);
        self.batch.splice(part.start..part.start, in_order);
    }

    /// Charges the undecided records of a refused range.
    async fn refused(
        &mut self,
        range: Range<usize>,
        code: Option<String>,
        delivery: &mut Delivery,
    ) -> Result<(), EngineError> {
        let mut decision = self.decision();
        for at in range {
            if std::mem::take(&mut self.undecided[at]) {
                self.charge(&self.batch[at], code.clone(), &mut decision);
            }
        }
        self.settle(decision, delivery).await
    }

    fn charge(&self, record: &Record, code: Option<String>, decision: &mut Decision) {
        let last = self.env.charges.last(self.stream, record.id);
        let spacing = self.context.plan.charge_spacing();
        match charge(record.attempts, self.env.options.max_retries, last, spacing) {
            Charge::Free => decision.keep(record),
            Charge::Retry => {
                decision.keep(record);
                decision.retry(record.id);
            }
            Charge::Discard => decision.give_up(record.clone(), code),
        }
    }

    async fn settle(
        &mut self,
        decision: Decision,
        delivery: &mut Delivery,
    ) -> Result<(), EngineError> {
        let charged = decision.retried().to_vec();
        let given_up = decision.given_up();
        let done = self.env.cache.settle(decision).await?;
        self.env.charges.note(self.stream, &charged);
        if done.records_discarded > 0 {
            self.given_up.add(given_up);
        }
        delivery.done.add(done);
        Ok(())
    }

    fn decision(&self) -> Decision {
        Decision::new(self.stream.clone(), self.clears)
    }

    async fn was_cleared(&self) -> bool {
        self.env.cache.clears().await != self.clears
    }
}
