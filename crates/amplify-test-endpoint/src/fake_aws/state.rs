//! The state that the handle and the server share: settings, script, and what was seen.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::clock;

use super::http::Head;
use super::protocol::Put;
use super::reply::Reply;
use super::request::{Outcome, PutRecord, PutRequest, RequestLog};
use super::shards::Shards;

pub(super) type Rule = Arc<dyn Fn(&PutRequest) -> Reply + Send + Sync>;

/// What to keep of accepted records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Keep {
    #[default]
    Payloads,
    CountsOnly,
}

pub(super) struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    condvar: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) keep: Keep,
    pub(super) latency: Duration,
    pub(super) link_speed: Option<u64>,
    pub(super) known_streams: Option<HashSet<String>>,
    pub(super) script: VecDeque<Reply>,
    pub(super) stream_scripts: HashMap<String, VecDeque<Reply>>,
    pub(super) rule: Option<Rule>,
    pub(super) deliveries: HashMap<String, Delivery>,
    pub(super) delivered_records: usize,
    pub(super) delivered_bytes: u64,
    pub(super) log: Vec<RequestLog>,
    pub(super) in_flight: Gauge,
    pub(super) stream_in_flight: HashMap<String, Gauge>,
    pub(super) connections: usize,
    pub(super) limit_violations: Vec<String>,
    pub(super) shards: Shards,
    pub(super) body_bytes: u64,
    last_sequence: u64,
    version: u64,
}

/// What one stream accepted.
#[derive(Default)]
pub(super) struct Delivery {
    pub(super) records: Vec<PutRecord>,
    /// The shard of each record.
    pub(super) shards: Vec<String>,
    pub(super) count: usize,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gauge {
    pub(super) now: usize,
    pub(super) max: usize,
}

/// Where the reply to a request comes from.
pub(super) enum Source {
    Default,
    Scripted(Reply),
    Rule(Rule),
}

impl Shared {
    pub(super) fn new(keep: Keep, latency: Duration) -> Self {
        Self {
            state: Mutex::new(State {
                keep,
                latency,
                ..State::default()
            }),
            changed: watch::Sender::new(0),
            condvar: Condvar::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes everyone who waits for a change.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        state.version += 1;
        let version = state.version;
        drop(state);
        self.changed.send_replace(version);
        self.condvar.notify_all();
        result
    }

    pub(super) fn note_violation(&self, violation: String) {
        self.update(|state| state.limit_violations.push(violation));
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn version(&self) -> u64 {
        self.lock().version
    }

    /// Blocks until the version changes, or until the deadline.
    pub(super) fn block_while_version_is(&self, version: u64, deadline: Instant) {
        let limit = deadline.saturating_duration_since(clock::now());
        let unchanged = |state: &mut State| state.version == version;
        let waited = self
            .condvar
            .wait_timeout_while(self.lock(), limit, unchanged);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl State {
    pub(super) fn knows(&self, stream: &str) -> bool {
        self.known_streams
            .as_ref()
            .is_none_or(|known| known.contains(stream))
    }

    /// Takes the next scripted reply for this stream, or else finds the standing rule.
    pub(super) fn next_source(&mut self, stream: &str) -> Source {
        let for_stream = self.stream_scripts.get_mut(stream);
        let scripted = for_stream
            .and_then(VecDeque::pop_front)
            .or_else(|| self.script.pop_front());
        match (scripted, &self.rule) {
            (Some(reply), _) => Source::Scripted(reply),
            (None, Some(rule)) => Source::Rule(Arc::clone(rule)),
            (None, None) => Source::Default,
        }
    }

    /// Counts accepted records and keeps those given.
    pub(super) fn take_in(
        &mut self,
        stream: &str,
        count: usize,
        bytes: usize,
        records: impl IntoIterator<Item = (String, PutRecord)>,
    ) {
        if count == 0 {
            return;
        }
        self.delivered_records += count;
        self.delivered_bytes += bytes as u64;
        let delivery = self.deliveries.entry(stream.to_owned()).or_default();
        delivery.count += count;
        let (shards, records): (Vec<_>, Vec<_>) = records.into_iter().unzip();
        delivery.shards.extend(shards);
        delivery.records.extend(records);
    }

    /// Reserves `count` consecutive sequence numbers and returns the first.
    pub(super) fn next_sequences(&mut self, count: usize) -> u64 {
        let first = self.last_sequence + 1;
        self.last_sequence += count as u64;
        first
    }
}

impl Gauge {
    fn enter(&mut self) {
        self.now += 1;
        self.max = self.max.max(self.now);
    }

    fn leave(&mut self) {
        self.now = self.now.saturating_sub(1);
    }
}

/// A request in flight. However it ends, it is counted out.
pub(super) struct InFlight {
    shared: Arc<Shared>,
    started: Instant,
    in_flight_at_start: usize,
    logged: Option<Logged>,
}

struct Logged {
    index: usize,
    stream: String,
    outcome: Option<Outcome>,
}

impl InFlight {
    /// Counts a request whose head has just been read.
    pub(super) fn begin(shared: &Arc<Shared>) -> Self {
        let in_flight_at_start = shared.update(|state| {
            state.in_flight.enter();
            state.in_flight.now
        });
        Self {
            shared: Arc::clone(shared),
            started: clock::now(),
            in_flight_at_start,
            logged: None,
        }
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Logs the request, whose body has arrived, as pending.
    pub(super) fn log(&mut self, put: &Put<'_>, head: &Head, body_bytes: usize) {
        let stream = put.stream.clone().into_owned();
        let entry = RequestLog {
            service: put.service,
            stream: stream.clone(),
            records: put.records.len(),
            bytes: put.bytes,
            accepted: 0,
            user_agent: head.user_agent.clone(),
            amz_user_agent: head.amz_user_agent.clone(),
            outcome: Outcome::Pending,
            in_flight_at_start: self.in_flight_at_start,
            started: self.started,
            ended: None,
        };
        let index = self.shared.update(|state| {
            state.log.push(entry);
            state.body_bytes += body_bytes as u64;
            let gauge = state.stream_in_flight.entry(stream.clone()).or_default();
            gauge.enter();
            state.log.len() - 1
        });
        self.logged = Some(Logged {
            index,
            stream,
            outcome: None,
        });
    }

    /// Its index in the log.
    pub(super) fn index(&self) -> Option<usize> {
        self.logged.as_ref().map(|logged| logged.index)
    }

    /// Notes how many records were accepted, within a change of the state.
    pub(super) fn note_accepted(&self, state: &mut State, accepted: usize) {
        let entry = self.index().and_then(|index| state.log.get_mut(index));
        if let Some(entry) = entry {
            entry.accepted = accepted;
        }
    }

    /// Ends the request with this outcome. A request dropped without it counts as abandoned.
    pub(super) fn end(mut self, outcome: Outcome) {
        if let Some(logged) = &mut self.logged {
            logged.outcome = Some(outcome);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let logged = self.logged.take();
        self.shared.update(|state| {
            state.in_flight.leave();
            let Some(logged) = logged else { return };
            if let Some(gauge) = state.stream_in_flight.get_mut(&logged.stream) {
                gauge.leave();
            }
            if let Some(entry) = state.log.get_mut(logged.index) {
                entry.outcome = logged.outcome.unwrap_or(Outcome::Abandoned);
                entry.ended = Some(clock::now());
            }
        });
    }
}
