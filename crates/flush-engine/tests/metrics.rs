//! The metrics, compared with the documentation.

#![expect(clippy::panic, reason = "a helper that fails fails its test")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::*;
use flush_engine::{EngineOptions, OverflowPolicy};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use record_cache::RecordStore;

/// Values by name and labels, without the labels that identify the client.
struct Seen(BTreeMap<String, DebugValue>);

impl Seen {
    fn counter(&self, key: &str) -> u64 {
        match self.0.get(key) {
            Some(DebugValue::Counter(value)) => *value,
            Some(other) => panic!("{key} is not a counter: {other:?}"),
            None => 0,
        }
    }

    fn gauge(&self, key: &str) -> f64 {
        match self.0.get(key) {
            Some(DebugValue::Gauge(value)) => value.into_inner(),
            other => panic!("{key} is not a gauge: {other:?}"),
        }
    }

    fn histogram(&self, key: &str) -> Vec<f64> {
        match self.0.get(key) {
            Some(DebugValue::Histogram(values)) => values.iter().map(|v| v.into_inner()).collect(),
            other => panic!("{key} is not a histogram: {other:?}"),
        }
    }
}

/// Runs a test with its own recorder, and returns what it recorded.
fn seen(test: impl Future<Output = ()>) -> Seen {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || block_on_paused(test));
    let snapshot = snapshotter.snapshot().into_vec().into_iter();
    let seen = snapshot.map(|(key, _, _, value)| {
        let key = key.key();
        let promised = include_str!("../../../docs/observability.md");
        assert!(promised.contains(&format!("| `{}` |", key.name())), "{key}");
        let labels: Vec<_> = key.labels().map(|l| (l.key(), l.value())).collect();
        let own = [("client", "kinesis"), ("region", "eu-west-1")];
        assert_eq!(labels[..2], own);
        let others = labels
            .iter()
            .filter(|(name, _)| !["client", "region"].contains(name));
        let others = others.map(|(name, value)| format!("{name}={value}"));
        let others: Vec<_> = others.collect();
        (format!("{}{{{}}}", key.name(), others.join(",")), value)
    });
    Seen(seen.collect())
}

fn named() -> EngineOptions {
    let mut options = options();
    options.client = "kinesis";
    options.region = "eu-west-1".to_owned();
    options
}

#[test]
fn records_are_counted_by_what_became_of_them() {
    let seen = seen(async {
        let mut options = named();
        options.max_retries = 1;
        options.max_record_age = Some(MINUTE);
        let service = Service::replying(|call| call.send_back("InternalFailure", |d| d == "bad"));
        let rig = Rig::with(service, options);
        let two = vec![new("a", "good"), new("a", "bad"), new("b", "also good")];
        rig.record_all(two).await;
        rig.record_all(vec![ancient("b", "old")]).await;
        rig.flush().await;
        rig.flush().await;
    });
    assert_eq!(seen.counter("amplify_recorded_records_total{stream=a}"), 2);
    assert_eq!(seen.counter("amplify_recorded_bytes_total{stream=a}"), 7);
    assert_eq!(seen.counter("amplify_recorded_records_total{stream=b}"), 2);
    assert_eq!(seen.counter("amplify_flushed_records_total{stream=a}"), 1);
    assert_eq!(seen.counter("amplify_flushed_records_total{stream=b}"), 1);
    assert_eq!(seen.counter("amplify_retried_records_total{stream=a}"), 1);
    let discarded = |stream, reason| {
        let labels = format!("{{stream={stream},reason={reason}}}");
        seen.counter(&format!("amplify_discarded_records_total{labels}"))
    };
    assert_eq!(discarded("a", "retries_exhausted"), 1);
    assert_eq!(discarded("b", "expired"), 1);
    assert_eq!(discarded("b", "retries_exhausted"), 0);
}

#[test]
fn losses_are_counted_from_zero() {
    let seen = seen(async {
        let store = ScriptedStore::obedient();
        store.append(vec![new("left", "over")]).await.unwrap();
        let rig = Rig::on(store, Service::accepting(), named());
        rig.record("a", "x").await;
    });
    for stream in ["a", "left"] {
        let discarded = ["retries_exhausted", "overflow", "expired"].map(|reason| {
            format!("amplify_discarded_records_total{{stream={stream},reason={reason}}}")
        });
        let refused = format!("amplify_refused_records_total{{stream={stream}}}");
        for key in discarded.into_iter().chain([refused]) {
            assert_eq!(seen.0.get(&key), Some(&DebugValue::Counter(0)), "{key}");
        }
    }
}

#[test]
fn what_made_room_is_counted() {
    let seen = seen(async {
        let mut options = named();
        options.cache_max_bytes = bytes(100);
        options.overflow_policy = OverflowPolicy::DropOldest;
        let rig = Rig::with(Service::accepting(), options);
        for _ in 0..5 {
            rig.record("a", &"x".repeat(40)).await;
        }
    });
    let overflow = "amplify_discarded_records_total{stream=a,reason=overflow}";
    assert_eq!(seen.counter(overflow), 3);
    assert_eq!(seen.counter("amplify_recorded_records_total{stream=a}"), 5);
    assert_eq!(seen.gauge("amplify_cached_records{}"), 2.0);
    assert_eq!(seen.gauge("amplify_cached_bytes{}"), 80.0);
}

#[test]
fn what_is_not_stored_is_not_counted() {
    let seen = seen(async {
        let mut options = named();
        options.cache_max_bytes = bytes(100);
        let rig = Rig::with(Service::accepting(), options);
        let large = new("a", &"x".repeat(101));
        rig.engine.record(vec![large]).await.unwrap_err();
        rig.store.now_does(|_, _| Step::Fail);
        rig.engine.record(vec![new("a", "x")]).await.unwrap_err();
        rig.engine.disable();
        rig.record_all(vec![new("a", "x")]).await;
    });
    assert_eq!(seen.counter("amplify_recorded_records_total{stream=a}"), 0);
    assert_eq!(seen.gauge("amplify_cached_bytes{}"), 0.0);
}

#[test]
fn the_cache_is_measured_at_every_change() {
    let rig = || Rig::with(Service::accepting(), named());
    let fresh = seen(async { drop(rig()) });
    assert_eq!(fresh.gauge("amplify_cached_bytes{}"), 0.0);
    let recorded = seen(async { rig().record_each("a", ["12", "345"]).await });
    assert_eq!(recorded.gauge("amplify_cached_records{}"), 2.0);
    assert_eq!(recorded.gauge("amplify_cached_bytes{}"), 5.0);
    let flushed = seen(async {
        let rig = rig();
        rig.record_each("a", ["12", "345"]).await;
        rig.flush().await;
    });
    assert_eq!(flushed.gauge("amplify_cached_bytes{}"), 0.0);
    let cleared = seen(async {
        let rig = rig();
        rig.record_each("a", ["12", "345"]).await;
        rig.clear().await;
    });
    assert_eq!(cleared.gauge("amplify_cached_records{}"), 0.0);
}

#[test]
fn requests_are_measured_by_their_outcome() {
    let seen = seen(async {
        let service = Service::replying(|call| match call.number {
            0 => Reply::Accept.after(Duration::from_millis(250)),
            1 => call.send_back("InternalFailure", |data| data == "2"),
            2 => Reply::throttled(),
            _ => Reply::no_answer(),
        });
        let rig = Rig::with(service.limited(2, 100), named());
        rig.record_each("a", ["0", "1", "2", "3"]).await;
        for _ in 0..3 {
            rig.flush().await;
        }
        rig.engine.flush().await.unwrap_err();
    });
    for outcome in ["accepted", "partial", "refused", "no_answer"] {
        let key = format!("amplify_requests_total{{stream=a,outcome={outcome}}}");
        assert_eq!(seen.counter(&key), 1, "{outcome}");
    }
    let took = seen.histogram("amplify_request_seconds{stream=a,outcome=accepted}");
    assert_eq!(took, [0.25]);
    let fill = seen.histogram("amplify_batch_fill_records{stream=a}");
    assert_eq!(fill, [1.0, 1.0, 0.5, 0.5]);
    let fill = seen.histogram("amplify_batch_fill_bytes{stream=a}");
    assert_eq!(fill, [0.02, 0.02, 0.01, 0.01]);
}

#[test]
fn records_for_which_there_is_no_room_are_counted_by_every_policy() {
    for policy in [
        OverflowPolicy::Reject,
        OverflowPolicy::DropOldest,
        OverflowPolicy::Wait { at_most: SECOND },
    ] {
        let seen = seen(async move {
            let mut options = named();
            options.cache_max_bytes = bytes(100);
            options.overflow_policy = policy;
            let rig = Rig::with(Service::accepting(), options);
            let fits = rig.engine.record(vec![new("a", &"x".repeat(60))]);
            fits.await.unwrap();
            let too_many = vec![new("a", &"x".repeat(60)), new("b", &"x".repeat(60))];
            rig.engine.record(too_many).await.unwrap_err();
            // Fits only if the others leave.
            let later = rig.engine.record(vec![new("c", &"x".repeat(60))]);
            assert_eq!(later.await.is_ok(), policy == OverflowPolicy::DropOldest);
        });
        let refused =
            |stream| seen.counter(&format!("amplify_refused_records_total{{stream={stream}}}"));
        let of_c = u64::from(policy != OverflowPolicy::DropOldest);
        let all = ["a", "b", "c"].map(refused);
        assert_eq!(all, [1, 1, of_c], "{policy:?}");
        assert_eq!(seen.gauge("amplify_cache_limit_bytes{}"), 100.0);
    }
}

#[test]
fn the_oldest_record_has_its_age_until_nothing_is_left() {
    let age = async |rig: Rig| {
        let mut old = new("a", "x");
        old.recorded_at -= Duration::from_secs(5000);
        rig.record_all(vec![new("a", "y"), old]).await;
        let mut older = new("b", "x");
        older.recorded_at -= Duration::from_secs(9000);
        rig.record_all(vec![older]).await;
        let _ = rig.engine.flush().await;
    };
    let failing = || Rig::with(Service::replying(|_| Reply::throttled()), named());
    let seen_failing = seen(async { age(failing()).await });
    let of_b = seen_failing.gauge("amplify_oldest_record_seconds{stream=b}");
    assert!((9000.0..9100.0).contains(&of_b), "{of_b}");
    let working = || Rig::with(Service::accepting(), named());
    let seen_working = seen(async { age(working()).await });
    let of_b = seen_working.gauge("amplify_oldest_record_seconds{stream=b}");
    assert_eq!(of_b, 0.0);
    let seen_cleared = seen(async move {
        let rig = failing();
        rig.record("a", "x").await;
        rig.flush().await;
        rig.clear().await;
    });
    let of_a = seen_cleared.gauge("amplify_oldest_record_seconds{stream=a}");
    assert_eq!(of_a, 0.0);
}

// ---- documentation

const CODE: &str = include_str!("../src/telemetry/metrics.rs");
const TABLE: &str = include_str!("../../../docs/observability.md");
const DASHBOARD: &str = include_str!("../../../docs/grafana-dashboard.json");
const OPERATIONS: &str = include_str!("../../../docs/operations.md");

/// The metric names in a text. Parts of a histogram count as the histogram.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| word.starts_with("amplify_"));
    let crates = ["amplify_kinesis", "amplify_firehose"];
    ours.map(|name| {
        let parts = ["_sum", "_count", "_bucket"];
        let whole = parts.iter().find_map(|part| name.strip_suffix(part));
        whole.unwrap_or(name)
    })
    .filter(|name| !crates.contains(name))
    .collect()
}

#[test]
fn the_table_the_dashboard_and_the_alerts_name_the_metrics_that_there_are() {
    let there_are = names(CODE);
    assert_eq!(names(TABLE), there_are);
    let on_dashboard = names(DASHBOARD);
    assert_eq!(on_dashboard, there_are, "each has its place there");
    let in_alerts = names(OPERATIONS);
    let all_exist = !in_alerts.is_empty() && in_alerts.is_subset(&there_are);
    assert!(all_exist, "{in_alerts:?}");
}

#[test]
fn the_dashboard_asks_for_labels_that_its_metrics_have() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut queries = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            queries += 1;
            for pair in [['(', ')'], ['{', '}'], ['[', ']']] {
                let [opened, closed] = pair.map(|bracket| query.matches(bracket).count());
                assert_eq!(opened, closed, "{query}");
            }
            // Only metrics of the whole cache have no stream.
            for selected in query.split("amplify_").skip(1) {
                let of_cache = selected.starts_with("cache");
                let labels = selected.split('}').next().unwrap();
                assert_eq!(labels.contains("stream"), !of_cache, "{query}");
                for label in ["client", "region"] {
                    assert!(labels.contains(label), "{query}");
                }
            }
        }
    }
    assert!(queries > 10);
}
