//! The behaviour of each operation over the wire: passes, timer, drain, clearing, disabling and
//! enabling, closing, dropping, clones.

use std::sync::Arc;
use std::time::Duration;

use amplify_kinesis::record_cache::{NewRecord, RecordStore, StoreError, StreamName};
use amplify_kinesis::{FlushData, MemoryStore};
use amplify_test_support::{Reply, RequestLog};
use integration_tests::{
    Case, Client, Discards, Endpoint, Failure, Kind, Service, Setup, assert_fails, eventually,
    millis, numbered, start, start_with,
};
use tokio::task::JoinHandle;
use tokio::time::Instant;

integration_tests::cases! {
    everywhere:
        a_record_arrives_as_it_was_recorded,
        a_pass_sends_one_batch_of_each_stream,
        records_of_a_stream_arrive_in_their_order,
        an_empty_cache_makes_no_request,
        a_second_flush_returns_at_once,
        a_dropped_flush_goes_on,
        a_drain_empties_the_cache,
        clearing_deletes_everything_and_frees_the_room,
        clearing_counts_the_records_under_way_as_cleared,
        a_disabled_client_drops_records_and_flushes_all_the_same,
        the_timer_delivers,
        a_closed_client_refuses_everything,
        record_all_stores_all_or_nothing,
        recording_goes_on_during_a_pass;
    in_memory:
        streams_are_sent_side_by_side_within_their_bound,
        a_slow_stream_does_not_hold_up_another,
        a_drain_waits_for_a_pass_under_way,
        a_drain_ends_at_its_deadline,
        a_drain_ends_after_a_pass_without_progress,
        a_drain_keeps_apart_what_fails_from_what_moves,
        a_drain_of_any_length_is_fine,
        the_interval_begins_when_the_last_pass_ended,
        the_timer_goes_on_after_errors,
        a_disabled_client_has_no_timer,
        switching_leaves_one_timer,
        without_a_strategy_nothing_is_sent,
        closing_twice_and_at_once_is_fine,
        closing_stops_the_timer_and_releases_a_given_store,
        dropping_the_last_clone_stops_the_timer_and_releases_a_given_store,
        dropping_the_client_lets_a_request_under_way_finish,
        clones_share_one_client,
        statistics_count_data_and_keys_by_stream,
        statistics_outlive_the_client,
        options_and_region_are_told,
        any_setting_may_be_as_large_as_it_gets,
        a_client_works_from_several_threads;
}

const STREAM: &str = "stream";
/// Longer than a busy disk takes to store a record, so that the request is then still in flight.
const ANSWER: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_secs(30);

/// Starts a flush, and returns once its request is under way.
async fn flush_under_way(
    aws: &Endpoint,
    client: &Client,
    reply: Reply,
) -> JoinHandle<Result<FlushData, Failure>> {
    aws.script(reply);
    let flush = client.flushing();
    aws.until(|aws| aws.in_flight() == 1).await;
    flush
}

// ---- recording and passes

async fn a_record_arrives_as_it_was_recorded(case: Case) {
    let (aws, client) = start(case).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let long_key = "ä".repeat(256);
    let records = [
        (&b""[..], "k"),
        (&every_byte[..], "ключ \"\\\n\u{1F980}"),
        (&b"\n"[..], &long_key[..]),
    ];
    for (data, key) in records {
        client.keep(STREAM, key, data.to_vec()).await;
    }
    client.flush().await.unwrap();
    let delivered = aws.delivered(STREAM);
    assert_eq!(delivered.len(), 3);
    for (record, (data, key)) in delivered.iter().zip(records) {
        assert_eq!(record.data, data);
        let key = (case.service == Service::Kinesis).then_some(key);
        assert_eq!(record.partition_key.as_deref(), key);
    }
    assert_eq!(aws.requests()[0].service, case.service);
}

async fn a_pass_sends_one_batch_of_each_stream(case: Case) {
    let (aws, client) = start(case).await;
    client.record_to("a", numbered("record", 501)).await;
    client.record_to("b", ["1", "2"]).await;
    let done = client.flush().await.unwrap();
    assert_eq!((done.records_flushed, done.flush_in_progress), (502, false));
    assert_eq!((client.cached_of("a"), client.cached_of("b")), (1, 0));
    assert_eq!(
        (aws.requests_to("a").len(), aws.requests_to("b").len()),
        (1, 1)
    );
    assert_eq!(client.flush().await.unwrap().records_flushed, 1);
    assert_eq!(aws.payloads("a"), numbered("record", 501));
    assert_eq!(aws.request_count(), 3);
}

async fn records_of_a_stream_arrive_in_their_order(case: Case) {
    let (aws, client) = start(case).await;
    let payloads = numbered("record", 120);
    for (at, payload) in payloads.iter().enumerate() {
        let stream = ["a", "b"][at % 2];
        client.record(stream, payload.clone()).await.unwrap();
        if at % 37 == 0 {
            client.flush().await.unwrap();
        }
    }
    client.drain(LONG).await.unwrap();
    let (even, odd): (Vec<_>, Vec<_>) = payloads.chunks(2).map(|two| (&two[0], &two[1])).unzip();
    assert_eq!(aws.payloads("a").iter().collect::<Vec<_>>(), even);
    assert_eq!(aws.payloads("b").iter().collect::<Vec<_>>(), odd);
}

async fn an_empty_cache_makes_no_request(case: Case) {
    let (aws, client) = start(case).await;
    assert_eq!(client.flush().await.unwrap(), FlushData::default());
    assert_eq!(client.drain(LONG).await.unwrap(), FlushData::default());
    assert_eq!(client.clear_cache().await.unwrap().records_cleared, 0);
    client.record_all(Vec::<(&str, &str)>::new()).await.unwrap();
    assert_eq!(client.flush().await.unwrap(), FlushData::default());
    assert_eq!((aws.request_count(), aws.connection_count()), (0, 0));
}

async fn record_all_stores_all_or_nothing(case: Case) {
    let (aws, client) = start_with(case, |setup| setup.cache_max_bytes(1000)).await;
    let bad = [("a", "1"), ("b", "2"), ("not a name", "3")];
    let error = client.record_all(bad).await.unwrap_err();
    assert_eq!((error.kind, client.cached()), (Kind::Validation, 0));
    let long = "x".repeat(600);
    let large = [("a", long.clone()), ("b", long.clone())];
    let error = client.record_all(large).await.unwrap_err();
    assert_eq!((error.kind, client.cached()), (Kind::LimitExceeded, 0));
    let fitting = [("a", long.clone()), ("b", "2".into()), ("a", "3".into())];
    client.record_all(fitting).await.unwrap();
    assert_eq!((client.cached_of("a"), client.cached_of("b")), (2, 1));
    client.flush().await.unwrap();
    assert_eq!(aws.payloads("a"), [&long[..], "3"]);
    assert_eq!(aws.payloads("b"), ["2"]);
}

async fn recording_goes_on_during_a_pass(case: Case) {
    let (aws, client) = start(case).await;
    client.record_to(STREAM, ["1", "2"]).await;
    let flush = flush_under_way(&aws, &client, Reply::Accept.delayed(ANSWER)).await;
    client.record(STREAM, "3").await.unwrap();
    assert_eq!(aws.in_flight(), 1, "recording waits for no request");
    assert_eq!(flush.await.unwrap().unwrap().records_flushed, 2);
    assert_eq!(client.cached(), 1);
    client.flush().await.unwrap();
    assert_eq!(aws.payloads(STREAM), ["1", "2", "3"]);
}

async fn a_second_flush_returns_at_once(case: Case) {
    let (aws, client) = start(case).await;
    client.record_to(STREAM, ["1"]).await;
    let flush = flush_under_way(&aws, &client, Reply::Accept.delayed(ANSWER)).await;
    let second = client.flush().await.unwrap();
    assert!(second.flush_in_progress);
    assert_eq!(second.records_flushed, 0);
    assert_eq!(
        aws.in_flight(),
        1,
        "the second one did not wait for the first"
    );
    let first = flush.await.unwrap().unwrap();
    assert_eq!((first.records_flushed, first.flush_in_progress), (1, false));
    assert!(!client.flush().await.unwrap().flush_in_progress);
    assert_eq!(aws.request_count(), 1);

    // Automatic passes and drains count too.
    let setup = Setup::new(case, &aws).flush_every(millis(5));
    let client = setup.build().await;
    aws.script(Reply::Accept.delayed(ANSWER));
    client.record_to(STREAM, ["2"]).await;
    aws.until(|aws| aws.in_flight() == 1).await;
    assert!(client.flush().await.unwrap().flush_in_progress);
}

async fn a_dropped_flush_goes_on(case: Case) {
    let (aws, client) = start(case).await;
    client.record_to(STREAM, ["1", "2"]).await;
    aws.script(Reply::Accept.delayed(millis(200)));
    tokio::select! {
        biased;
        _ = client.flush() => unreachable!("the answer is held back"),
        () = async { aws.until(|aws| aws.in_flight() == 1).await } => {}
    }
    eventually("the pass goes on", async || client.cached() == 0).await;
    assert_eq!(aws.payloads(STREAM), ["1", "2"]);
    assert_eq!(aws.request_count(), 1);
}

async fn streams_are_sent_side_by_side_within_their_bound(case: Case) {
    for (bound, expected) in [(1, 1), (3, 3), (100, 12)] {
        let aws = Endpoint::start();
        aws.set_latency(millis(100));
        let setup = Setup::new(case, &aws).max_concurrent_streams(bound);
        let client = setup.build().await;
        let streams = numbered("stream", 12);
        let records = streams.iter().map(|stream| (&**stream, "1"));
        client.record_all(records).await.unwrap();
        assert_eq!(client.flush().await.unwrap().records_flushed, 12);
        assert_eq!(aws.max_in_flight(), expected);
    }
}

async fn a_slow_stream_does_not_hold_up_another(case: Case) {
    let (aws, client) = start_with(case, |setup| setup.max_concurrent_streams(2)).await;
    for stream in ["a-slow", "b", "c", "d", "e"] {
        client.record_to(stream, ["1"]).await;
    }
    aws.script_for("a-slow", Reply::Accept.delayed(millis(500)));
    let flush = client.flushing();
    aws.until(|aws| {
        ["b", "c", "d", "e"]
            .iter()
            .all(|s| aws.delivered_count_of(s) == 1)
    })
    .await;
    assert_eq!(aws.requests_to("a-slow")[0].ended, None);
    assert_eq!(flush.await.unwrap().unwrap().records_flushed, 5);
    for stream in ["a-slow", "b", "c", "d", "e"] {
        assert_eq!(aws.max_in_flight_of(stream), 1);
    }
}

// ---- drain

async fn a_drain_empties_the_cache(case: Case) {
    let (aws, client) = start(case).await;
    client.record_to("a", numbered("record", 1201)).await;
    client.record_to("b", numbered("record", 30)).await;
    aws.script_for("b", Reply::Throttle);
    aws.script_for("b", Reply::fail_at([7, 9], "InternalFailure"));
    let done = client.drain(LONG).await.unwrap();
    assert_eq!((done.records_flushed, done.records_retried), (1231, 2));
    assert_eq!(done.records_discarded, 0);
    // A refusal on the way is reported, though the records went through in the end.
    let skipped: Vec<_> = done
        .skipped_streams
        .iter()
        .map(|s| &*s.stream_name)
        .collect();
    assert_eq!(skipped, ["b"]);
    assert_eq!(client.cached(), 0);
    assert_eq!(aws.payloads("a"), numbered("record", 1201));
}

async fn a_drain_waits_for_a_pass_under_way(case: Case) {
    let (aws, client) = start(case).await;
    client.record_to(STREAM, numbered("record", 700)).await;
    let flush = flush_under_way(&aws, &client, Reply::Accept.delayed(millis(300))).await;
    let drained = client.drain(LONG).await.unwrap();
    assert_eq!(
        (drained.records_flushed, drained.flush_in_progress),
        (200, false)
    );
    assert_eq!(flush.await.unwrap().unwrap().records_flushed, 500);
    assert_eq!(aws.max_in_flight(), 1);
    assert_eq!(aws.payloads(STREAM), numbered("record", 700));
}

async fn a_drain_ends_at_its_deadline(case: Case) {
    let (aws, client) = start(case).await;
    client.record_to(STREAM, numbered("record", 5000)).await;
    aws.set_latency(millis(200));
    let started = Instant::now();
    let done = client.drain(millis(300)).await.unwrap();
    let took = started.elapsed();
    // The request in flight is finished and counted.
    assert!(took >= millis(300) && took < LONG, "{took:?}");
    let sent = aws.request_count();
    assert!((1..=2).contains(&sent), "{sent}");
    assert_eq!(done.records_flushed, 500 * sent);
    assert_eq!(client.cached(), 5000 - 500 * sent);

    // A drain does not wait for a running pass beyond its deadline either.
    aws.set_latency(Duration::from_secs(3));
    let flush = client.flushing();
    aws.until(|aws| aws.in_flight() == 1).await;
    let done = client.drain(millis(100)).await.unwrap();
    assert_eq!(done, FlushData::default());
    assert_eq!(aws.in_flight(), 1);
    flush.await.unwrap().unwrap();
    let done = client.drain(Duration::ZERO).await.unwrap();
    assert_eq!(done, FlushData::default());
}

async fn a_drain_ends_after_a_pass_without_progress(case: Case) {
    for reply in [
        Reply::fail_all("InternalFailure"),
        Reply::Throttle,
        Reply::refuse(400, "ResourceNotFoundException"),
    ] {
        let (aws, client) = start_with(case, |setup| setup.max_retries(1000)).await;
        client.record_to(STREAM, ["1", "2"]).await;
        aws.always(move |_| reply.clone());
        let done = client.drain(LONG).await.unwrap();
        assert_eq!(done.records_flushed, 0);
        assert_eq!((aws.request_count(), client.cached()), (1, 2));
    }
    // Discarding records is progress.
    let discards = Discards::default();
    let (aws, client) = start_with(case, |setup| setup.max_retries(0).discards(&discards)).await;
    client.record_to(STREAM, numbered("record", 501)).await;
    aws.always(|_| Reply::fail_all("InternalFailure"));
    assert_eq!(client.drain(LONG).await.unwrap().records_discarded, 501);
    assert_eq!((discards.all().len(), client.cached()), (501, 0));
}

async fn a_drain_keeps_apart_what_fails_from_what_moves(case: Case) {
    let (aws, client) = start_with(case, |setup| setup.max_retries(1000)).await;
    client.record_to("a-bad", ["1"]).await;
    client.record_to("b-good", numbered("record", 3000)).await;
    aws.always(|request| match &*request.stream {
        "a-bad" => Reply::fail_all("InternalFailure"),
        _ => Reply::Accept.delayed(millis(30)),
    });
    let done = client.drain(LONG).await.unwrap();
    assert_eq!(done.records_flushed, 3000);
    // However often it is retried, the record is charged at most once in 30 s.
    assert_eq!(done.records_retried, 1);
    assert_eq!(
        (client.cached_of("a-bad"), client.cached_of("b-good")),
        (1, 0)
    );
}

async fn a_drain_of_any_length_is_fine(case: Case) {
    let (_aws, client) = start(case).await;
    client.record_to(STREAM, ["1"]).await;
    let done = client.drain(Duration::MAX).await.unwrap();
    assert_eq!(done.records_flushed, 1);
}

// ---- clearing

async fn clearing_deletes_everything_and_frees_the_room(case: Case) {
    let (aws, client) = start_with(case, |setup| setup.cache_max_bytes(1000)).await;
    let full = "x".repeat(1000 - case.key_bytes());
    for _ in 0..3 {
        client.record("a", full.clone()).await.unwrap();
        assert_fails(client.record("a", "1").await, Kind::LimitExceeded);
        assert_eq!(client.clear_cache().await.unwrap().records_cleared, 1);
        let stats = client.cache_stats();
        assert_eq!((stats.records, stats.bytes, stats.streams.len()), (0, 0, 0));
    }
    let three = [("a", "1"), ("b", "2"), ("a", "3")];
    client.record_all(three).await.unwrap();
    assert_eq!(client.clear_cache().await.unwrap().records_cleared, 3);
    client.flush().await.unwrap();
    assert_eq!(aws.request_count(), 0);
    client.record_to("a", ["4"]).await;
    client.flush().await.unwrap();
    assert_eq!(aws.payloads("a"), ["4"]);
}

async fn clearing_counts_the_records_under_way_as_cleared(case: Case) {
    let replies = [
        Reply::Accept,
        Reply::fail_at([0], "InternalFailure"),
        Reply::refuse(400, "ResourceNotFoundException"),
        Reply::Throttle,
    ];
    for reply in replies {
        let (aws, client) = start_with(case, |setup| setup.cache_max_bytes(1000)).await;
        let half = "x".repeat(400);
        client.record_to(STREAM, [half.clone(), half.clone()]).await;
        let delayed = reply.clone().delayed(millis(200));
        let flush = flush_under_way(&aws, &client, delayed).await;
        assert_eq!(client.clear_cache().await.unwrap().records_cleared, 2);
        // Another record takes the freed room, and must stay.
        client.record(STREAM, "later").await.unwrap();
        let done = flush.await.unwrap().unwrap();
        let counts = [
            done.records_flushed,
            done.records_retried,
            done.records_discarded,
        ];
        assert_eq!(counts, [0, 0, 0], "{reply:?}");
        assert_eq!(client.cached(), 1, "{reply:?}");
        assert_eq!(client.cache_stats().bytes, 5 + case.key_bytes() as u64);

        // The free room is exact to the byte.
        let rest = 1000 - 5 - 2 * case.key_bytes();
        let refused = client.record(STREAM, vec![b'x'; rest + 1]).await;
        assert_eq!(refused.unwrap_err().kind, Kind::LimitExceeded, "{reply:?}");
        client.record(STREAM, vec![b'x'; rest]).await.unwrap();
    }
}

// ---- switching, the timer

async fn a_disabled_client_drops_records_and_flushes_all_the_same(case: Case) {
    let (aws, client) = start(case).await;
    assert!(client.is_enabled());
    client.record_to(STREAM, ["1"]).await;
    client.disable();
    assert!(!client.is_enabled());
    client.record(STREAM, "dropped").await.unwrap();
    client.record_to(STREAM, ["dropped", "dropped"]).await;
    assert_eq!(client.cached(), 1);
    assert_eq!(client.flush().await.unwrap().records_flushed, 1);
    client.enable();
    assert!(client.is_enabled());
    client.record_to(STREAM, ["2"]).await;
    client.disable();
    assert_eq!(client.drain(LONG).await.unwrap().records_flushed, 1);
    assert_eq!(client.clear_cache().await.unwrap().records_cleared, 0);
    assert_eq!(aws.payloads(STREAM), ["1", "2"]);
}

async fn the_timer_delivers(case: Case) {
    let (aws, client) = start_with(case, |setup| setup.flush_every(millis(20))).await;
    for round in 1..=3 {
        client.record_to(STREAM, numbered("record", 10)).await;
        aws.until(|aws| aws.delivered_count() == 10 * round).await;
    }
    eventually("the cache is empty", async || client.cached() == 0).await;
}

/// The pauses between the end of one request and the start of the next.
fn pauses(log: &[RequestLog]) -> Vec<Duration> {
    let pairs = log.windows(2).map(|pair| (&pair[0], &pair[1]));
    pairs
        .map(|(earlier, later)| later.started - earlier.ended.unwrap())
        .collect()
}

async fn the_interval_begins_when_the_last_pass_ended(case: Case) {
    const INTERVAL: Duration = millis(150);
    let aws = Endpoint::start();
    aws.set_latency(millis(200));
    let client = Setup::new(case, &aws).flush_every(INTERVAL).build().await;
    // Few enough for one pass to send.
    let timer = async |requests| {
        client.record_to(STREAM, numbered("record", 10)).await;
        aws.until(|aws| aws.request_count() == requests).await;
    };
    for requests in 1..=3 {
        timer(requests).await;
    }
    client.record_to(STREAM, numbered("record", 10)).await;
    // A manual pass counts like one of the timer.
    eventually("the pass has ended", async || {
        !client.flush().await.unwrap().flush_in_progress
    })
    .await;
    for requests in 5..=6 {
        timer(requests).await;
    }
    aws.until(|aws| aws.delivered_count() == 60).await;
    let log = aws.requests();
    assert!(log.len() >= 5, "{}", log.len());
    let by_the_timer = pauses(&log)
        .into_iter()
        .filter(|&pause| pause >= INTERVAL)
        .count();
    // On a busy machine the manual pass may be as late as one of the timer.
    assert!(by_the_timer >= log.len() - 2, "{:?}", pauses(&log));
    assert_eq!(aws.max_in_flight(), 1);
}

async fn the_timer_goes_on_after_errors(case: Case) {
    let (aws, client) =
        start_with(case, |setup| setup.flush_every(millis(10)).max_retries(0)).await;
    aws.script_times(3, Reply::Reset);
    aws.script_times(3, Reply::refuse(500, "InternalFailure"));
    client.record_to(STREAM, ["1", "2"]).await;
    aws.until(|aws| aws.delivered_count() == 2).await;
    assert_eq!(aws.request_count(), 7);
    aws.stop();
    client.record_to(STREAM, ["3"]).await;
    aws.restart().unwrap();
    aws.until(|aws| aws.delivered_count() == 3).await;
}

/// Waits for ten passes of another client's timer, which serves as the clock.
async fn pass_ten_times(case: Case, aws: &Endpoint, interval: Duration, meanwhile: impl Fn()) {
    let clock = Setup::new(case, aws).flush_every(interval).build().await;
    for tick in 1..=10 {
        clock.record_to("clock", ["tick"]).await;
        aws.until(|aws| aws.delivered_count_of("clock") == tick)
            .await;
        meanwhile();
    }
}

async fn a_disabled_client_has_no_timer(case: Case) {
    let interval = millis(20);
    let (aws, client) = start_with(case, |setup| setup.flush_every(interval)).await;
    client.record_to(STREAM, ["1"]).await;
    client.disable();
    eventually("no pass is running", async || aws.in_flight() == 0).await;
    let before = aws.delivered_count_of(STREAM);
    client.enable();
    client.record_to(STREAM, ["2"]).await;
    client.disable();
    let sent = aws.requests_to(STREAM).len();

    pass_ten_times(case, &aws, interval, || {}).await;
    assert!(
        aws.requests_to(STREAM).len() <= sent + 1,
        "but for one that was under way"
    );
    assert!(aws.delivered_count_of(STREAM) <= before + 1);
    client.enable();
    aws.until(|aws| aws.delivered_count_of(STREAM) == 2).await;
}

async fn switching_leaves_one_timer(case: Case) {
    const INTERVAL: Duration = millis(100);
    let (aws, client) = start_with(case, |setup| setup.flush_every(INTERVAL)).await;
    aws.always(|_| Reply::Reset);
    for _ in 0..100 {
        client.enable();
        client.disable();
        client.disable();
        client.enable();
        client.enable();
        tokio::task::yield_now().await;
    }
    client.record_to(STREAM, ["1"]).await;
    aws.until(|aws| aws.request_count() == 6).await;
    let log = aws.requests();
    for pause in pauses(&log[..5]) {
        assert!(pause >= INTERVAL, "{pause:?}");
    }

    // Enabling an enabled client does not delay the next pass.
    let enabling = async {
        loop {
            client.enable();
            tokio::time::sleep(INTERVAL / 10).await;
        }
    };
    tokio::select! {
        () = enabling => {}
        () = async { aws.until(|aws| aws.request_count() == 9).await } => {}
    }
}

async fn without_a_strategy_nothing_is_sent(case: Case) {
    let aws = Endpoint::start();
    let silent = Setup::new(case, &aws).build().await;
    silent.record_to(STREAM, ["1"]).await;
    pass_ten_times(case, &aws, millis(10), || {
        silent.disable();
        silent.enable();
    })
    .await;
    assert_eq!(aws.requests_to(STREAM).len(), 0);
}

// ---- closing and dropping

async fn a_closed_client_refuses_everything(case: Case) {
    let (aws, client) = start(case).await;
    client.record_to(STREAM, ["1", "2"]).await;
    assert!(!client.is_closed());
    client.close().await.unwrap();
    assert!(client.is_closed());
    client.close().await.unwrap();

    let closed = Kind::ClientClosed;
    assert_fails(client.record(STREAM, "3").await, closed);
    // The closed error comes first, whatever else is wrong.
    assert_fails(client.record("not a name", "3").await, closed);
    assert_fails(client.record_all([(STREAM, "3")]).await, closed);
    let none = Vec::<(&str, &str)>::new();
    assert_fails(client.record_all(none).await, closed);
    assert_fails(client.flush().await, closed);
    assert_fails(client.drain(LONG).await, closed);
    assert_fails(client.clear_cache().await, closed);
    let enabled = client.is_enabled();
    client.disable();
    assert_eq!(client.is_enabled(), enabled);
    client.enable();
    assert_eq!(client.is_enabled(), enabled);
    assert_fails(client.record(STREAM, "3").await, closed);
    assert_eq!(client.cached(), 2);
    assert_eq!(aws.request_count(), 0);

    // A disabled client can be closed too.
    let client = Setup::new(case, &aws).build().await;
    client.disable();
    client.close().await.unwrap();
    assert_fails(client.record(STREAM, "3").await, closed);
}

async fn closing_twice_and_at_once_is_fine(case: Case) {
    let (aws, client) = start(case).await;
    client.record_to(STREAM, ["1"]).await;
    let flush = flush_under_way(&aws, &client, Reply::Accept.delayed(millis(200))).await;
    let clone = client.clone();
    let (first, second, third) = tokio::join!(client.close(), clone.close(), client.close());
    first.unwrap();
    second.unwrap();
    third.unwrap();
    // All closes waited for the request in flight, which counted.
    assert_eq!(aws.in_flight(), 0);
    assert_eq!(flush.await.unwrap().unwrap().records_flushed, 1);
    assert_eq!(client.cached(), 0);

    // A close takes effect even if nobody waits for it.
    let client = Setup::new(case, &aws).build().await;
    client.record_to(STREAM, ["2"]).await;
    let flush = flush_under_way(&aws, &client, Reply::Accept.delayed(millis(200))).await;
    let _ = tokio::time::timeout(millis(1), client.close()).await;
    assert!(client.is_closed());
    assert_fails(client.flush().await, Kind::ClientClosed);
    client.close().await.unwrap();
    assert_eq!(flush.await.unwrap().unwrap().records_flushed, 1);
}

async fn is_closed(store: &MemoryStore) -> bool {
    let record = NewRecord::new(StreamName::new("probe").unwrap(), None, "1");
    matches!(store.append(vec![record]).await, Err(StoreError::Closed))
}

/// A client with this store and a fast timer.
async fn start_on(case: Case, store: &Arc<MemoryStore>) -> (Endpoint, Client) {
    let store = store.clone();
    start_with(case, |setup| setup.store(store).flush_every(millis(10))).await
}

async fn released(store: &Arc<MemoryStore>) {
    let is_released = async || Arc::strong_count(store) == 1;
    eventually("only the test holds the store", is_released).await;
}

async fn closing_stops_the_timer_and_releases_a_given_store(case: Case) {
    let store = Arc::new(MemoryStore::new());
    let (aws, client) = start_on(case, &store).await;
    aws.always(|_| Reply::Throttle);
    client.record_to(STREAM, ["1"]).await;
    aws.until(|aws| aws.request_count() >= 3).await;
    client.close().await.unwrap();
    assert!(is_closed(&store).await);
    assert_eq!(aws.in_flight(), 0);
    let sent = aws.request_count();
    // Only the test holds the store, so no task remains that could send anything.
    drop(client);
    released(&store).await;
    assert_eq!(aws.request_count(), sent);
}

async fn dropping_the_last_clone_stops_the_timer_and_releases_a_given_store(case: Case) {
    let store = Arc::new(MemoryStore::new());
    let (aws, client) = start_on(case, &store).await;
    aws.always(|_| Reply::Throttle);
    client.record_to(STREAM, ["1"]).await;
    aws.until(|aws| aws.request_count() >= 1).await;
    let clone = client.clone();
    drop(client);
    let sent = aws.request_count();
    aws.until(|aws| aws.request_count() >= sent + 3).await;
    assert!(!clone.is_closed());
    drop(clone);
    released(&store).await;
    assert!(is_closed(&store).await);
    assert_eq!(store.stats().records(), 1);
}

async fn dropping_the_client_lets_a_request_under_way_finish(case: Case) {
    let store = Arc::new(MemoryStore::new());
    let (aws, client) = start_on(case, &store).await;
    aws.script(Reply::Accept.delayed(millis(200)));
    client.record_to(STREAM, ["1"]).await;
    aws.until(|aws| aws.in_flight() == 1).await;
    drop(client);
    released(&store).await;
    assert_eq!(aws.payloads(STREAM), ["1"]);
    assert_eq!(store.stats().records(), 0, "what was delivered is not kept");
}

async fn clones_share_one_client(case: Case) {
    let (_aws, client) = start(case).await;
    let clone = client.clone();
    client.record_to(STREAM, ["1"]).await;
    clone.record_to(STREAM, ["2"]).await;
    assert_eq!((client.cached(), clone.cached()), (2, 2));
    assert_eq!(clone.flush().await.unwrap().records_flushed, 2);
    assert_eq!(client.cached(), 0);
    clone.disable();
    assert!(!client.is_enabled());
    client.enable();
    assert!(clone.is_enabled());
    drop(clone);
    client.record_to(STREAM, ["3"]).await;
    let clone = client.clone();
    clone.close().await.unwrap();
    assert!(client.is_closed());
    assert_fails(client.flush().await, Kind::ClientClosed);
}

// ---- statistics

async fn statistics_count_data_and_keys_by_stream(case: Case) {
    let (aws, client) = start(case).await;
    let key = "ключ";
    client.keep("b", key, "12345").await;
    client.keep("a", key, "").await;
    client.keep("b", key, "123").await;
    let key_bytes = match case.service {
        Service::Kinesis => key.len() as u64,
        Service::Firehose => 0,
    };
    let stats = client.cache_stats();
    assert_eq!((stats.records, stats.bytes), (3, 8 + 3 * key_bytes));
    let streams: Vec<_> = stats
        .streams
        .iter()
        .map(|stats| (&*stats.stream_name, stats.records, stats.bytes))
        .collect();
    assert_eq!(streams, [("a", 1, key_bytes), ("b", 2, 8 + 2 * key_bytes)]);
    aws.script_for("b", Reply::fail_at([0], "InternalFailure"));
    client.flush().await.unwrap();
    let stats = client.cache_stats();
    assert_eq!((stats.records, stats.bytes), (1, 5 + key_bytes));
    assert_eq!(stats.streams.len(), 1);
}

async fn statistics_outlive_the_client(case: Case) {
    let (_aws, client) = start(case).await;
    client.record_to(STREAM, ["1", "2"]).await;
    let before = client.cache_stats();
    client.close().await.unwrap();
    assert_eq!(client.cache_stats(), before);
}

async fn options_and_region_are_told(case: Case) {
    let (_aws, client) =
        start_with(case, |setup| setup.max_retries(17).region("ap-southeast-2")).await;
    assert_eq!(client.region(), "ap-southeast-2");
    assert_eq!(client.max_retries(), 17);
    assert!(client.options_debug().contains("17"));
}

async fn any_setting_may_be_as_large_as_it_gets(case: Case) {
    let (aws, client) = start_with(case, |setup| {
        setup
            .cache_max_bytes(u64::MAX)
            .max_retries(u32::MAX)
            .max_concurrent_streams(usize::MAX)
            .request_timeout(Duration::MAX)
            .flush_every(Duration::MAX)
    })
    .await;
    client.record_to(STREAM, ["1", "2"]).await;
    aws.script(Reply::fail_at([1], "InternalFailure"));
    let done = client.drain(Duration::MAX).await.unwrap();
    assert_eq!(done.records_flushed, 2);
    client.close().await.unwrap();
}

async fn a_client_works_from_several_threads(case: Case) {
    let (aws, client) = start(case).await;
    let threads: Vec<_> = numbered("thread", 4)
        .into_iter()
        .map(|stream| {
            let client = client.clone();
            tokio::task::spawn_blocking(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    for payload in numbered("record", 50) {
                        client.record(&stream, payload).await.unwrap();
                        client.flush().await.unwrap();
                    }
                });
            })
        })
        .collect();
    for thread in threads {
        thread.await.unwrap();
    }
    client.drain(LONG).await.unwrap();
    for stream in numbered("thread", 4) {
        assert_eq!(aws.payloads(&stream), numbered("record", 50));
    }
}
