//! An in-process service that answers as scripted and records the requests it gets.

use std::collections::HashSet;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use flush_engine::{BatchLimits, Fault, RecordSender, SendError, Verdict};
use record_cache::{Record, StreamName};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Gate, bytes, count, text};

type Script = Box<dyn FnMut(&Call) -> Reply + Send>;

/// An in-process service that answers as scripted.
pub(crate) struct Service {
    limits: BatchLimits,
    fits: usize,
    script: Mutex<Script>,
    log: watch::Sender<Log>,
}

#[derive(Debug, Default)]
struct Log {
    calls: Vec<Call>,
    accepted: Vec<(String, String)>,
    in_flight: usize,
    most_in_flight: usize,
}

/// One request, as the service saw it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) stream: String,
    pub(crate) data: Vec<String>,
    pub(crate) attempts: Vec<u32>,
    pub(crate) at: Instant,
    /// How many requests came before this one.
    pub(crate) number: usize,
}

pub(crate) enum Reply {
    Accept,
    Verdicts(Vec<Verdict>),
    Refuse(Option<&'static str>, u16),
    Fail(SendError),
    Panic,
    Hang,
    After(Duration, Box<Reply>),
    Behind(Gate, Box<Reply>),
}

impl Service {
    pub(crate) fn accepting() -> Self {
        Self::replying(|_| Reply::Accept)
    }

    pub(crate) fn replying(script: impl FnMut(&Call) -> Reply + Send + 'static) -> Self {
        Self {
            limits: BatchLimits::new(count(500), bytes(4 * 1024 * 1024)),
            fits: usize::MAX,
            script: Mutex::new(Box::new(script)),
            log: watch::Sender::default(),
        }
    }

    /// Accepts everything once the gate is open.
    pub(crate) fn gated() -> (Gate, Self) {
        Self::replying_behind(|_| Reply::Accept)
    }

    /// Replies once the gate is open.
    pub(crate) fn replying_behind(
        mut script: impl FnMut(&Call) -> Reply + Send + 'static,
    ) -> (Gate, Self) {
        let gate = Gate::closed();
        let behind = gate.clone();
        let service = Self::replying(move |call| script(call).behind(&behind));
        (gate, service)
    }

    /// Gives this reply to requests of one stream, and accepts all others.
    pub(crate) fn answering(
        stream: &'static str,
        mut reply: impl FnMut(&Call) -> Reply + Send + 'static,
    ) -> Self {
        Self::replying(move |call| match call.stream == stream {
            true => reply(call),
            false => Reply::Accept,
        })
    }

    /// Throttles the first requests, and accepts all others.
    pub(crate) fn throttling(requests: usize) -> Self {
        Self::replying(move |call| match call.number < requests {
            true => Reply::throttled(),
            false => Reply::Accept,
        })
    }

    /// Refuses every request that contains a poison record.
    pub(crate) fn refusing(
        code: &'static str,
        poison: impl Fn(&str) -> bool + Send + 'static,
    ) -> Self {
        Self::replying(move |call| call.refuse_if(code, &poison))
    }

    pub(crate) fn limited(mut self, max_items: usize, max_bytes: u64) -> Self {
        self.limits = BatchLimits::new(count(max_items), bytes(max_bytes));
        self
    }

    /// Takes at most this many records per request. The engine learns this only after reading them.
    pub(crate) fn fitting(mut self, fits: usize) -> Self {
        self.fits = fits;
        self
    }

    pub(crate) fn now_replies(&self, script: impl FnMut(&Call) -> Reply + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.log.borrow().calls.clone()
    }

    pub(crate) fn call_count(&self) -> usize {
        self.log.borrow().calls.len()
    }

    /// The streams of all requests so far, in order.
    pub(crate) fn streams(&self) -> Vec<String> {
        self.calls().into_iter().map(|call| call.stream).collect()
    }

    /// The sizes of all requests so far, in records.
    pub(crate) fn batch_sizes(&self) -> Vec<usize> {
        self.calls().iter().map(|call| call.data.len()).collect()
    }

    /// What was accepted for a stream, in order.
    pub(crate) fn accepted(&self, stream: &str) -> Vec<String> {
        let log = self.log.borrow();
        let of_stream = log.accepted.iter().filter(|(name, _)| name == stream);
        of_stream.map(|(_, data)| data.clone()).collect()
    }

    pub(crate) fn accepted_count(&self) -> usize {
        self.log.borrow().accepted.len()
    }

    /// What was accepted from all streams, without duplicates.
    pub(crate) fn distinct_accepted(&self) -> HashSet<(String, String)> {
        self.log.borrow().accepted.iter().cloned().collect()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.log.borrow().in_flight
    }

    pub(crate) fn most_in_flight(&self) -> usize {
        self.log.borrow().most_in_flight
    }

    /// Waits until at least `times` requests have arrived.
    pub(crate) async fn called(&self, times: usize) {
        let mut log = self.log.subscribe();
        log.wait_for(|log| log.calls.len() >= times).await.unwrap();
    }

    /// Waits until at least `times` requests have arrived and none is in flight.
    pub(crate) async fn answered(&self, times: usize) {
        let mut log = self.log.subscribe();
        let answered = |log: &Log| log.calls.len() >= times && log.in_flight == 0;
        log.wait_for(answered).await.unwrap();
    }

    fn arrived(&self, stream: &StreamName, batch: &[Record]) -> (Call, Reply) {
        let call = Call {
            stream: stream.as_str().to_owned(),
            data: batch.iter().map(text).collect(),
            attempts: batch.iter().map(|record| record.attempts).collect(),
            at: Instant::now(),
            number: self.call_count(),
        };
        let reply = (self.script.lock().unwrap())(&call);
        self.log.send_modify(|log| {
            log.calls.push(call.clone());
            log.in_flight += 1;
            log.most_in_flight = log.most_in_flight.max(log.in_flight);
        });
        (call, reply)
    }

    fn note_accepted(&self, call: &Call, verdicts: &[Verdict]) {
        self.log.send_modify(|log| {
            for (data, verdict) in call.data.iter().zip(verdicts) {
                if matches!(verdict, Verdict::Accepted(_)) {
                    log.accepted.push((call.stream.clone(), data.clone()));
                }
            }
        });
    }
}

#[async_trait]
impl RecordSender for Service {
    fn limits(&self) -> BatchLimits {
        self.limits
    }

    async fn fit(&self, _: &StreamName, batch: &[Record]) -> usize {
        batch.len().min(self.fits)
    }

    async fn send(&self, stream: &StreamName, batch: &[Record]) -> Result<Vec<Verdict>, SendError> {
        let (call, mut reply) = self.arrived(stream, batch);
        let _in_flight = InFlight(self);
        let verdicts = loop {
            match reply {
                Reply::Accept => break vec![Verdict::Accepted(None); batch.len()],
                Reply::Verdicts(verdicts) => break verdicts,
                Reply::Refuse(code, status) => {
                    let (fault, code) = (fault(code, status), code.map(str::to_owned));
                    return Err(SendError::refused(fault, code, "the service said no"));
                }
                Reply::Fail(error) => return Err(error),
                Reply::Panic => panic!("the sender was told to panic"),
                Reply::Hang => std::future::pending().await,
                Reply::After(delay, then) => {
                    tokio::time::sleep(delay).await;
                    reply = *then;
                }
                Reply::Behind(gate, then) => {
                    gate.passed().await;
                    reply = *then;
                }
            }
        };
        self.note_accepted(&call, &verdicts);
        Ok(verdicts)
    }
}

/// Who is at fault, by the rules of this service.
fn fault(code: Option<&str>, status: u16) -> Fault {
    match (code, status) {
        (Some("ResourceNotFoundException" | "InvalidSourceException"), _) => Fault::Stream,
        (Some(code), _) if code.starts_with("InvalidArgument") => Fault::Records,
        (Some("ValidationException" | "SerializationException"), _) | (None, 413) => Fault::Records,
        (Some(_), _) | (None, 429 | 500..) => Fault::Service,
        (None, _) => Fault::Unreadable,
    }
}

struct InFlight<'a>(&'a Service);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.log.send_modify(|log| log.in_flight -= 1);
    }
}

impl Call {
    /// Sends back the selected records with this code, and accepts the others.
    pub(crate) fn send_back(&self, code: &str, which: impl Fn(&str) -> bool) -> Reply {
        let code = code.to_owned();
        let verdict = |data: &String| match which(data) {
            true => Verdict::Failed { code: code.clone() },
            false => Verdict::Accepted(None),
        };
        Reply::Verdicts(self.data.iter().map(verdict).collect())
    }

    /// Sends back all records.
    pub(crate) fn send_all_back(&self) -> Reply {
        self.send_back("InternalFailure", |_| true)
    }

    pub(crate) fn refuse_if(&self, code: &'static str, poison: impl Fn(&str) -> bool) -> Reply {
        match self.data.iter().any(|data| poison(data)) {
            true => Reply::Refuse(Some(code), 400),
            false => Reply::Accept,
        }
    }
}

impl Reply {
    pub(crate) fn no_answer() -> Self {
        Self::Fail(SendError::no_answer("the connection was reset"))
    }

    pub(crate) fn timed_out() -> Self {
        Self::Fail(SendError::timed_out("the connection timed out"))
    }

    pub(crate) fn throttled() -> Self {
        Self::Refuse(Some("ProvisionedThroughputExceededException"), 400)
    }

    pub(crate) fn after(self, delay: Duration) -> Self {
        Self::After(delay, Box::new(self))
    }

    pub(crate) fn behind(self, gate: &Gate) -> Self {
        Self::Behind(gate.clone(), Box::new(self))
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}
