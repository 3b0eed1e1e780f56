//! Faults on the way to the service, in the credentials and in the store. Nothing is lost, and only
//! requests without an answer are repeated.

use std::collections::HashSet;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use amplify_test_support::stores::{Op, ScriptedStore};
use amplify_test_support::{Outcome, PutRequest, Reply, RequestLog};
use aws_credential_types::credential_fn::provide_credentials_fn;
use aws_credential_types::provider::error::CredentialsError;
use integration_tests::{
    Case, Discards, Endpoint, Kind, Service, Setup, assert_fails, credentials, eventually, millis,
    numbered, page, start, start_with,
};
use tokio::time::Instant;

integration_tests::cases! {
    everywhere:
        what_was_taken_in_without_an_answer_is_sent_again,
        records_that_fail_are_sent_again_in_their_order,
        one_poison_record_among_many_is_found_and_the_others_are_delivered,
        a_bisection_ends_after_32_requests_and_leaves_the_rest_unpaid,
        a_bisection_that_is_cut_short_keeps_what_it_achieved,
        bad_records_at_the_head_do_not_hold_up_a_stream,
        a_thousand_passes_offline_lose_and_discard_nothing;
    in_memory:
        two_records_refused_before_any_was_accepted_accuse_the_stream,
        a_refused_batch_goes_on_as_the_service_accepts_parts_of_it,
        the_entries_count_and_not_the_number_of_failures,
        an_entry_that_says_nothing_is_no_answer,
        a_slow_link_gets_smaller_batches_until_they_pass,
        batches_shrink_to_one_record_and_grow_back,
        the_sdk_repeats_a_request_three_times,
        an_unreachable_service_is_tried_three_times_in_one_request,
        requests_under_way_are_finished_and_counted_when_a_pass_is_aborted,
        an_aborted_drain_tells_the_sums_of_its_passes,
        the_streams_that_a_pass_did_not_reach_come_first_in_the_next,
        a_dead_stream_delays_the_next_pass_of_others_by_one_time_out_at_most,
        a_drain_goes_on_with_all_others_while_one_stream_is_slow,
        failing_credentials_lose_nothing,
        hanging_credentials_are_bounded_by_the_request_timeout,
        panicking_credentials_are_contained,
        a_hanging_request_is_bounded_by_the_request_timeout,
        closing_waits_no_longer_than_a_request_may_take,
        a_failing_store_refuses_records_and_frees_their_room,
        a_store_that_cannot_be_read_aborts_the_pass,
        a_store_that_cannot_settle_repeats_and_discards_again,
        a_panicking_discard_handler_is_contained;
}

const STREAM: &str = "stream";
const LONG: Duration = Duration::from_secs(30);

// ---- offline

async fn a_thousand_passes_offline_lose_and_discard_nothing(case: Case) {
    let discards = Discards::default();
    // A single charged failure would discard a record.
    let (aws, client) = start_with(case, |setup| {
        setup
            .max_retries(0)
            .discards(&discards)
            .request_timeout(millis(150))
    })
    .await;
    let records = numbered("record", 60);
    for (at, record) in records.iter().enumerate() {
        let stream = ["stream-a", "stream-b", "stream-c"][at % 3];
        client.record(stream, record.clone()).await.unwrap();
    }
    let nobody: [fn() -> Reply; 6] = [
        || Reply::Reset,
        || Reply::Close,
        || Reply::NotHttp,
        || Reply::Garbage,
        || Reply::Truncated,
        || page(407, "<h1>Who are you?</h1>"),
    ];
    for pass in 0..1000 {
        match pass {
            // Half of the time nobody listens, otherwise a stranger does.
            0 => aws.stop(),
            500 => aws.restart().unwrap(),
            _ => {}
        }
        let reply = match pass % 50 {
            49 => Reply::Hang,
            _ => nobody[pass % nobody.len()](),
        };
        aws.always(move |_| reply.clone());
        let error = client.flush().await.unwrap_err();
        assert_eq!(error.kind, Kind::Unknown, "{error:?}");
        let done = error.flushed();
        assert_eq!(done.records_retried + done.records_discarded, 0);
        assert_eq!(client.cached(), records.len());
    }
    assert!(aws.request_count() >= 500);
    assert_eq!(aws.delivered_count(), 0);

    aws.clear_script();
    eventually("all is delivered", async || {
        // On a very busy machine, an answer may come too late.
        client.drain(LONG).await.is_ok() && client.cached() == 0
    })
    .await;
    assert!(discards.all().is_empty());
    for (at, stream) in ["stream-a", "stream-b", "stream-c"].into_iter().enumerate() {
        let mut delivered = aws.payloads(stream);
        let mut seen = HashSet::new();
        delivered.retain(|record| seen.insert(record.clone()));
        let recorded: Vec<_> = records.iter().skip(at).step_by(3).cloned().collect();
        assert_eq!(delivered, recorded);
    }
}

// ---- answers that never came

async fn what_was_taken_in_without_an_answer_is_sent_again(case: Case) {
    let replies = [
        Reply::Hang,
        Reply::Close,
        Reply::Reset,
        Reply::Garbage,
        Reply::NotHttp,
        Reply::Truncated,
        Reply::WrongCount(1),
        Reply::refuse(500, "InternalFailure"),
    ];
    for reply in replies {
        let timeout = match reply {
            Reply::Hang => Duration::from_secs(2),
            _ => LONG,
        };
        let (aws, client) =
            start_with(case, |setup| setup.max_retries(0).request_timeout(timeout)).await;
        client.record_to(STREAM, ["a", "b", "c", "d"]).await;
        aws.script(reply.clone().after_accepting());
        match client.flush().await {
            Ok(done) => assert_eq!((done.records_flushed, done.skipped_streams.len()), (0, 1)),
            Err(error) => assert_eq!(error.kind, Kind::Unknown, "{reply:?}: {error:?}"),
        }
        assert_eq!(client.cached(), 4, "{reply:?}");
        let done = client.drain(LONG).await.unwrap();
        assert_eq!(done.records_flushed, 4, "{reply:?}");
        let expected = ["a", "b", "c", "d", "a", "b", "c", "d"];
        assert_eq!(aws.payloads(STREAM), expected, "{reply:?}");
        assert_eq!(client.cached(), 0);
    }
}

async fn records_that_fail_are_sent_again_in_their_order(case: Case) {
    let (aws, client) = start(case).await;
    client.record_to(STREAM, ["0", "1", "2", "3", "4"]).await;
    aws.script(Reply::fail_at([1, 3], "InternalFailure"));
    let done = client.flush().await.unwrap();
    assert_eq!((done.records_flushed, done.records_retried), (3, 2));
    client.record_to(STREAM, ["5"]).await;
    let done = client.flush().await.unwrap();
    assert_eq!((done.records_flushed, done.records_retried), (3, 0));
    assert_eq!(aws.payloads(STREAM), ["0", "2", "4", "1", "3", "5"]);
}

// ---- bisecting

fn refuse_if(
    poison: impl Fn(&str) -> bool + Send + Sync,
) -> impl Fn(&PutRequest) -> Reply + Send + Sync {
    move |request| {
        let mut payloads = request.records.iter();
        let refused = payloads.any(|record| poison(std::str::from_utf8(&record.data).unwrap()));
        if refused {
            Reply::refuse(400, "ValidationException")
        } else {
            Reply::Accept
        }
    }
}

/// Checks that everything was delivered once and in order, except for one record that may have been
/// sent first to see whether the stream accepts anything.
fn assert_in_order_but_for_a_witness(delivered: &[String], recorded: &[String]) {
    let Some((first, rest)) = delivered.split_first() else {
        return assert!(recorded.is_empty());
    };
    let others: Vec<_> = recorded
        .iter()
        .filter(|&payload| payload != first)
        .collect();
    assert_eq!(rest.iter().collect::<Vec<_>>(), others);
    assert_eq!(delivered.len(), recorded.len());
}

async fn one_poison_record_among_many_is_found_and_the_others_are_delivered(case: Case) {
    for at in [0, 1, 250, 333, 499] {
        let discards = Discards::default();
        let (aws, client) =
            start_with(case, |setup| setup.max_retries(0).discards(&discards)).await;
        let mut payloads = numbered("record", 500);
        client.record_to(STREAM, payloads.clone()).await;
        let poison = payloads.remove(at);
        let is_poison = poison.clone();
        aws.always(refuse_if(move |payload| payload == is_poison));

        let done = client.flush().await.unwrap();
        assert_eq!((done.records_flushed, done.records_discarded), (499, 1));
        assert_eq!(done.records_retried, 0);
        assert_in_order_but_for_a_witness(&aws.payloads(STREAM), &payloads);
        assert_eq!(discards.payloads(), [poison]);
        assert_eq!(client.cached(), 0);
        assert!(aws.request_count() <= 32, "{}", aws.request_count());
    }
}

async fn a_bisection_ends_after_32_requests_and_leaves_the_rest_unpaid(case: Case) {
    let discards = Discards::default();
    let (aws, client) = start_with(case, |setup| setup.max_retries(0).discards(&discards)).await;
    let mut payloads: Vec<_> = (0..200).map(|at| format!("{}-{at}", at % 3)).collect();
    client.record_to(STREAM, payloads.clone()).await;
    let is_poison = |payload: &str| payload.starts_with("1-");
    aws.always(refuse_if(is_poison));

    let done = client.flush().await.unwrap();
    assert_eq!(aws.request_count(), 32);
    assert!(
        done.records_flushed > 0 && done.records_discarded > 0,
        "{done:?}"
    );
    let gone = done.records_flushed + done.records_discarded;
    assert_eq!(client.cached(), 200 - gone);

    assert!(discards.payloads().iter().all(|payload| is_poison(payload)));
    // Only records sent alone were charged, or the others would have been discarded too.
    aws.clear_script();
    let rest = client.drain(LONG).await.unwrap();
    assert_eq!(
        (rest.records_flushed, rest.records_discarded),
        (200 - gone, 0)
    );
    let given_up = discards.payloads();
    payloads.retain(|payload| !given_up.contains(payload));
    assert_eq!(aws.payloads(STREAM), payloads);
}

async fn bad_records_at_the_head_do_not_hold_up_a_stream(case: Case) {
    let discards = Discards::default();
    let (aws, client) = start_with(case, |setup| setup.max_retries(9).discards(&discards)).await;
    let mut payloads = numbered("bad", 3);
    payloads.extend(numbered("good", 497));
    client.record_to(STREAM, payloads.clone()).await;
    aws.always(refuse_if(|payload| payload.starts_with("bad")));
    let passes = AtomicUsize::new(0);
    eventually("the good ones are delivered", async || {
        passes.fetch_add(1, Ordering::Relaxed);
        client.flush().await.unwrap();
        client.cached() <= 3
    })
    .await;
    let passes = passes.into_inner();
    // More than one pass if the record chosen to test the stream is a bad one.
    assert!(passes <= 3, "{passes}");
    assert_eq!(discards.payloads(), [""; 0]);
    eventually("the bad ones are given up", async || {
        client.flush().await.unwrap();
        client.cached() == 0
    })
    .await;
    assert_eq!(aws.delivered_count(), 497);
    assert_eq!(discards.all().len(), 3);
    let given_up = discards.payloads();
    assert!(given_up.iter().all(|payload| payload.starts_with("bad")));
}

async fn a_bisection_that_is_cut_short_keeps_what_it_achieved(case: Case) {
    let cuts = [
        (Reply::Reset, 0),
        (Reply::refuse(503, "ServiceUnavailable"), 0),
        (Reply::refuse(400, "ResourceNotFoundException"), 2),
    ];
    for (cut, charged) in cuts {
        let (aws, client) = start(case).await;
        client.record_to(STREAM, ["a", "b", "c", "d"]).await;
        aws.script(Reply::refuse(400, "ValidationException"));
        aws.script(Reply::Accept);
        aws.script(cut.clone());
        let done = match (client.flush().await, &cut) {
            (Err(error), Reply::Reset) => error.flushed().clone(),
            (Ok(done), Reply::Refuse(_)) => done,
            (other, _) => panic!("{cut:?}: {other:?}"),
        };
        assert_eq!(done.records_flushed, 2, "{cut:?}");
        assert_eq!(done.records_retried, charged, "{cut:?}");
        assert_eq!((aws.request_count(), client.cached()), (3, 2));
        client.flush().await.unwrap();
        assert_eq!(aws.payloads(STREAM), ["a", "b", "c", "d"], "{cut:?}");
    }
}

async fn two_records_refused_before_any_was_accepted_accuse_the_stream(case: Case) {
    let (aws, client) = start(case).await;
    client.record_to(STREAM, numbered("record", 500)).await;
    aws.always(|_| Reply::refuse(400, "InvalidArgumentException"));
    let done = client.flush().await.unwrap();
    assert_eq!((done.records_retried, done.records_discarded), (500, 0));
    let requests = aws.requests();
    let alone = requests.iter().filter(|request| request.records == 1);
    assert_eq!(alone.count(), 2);
    assert!(requests.len() <= 12, "{}", requests.len());
    assert_eq!(client.cached(), 500);
}

async fn a_refused_batch_goes_on_as_the_service_accepts_parts_of_it(case: Case) {
    // Records refused alone are charged, accepted ones are done, and those that fail individually
    // are charged.
    let discards = Discards::default();
    let (aws, client) = start_with(case, |setup| setup.max_retries(0).discards(&discards)).await;
    client.record_to(STREAM, ["a", "b", "c", "d"]).await;
    aws.script(Reply::refuse(400, "ValidationException"));
    aws.script(Reply::fail_at([1], "InternalFailure"));
    aws.script(Reply::refuse(400, "SerializationException"));
    aws.script(Reply::Accept);
    aws.script(Reply::refuse(400, "InvalidArgumentException"));
    let done = client.flush().await.unwrap();
    assert_eq!((done.records_flushed, done.records_discarded), (2, 2));
    assert_eq!(aws.payloads(STREAM), ["a", "c"]);
    let codes = discards
        .all()
        .into_iter()
        .map(|record| record.code.unwrap());
    let codes: Vec<_> = codes.collect();
    assert_eq!(discards.payloads(), ["b", "d"]);
    assert_eq!(codes, ["InternalFailure", "InvalidArgumentException"]);
    assert_eq!(client.cached(), 0);
}

// ---- answers that contradict themselves

/// An answer with this failure count, whatever the entries say.
fn answer(service: Service, failures: usize, entries: &[&str]) -> Reply {
    let (count, results) = match service {
        Service::Kinesis => ("FailedRecordCount", "Records"),
        Service::Firehose => ("FailedPutCount", "RequestResponses"),
    };
    let entries = entries.join(",");
    page(
        200,
        format!(r#"{{"{count}":{failures},"{results}":[{entries}]}}"#),
    )
}

fn accepted(service: Service) -> &'static str {
    match service {
        Service::Kinesis => r#"{"SequenceNumber":"49","ShardId":"shardId-000000000000"}"#,
        Service::Firehose => r#"{"RecordId":"49"}"#,
    }
}

const FAILED: &str = r#"{"ErrorCode":"InternalFailure","ErrorMessage":"no"}"#;

async fn the_entries_count_and_not_the_number_of_failures(case: Case) {
    let accepted = accepted(case.service);
    for (failures, entries) in [
        (0, [accepted, FAILED, accepted]),
        (3, [accepted, FAILED, accepted]),
        (1, [FAILED, FAILED, FAILED]),
        (2, [accepted, accepted, accepted]),
    ] {
        let (aws, client) = start(case).await;
        client.record_to(STREAM, ["a", "b", "c"]).await;
        aws.script(answer(case.service, failures, &entries));
        let failed = entries.iter().filter(|&&entry| entry == FAILED).count();
        let done = client.flush().await.unwrap();
        assert_eq!(done.records_flushed, 3 - failed);
        assert_eq!(done.records_retried, failed);
        assert_eq!(client.cached(), failed);
    }
}

async fn an_entry_that_says_nothing_is_no_answer(case: Case) {
    let accepted = accepted(case.service);
    let null = r#"{"SequenceNumber":null,"RecordId":null,"ErrorCode":null}"#;
    for silent in ["{}", null] {
        let (aws, client) = start_with(case, |setup| setup.max_retries(0)).await;
        client.record_to(STREAM, ["a", "b"]).await;
        aws.script(answer(case.service, 0, &[accepted, silent]));
        assert_fails(client.flush().await, Kind::Unknown);
        assert_eq!(client.cached(), 2, "{silent}");
        client.flush().await.unwrap();
        assert_eq!(aws.payloads(STREAM), ["a", "b"]);
    }
    // An accepted record may have empty error fields beside its sequence number.
    let (aws, client) = start_with(case, |setup| setup.max_retries(0)).await;
    client.record_to(STREAM, ["a"]).await;
    let both = format!("{},\"ErrorCode\":null}}", accepted.trim_end_matches('}'));
    aws.script(answer(case.service, 0, &[&both]));
    assert_eq!(client.flush().await.unwrap().records_flushed, 1);
}

// ---- slow links

/// Checks each request's size against the limit that follows from earlier requests.
fn assert_halved_and_doubled(log: &[RequestLog], most: usize) {
    let mut limit = most;
    for (at, request) in log.iter().enumerate() {
        assert!(
            request.records == 1 || request.bytes <= limit,
            "request {at} has {} bytes, {limit} were allowed",
            request.bytes
        );
        limit = match request.outcome {
            Outcome::Abandoned => request.bytes / 2,
            _ => most.min(limit * 2),
        };
    }
}

async fn a_slow_link_gets_smaller_batches_until_they_pass(case: Case) {
    let (aws, client) = start_with(case, |setup| {
        setup.max_retries(0).request_timeout(millis(1200))
    })
    .await;
    // 64 KiB, or 90 KB on the wire: 2.7 s at this speed. A batch that passes takes half of the
    // timeout, so that its answer is in time even on a busy machine.
    let payloads: Vec<_> = (0..64).map(|at| format!("{at:01024}")).collect();
    client.record_to(STREAM, payloads.clone()).await;
    aws.set_link_speed(Some(33_000));
    eventually("all batches pass", async || {
        match client.flush().await {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind, Kind::Unknown, "{error:?}"),
        }
        client.cached() == 0
    })
    .await;
    assert_eq!(aws.payloads(STREAM), payloads);
    let log = aws.requests_to(STREAM);
    assert_eq!(log[0].records, 64);
    assert_eq!(log[0].outcome, Outcome::Abandoned);
    assert_halved_and_doubled(&log, usize::MAX / 2);
}

async fn batches_shrink_to_one_record_and_grow_back(case: Case) {
    let (aws, client) = start_with(case, |setup| {
        setup.max_retries(0).request_timeout(millis(150))
    })
    .await;
    let payloads: Vec<_> = (0..40).map(|at| format!("{at:0100}")).collect();
    client.record_to(STREAM, payloads.clone()).await;
    aws.always(|_| Reply::Hang);
    for _ in 0..7 {
        assert_fails(client.flush().await, Kind::Unknown);
    }
    let records = |log: &[RequestLog]| log.iter().map(|r| r.records).collect::<Vec<_>>();
    assert_eq!(records(&aws.requests_to(STREAM)), [40, 20, 10, 5, 2, 1, 1]);
    aws.clear_script();
    let done = client.drain(LONG).await.unwrap();
    assert_eq!(done.records_flushed, 40);
    assert_eq!(aws.payloads(STREAM), payloads);
    let log = aws.requests_to(STREAM);
    assert_halved_and_doubled(&log, usize::MAX / 2);
    let after = records(&log[7..]);
    assert!(
        after.is_sorted_by(|a, b| a <= b || *b == after[after.len() - 1]),
        "{after:?}"
    );
    // 1, 2, 4, 8, 16 and the rest, or one step more if one byte is missing.
    assert!(after.len() <= 8, "{after:?}");
}

// ---- the SDK's own attempts

async fn the_sdk_repeats_a_request_three_times(case: Case) {
    let (aws, client) = start_with(case, |setup| setup.default_attempts().max_retries(0)).await;
    client.record_to(STREAM, ["a"]).await;
    aws.always(|_| Reply::refuse(500, "InternalFailure"));
    let done = client.flush().await.unwrap();
    assert_eq!(
        done.skipped_streams[0].code.as_deref(),
        Some("InternalFailure")
    );
    assert_eq!((aws.request_count(), client.cached()), (3, 1));

    aws.clear_script();
    aws.script(Reply::Throttle);
    aws.script(Reply::Reset);
    assert_eq!(client.flush().await.unwrap().records_flushed, 1);
    assert_eq!(aws.request_count(), 6);
    assert_eq!(aws.payloads(STREAM), ["a"]);
}

async fn an_unreachable_service_is_tried_three_times_in_one_request(case: Case) {
    let (aws, client) = start_with(case, |setup| setup.default_attempts().max_retries(0)).await;
    client.record_to(STREAM, ["a"]).await;
    aws.always(|_| Reply::Close);
    assert_fails(client.flush().await, Kind::Unknown);
    assert_eq!((aws.request_count(), client.cached()), (3, 1));
    aws.clear_script();
    assert_eq!(client.flush().await.unwrap().records_flushed, 1);
}

// ---- aborted passes

async fn requests_under_way_are_finished_and_counted_when_a_pass_is_aborted(case: Case) {
    let (aws, client) = start_with(case, |setup| setup.max_concurrent_streams(3)).await;
    for stream in ["a-slow", "b-partly", "c-broken", "d-late", "e-late"] {
        client.record_to(stream, ["1", "2"]).await;
    }
    let slowly = millis(300);
    aws.script_for("a-slow", Reply::Accept.delayed(slowly));
    aws.script_for(
        "b-partly",
        Reply::fail_at([0], "InternalFailure").delayed(slowly),
    );
    aws.script_for("c-broken", Reply::Reset);
    let error = client.flush().await.unwrap_err();
    assert_eq!(error.kind, Kind::Unknown);
    let done = error.flushed();
    assert_eq!((done.records_flushed, done.records_retried), (3, 1));
    assert_eq!(aws.request_count(), 3);
    assert_eq!(client.cached(), 7);
}

async fn an_aborted_drain_tells_the_sums_of_its_passes(case: Case) {
    let (aws, client) = start(case).await;
    client.record_to(STREAM, numbered("record", 1200)).await;
    for reply in [Reply::Accept, Reply::AcceptFirst(400), Reply::Reset] {
        aws.script(reply);
    }
    let error = client.drain(LONG).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unknown);
    let done = error.flushed();
    assert_eq!((done.records_flushed, done.records_retried), (900, 100));
    assert_eq!(client.cached(), 300);
    let done = client.drain(LONG).await.unwrap();
    assert_eq!((done.records_flushed, client.cached()), (300, 0));
}

async fn the_streams_that_a_pass_did_not_reach_come_first_in_the_next(case: Case) {
    let (aws, client) = start_with(case, |setup| setup.max_concurrent_streams(1)).await;
    for stream in ["a", "b", "c", "d"] {
        client.record_to(stream, ["1"]).await;
    }
    aws.script_for("a", Reply::Reset);
    aws.script_for("c", Reply::Reset);
    client.flush().await.unwrap_err();
    client.flush().await.unwrap_err();
    client.flush().await.unwrap();
    assert_eq!(aws.streams_in_order(), ["a", "b", "c", "d", "a", "c"]);
    assert_eq!(client.cached(), 0);
}

async fn a_dead_stream_delays_the_next_pass_of_others_by_one_time_out_at_most(case: Case) {
    let (aws, client) = start_with(case, |setup| {
        setup
            .max_concurrent_streams(2)
            .request_timeout(millis(700))
            .flush_every(millis(10))
    })
    .await;
    aws.always(|request: &PutRequest| match &*request.stream {
        "dead" => Reply::Hang,
        _ => Reply::Accept,
    });
    client.record_to("dead", ["1"]).await;
    for round in 1..=4 {
        aws.until(|aws| aws.in_flight() == 1).await;
        let before = aws.requests_to("dead").len();
        for stream in ["a", "b", "z"] {
            client.record_to(stream, ["1"]).await;
        }
        aws.until(|aws| aws.delivered_count() == 3 * round).await;
        // After the pass in progress: the pass that has the records, and one more if an overloaded
        // machine missed some of them.
        let since = aws.requests_to("dead").len() - before;
        assert!(since <= 2, "{since}");
    }
}

async fn a_drain_goes_on_with_all_others_while_one_stream_is_slow(case: Case) {
    let (aws, client) = start_with(case, |setup| setup.max_concurrent_streams(2)).await;
    for stream in ["a-slow", "b", "c", "d"] {
        client.record_to(stream, numbered("record", 1600)).await;
    }
    aws.script_for("a-slow", Reply::Accept.delayed(Duration::from_secs(2)));
    let drain = {
        let client = client.clone();
        tokio::spawn(async move { client.drain(LONG).await.unwrap().records_flushed })
    };
    aws.until(|aws| {
        let others = ["b", "c", "d"].map(|stream| aws.delivered_count_of(stream));
        others.iter().sum::<usize>() == 4800
    })
    .await;
    assert_eq!(aws.requests_to("a-slow").len(), 1);
    assert_eq!(drain.await.unwrap(), 6400);
    for stream in ["a-slow", "b", "c", "d"] {
        assert_eq!(aws.payloads(stream), numbered("record", 1600));
        assert_eq!(aws.max_in_flight_of(stream), 1);
    }
}

// ---- credentials

#[derive(Clone, Copy, Debug)]
enum Trouble {
    Error,
    Hang,
    Panic,
}

/// Two failing passes, then one that succeeds.
async fn survives(case: Case, trouble: Trouble, change: impl FnOnce(Setup) -> Setup) {
    let discards = Discards::default();
    let has_recovered = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&has_recovered);
    let provider = provide_credentials_fn(move || {
        let is_well = is_well.load(Ordering::Relaxed);
        async move {
            match trouble {
                _ if is_well => Ok(credentials()),
                Trouble::Error => Err(CredentialsError::provider_error("no metadata service here")),
                Trouble::Hang => pending().await,
                Trouble::Panic => panic!("the provider of a test panics"),
            }
        }
    });
    let (aws, client) = start_with(case, |setup| {
        let setup = change(setup).credentials(provider);
        setup.max_retries(0).discards(&discards)
    })
    .await;
    client.record_to(STREAM, ["a", "b"]).await;
    for _ in 0..2 {
        let error = client.flush().await.unwrap_err();
        assert_eq!(error.kind, Kind::Unknown, "{case:?}: {error:?}");
        assert_eq!(client.cached(), 2);
    }
    assert_eq!(aws.request_count(), 0);
    has_recovered.store(true, Ordering::Relaxed);
    client.drain(LONG).await.unwrap();
    assert_eq!(aws.payloads(STREAM), ["a", "b"]);
    assert_eq!(discards.payloads(), [""; 0]);
}

async fn failing_credentials_lose_nothing(case: Case) {
    survives(case, Trouble::Error, |setup| setup).await;
}

async fn hanging_credentials_are_bounded_by_the_request_timeout(case: Case) {
    survives(case, Trouble::Hang, |setup| {
        setup.request_timeout(millis(300))
    })
    .await;
}

async fn panicking_credentials_are_contained(case: Case) {
    survives(case, Trouble::Panic, |setup| setup).await;
}

// ---- hanging

async fn a_hanging_request_is_bounded_by_the_request_timeout(case: Case) {
    const TIMEOUT: Duration = millis(300);
    for attempts in ["one", "three"] {
        let aws = Endpoint::start();
        let mut setup = Setup::new(case, &aws).request_timeout(TIMEOUT);
        if attempts == "three" {
            setup = setup.default_attempts();
        }
        let client = setup.build().await;
        client.record_to(STREAM, ["a"]).await;
        aws.always(|_| Reply::Hang);
        let started = Instant::now();
        assert_fails(client.flush().await, Kind::Unknown);
        let took = started.elapsed();
        assert!(
            took >= TIMEOUT && took < TIMEOUT * 10,
            "{attempts}: {took:?}"
        );
    }
}

async fn closing_waits_no_longer_than_a_request_may_take(case: Case) {
    const TIMEOUT: Duration = millis(500);
    let (aws, client) = start_with(case, |setup| {
        setup.request_timeout(TIMEOUT).max_concurrent_streams(1)
    })
    .await;
    client.record_to("a", ["1"]).await;
    client.record_to("b", ["1"]).await;
    aws.always(|_| Reply::Hang);
    let flush = client.flushing();
    aws.until(|aws| aws.in_flight() == 1).await;
    let started = Instant::now();
    client.close().await.unwrap();
    let took = started.elapsed();
    assert!(took < TIMEOUT * 10, "{took:?}");
    // The pass ended before the store was closed, and no other request started.
    assert!(flush.await.unwrap().is_err());
    assert_eq!(aws.request_count(), 1);
    assert_eq!(client.cached(), 2);
    assert_fails(client.flush().await, Kind::ClientClosed);
}

// ---- the store

async fn a_failing_store_refuses_records_and_frees_their_room(case: Case) {
    let store = Arc::new(ScriptedStore::obedient());
    let (_aws, client) = start_with(case, |setup| {
        setup.store(store.clone()).cache_max_bytes(100)
    })
    .await;
    store.now_fails_at(Op::Append);
    let full = vec![b'x'; 100 - case.key_bytes()];
    for _ in 0..3 {
        let error = client.record(STREAM, full.clone()).await.unwrap_err();
        assert_eq!(error.kind, Kind::Storage, "{error:?}");
        assert_eq!(client.cached(), 0);
    }
    store.now_obeys();
    client.record(STREAM, full).await.unwrap();
    assert_eq!(client.flush().await.unwrap().records_flushed, 1);

    store.now_fails_at(Op::Clear);
    assert_fails(client.clear_cache().await, Kind::Storage);
    store.now_obeys();
    client.clear_cache().await.unwrap();
    store.now_fails_at(Op::Close);
    assert_fails(client.close().await, Kind::Storage);
    assert!(client.is_closed());
    assert_fails(client.record(STREAM, "a").await, Kind::ClientClosed);
}

async fn a_store_that_cannot_be_read_aborts_the_pass(case: Case) {
    let store = Arc::new(ScriptedStore::obedient());
    let (aws, client) = start_with(case, |setup| setup.store(store.clone())).await;
    client.record_to(STREAM, ["a", "b"]).await;
    store.now_fails_at(Op::Oldest);
    let error = client.flush().await.unwrap_err();
    assert_eq!(error.kind, Kind::Storage, "{error:?}");
    assert_eq!(error.flushed().records_flushed, 0);
    assert_eq!((aws.request_count(), client.cached()), (0, 2));
    store.now_obeys();
    client.flush().await.unwrap();
    assert_eq!(aws.payloads(STREAM), ["a", "b"]);
}

async fn a_store_that_cannot_settle_repeats_and_discards_again(case: Case) {
    let store = Arc::new(ScriptedStore::obedient());
    let discards = Discards::default();
    let (aws, client) = start_with(case, |setup| {
        setup
            .store(store.clone())
            .max_retries(0)
            .discards(&discards)
    })
    .await;
    client.record_to(STREAM, ["a", "b"]).await;
    store.now_fails_at(Op::Settle);
    aws.always(|_| Reply::fail_at([1], "InternalFailure"));
    let error = client.flush().await.unwrap_err();
    assert_eq!(error.kind, Kind::Storage, "{error:?}");
    assert_eq!(error.flushed().records_flushed, 0);
    assert_eq!(client.cached(), 2);
    store.now_obeys();
    let done = client.flush().await.unwrap();
    assert_eq!((done.records_flushed, done.records_discarded), (1, 1));
    assert_eq!(aws.payloads(STREAM), ["a", "a"]);
    // Handed over before it was deleted: at least once.
    assert_eq!(discards.payloads(), ["b", "b"]);
    assert_eq!(client.cached(), 0);
}

async fn a_panicking_discard_handler_is_contained(case: Case) {
    let seen = Discards::default();
    let seen_by_handler = seen.clone();
    let (aws, client) = start_with(case, |setup| {
        setup.max_retries(0).on_discard(move |record| {
            seen_by_handler.push(record);
            panic!("the handler of a test panics");
        })
    })
    .await;
    client.record_to(STREAM, ["a", "b"]).await;
    aws.always(|_| Reply::fail_all("InternalFailure"));
    let done = client.flush().await.unwrap();
    assert_eq!(done.records_discarded, 2);
    assert_eq!(seen.payloads(), ["a", "b"]);
    assert_eq!(client.cached(), 0);
    aws.clear_script();
    client.record_to(STREAM, ["c"]).await;
    client.flush().await.unwrap();
    assert_eq!(aws.payloads(STREAM), ["c"]);
}
