//! Client features other than sending: making room, expiry, draining on close.

use std::time::Duration;

use amplify_kinesis::{CloseOptions, DiscardReason, DiscardedRecord, OverflowPolicy};
use amplify_test_support::Reply;
use integration_tests::{
    Case, Discards, Endpoint, Kind, Setup, assert_fails, eventually, numbered, start,
};

integration_tests::cases! {
    everywhere:
        the_oldest_records_make_room_for_new_ones,
        a_stream_takes_no_more_than_its_share,
        a_record_waits_until_there_is_room,
        records_that_grew_too_old_are_given_up,
        a_last_drain_delivers_what_is_cached,
        a_last_drain_that_fails_closes_all_the_same;
    on_disk:
        records_that_grew_too_old_while_nothing_ran_are_given_up,
        a_directory_can_be_opened_again_after_a_last_drain;
}

const STREAM: &str = "stream";
const LONG: Duration = Duration::from_secs(30);

fn reasons(discards: &Discards) -> Vec<DiscardReason> {
    let all = discards.all().into_iter();
    all.map(|record: DiscardedRecord| record.reason).collect()
}

async fn the_oldest_records_make_room_for_new_ones(case: Case) {
    let aws = Endpoint::start();
    let discards = Discards::default();
    let size = 1000 + case.key_bytes();
    let client = Setup::new(case, &aws)
        .cache_max_bytes(size as u64 * 4)
        .overflow_policy(OverflowPolicy::DropOldest)
        .discards(&discards)
        .build()
        .await;
    let payloads: Vec<_> = (0..10).map(|n| format!("{n:01000}")).collect();
    for (n, payload) in payloads.iter().enumerate() {
        let stream = ["even", "odd"][n % 2];
        client.record(stream, payload.clone()).await.unwrap();
        // Ages differ by at least a millisecond.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(discards.payloads(), payloads[..6]);
    assert_eq!(reasons(&discards), [DiscardReason::Overflow; 6]);
    let too_large = "x".repeat(size * 4 + 1);
    let refused = client.record("even", too_large).await.unwrap_err();
    assert_eq!((refused.kind, client.cached()), (Kind::LimitExceeded, 4));
    assert_eq!(client.flush().await.unwrap().records_flushed, 4);
    assert_eq!(aws.payloads("even"), [&*payloads[6], &*payloads[8]]);
    assert_eq!(aws.payloads("odd"), [&*payloads[7], &*payloads[9]]);
}

async fn a_stream_takes_no_more_than_its_share(case: Case) {
    let aws = Endpoint::start();
    let size = 1000 + case.key_bytes() as u64;
    let setup = Setup::new(case, &aws).cache_max_bytes(4 * size);
    let client = setup.max_stream_share(Some(2 * size)).build().await;
    let payload = "x".repeat(1000);
    for _ in 0..2 {
        client.record("greedy", payload.clone()).await.unwrap();
    }
    for payload in [payload.clone(), "x".repeat(3000)] {
        let refused = client.record("greedy", payload).await.unwrap_err();
        assert_eq!(refused.kind, Kind::LimitExceeded, "{refused:?}");
        // A larger cache would not help.
        let advice = &refused.recovery_suggestion;
        assert!(advice.contains("max_stream_share"), "{advice}");
        assert!(!advice.contains("cache_max_bytes"), "{advice}");
    }
    for _ in 0..2 {
        client.record("other", payload.clone()).await.unwrap();
    }
}

async fn a_record_waits_until_there_is_room(case: Case) {
    let aws = Endpoint::start();
    let size = 1000 + case.key_bytes() as u64;
    let client = Setup::new(case, &aws)
        .cache_max_bytes(size)
        .overflow_policy(OverflowPolicy::Wait { at_most: LONG })
        .build()
        .await;
    client.record(STREAM, "x".repeat(1000)).await.unwrap();
    let (waited, flushed) = tokio::join!(client.record(STREAM, "y".repeat(1000)), client.flush());
    assert_eq!(flushed.unwrap().records_flushed, 1);
    assert_eq!(waited.unwrap().records_stored, 1);
}

async fn records_that_grew_too_old_are_given_up(case: Case) {
    let aws = Endpoint::start();
    let discards = Discards::default();
    let age = Duration::from_millis(50);
    let client = Setup::new(case, &aws).max_record_age(Some(age));
    let client = client.discards(&discards).build().await;
    client.record_to(STREAM, ["a", "b"]).await;
    tokio::time::sleep(age * 2).await;
    let done = client.flush().await.unwrap();
    assert_eq!((done.records_flushed, done.records_discarded), (0, 2));
    assert_eq!(discards.payloads(), ["a", "b"]);
    assert_eq!(reasons(&discards), [DiscardReason::Expired; 2]);
    assert_eq!((aws.request_count(), client.cached()), (0, 0));
}

async fn records_that_grew_too_old_while_nothing_ran_are_given_up(case: Case) {
    let aws = Endpoint::start();
    let discards = Discards::default();
    let directory = tempfile::tempdir().unwrap();
    let setup = || {
        let setup = Setup::new(case, &aws).storage_path(&directory.path().join("cache"));
        setup.discards(&discards)
    };
    let client = setup().build().await;
    client.record_to(STREAM, ["old"]).await;
    client.close().await.unwrap();
    let age = Duration::from_secs(2);
    tokio::time::sleep(age).await;
    let client = setup().max_record_age(Some(age)).build().await;
    client.record_to(STREAM, ["young"]).await;
    let done = client.flush().await.unwrap();
    assert_eq!((done.records_flushed, done.records_discarded), (1, 1));
    assert_eq!(discards.payloads(), ["old"]);
    assert_eq!(aws.payloads(STREAM), ["young"]);
}

async fn a_last_drain_delivers_what_is_cached(case: Case) {
    let (aws, client) = start(case).await;
    client.record_to(STREAM, numbered("record", 1200)).await;
    let options = CloseOptions::default().drain(LONG);
    let done = client.close_with(options).await.unwrap();
    assert_eq!((done.records_flushed, aws.request_count()), (1200, 3));
    assert!(client.is_closed());
    let refused = client.record(STREAM, "late").await.unwrap_err();
    assert_eq!(refused.kind, Kind::ClientClosed);
}

async fn a_last_drain_that_fails_closes_all_the_same(case: Case) {
    let (aws, client) = start(case).await;
    client.record_to(STREAM, numbered("record", 700)).await;
    aws.script(Reply::Accept);
    aws.script(Reply::Reset);
    let error = client.close_with(CloseOptions { drain: LONG }).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind, Kind::Unknown);
    assert_eq!(error.flushed().records_flushed, 500);
    assert_eq!(client.cached(), 200);
    assert_fails(client.flush().await, Kind::ClientClosed);
}

async fn a_directory_can_be_opened_again_after_a_last_drain(case: Case) {
    let aws = Endpoint::start();
    let directory = tempfile::tempdir().unwrap();
    let setup = || {
        let setup = Setup::new(case, &aws).storage_path(&directory.path().join("cache"));
        setup.request_timeout(Duration::from_millis(500))
    };
    let client = setup().build().await;
    client.record_to(STREAM, ["a"]).await;
    aws.script(Reply::Hang);
    let closing = tokio::spawn({
        let client = client.clone();
        let timeout = CloseOptions::default().drain(LONG);
        async move { client.close_with(timeout).await }
    });
    eventually("the drain has begun", async || aws.request_count() == 1).await;
    // A caller that stops waiting stops neither the drain nor the close.
    closing.abort();
    drop(client);
    let reopened = setup().build_when_free().await;
    assert_eq!(reopened.cached(), 1);
    assert_eq!(reopened.flush().await.unwrap().records_flushed, 1);
}
