//! The log events, compared with the documentation.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use std::collections::BTreeSet;
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex};

use common::*;
use flush_engine::{DiscardHandler, EngineOptions, OverflowPolicy};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

const PROMISED: &str = include_str!("../../../docs/observability.md");
const SECRET: &str = "PAYLOAD";

/// One event or span, as listed in the documentation's table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    what: String,
    message: String,
    fields: BTreeSet<String>,
    inside: Vec<String>,
}

/// Collects what the engine logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Seen>>>);

#[derive(Default)]
struct Fields {
    message: String,
    names: BTreeSet<String>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        assert!(!text.contains(SECRET), "{field}: {text}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.names.insert(field.name().to_owned());
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Log {
    fn on_new_span(&self, span: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        span.record(&mut fields);
        let parents = context.span(id).unwrap().scope().skip(1);
        let parents: Vec<_> = parents.map(|span| span.name().to_owned()).collect();
        self.0.lock().unwrap().push(Seen {
            what: format!("SPAN {}", span.metadata().level()),
            message: span.metadata().name().to_owned(),
            fields: fields.names,
            inside: parents.into_iter().rev().collect(),
        });
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let scope = context.event_scope(event).into_iter();
        let scope = scope.flat_map(|scope| scope.from_root());
        self.0.lock().unwrap().push(Seen {
            what: event.metadata().level().to_string(),
            message: fields.message,
            fields: fields.names,
            inside: scope.map(|span| span.name().to_owned()).collect(),
        });
    }
}

impl fmt::Display for Seen {
    /// Formats it as a row of the table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<_> = self.fields.iter().map(|name| format!("`{name}`")).collect();
        let (what, message, fields) = (&self.what, &self.message, fields.join(", "));
        write!(f, "| {what} | {message} | {fields} |")
    }
}

/// The same row with its fields sorted by name.
fn sorted(row: &str) -> String {
    let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
    let [level, message, fields] = cells[..] else {
        return row.to_owned();
    };
    let fields: BTreeSet<_> = fields.split(", ").collect();
    let fields: Vec<_> = fields.into_iter().collect();
    format!("| {level} | {message} | {} |", fields.join(", "))
}

fn options(interval: bool) -> EngineOptions {
    let mut options = match interval {
        true => every(SECOND),
        false => common::options(),
    };
    options.max_retries = 0;
    options.cache_max_bytes = bytes(100);
    options.overflow_policy = OverflowPolicy::DropOldest;
    options.max_record_age = Some(SECOND * 3600);
    options
}

/// Makes the engine log all its messages, except those about other instances.
async fn a_full_life() {
    let data = &format!("{SECRET}-{}", "x".repeat(40));
    let service = Service::replying(|call| match call.number {
        0 => Reply::Accept,
        1 => call.send_all_back(),
        2 => Reply::throttled(),
        _ => Reply::no_answer(),
    });
    let mut panicking = options(false);
    panicking.on_discard = Some(DiscardHandler::new(|_| {
        std::panic::resume_unwind(Box::new("on purpose"));
    }));
    let rig = Rig::with(service, panicking);
    for _ in 0..4 {
        rig.record("a", data).await;
    }
    rig.flush().await;
    rig.record("a", data).await;
    rig.flush().await;
    rig.record_all(vec![ancient("a", data)]).await;
    rig.flush().await;
    rig.record("a", data).await;
    rig.flush().await;
    rig.engine.flush().await.unwrap_err();
    rig.service.now_replies(|_| Reply::Accept);
    rig.flush().await;
    rig.record("b", data).await;
    rig.store.now_does_at(Op::Oldest, || Step::Damage);
    rig.flush().await;
    rig.engine.close().await.unwrap();

    let rig = Rig::tuned(Service::accepting(), |options| {
        let panics = |_| std::panic::resume_unwind(Box::new("on purpose"));
        options.on_delivered = Some(flush_engine::DeliveredHandler::new(panics));
    });
    rig.record("a", data).await;
    rig.flush().await;
    rig.engine.close().await.unwrap();

    let rig = Rig::with(Service::replying(|_| Reply::no_answer()), options(true));
    rig.record("a", data).await;
    rig.service.called(1).await;
    rig.engine.close().await.unwrap();
}

/// What the engine logs in a test.
fn logged(test: impl Future<Output = ()>) -> Vec<Seen> {
    let log = Log::default();
    let ours = filter_fn(|metadata: &Metadata<'_>| metadata.target() == "flush_engine");
    let keeping = Registry::default().with(log.clone().with_filter(ours));
    tracing::subscriber::with_default(keeping, || block_on_paused(test));
    std::mem::take(&mut *log.0.lock().unwrap())
}

/// The rows of the engine's table in the documentation.
fn promised_rows() -> impl Iterator<Item = &'static str> {
    let table = PROMISED.split("`flush_engine`:").nth(1).unwrap();
    let table = table.split("There are two spans").next().unwrap();
    table.lines().filter(|line| line.starts_with("| "))
}

#[test]
fn every_event_is_promised_and_every_promise_is_kept() {
    let all = logged(a_full_life());
    let (spans, events): (Vec<_>, Vec<_>) =
        all.iter().partition(|seen| seen.what.starts_with("SPAN"));

    let rows = promised_rows().filter(|line| !line.starts_with("| level"));
    let promised: BTreeSet<_> = rows.map(sorted).collect();
    let seen = events.iter().map(|seen| sorted(&seen.to_string()));
    let seen: BTreeSet<_> = seen.collect();
    let unpromised: Vec<_> = seen.difference(&promised).collect();
    assert!(unpromised.is_empty(), "{unpromised:#?}");
    // Messages about other instances, services and connections are tested elsewhere.
    let elsewhere = |row: &&String| {
        let words = [
            "instance",
            "CBOR",
            "shards",
            "browser",
            "the client is open",
        ];
        words.iter().any(|word| row.contains(word))
    };
    let unkept: Vec<_> = promised.difference(&seen).collect();
    assert!(unkept.iter().all(elsewhere), "{unkept:#?}");

    let pass = spans.iter().find(|span| span.message == "pass").unwrap();
    assert!(pass.fields.is_empty());
    let requests = spans.iter().filter(|span| span.message == "request");
    let requests: Vec<_> = requests.collect();
    assert!(!requests.is_empty());
    for request in requests {
        assert_eq!(request.what, "SPAN DEBUG");
        let fields: Vec<_> = request.fields.iter().map(String::as_str).collect();
        assert_eq!(fields, ["bytes", "records", "stream"]);
        assert_eq!(request.inside, ["pass"]);
    }
    for ended in events.iter().filter(|seen| seen.message == "a pass ended") {
        assert_eq!(ended.inside, ["pass"]);
    }
}

#[test]
fn what_is_given_up_or_refused_is_one_line_a_batch() {
    let service = Service::replying(|call| match call.number {
        // A whole batch, sent back for the last time.
        0 => call.send_all_back(),
        // A batch that is bisected, with two bad records in it.
        _ => call.refuse_if("ValidationException", |data| data.ends_with("7")),
    });
    let all = logged(async {
        let rig = Rig::tuned(service, |options| options.max_retries = 0);
        rig.record_each("a", numbered(500)).await;
        assert_eq!(rig.flush().await.records_discarded, 500);
        rig.record_each("a", numbered(20)).await;
        let done = rig.flush().await;
        assert_eq!((done.records_flushed, done.records_discarded), (18, 2));
        assert_eq!(rig.cached(), 0);
    });
    let lines = |message: &str| all.iter().filter(|seen| seen.message == message).count();
    let given_up = "records were discarded: their retries are exhausted";
    assert_eq!(lines(given_up), 2);
    assert_eq!(lines("the service refused a request"), 1);
    let says_they_stay = all.iter().any(|seen| seen.message.contains("stay"));
    assert!(!says_they_stay, "of records that were deleted");
}

#[test]
fn that_deliveries_fail_and_work_again_is_told_on_the_change_only() {
    let service = Service::replying(|call| match call.number {
        0..3 => Reply::throttled(),
        3 => Reply::no_answer(),
        // Most of the batch is delivered, so the stream does not count as failing.
        5 => call.send_back("InternalFailure", |data| data.ends_with('0')),
        7 => Reply::no_answer(),
        _ => Reply::Accept,
    });
    let all = logged(async {
        let rig = Rig::new(service);
        for _ in 0..9 {
            rig.record_each("a", numbered(2)).await;
            let _ = rig.engine.flush().await;
        }
    });
    let told = all.iter().map(|seen| &seen.message[..]);
    let told: Vec<_> = told.filter(|told| told.starts_with("deliveries")).collect();
    let fail = "deliveries of a stream fail";
    let work = "deliveries of a stream work again";
    assert_eq!(told, [fail, work, fail, work]);
}

#[test]
fn each_line_above_debug_is_explained_to_who_operates_it() {
    let operations = include_str!("../../../docs/operations.md");
    let mut lines = 0;
    for row in promised_rows() {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        if ["ERROR", "WARN", "INFO"].contains(&cells[1]) {
            let message = cells[2].split(" (").next().unwrap();
            assert!(operations.contains(&format!("`{message}`")), "{message}");
            lines += 1;
        }
    }
    assert!(lines > 9);
}
