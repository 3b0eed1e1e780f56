//! Several events in one record: what the endpoint receives, and that every promise holds for the
//! events.

use std::io::Read;
use std::time::Duration;

use amplify_kinesis::{Compression, Concatenation, DiscardReason, FlushData, KplLimits};
use amplify_test_support::{PutRecord, PutRequest, Reply};
use integration_tests::{
    Case, Client, Discards, Endpoint, Event, Kind, Service, Setup, StoreKind, events_of, numbered,
    start_with,
};

integration_tests::cases! {
    everywhere:
        a_request_takes_thousands_of_events_in_few_records_and_keeps_their_order,
        a_bad_event_is_found_in_its_record_and_nobody_else_pays;
    in_memory:
        a_record_that_is_refused_for_an_event_is_split_before_anybody_pays,
        each_event_of_a_record_that_fails_pays,
        an_event_that_is_too_large_to_share_goes_alone_and_in_order,
        a_limit_of_zero_is_refused,
        compressed_records_are_gzip_one_behind_the_other;
    on_disk_and_in_a_journal:
        the_retry_counts_of_events_survive_a_restart;
}

const STREAM: &str = "stream";

fn counts(done: &FlushData) -> [usize; 3] {
    [
        done.records_flushed,
        done.records_retried,
        done.records_discarded,
    ]
}

/// The accepted events, in order.
fn delivered(case: Case, aws: &Endpoint) -> Vec<Event> {
    let records = aws.delivered(STREAM).into_iter();
    records
        .flat_map(|record| events_of(case.service, &record))
        .collect()
}

fn payloads(case: Case, aws: &Endpoint) -> Vec<String> {
    let events = delivered(case, aws).into_iter();
    events.map(|(_, data)| data).collect()
}

fn holds(record: &PutRecord, text: &str) -> bool {
    let (data, text) = (&record.data, text.as_bytes());
    data.windows(text.len()).any(|window| window == text)
}

/// Refuses every request that contains this text.
fn refuse_if_it_holds(text: &'static str) -> impl Fn(&PutRequest) -> Reply + Send + Sync {
    move |request| match request.records.iter().any(|record| holds(record, text)) {
        true => Reply::refuse(400, "InvalidArgumentException"),
        false => Reply::Accept,
    }
}

/// Records events with a few alternating keys.
async fn record(client: &Client, events: &[String]) {
    let keyed = events.iter().enumerate();
    let keyed = keyed.map(|(at, data)| (STREAM, KEYS[at % KEYS.len()], data));
    client.record_all_keyed(keyed).await.unwrap();
}

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

async fn a_request_takes_thousands_of_events_in_few_records_and_keeps_their_order(case: Case) {
    let (aws, client) =
        start_with(case, |setup| setup.aggregated().cache_max_bytes(16 << 20)).await;
    let events = numbered("event", 17_000);
    record(&client, &events).await;
    assert_eq!(counts(&client.flush().await.unwrap()), [16_384, 0, 0]);
    assert_eq!(client.cached(), 17_000 - 16_384);
    assert_eq!(counts(&client.flush().await.unwrap()), [616, 0, 0]);
    assert_eq!(aws.request_count(), 2, "one a flush");
    assert!(aws.delivered_count() < 40, "{}", aws.delivered_count());
    for record in aws.delivered(STREAM) {
        let most = match case.service {
            Service::Kinesis => 51_200,
            Service::Firehose => 1_024_000,
        };
        assert!(record.data.len() <= most);
    }
    assert_eq!(payloads(case, &aws), events);
    if case.service == Service::Kinesis {
        let keys = delivered(case, &aws).into_iter().map(|(key, _)| key);
        let expected = KEYS.iter().cycle().take(17_000);
        assert!(keys.eq(expected.map(|key| (*key).to_owned())));
        assert_eq!(aws.listings(), 1);
    }
}

async fn a_bad_event_is_found_in_its_record_and_nobody_else_pays(case: Case) {
    let discards = Discards::default();
    let (aws, client) = start_with(case, |setup| {
        setup.aggregated().max_retries(1).discards(&discards)
    })
    .await;
    let mut events = numbered("event", 1_000);
    events[613] = "poison".to_owned();
    record(&client, &events).await;
    aws.always(refuse_if_it_holds("poison"));

    let done = client.flush().await.unwrap();
    assert_eq!(counts(&done), [999, 1, 0]);
    assert_eq!(client.cached(), 1);
    assert_eq!(counts(&client.flush().await.unwrap()), [0, 0, 1]);
    assert_eq!(discards.payloads(), ["poison"]);
    let discarded = &discards.all()[0];
    assert_eq!(discarded.attempts, 2);
    assert_eq!(discarded.reason, DiscardReason::RetriesExhausted);
    if case.service == Service::Kinesis {
        assert_eq!(discarded.partition_key.as_deref(), Some(KEYS[613 % 5]));
    }
    events.remove(613);
    assert_eq!(payloads(case, &aws), events);
}

async fn a_record_that_is_refused_for_an_event_is_split_before_anybody_pays(case: Case) {
    let codes = ["InvalidArgumentException", "ValidationException"];
    for code in codes {
        let (aws, client) = start_with(case, Setup::aggregated).await;
        let mut events = numbered("event", 100);
        events[37] = "poison".to_owned();
        record(&client, &events).await;
        aws.always(move |_| Reply::fail_where(|record| holds(record, "poison"), code));
        assert_eq!(counts(&client.flush().await.unwrap()), [99, 1, 0], "{code}");
        events.remove(37);
        let mut read = payloads(case, &aws);
        read.sort();
        events.sort();
        assert_eq!(read, events);
    }
}

async fn each_event_of_a_record_that_fails_pays(case: Case) {
    let discards = Discards::default();
    let (aws, client) = start_with(case, |setup| {
        setup.aggregated().max_retries(1).discards(&discards)
    })
    .await;
    let events = numbered("event", 10);
    record(&client, &events).await;
    aws.script_times(2, Reply::fail_all("InternalFailure"));
    assert_eq!(counts(&client.flush().await.unwrap()), [0, 10, 0]);
    client.record(STREAM, "later").await.unwrap();
    assert_eq!(counts(&client.flush().await.unwrap()), [0, 1, 10]);
    assert_eq!(discards.payloads(), events);
    assert_eq!(counts(&client.flush().await.unwrap()), [1, 0, 0]);
    assert_eq!(payloads(case, &aws), ["later"]);
}

async fn the_retry_counts_of_events_survive_a_restart(case: Case) {
    let aws = Endpoint::start();
    let directory = tempfile::tempdir().unwrap();
    let discards = Discards::default();
    let setup = || {
        let setup = Setup::new(case, &aws).aggregated().max_retries(1);
        setup.discards(&discards).at(directory.path())
    };
    let client = setup().build().await;
    record(&client, &numbered("first", 10)).await;
    aws.script_times(2, Reply::fail_all("InternalFailure"));
    assert_eq!(counts(&client.flush().await.unwrap()), [0, 10, 0]);
    record(&client, &numbered("second", 5)).await;
    client.close().await.unwrap();
    let client = setup().build_when_free().await;
    assert_eq!(counts(&client.flush().await.unwrap()), [0, 5, 10]);
    assert_eq!(discards.payloads(), numbered("first", 10));
    assert_eq!(counts(&client.flush().await.unwrap()), [5, 0, 0]);
    assert_eq!(payloads(case, &aws), numbered("second", 5));
}

async fn an_event_that_is_too_large_to_share_goes_alone_and_in_order(case: Case) {
    let aws = Endpoint::start();
    let lines = Concatenation::default().max_bytes(100);
    let setup = Setup::new(case, &aws).concatenated(lines);
    let setup = match case.service {
        Service::Kinesis => setup.kpl(KplLimits::default().max_bytes(100)),
        Service::Firehose => setup,
    };
    let client = setup.cache_max_bytes(32 << 20).build().await;
    let large = "x".repeat(200);
    let events = ["1", "2", &large, "3", "4"];
    client.record_to(STREAM, events).await;
    assert_eq!(counts(&client.flush().await.unwrap()), [5, 0, 0]);
    assert_eq!(payloads(case, &aws), events);
    assert_eq!(aws.delivered_count(), 3);

    let whole = case.data_of(case.max_record_bytes());
    let recorded = client.record(STREAM, whole).await;
    match case.service {
        Service::Kinesis => _ = recorded.unwrap(),
        // The record leaves no room for its delimiter.
        Service::Firehose => assert_eq!(recorded.unwrap_err().kind, Kind::Validation),
    }
}

async fn a_limit_of_zero_is_refused(case: Case) {
    let aws = Endpoint::start();
    let setup = || Setup::new(case, &aws);
    let joined = Concatenation::default;
    for setup in [
        setup().concatenated(joined().max_bytes(0)),
        setup().concatenated(joined().max_events(0)),
        match case.service {
            Service::Kinesis => setup().kpl(KplLimits::default().max_bytes(0)),
            Service::Firehose => setup().concatenated(joined().max_events(501)),
        },
    ] {
        let error = setup.try_build().await.unwrap_err();
        assert_eq!(error.kind, Kind::Validation);
        assert!(error.message.contains("aggregation"), "{}", error.message);
    }
}

async fn compressed_records_are_gzip_one_behind_the_other(case: Case) {
    let joined = Concatenation::default().compression(Compression::Gzip);
    let (aws, client) = start_with(case, |setup| setup.concatenated(joined)).await;
    let events = numbered("a line of a log that looks like the others", 1_200);
    client.record_to(STREAM, &events).await;
    assert_eq!(counts(&client.flush().await.unwrap()), [1_200, 0, 0]);
    let records = aws.delivered(STREAM);
    assert_eq!(records.len(), 3, "500 events a record");
    let object: Vec<u8> = records
        .iter()
        .flat_map(|record| record.data.to_vec())
        .collect();
    let mut text = String::new();
    let mut members = flate2::read::MultiGzDecoder::new(&object[..]);
    members.read_to_string(&mut text).unwrap();
    assert_eq!(text, events.join("\n") + "\n");
    assert!(object.len() * 4 < text.len());
}

#[tokio::test]
async fn a_delimiter_alone_is_behind_each_record_once() {
    let aws = Endpoint::start();
    let case = Case::new(Service::Firehose, StoreKind::Memory);
    let setup = || Setup::new(case, &aws).record_delimiter("\n");
    let client = setup().build().await;
    client.record_to(STREAM, ["a", "b\n", "", "c"]).await;
    assert_eq!(counts(&client.flush().await.unwrap()), [4, 0, 0]);
    assert_eq!(aws.payloads(STREAM), ["a\n", "b\n", "\n", "c\n"]);
    let most = case.max_record_bytes();
    let error = client.record(STREAM, vec![7; most]).await.unwrap_err();
    assert_eq!(error.kind, Kind::Validation);
    client.record(STREAM, vec![7; most - 1]).await.unwrap();
    assert_eq!(counts(&client.flush().await.unwrap()), [1, 0, 0]);
    let both = setup().aggregated().try_build().await.unwrap_err();
    assert!(both.message.contains("record_delimiter"));
}

#[tokio::test]
async fn joined_events_of_kinesis_share_a_record_by_key() {
    let case = Case::new(Service::Kinesis, StoreKind::Memory);
    let joined = Concatenation::default();
    let (aws, client) = start_with(case, |setup| setup.concatenated(joined)).await;
    let events = [("a", "1"), ("b", "2"), ("a", "3"), ("b", "4")];
    let keyed = events.map(|(key, data)| (STREAM, key, data));
    client.record_all_keyed(keyed).await.unwrap();
    assert_eq!(counts(&client.flush().await.unwrap()), [4, 0, 0]);
    assert_eq!(aws.payloads(STREAM), ["1\n3\n", "2\n4\n"]);
    assert_eq!(aws.listings(), 0);
}

#[tokio::test]
async fn without_a_list_of_shards_only_events_of_one_key_share_a_record() {
    let refusals = [
        Reply::refuse(400, "AccessDeniedException"),
        Reply::Status(500),
        Reply::Garbage,
        Reply::Hang,
        Reply::Close,
    ];
    for refusal in refusals {
        let aws = Endpoint::start();
        aws.set_list_reply(refusal.clone());
        let case = Case::new(Service::Kinesis, StoreKind::Memory);
        let setup = Setup::new(case, &aws).aggregated();
        let client = setup.request_timeout(Duration::from_secs(2)).build().await;
        // More keys than a request can hold records.
        let events = numbered("event", 1_300);
        let keyed = events.iter().enumerate();
        let keyed = keyed.map(|(at, data)| (STREAM, &*events[at % 650], data));
        client.record_all_keyed(keyed).await.unwrap();
        assert_eq!(counts(&client.flush().await.unwrap()), [500, 0, 0]);
        let done = client.drain(Duration::from_secs(60)).await.unwrap();
        assert_eq!(counts(&done), [800, 0, 0], "{refusal:?}");
        assert_eq!(aws.listings(), 1, "not again at once: {refusal:?}");
        for record in aws.delivered(STREAM) {
            let events = events_of(Service::Kinesis, &record);
            let key = record.partition_key.unwrap();
            assert!(events.iter().all(|(of, _)| *of == key));
        }
        let mut read = payloads(case, &aws);
        read.sort();
        let mut all = events.clone();
        all.sort();
        assert_eq!(read, all);
    }
}
