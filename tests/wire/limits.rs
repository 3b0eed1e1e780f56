//! Records refused before anything is stored or sent, to the byte. No request ever exceeds a
//! service's limits.

use std::time::Duration;

use amplify_kinesis::Bytes;
use integration_tests::{Case, Client, KEY, Kind, Service, start, start_with};

integration_tests::cases! {
    everywhere:
        the_biggest_record_is_delivered_and_one_byte_more_is_refused,
        the_cache_is_bounded_to_the_byte,
        the_bound_holds_while_many_tasks_record,
        what_can_never_fit_is_told_so;
    in_memory:
        partition_keys_have_1_to_256_characters,
        stream_names_are_those_of_the_service,
        a_lower_record_limit_holds,
        a_request_has_500_records_at_most,
        a_request_has_as_many_bytes_as_the_service_takes,
        small_records_are_bounded_by_their_number,
        what_was_delivered_or_given_up_frees_its_room,
        the_checks_come_in_their_order;
}

const STREAM: &str = "stream";
const LONG: Duration = Duration::from_secs(30);
const MIB: usize = 1024 * 1024;

/// Checks that a record is refused with this kind of error, and that nothing is stored.
async fn assert_refused(client: &Client, kind: Kind, stream: &str, key: &str, data: Bytes) {
    let before = client.cache_stats();
    let case = format!(
        "{stream:?}, key of {} bytes, {} bytes",
        key.len(),
        data.len()
    );
    let error = client.record_keyed(stream, key, data).await.unwrap_err();
    assert_eq!(error.kind, kind, "{case}: {error:?}");
    assert_eq!(client.cache_stats(), before, "{case}");
}

async fn the_biggest_record_is_delivered_and_one_byte_more_is_refused(case: Case) {
    let (aws, client) = start_with(case, |setup| setup.cache_max_bytes(64 * MIB as u64)).await;
    let most = case.max_record_bytes();
    for size in [most - 1, most] {
        client.record(STREAM, case.data_of(size)).await.unwrap();
    }
    assert_refused(
        &client,
        Kind::Validation,
        STREAM,
        KEY,
        case.data_of(most + 1),
    )
    .await;
    if case.service == Service::Kinesis {
        let key = "\u{1F980}".repeat(256);
        let data = |size: usize| Bytes::from(vec![b'x'; size - key.len()]);
        client.keep(STREAM, &key, data(most)).await;
        assert_refused(&client, Kind::Validation, STREAM, &key, data(most + 1)).await;
    }
    let recorded = client.cache_stats();
    client.drain(LONG).await.unwrap();
    assert_eq!(aws.delivered_count(), recorded.records);
    assert_eq!(aws.delivered_bytes(), recorded.bytes);
    assert!(
        aws.delivered(STREAM)
            .iter()
            .all(|record| record.data.iter().all(|&b| b == b'x'))
    );
}

async fn partition_keys_have_1_to_256_characters(case: Case) {
    if case.service == Service::Firehose {
        // There is no key to check. A Firehose record is its data, which may be empty.
        let (aws, client) = start(case).await;
        client.record(STREAM, "").await.unwrap();
        client.flush().await.unwrap();
        let delivered = aws.delivered(STREAM);
        assert_eq!((delivered.len(), &delivered[0].partition_key), (1, &None));
        return;
    }
    let (aws, client) = start(case).await;
    let good = [
        "k".into(),
        "k".repeat(256),
        "ä".repeat(256),
        "\u{1F980}".repeat(256),
        " ".into(),
    ];
    for key in &good {
        client.keep(STREAM, key, "1").await;
    }
    for key in ["".into(), "k".repeat(257), "\u{1F980}".repeat(257)] {
        assert_refused(&client, Kind::Validation, STREAM, &key, "1".into()).await;
    }
    client.flush().await.unwrap();
    let delivered = aws.delivered(STREAM);
    let keys: Vec<_> = delivered
        .iter()
        .map(|record| record.partition_key.clone().unwrap())
        .collect();
    assert_eq!(keys, good);
}

async fn stream_names_are_those_of_the_service(case: Case) {
    let (aws, client) = start(case).await;
    let longest = "n".repeat(case.max_name_chars());
    let good = ["s", "A.b_c-9", "-", ".", &longest];
    for name in good {
        client.record(name, "1").await.unwrap();
    }
    let too_long = "n".repeat(case.max_name_chars() + 1);
    let arn = "arn:aws:kinesis:eu-west-1:1:stream/s";
    for name in [
        "", " ", "a b", "a/b", "a\n", "straße", "a\0", arn, &too_long,
    ] {
        assert_refused(&client, Kind::Validation, name, KEY, "1".into()).await;
    }
    client.flush().await.unwrap();
    for name in good {
        assert_eq!(aws.payloads(name), ["1"], "{name}");
    }
}

async fn a_lower_record_limit_holds(case: Case) {
    let (_aws, client) = start_with(case, |setup| setup.max_record_bytes(1000)).await;
    client.record(STREAM, case.data_of(1000)).await.unwrap();
    assert_refused(&client, Kind::Validation, STREAM, KEY, case.data_of(1001)).await;
}

async fn a_request_has_500_records_at_most(case: Case) {
    let (aws, client) = start(case).await;
    client.record_to(STREAM, vec!["1"; 1100]).await;
    client.drain(LONG).await.unwrap();
    let sizes: Vec<_> = aws
        .requests()
        .iter()
        .map(|request| request.records)
        .collect();
    assert_eq!(sizes, [500, 500, 100]);
}

async fn a_request_has_as_many_bytes_as_the_service_takes(case: Case) {
    let (aws, client) = start_with(case, |setup| setup.cache_max_bytes(64 * MIB as u64)).await;
    // One request is exactly full. In the next, one byte too many sends the last record alone.
    let most = case.max_request_bytes();
    let quarter = most / 8;
    let mut sizes = vec![quarter; 8];
    sizes.extend([quarter; 7]);
    sizes.push(quarter + 1);
    let records = sizes.iter().map(|&size| (STREAM, case.data_of(size)));
    client.record_all(records).await.unwrap();
    client.drain(LONG).await.unwrap();
    let requests: Vec<_> = aws
        .requests()
        .iter()
        .map(|r| (r.records, r.bytes))
        .collect();
    assert_eq!(requests, [(8, most), (7, 7 * quarter), (1, quarter + 1)]);
    assert_eq!(aws.delivered_bytes(), sizes.iter().sum::<usize>() as u64);
}

async fn the_cache_is_bounded_to_the_byte(case: Case) {
    let (aws, client) = start_with(case, |setup| setup.cache_max_bytes(10_000)).await;
    client.record("a", case.data_of(6000)).await.unwrap();
    assert_refused(&client, Kind::LimitExceeded, "b", KEY, case.data_of(4001)).await;
    client.record("b", case.data_of(4000)).await.unwrap();
    assert_eq!(client.cache_stats().bytes, 10_000);
    assert_refused(&client, Kind::LimitExceeded, "c", KEY, case.data_of(1)).await;
    aws.script_for("a", amplify_test_support::Reply::Throttle);
    client.flush().await.unwrap();
    assert_eq!(client.cache_stats().bytes, 6000);
    client.record("c", case.data_of(4000)).await.unwrap();
    assert_refused(&client, Kind::LimitExceeded, "c", KEY, case.data_of(1)).await;
}

async fn the_bound_holds_while_many_tasks_record(case: Case) {
    const SIZE: usize = 100;
    let (aws, client) =
        start_with(case, |setup| setup.cache_max_bytes(50 * SIZE as u64 + 99)).await;
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut stored = 0;
                for _ in 0..10 {
                    let stream = format!("stream-{}", task % 3);
                    match client.record(&stream, case.data_of(SIZE)).await {
                        Ok(_) => stored += 1,
                        Err(error) => assert_eq!(error.kind, Kind::LimitExceeded, "{error:?}"),
                    }
                    assert!(client.cache_stats().bytes <= 50 * SIZE as u64);
                }
                stored
            })
        })
        .collect();
    let mut stored = 0;
    for task in tasks {
        stored += task.await.unwrap();
    }
    assert_eq!((stored, client.cached()), (50, 50));
    client.record(STREAM, case.data_of(99)).await.unwrap();
    assert_refused(&client, Kind::LimitExceeded, STREAM, KEY, case.data_of(1)).await;
    client.drain(LONG).await.unwrap();
    assert_eq!(aws.delivered_count(), 51);
}

async fn small_records_are_bounded_by_their_number(case: Case) {
    let (_aws, client) = start_with(case, |setup| setup.cache_max_bytes(1600)).await;
    client.record_to(STREAM, vec!["1"; 99]).await;
    client.record(STREAM, "1").await.unwrap();
    assert_refused(&client, Kind::LimitExceeded, STREAM, KEY, "".into()).await;
    let error = client
        .record_all([(STREAM, "1"), (STREAM, "1")])
        .await
        .unwrap_err();
    assert_eq!((error.kind, client.cached()), (Kind::LimitExceeded, 100));
    client.flush().await.unwrap();
    client.record_to(STREAM, vec!["1"; 100]).await;
    assert_eq!(client.cached(), 100);
}

async fn what_can_never_fit_is_told_so(case: Case) {
    let (_aws, client) = start_with(case, |setup| setup.cache_max_bytes(1600)).await;
    let error = client.record(STREAM, case.data_of(1601)).await.unwrap_err();
    assert_eq!(error.kind, Kind::LimitExceeded, "{error:?}");
    assert!(error.message.contains("never fit"), "{}", error.message);
    assert!(
        error.recovery_suggestion.contains("cache_max_bytes"),
        "{error:?}"
    );
    let many = vec![(STREAM, ""); 101];
    let error = client.record_all(many).await.unwrap_err();
    assert!(error.message.contains("never fit"), "{}", error.message);

    // The error differs for a record that fits in an empty cache.
    client.record(STREAM, case.data_of(1600)).await.unwrap();
    let error = client.record(STREAM, "1").await.unwrap_err();
    assert_eq!(error.kind, Kind::LimitExceeded);
    assert!(!error.message.contains("never fit"), "{}", error.message);
    assert!(error.recovery_suggestion.contains("flush"), "{error:?}");
    let error = client.record(STREAM, case.data_of(1601)).await.unwrap_err();
    assert!(error.message.contains("never fit"), "{}", error.message);
}

async fn what_was_delivered_or_given_up_frees_its_room(case: Case) {
    let (aws, client) = start_with(case, |setup| setup.cache_max_bytes(1000).max_retries(0)).await;
    for round in 0..3 {
        client
            .record_to(STREAM, [case.data_of(400), case.data_of(600)])
            .await;
        assert_refused(&client, Kind::LimitExceeded, STREAM, KEY, case.data_of(1)).await;
        aws.script(amplify_test_support::Reply::fail_at(
            [round % 2],
            "InternalFailure",
        ));
        let done = client.flush().await.unwrap();
        assert_eq!((done.records_flushed, done.records_discarded), (1, 1));
    }
    client.record(STREAM, case.data_of(1000)).await.unwrap();
}

async fn the_checks_come_in_their_order(case: Case) {
    let (_aws, client) = start_with(case, |setup| setup.cache_max_bytes(1000)).await;
    client.record(STREAM, case.data_of(1000)).await.unwrap();
    // Validation comes before the cache limit.
    assert_refused(&client, Kind::Validation, "not a name", KEY, "1".into()).await;
    let too_big = case.data_of(case.max_record_bytes() + 1);
    assert_refused(&client, Kind::Validation, STREAM, KEY, too_big.clone()).await;
    assert_refused(&client, Kind::LimitExceeded, STREAM, KEY, "1".into()).await;
    // Disabling comes before validation.
    client.disable();
    client.record("not a name", too_big.clone()).await.unwrap();
    client.keep(STREAM, "", too_big.clone()).await;
    client.record(STREAM, "1").await.unwrap();
    assert_eq!(client.cached(), 1);
    // Closing comes before disabling.
    client.close().await.unwrap();
    assert_refused(&client, Kind::ClientClosed, "not a name", KEY, too_big).await;
}
