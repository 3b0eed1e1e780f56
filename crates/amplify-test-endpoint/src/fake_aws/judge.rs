//! Decides how to answer a request, and accepts its records.

use std::borrow::Cow;
use std::time::Duration;

use super::http::{self, Head, Persistence};
use super::limits;
use super::protocol::{self, Format, JSON, Put};
use super::reply::{Refusal, Reply};
use super::request::{Outcome, PutRecord, PutRequest, Service};
use super::state::{InFlight, Keep, Shared, Source};

/// The server's plan for a request whose records have been accepted already.
pub(super) struct Plan {
    pub(super) act: Act,
    pub(super) outcome: Outcome,
    pub(super) delay: Duration,
}

/// What the client sees.
pub(super) enum Act {
    /// These bytes, after which the connection may end.
    Answer(Vec<u8>, Persistence),
    Hang,
    Close,
    Reset,
}

impl Plan {
    fn new(act: Act, outcome: Outcome) -> Self {
        Self {
            act,
            outcome,
            delay: Duration::ZERO,
        }
    }

    /// Bytes that the client cannot use.
    fn unreadable(answer: Vec<u8>, after: Persistence) -> Self {
        Self::new(Act::Answer(answer, after), Outcome::Unreadable)
    }

    /// The plan for a reply that says nothing about records.
    pub(super) fn without_records(reply: &Reply, format: Format) -> Option<Self> {
        Some(match reply {
            Reply::Refuse(refusal) => Self::refuse(refusal, format),
            Reply::Status(status) => Self::answer(*status, JSON, b""),
            Reply::Page { status, body } => Self::answer(*status, "text/html", body),
            Reply::Hang => Self::new(Act::Hang, Outcome::Abandoned),
            Reply::Close => Self::new(Act::Close, Outcome::Dropped),
            Reply::Reset => Self::new(Act::Reset, Outcome::Dropped),
            Reply::Garbage => {
                let answer = http::answer(200, JSON, None, b"\x1f\x8b this is no JSON {{{");
                Self::unreadable(answer, Persistence::KeepAlive)
            }
            Reply::NotHttp => {
                let answer = b"\x00\x01\x02 this is no HTTP\r\n\r\n".to_vec();
                Self::unreadable(answer, Persistence::Close)
            }
            _ => return None,
        })
    }

    pub(super) fn answer(status: u16, content_type: &str, body: &[u8]) -> Self {
        let answer = http::answer(status, content_type, None, body);
        Self::new(
            Act::Answer(answer, Persistence::KeepAlive),
            Outcome::Answered { status, code: None },
        )
    }

    pub(super) fn refuse(refusal: &Refusal, format: Format) -> Self {
        let body = protocol::refusal_body(refusal, format);
        let error_type = protocol::refusal_header(refusal);
        let answer = http::answer(refusal.status, format.content_type(), error_type, &body);
        Self::new(
            Act::Answer(answer, Persistence::KeepAlive),
            Outcome::Answered {
                status: refusal.status,
                code: refusal.code.clone(),
            },
        )
    }
}

/// Judges a request, accepts its records, and prepares the response.
pub(super) fn judge(put: &Put<'_>, head: &Head, shared: &Shared, in_flight: &InFlight) -> Plan {
    let broken = |refusal: Refusal| {
        shared.note_violation(format!(
            "{:?} {}: {}",
            put.service, put.stream, refusal.message
        ));
        Plan::refuse(&refusal, put.format)
    };
    if let Some(refusal) = limits::violation(put) {
        return broken(refusal);
    }
    let (keep, source) = {
        let mut state = shared.lock();
        if !state.knows(&put.stream) {
            return Plan::refuse(&protocol::unknown_stream(&put.stream), put.format);
        }
        (state.keep, state.next_source(&put.stream))
    };

    let looks_at_records = !matches!(source, Source::Default);
    let mut request = PutRequest {
        index: in_flight.index().unwrap_or_default(),
        service: put.service,
        stream: put.stream.clone().into_owned(),
        records: Vec::new(),
        user_agent: head.user_agent.clone(),
        amz_user_agent: head.amz_user_agent.clone(),
    };
    if looks_at_records || keep == Keep::Payloads {
        match put.decode() {
            Ok(records) => request.records = records,
            Err(refusal) => return broken(refusal),
        }
    }
    let reply = match source {
        Source::Default => Reply::Accept,
        Source::Scripted(reply) => reply,
        Source::Rule(rule) => rule(&request),
    };
    let (reply, delay, takes_all) = unwrap(reply);
    let codes = record_codes(&reply, put.service, &request.records);
    let accepts = |index: usize| match &codes {
        _ if takes_all => true,
        Some(codes) => codes.get(index).is_none_or(Option::is_none),
        None => false,
    };
    let shards = shared.lock().shards.of_records(put);
    take_in(
        put,
        request.records,
        keep,
        accepts,
        &shards,
        shared,
        in_flight,
    );

    let mut plan = prepare(&reply, put, codes.as_deref(), &shards, shared);
    plan.delay = delay;
    plan
}

/// What a reply comes to, how late it is, and whether all records are accepted whatever it says.
fn unwrap(mut reply: Reply) -> (Reply, Duration, bool) {
    let mut delay = Duration::ZERO;
    let mut takes_all = false;
    loop {
        reply = match reply {
            Reply::Delayed(more, inner) => {
                delay += more;
                *inner
            }
            Reply::AfterAccepting(inner) => {
                takes_all = true;
                *inner
            }
            other => return (other, delay, takes_all),
        }
    }
}

/// The records' error codes for a response with results; `None` if the reply has no codes.
fn record_codes<'a>(
    reply: &'a Reply,
    service: Service,
    records: &[PutRecord],
) -> Option<Cow<'a, [Option<String>]>> {
    match reply {
        Reply::Accept => Some(Cow::Borrowed(&[])),
        Reply::RecordErrors(codes) => Some(Cow::Borrowed(codes)),
        Reply::AcceptFirst(count) => {
            let code = protocol::throttled_record(service);
            let codes = (0..records.len()).map(|at| (at >= *count).then(|| code.to_owned()));
            Some(codes.collect())
        }
        Reply::FailWhere { matches, code } => {
            let codes = records
                .iter()
                .map(|record| matches.matches(record).then(|| code.clone()));
            Some(codes.collect())
        }
        _ => None,
    }
}

fn take_in(
    put: &Put<'_>,
    records: Vec<PutRecord>,
    keep: Keep,
    accepts: impl Fn(usize) -> bool,
    shards: &[String],
    shared: &Shared,
    in_flight: &InFlight,
) {
    let mut count = 0;
    let mut bytes = 0;
    for (index, record) in put.records.iter().enumerate() {
        if accepts(index) {
            count += 1;
            bytes += record.size();
        }
    }
    let records = match keep {
        Keep::Payloads => records,
        Keep::CountsOnly => Vec::new(),
    };
    let accepted = records.into_iter().enumerate();
    let accepted = accepted.filter(|(index, _)| accepts(*index));
    let accepted = accepted.map(|(index, record)| {
        let shard = protocol::shard(shards, index);
        (shard.to_owned(), record)
    });
    shared.update(|state| {
        state.take_in(&put.stream, count, bytes, accepted);
        in_flight.note_accepted(state, count);
    });
}

fn prepare(
    reply: &Reply,
    put: &Put<'_>,
    codes: Option<&[Option<String>]>,
    shards: &[String],
    shared: &Shared,
) -> Plan {
    let results = |count: usize, codes: &[Option<String>]| {
        let first = shared.lock().next_sequences(count);
        protocol::put_answer(put, count, codes, shards, first)
    };
    if let Some(plan) = Plan::without_records(reply, put.format) {
        return plan;
    }
    let (all, content_type) = (put.records.len(), put.format.content_type());
    match reply {
        // These four have codes for the records.
        Reply::Accept
        | Reply::AcceptFirst(_)
        | Reply::RecordErrors(_)
        | Reply::FailWhere { .. } => {
            let body = results(all, codes.unwrap_or_default());
            Plan::answer(200, content_type, &body)
        }
        Reply::WrongCount(count) => {
            let answer = http::answer(200, content_type, None, &results(*count, &[]));
            Plan::unreadable(answer, Persistence::KeepAlive)
        }
        Reply::Truncated => {
            let body = results(all, &[]);
            let mut answer = http::answer(200, content_type, None, &body);
            answer.truncate(answer.len() - body.len() / 2);
            Plan::unreadable(answer, Persistence::Close)
        }
        Reply::AfterAccepting(inner) | Reply::Delayed(_, inner) => {
            prepare(inner, put, codes, shards, shared)
        }
        // Throttled; no other reply needs records.
        _ => Plan::refuse(&protocol::throttled(put.service), put.format),
    }
}
