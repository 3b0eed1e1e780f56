//! Adaptive flushing, several batches of a stream in flight, and the timer's backoff, over the
//! wire.

use std::collections::HashSet;
use std::time::Duration;

use amplify_kinesis::FlushStrategy;
use amplify_test_support::{PutRequest, Reply};
use integration_tests::{
    Case, Discards, Endpoint, Setup, eventually, millis, numbered, start, start_with,
};
use tokio::time::Instant;

integration_tests::cases! {
    everywhere:
        a_full_batch_is_sent_at_once,
        a_record_is_sent_when_it_is_old,
        a_busy_service_is_not_held_to_one_batch_in_a_while,
        what_was_left_by_an_earlier_client_is_sent_at_once;
    in_memory:
        a_batch_of_bytes_is_sent_at_once,
        a_throttled_stream_keeps_its_budget_and_holds_no_other_up,
        a_throttled_record_is_not_charged_in_a_hurry,
        an_outage_ends_and_everything_arrives,
        a_dead_stream_delays_no_other,
        a_disabled_client_sends_nothing_by_itself,
        a_drain_gets_its_turn,
        several_batches_of_a_stream_are_under_way_in_a_drain,
        one_batch_of_a_stream_is_under_way_by_default,
        a_stream_that_the_timer_leaves_alone_is_flushed_by_hand;
}

const STREAM: &str = "stream";
const LONG: Duration = Duration::from_secs(30);
const FOREVER: Duration = Duration::from_secs(3600);

fn adaptive(setup: Setup, max_delay: Duration) -> Setup {
    setup.flush_strategy(FlushStrategy::Adaptive {
        max_delay,
        max_records: 100,
        max_bytes: 1024 * 1024,
    })
}

async fn a_full_batch_is_sent_at_once(case: Case) {
    let (aws, client) = start_with(case, |setup| adaptive(setup, FOREVER)).await;
    client.record_to(STREAM, numbered("record", 99)).await;
    client.record_to("other", ["1"]).await;
    assert_eq!(aws.request_count(), 0);
    client.record_to(STREAM, ["record-99"]).await;
    aws.until(|aws| aws.delivered_count() == 100).await;
    eventually("they are settled", async || client.cached() == 1).await;
    assert_eq!(aws.payloads(STREAM), numbered("record", 100));
    assert_eq!(aws.request_count(), 1);
}

async fn a_batch_of_bytes_is_sent_at_once(case: Case) {
    let (aws, client) = start_with(case, |setup| adaptive(setup, FOREVER)).await;
    let half = vec![7; 512 * 1024];
    client.record_to(STREAM, [half.clone()]).await;
    assert_eq!(aws.request_count(), 0);
    client.record_to(STREAM, [half]).await;
    aws.until(|aws| aws.delivered_count() == 2).await;
}

async fn a_record_is_sent_when_it_is_old(case: Case) {
    const DELAY: Duration = millis(300);
    let (aws, client) = start_with(case, |setup| adaptive(setup, DELAY)).await;
    for stream in ["a", "b"] {
        let recorded = Instant::now();
        client.record_to(stream, ["1"]).await;
        aws.until(|aws| aws.delivered_count_of(stream) == 1).await;
        let waited = recorded.elapsed();
        assert!(waited >= DELAY - DELAY / 64, "{waited:?}");
    }
}

async fn a_busy_service_is_not_held_to_one_batch_in_a_while(case: Case) {
    let (aws, client) = start_with(case, |setup| adaptive(setup, FOREVER)).await;
    for part in 0..10 {
        let records = numbered(&format!("record-{part}"), 333);
        client.record_to(STREAM, records).await;
    }
    eventually("all full batches are sent", async || client.cached() < 100).await;
    let delivered = aws.payloads(STREAM);
    assert!(delivered.len() > 3230);
    let unique: HashSet<_> = delivered.iter().collect();
    assert_eq!(unique.len(), delivered.len());
    let order = (0..10).flat_map(|part| numbered(&format!("record-{part}"), 333));
    assert!(order.take(delivered.len()).eq(delivered));
    assert_eq!(aws.max_in_flight(), 1);
}

async fn what_was_left_by_an_earlier_client_is_sent_at_once(case: Case) {
    let aws = Endpoint::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache");
    let first = Setup::new(case, &aws).storage_path(&path).build().await;
    first.record_to(STREAM, ["1", "2"]).await;
    first.close().await.unwrap();
    let second = adaptive(Setup::new(case, &aws), FOREVER).storage_path(&path);
    let second = second.build().await;
    aws.until(|aws| aws.delivered_count() == 2).await;
    eventually("they are settled", async || second.cached() == 0).await;
    second.close().await.unwrap();
}

async fn a_throttled_stream_keeps_its_budget_and_holds_no_other_up(case: Case) {
    let discards = Discards::default();
    let (aws, client) = start_with(case, |setup| {
        adaptive(setup, FOREVER).max_retries(0).discards(&discards)
    })
    .await;
    aws.always(|request: &PutRequest| match &*request.stream {
        "throttled" => Reply::Throttle,
        _ => Reply::Accept,
    });
    client.record_to("throttled", numbered("t", 300)).await;
    for round in 1..=20 {
        client.record_to(STREAM, numbered("record", 100)).await;
        aws.until(|aws| aws.delivered_count() == 100 * round).await;
    }
    aws.clear_script();
    eventually("everything is sent", async || client.cached() == 0).await;
    assert_eq!(aws.payloads("throttled"), numbered("t", 300));
    assert_eq!(discards.payloads(), [""; 0]);
}

async fn a_throttled_record_is_not_charged_in_a_hurry(case: Case) {
    let discards = Discards::default();
    let (aws, client) = start_with(case, |setup| {
        adaptive(setup, FOREVER).max_retries(1).discards(&discards)
    })
    .await;
    aws.always(|_| Reply::fail_at([0], "ProvisionedThroughputExceededException"));
    client.record_to(STREAM, numbered("record", 100)).await;
    // More batches fill up meanwhile, which does not justify a retry.
    eventually("it is tried several times", async || {
        client.record_to(STREAM, numbered("more", 20)).await;
        aws.request_count() >= 6
    })
    .await;
    // A second charge would have been the record's last.
    assert_eq!(discards.payloads(), [""; 0]);
}

async fn an_outage_ends_and_everything_arrives(case: Case) {
    let (aws, client) = start_with(case, |setup| adaptive(setup, millis(20)).max_retries(0)).await;
    aws.stop();
    for stream in ["a", "b", "c"] {
        client.record_to(stream, numbered("record", 150)).await;
    }
    tokio::time::sleep(millis(300)).await;
    assert_eq!(client.cached(), 450);
    aws.restart().unwrap();
    eventually("everything is sent", async || client.cached() == 0).await;
    assert_eq!(aws.delivered_count(), 450);
}

async fn a_dead_stream_delays_no_other(case: Case) {
    let setup = |setup| adaptive(setup, millis(10)).max_concurrent_streams(2);
    let (aws, client) = start_with(case, setup).await;
    aws.always(|request: &PutRequest| match &*request.stream {
        "dead" => Reply::Hang,
        _ => Reply::Accept,
    });
    client.record_to("dead", ["1"]).await;
    aws.until(|aws| aws.in_flight() == 1).await;
    for round in 1..=10 {
        client.record_to("a", ["1"]).await;
        client.record_to("b", ["1"]).await;
        aws.until(|aws| aws.delivered_count() == 2 * round).await;
    }
    assert_eq!(aws.requests_to("dead").len(), 1);
}

async fn a_disabled_client_sends_nothing_by_itself(case: Case) {
    let (aws, client) = start_with(case, |setup| adaptive(setup, millis(50))).await;
    client.record_to(STREAM, ["1"]).await;
    client.disable();
    tokio::time::sleep(millis(200)).await;
    let sent = aws.request_count();
    assert!(sent <= 1, "{sent}");
    client.enable();
    aws.until(|aws| aws.delivered_count() == 1).await;
}

async fn a_drain_gets_its_turn(case: Case) {
    let (aws, client) = start_with(case, |setup| adaptive(setup, FOREVER)).await;
    aws.set_latency(millis(10));
    for part in 0..4 {
        let records = numbered(&format!("record-{part}"), 2000);
        client.record_to(STREAM, records).await;
    }
    client.drain(LONG).await.unwrap();
    assert_eq!((client.cached(), aws.delivered_count()), (0, 8000));
    assert_eq!(aws.max_in_flight(), 1);
}

async fn several_batches_of_a_stream_are_under_way_in_a_drain(case: Case) {
    let (aws, client) = start_with(case, |setup| setup.max_in_flight_per_stream(4)).await;
    aws.set_latency(millis(200));
    let records = numbered("record", 4100);
    client.record_to(STREAM, records.clone()).await;
    assert_eq!(client.flush().await.unwrap().records_flushed, 500);
    assert_eq!(aws.max_in_flight_of(STREAM), 1);
    let done = client.drain(LONG).await.unwrap();
    assert_eq!(done.records_flushed, 3600);
    assert_eq!(aws.max_in_flight_of(STREAM), 4);
    let delivered: HashSet<_> = aws.payloads(STREAM).into_iter().collect();
    assert_eq!(delivered, records.into_iter().collect());
    assert_eq!(aws.delivered_count(), 4100);
}

async fn one_batch_of_a_stream_is_under_way_by_default(case: Case) {
    let (aws, client) = start(case).await;
    aws.set_latency(millis(20));
    let records = numbered("record", 3000);
    client.record_to(STREAM, records.clone()).await;
    client.drain(LONG).await.unwrap();
    assert_eq!(aws.max_in_flight(), 1);
    assert_eq!(aws.payloads(STREAM), records);
}

async fn a_stream_that_the_timer_leaves_alone_is_flushed_by_hand(case: Case) {
    let (aws, client) = start_with(case, |setup| setup.flush_every(millis(10))).await;
    aws.always(|_| Reply::Throttle);
    client.record_to(STREAM, ["1"]).await;
    aws.until(|aws| aws.request_count() == 5).await;
    eventually("a pass by hand is made", async || {
        !client.flush().await.unwrap().skipped_streams.is_empty()
    })
    .await;
    aws.clear_script();
    eventually("the timer comes back to it", async || client.cached() == 0).await;
}
