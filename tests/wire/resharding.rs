//! Streams that are split and merged, with readers that check the hash range of a shard. Like the
//! KCL, they drop a whole record if one of its events does not belong to the shard.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aggregation::{Shard, hash_key};
use amplify_test_support::{PutRequest, Reply};
use integration_tests::{
    Case, Client, Endpoint, Event, Service, Setup, StoreKind, events_of, numbered, page,
};

const STREAM: &str = "stream";
pub(crate) const HALF: u128 = u128::MAX / 2;
const CASE: Case = Case::new(Service::Kinesis, StoreKind::Memory);

pub(crate) fn whole(id: &str) -> Shard {
    Shard::new(id, 0, u128::MAX)
}

pub(crate) fn halves() -> [Shard; 2] {
    [
        Shard::new("low", 0, HALF),
        Shard::new("high", HALF + 1, u128::MAX),
    ]
}

/// As many shards of the same width.
pub(crate) fn equal_shards(prefix: &str, count: u128) -> Vec<Shard> {
    let width = u128::MAX / count;
    let shard = |n| {
        let end = if n == count - 1 {
            u128::MAX
        } else {
            (n + 1) * width - 1
        };
        Shard::new(format!("{prefix}-{n}"), n * width, end)
    };
    (0..count).map(shard).collect()
}

/// A list of one shard for all keys, with this many spaces at its end.
pub(crate) fn list_of_one(id: &str, spaces: usize) -> Reply {
    let body = format!(
        r#"{{"Shards":[{{"ShardId":"{id}","HashKeyRange":{{"StartingHashKey":"0",
        "EndingHashKey":"{}"}},"SequenceNumberRange":{{"StartingSequenceNumber":"1"}}}}]{}}}"#,
        u128::MAX,
        " ".repeat(spaces)
    );
    page(200, body)
}

/// The events that readers of these shards keep and drop, of all those accepted.
fn read(aws: &Endpoint, shards: &[Shard]) -> (Vec<Event>, Vec<Event>) {
    let (mut read, mut dropped) = (Vec::new(), Vec::new());
    for (id, record) in aws.delivered_by_shard(STREAM) {
        let shard = shards.iter().find(|shard| shard.id == id).unwrap();
        let events = events_of(Service::Kinesis, &record);
        let is_read = events.iter().all(|(key, _)| shard.contains(hash_key(key)));
        if is_read { &mut read } else { &mut dropped }.extend(events);
    }
    (read, dropped)
}

/// Records events, each with its own text as its key.
async fn record(client: &Client, events: &[String]) {
    let keyed = events.iter().map(|event| (STREAM, &**event, event));
    client.record_all_keyed(keyed).await.unwrap();
}

fn sorted(events: &[Event]) -> BTreeSet<&str> {
    events.iter().map(|(_, data)| &**data).collect()
}

#[tokio::test]
async fn events_that_a_reader_of_their_shard_would_drop_are_sent_again_and_nobody_pays() {
    let aws = Endpoint::start();
    aws.set_shards(STREAM, [whole("parent")]);
    let client = Setup::new(CASE, &aws).aggregated().build().await;
    record(&client, &numbered("first", 100)).await;
    client.flush().await.unwrap();

    let all = [&halves()[..], &[whole("parent")]].concat();
    aws.set_shards(STREAM, halves());
    record(&client, &numbered("second", 100)).await;
    let done = client.flush().await.unwrap();
    assert_eq!((done.records_flushed, done.records_retried), (100, 0));
    let (events, dropped) = read(&aws, &all);
    assert_eq!(dropped.len(), 100, "without the check these are lost");
    assert_eq!(events.len(), 200, "each is read once");
    let sent = [numbered("first", 100), numbered("second", 100)].concat();
    assert_eq!(sorted(&events), sent.iter().map(|event| &**event).collect());
    assert_eq!((aws.listings(), aws.request_count()), (2, 3));
    assert_eq!(client.cached(), 0);
}

#[tokio::test]
async fn a_merge_has_nothing_sent_again() {
    let aws = Endpoint::start();
    aws.set_shards(STREAM, halves());
    let client = Setup::new(CASE, &aws).aggregated().build().await;
    record(&client, &numbered("first", 100)).await;
    client.flush().await.unwrap();
    assert_eq!(aws.delivered_count(), 2);
    aws.set_shards(STREAM, [whole("merged")]);
    record(&client, &numbered("second", 100)).await;
    assert_eq!(client.flush().await.unwrap().records_flushed, 100);
    record(&client, &numbered("third", 100)).await;
    assert_eq!(client.flush().await.unwrap().records_flushed, 100);
    assert_eq!(aws.delivered_count(), 2 + 2 + 1);
    assert_eq!(aws.listings(), 2);
}

#[tokio::test]
async fn a_stream_that_is_split_and_merged_in_the_middle_of_a_drain_loses_no_event() {
    for in_flight in [1, 4] {
        let aws = Arc::new(Endpoint::start());
        aws.set_shards(STREAM, [whole("first")]);
        let setup = Setup::new(CASE, &aws).aggregated();
        let setup = setup.max_in_flight_per_stream(in_flight);
        let client = setup.cache_max_bytes(64 << 20).build().await;
        let events = numbered("event", 60_000);
        record(&client, &events).await;
        let quarters = equal_shards("quarter", 4);
        let last = [whole("last")];
        let all = [&[whole("first")][..], &halves(), &quarters, &last].concat();
        // The rule holds a reference to the endpoint that owns it; the cycle is broken below.
        let endpoint = Arc::clone(&aws);
        let reshard = move |request: &PutRequest| {
            match request.index {
                1 => endpoint.set_shards(STREAM, halves()),
                2 => endpoint.set_shards(STREAM, quarters.clone()),
                4 => endpoint.set_shards(STREAM, last.clone()),
                _ => {}
            }
            Reply::Accept
        };
        aws.always(reshard);
        let done = client.drain(Duration::from_secs(60)).await.unwrap();
        assert_eq!((done.records_flushed, done.records_retried), (60_000, 0));
        let (read, dropped) = read(&aws, &all);
        assert!(!dropped.is_empty(), "without the check these are lost");
        assert_eq!(sorted(&read).len(), 60_000);
        aws.clear_script();
    }
}

/// An endpoint whose answers never match its shard list must not cause events to be resent forever.
#[tokio::test]
async fn a_list_that_the_answers_contradict_is_not_believed_for_long() {
    let aws = Endpoint::start();
    aws.set_shards(STREAM, [whole("real")]);
    aws.set_list_reply(list_of_one("listed", 0));
    let client = Setup::new(CASE, &aws).aggregated().build().await;
    let events = numbered("event", 100);
    record(&client, &events).await;
    let done = client.drain(Duration::from_secs(60)).await.unwrap();
    assert_eq!((done.records_flushed, done.records_retried), (100, 0));
    let (read, _) = read(&aws, &[whole("real")]);
    assert!(sorted(&read).len() == 100 && aws.request_count() <= 2);
    assert_eq!(client.cached(), 0);
}
