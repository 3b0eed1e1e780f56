//! Logs and metrics of requests whose records hold several events.

use amplify_test_support::Reply;
use integration_tests::{Case, Endpoint, Log, Service, Setup, StoreKind, numbered};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tracing_subscriber::filter::LevelFilter;

const CASE: Case = Case::new(Service::Kinesis, StoreKind::Memory);

#[tokio::test]
async fn shards_that_are_not_known_are_warned_of_once_for_each_stream() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let aws = Endpoint::start();
    aws.set_list_reply(Reply::refuse(400, "AccessDeniedException"));
    let client = Setup::new(CASE, &aws).aggregated().build().await;
    for _ in 0..3 {
        for stream in ["one", "two"] {
            client.record_to(stream, numbered("event", 10)).await;
        }
        assert_eq!(client.flush().await.unwrap().records_flushed, 20);
    }
    let logged = log.text();
    for stream in ["one", "two"] {
        let lines = logged.lines().filter(|line| {
            line.contains("the shards are not known") && line.contains(&format!("stream={stream}"))
        });
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines.len(), 1, "{logged}");
        assert!(lines[0].contains("AccessDeniedException"), "{logged}");
    }
    assert_eq!(logged.lines().count(), 2, "{logged}");
}

#[test]
fn what_the_service_is_sent_is_counted_apart_from_events() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let (records, bytes) = metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let aws = Endpoint::start();
            let client = Setup::new(CASE, &aws).aggregated().build().await;
            client.record_to("stream", numbered("event", 2_000)).await;
            aws.script(Reply::Throttle);
            _ = client.flush().await;
            client
                .drain(std::time::Duration::from_secs(30))
                .await
                .unwrap();
            (aws.delivered_count() as u64, aws.delivered_bytes())
        })
    });
    // A snapshot resets the counts.
    let all = snapshotter.snapshot().into_vec();
    let counted = |name: &str| {
        let of_name = all.iter().filter(|(key, ..)| key.key().name() == name);
        let values = of_name.map(|(.., value)| match value {
            DebugValue::Counter(count) => *count,
            _ => 0,
        });
        values.sum::<u64>()
    };
    assert!((1..100).contains(&records));
    // Throttled once, then accepted.
    let names = ["requests", "records", "bytes"].map(|it| format!("amplify_sent_{it}_total"));
    let sent = names.map(|name| counted(&name));
    assert_eq!(sent, [2, 2 * records, 2 * bytes]);
}
