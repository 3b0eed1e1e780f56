//! Features that meet in one record: events, explicit hash keys, resharding, ARNs, receipts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use aggregation::{Event, Shard, kpl};
use amplify_kinesis::{
    Aggregation, AmplifyKinesisClient, AmplifyKinesisClientOptions, AmplifyKinesisError,
    DeliveredRecord, FlushData, KinesisRecord, KplLimits,
};
use amplify_test_support::{PutRecord, Reply};
use integration_tests::{Endpoint, page};
use tokio::task::JoinHandle;

use super::clients::{kinesis, sdk_client};
use super::resharding::{HALF, equal_shards, halves, list_of_one, whole};

const STREAM: &str = "stream";
const ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/stream";

fn options() -> AmplifyKinesisClientOptions {
    AmplifyKinesisClientOptions::default().cache_max_bytes(64 << 20)
}

fn aggregated() -> AmplifyKinesisClientOptions {
    options().aggregation(Aggregation::Kpl(KplLimits::default()))
}

async fn in_memory(aws: &Endpoint, options: AmplifyKinesisClientOptions) -> AmplifyKinesisClient {
    kinesis(aws, options).in_memory().build().await.unwrap()
}

/// The options with an `on_delivered` that sends all records to the receiver.
fn telling(
    options: AmplifyKinesisClientOptions,
) -> (AmplifyKinesisClientOptions, Receiver<DeliveredRecord>) {
    let (tell, told) = mpsc::channel();
    let options = options.on_delivered(move |record| tell.send(record).unwrap());
    (options, told)
}

/// The keys of all records told of since the last call.
fn keys(told: &Receiver<DeliveredRecord>) -> Vec<String> {
    let keys = told.try_iter().map(|record| record.partition_key);
    keys.map(Option::unwrap).collect()
}

/// An event as a reader sees it: its key, hash key and payload.
type Read = (String, Option<u128>, Vec<u8>);

fn read_of(event: &Event<'_>) -> Read {
    let key = event.partition_key.to_owned();
    (key, event.explicit_hash_key, event.data.to_vec())
}

/// The events of each record, with the shard that received them.
fn events(aws: &Endpoint, stream: &str) -> Vec<(String, Vec<Read>)> {
    let records = aws.delivered_by_shard(stream).into_iter();
    let of_record = |(shard, record): (String, PutRecord)| {
        let key = record.partition_key.unwrap();
        let hash_key = record.explicit_hash_key.map(|key| key.parse().unwrap());
        let events = match kpl::decode(&record.data).unwrap() {
            Some(events) => events.iter().map(read_of).collect(),
            None => vec![(key, hash_key, record.data.to_vec())],
        };
        (shard, events)
    };
    records.map(of_record).collect()
}

/// The events that readers of these shards keep. Like the KCL, they drop a whole record if one of
/// its events does not belong to the shard.
fn kept_by_readers(aws: &Endpoint, stream: &str, shards: &[Shard]) -> Vec<Read> {
    let mut kept = Vec::new();
    for (id, events) in events(aws, stream) {
        let shard = shards.iter().find(|shard| shard.id == id).unwrap();
        let belongs = |(key, hash_key, _): &Read| {
            shard.contains(hash_key.unwrap_or_else(|| aggregation::hash_key(key)))
        };
        if events.iter().all(belongs) {
            kept.extend(events);
        }
    }
    kept
}

/// The keys and hash keys of the events that they keep.
fn keys_read(aws: &Endpoint, shards: &[Shard]) -> BTreeSet<(String, Option<u128>)> {
    let read = kept_by_readers(aws, STREAM, shards).into_iter();
    let keys = read.map(|(key, hash_key, _)| (key, hash_key));
    keys.collect()
}

/// Events with hash keys at the bounds of ranges, with other hash keys, and with none.
fn mixed(prefix: &str, count: usize) -> Vec<(String, Option<u128>)> {
    let hash_key = |at: usize| match at % 7 {
        0 => Some(0),
        1 => Some(u128::MAX),
        2 => Some(HALF),
        3 => Some(HALF + 1),
        4 => Some(aggregation::hash_key(&at.to_string())),
        _ => None,
    };
    let event = |at: usize| (format!("{prefix}-{at}"), hash_key(at));
    (0..count).map(event).collect()
}

fn with_hash_key(record: KinesisRecord, hash_key: Option<u128>) -> KinesisRecord {
    match hash_key {
        Some(hash_key) => record.explicit_hash_key(hash_key),
        None => record,
    }
}

async fn record(client: &AmplifyKinesisClient, stream: &str, events: &[(String, Option<u128>)]) {
    let records = events
        .iter()
        .map(|(key, hash_key)| with_hash_key(KinesisRecord::new(key, key, stream), *hash_key));
    client.record_all(records).await.unwrap();
}

#[tokio::test]
async fn hash_keys_within_records_are_followed_through_a_split_and_each_event_is_told_of_once() {
    for has_a_protocol in [false, true] {
        let aws = Endpoint::start();
        aws.set_shards(STREAM, [whole("parent")]);
        let (options, told) = telling(aggregated());
        let mut builder = kinesis(&aws, options).in_memory();
        if has_a_protocol {
            builder = builder.kinesis_client(sdk_client(true));
        }
        let client = builder.build().await.unwrap();
        let (first, second) = (mixed("first", 100), mixed("second", 100));
        record(&client, STREAM, &first).await;
        assert_eq!(client.flush().await.unwrap().records_flushed, 100);
        assert_eq!(aws.delivered_count(), 2, "with a hash key and without");
        let parent: Vec<_> = told.try_iter().collect();
        assert!(parent.iter().all(|record| record.shard_id == "parent"));
        assert_eq!(parent.len(), 100);

        aws.set_shards(STREAM, halves());
        record(&client, STREAM, &second).await;
        let done = client.flush().await.unwrap();
        assert_eq!((done.records_flushed, done.records_retried), (100, 0));
        assert_eq!(client.cache_stats().records, 0);
        let told: Vec<_> = told.try_iter().collect();
        let hash_keys: BTreeMap<_, _> = second.iter().cloned().collect();
        let mut distinct = BTreeSet::new();
        let mut shard_of_number = BTreeMap::new();
        assert_eq!(told.len(), 100, "each once");
        for record in told {
            let key = record.partition_key.unwrap();
            let hash = hash_keys[&key].unwrap_or_else(|| aggregation::hash_key(&key));
            let mut halves = halves().into_iter();
            let shard = halves.find(|shard| shard.id == record.shard_id).unwrap();
            assert!(shard.contains(hash), "{key} is told of where it is read");
            distinct.insert(key);
            let shard = shard_of_number.entry(record.sequence_number);
            assert_eq!(*shard.or_insert(record.shard_id.clone()), record.shard_id);
        }
        assert!(distinct.iter().eq(hash_keys.keys()));
        let all = [&halves()[..], &[whole("parent")]].concat();
        let read = keys_read(&aws, &all);
        let sent: BTreeSet<_> = first.into_iter().chain(second).collect();
        assert_eq!(read, sent);
    }
}

/// Access is denied or the shard list is stale, just when a stream is split.
#[tokio::test]
async fn a_split_that_cannot_be_looked_up_loses_no_event_and_tells_of_each_once() {
    let stale = list_of_one("parent", 0);
    for (reply, in_flight) in [
        (Reply::refuse(400, "AccessDeniedException"), 1),
        (Reply::Hang, 1),
        (Reply::Garbage, 4),
        (stale.clone(), 1),
        (stale, 4),
    ] {
        let aws = Endpoint::start();
        aws.set_shards(STREAM, [whole("parent")]);
        let options = aggregated()
            .request_timeout(Duration::from_secs(4))
            .max_in_flight_per_stream(in_flight);
        let (options, told) = telling(options);
        let client = in_memory(&aws, options).await;
        record(&client, STREAM, &mixed("first", 10)).await;
        client.flush().await.unwrap();
        assert_eq!(keys(&told).len(), 10);
        aws.set_shards(STREAM, halves());
        aws.set_list_reply(reply.clone());
        let events = mixed("second", 20_000);
        record(&client, STREAM, &events).await;
        let done = client.drain(Duration::from_secs(60)).await.unwrap();
        assert_eq!((done.records_flushed, done.records_retried), (20_000, 0));
        let told = keys(&told);
        let distinct: BTreeSet<_> = told.iter().collect();
        assert_eq!((told.len(), distinct.len()), (20_000, 20_000), "{reply:?}");
        let all = [&halves()[..], &[whole("parent")]].concat();
        let read = keys_read(&aws, &all);
        assert_eq!(read.len(), 20_010, "{reply:?}, {in_flight} in flight");
    }
}

/// The shards of the new stream have the ids of the old one, so no answer is unexpected.
#[tokio::test]
async fn a_stream_that_was_replaced_by_another_of_its_name_loses_no_event() {
    let aws = Endpoint::start();
    aws.set_shards(STREAM, [whole("first")]);
    let client = in_memory(&aws, aggregated()).await;
    record(&client, STREAM, &mixed("old", 100)).await;
    assert_eq!(client.flush().await.unwrap().records_flushed, 100);

    record(&client, STREAM, &mixed("new", 100)).await;
    aws.script(Reply::refuse(400, "ResourceNotFoundException"));
    assert_eq!(client.flush().await.unwrap().records_flushed, 0);
    let shards = [
        Shard::new("first", 0, HALF),
        Shard::new("second", HALF + 1, u128::MAX),
    ];
    aws.set_shards(STREAM, shards.clone());
    assert_eq!(client.flush().await.unwrap().records_flushed, 100);
    let read = kept_by_readers(&aws, STREAM, &shards).into_iter();
    let read = read.filter(|(key, ..)| key.starts_with("new"));
    assert_eq!(read.count(), 100);
}

#[tokio::test]
async fn a_list_of_shards_beyond_any_size_is_not_read() {
    let aws = Endpoint::start();
    aws.set_shards(STREAM, [whole("shard")]);
    aws.set_list_reply(list_of_one("shard", 17 << 20));
    let client = in_memory(&aws, aggregated()).await;
    let events: Vec<_> = (0..10).map(|n| (n.to_string(), None)).collect();
    record(&client, STREAM, &events).await;
    assert_eq!(client.flush().await.unwrap().records_flushed, 10);
    assert_eq!(aws.delivered_count(), 10, "no two share a record");
}

#[tokio::test]
async fn a_stream_named_by_its_arn_is_listed_by_it_page_after_page() {
    for has_a_protocol in [false, true] {
        let aws = Endpoint::start();
        let seven = equal_shards("shard", 7);
        aws.set_shards(ARN, seven.clone());
        let mut builder = kinesis(&aws, aggregated()).in_memory();
        if has_a_protocol {
            builder = builder.kinesis_client(sdk_client(true));
        }
        let client = builder.build().await.unwrap();
        let by_arn = mixed("arn", 700);
        record(&client, ARN, &by_arn).await;
        record(&client, STREAM, &mixed("name", 70)).await;
        assert_eq!(client.flush().await.unwrap().records_flushed, 770);
        assert_eq!(aws.listings(), 2, "a queue, and a list of shards, each");
        assert!(aws.delivered(ARN).len() <= 14);
        assert_eq!(aws.delivered(STREAM).len(), 2);
        assert_eq!(kept_by_readers(&aws, ARN, &seven).len(), 700);
    }
}

#[tokio::test]
async fn an_event_alone_does_not_wait_for_a_list_of_shards() {
    for reply in [Reply::Hang, Reply::refuse(400, "AccessDeniedException")] {
        let aws = Endpoint::start();
        aws.set_list_reply(reply);
        let options = aggregated().request_timeout(Duration::from_secs(1));
        let client = in_memory(&aws, options).await;
        client.record("payload", "k", STREAM).await.unwrap();
        assert_eq!(client.flush().await.unwrap().records_flushed, 1);
        assert_eq!(aws.listings(), 0);
    }
}

#[tokio::test]
async fn a_list_of_shards_that_does_not_come_leaves_time_for_the_request() {
    let aws = Endpoint::start();
    aws.set_list_reply(Reply::Hang);
    let options = aggregated().request_timeout(Duration::from_secs(1));
    let client = in_memory(&aws, options).await;
    record(&client, STREAM, &mixed("event", 20)).await;
    assert_eq!(client.flush().await.unwrap().records_flushed, 20);
}

#[tokio::test]
async fn events_are_told_of_by_their_own_keys_whatever_else_fails() {
    let aws = Endpoint::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache");
    let (tell, told) = mpsc::channel();
    let options = aggregated().on_delivered(move |record| {
        tell.send(record.clone()).unwrap();
        assert!(
            record.partition_key.as_deref() != Some("first-3"),
            "on purpose"
        );
    });
    aws.set_shards(STREAM, halves());
    // Of the four records, those in the shard "low" fail.
    let fails = |record: &PutRecord| {
        let key = record.explicit_hash_key.as_ref();
        let key = key.map(|key| key.parse::<u128>().unwrap());
        let own = aggregation::hash_key(record.partition_key.as_ref().unwrap());
        key.unwrap_or(own) <= HALF
    };
    aws.script(Reply::fail_where(fails, "InternalFailure"));
    let client = kinesis(&aws, options.clone()).journal(&path);
    let client = client.build().await.unwrap();
    record(&client, STREAM, &mixed("first", 70)).await;
    let done = client.flush().await.unwrap();
    let first = keys(&told);
    assert_eq!(done.records_flushed, first.len());
    assert_eq!(done.records_retried, 70 - first.len());
    client.close().await.unwrap();
    let client = kinesis(&aws, options).journal(&path);
    let client = client.build().await.unwrap();
    let done = client.flush().await.unwrap();
    let second = keys(&told);
    assert_eq!(done.records_flushed, second.len());
    let all: BTreeSet<_> = first.iter().chain(&second).cloned().collect();
    assert_eq!((first.len() + second.len(), all.len()), (70, 70));
    assert_eq!(kept_by_readers(&aws, STREAM, &halves()).len(), 70);
    client.close().await.unwrap();
}

#[tokio::test]
async fn what_was_recorded_with_aggregation_is_sent_without_it_and_the_other_way_round() {
    for (before, after) in [(aggregated(), options()), (options(), aggregated())] {
        let aws = Endpoint::start();
        aws.set_shards(STREAM, halves());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cache");
        let client = kinesis(&aws, before).journal(&path).build().await.unwrap();
        let events = mixed("event", 100);
        record(&client, STREAM, &events).await;
        client.close().await.unwrap();
        let client = kinesis(&aws, after).storage_path(&path);
        let client = client.build().await.unwrap();
        assert_eq!(client.flush().await.unwrap().records_flushed, 100);
        let read = keys_read(&aws, &halves());
        assert_eq!(read, events.into_iter().collect());
        client.close().await.unwrap();
    }
}

#[tokio::test]
async fn payloads_that_look_like_aggregates_or_are_empty_arrive_as_they_are() {
    let aws = Endpoint::start();
    let client = in_memory(&aws, aggregated()).await;
    const MAGIC: &[u8] = b"\xf3\x89\x9a\xc2";
    let mut encoder = kpl::Encoder::new(KplLimits::default());
    assert!(encoder.push(Event::new("inner", b"1")) && encoder.push(Event::new("inner", b"2")));
    let inner = encoder.encode();
    let payloads = [
        &b""[..],
        MAGIC,
        b"",
        b"\xf3\x89\x9a\xc2 and more",
        &inner,
        b"x",
    ];
    let records = payloads.map(|data| KinesisRecord::new(data, "k", STREAM));
    client.record_all(records).await.unwrap();
    assert_eq!(client.flush().await.unwrap().records_flushed, 6);
    let read = events(&aws, STREAM)
        .into_iter()
        .flat_map(|(_, events)| events);
    let read: Vec<_> = read.map(|(_, _, data)| data).collect();
    assert_eq!(read, [b"", MAGIC, b"", payloads[3], b"1", b"2", b"x"]);
    assert_eq!(aws.delivered(STREAM)[4].data, inner);
}

/// Flushes in a separate task.
fn spawn_flush(
    client: &AmplifyKinesisClient,
) -> JoinHandle<Result<FlushData, AmplifyKinesisError>> {
    let client = client.clone();
    tokio::spawn(async move { client.flush().await })
}

#[tokio::test]
async fn clearing_and_giving_up_on_a_flush_leave_nothing_half_done() {
    let aws = Endpoint::start();
    let (options, told) = telling(aggregated());
    let client = in_memory(&aws, options).await;
    record(&client, STREAM, &mixed("cleared", 1_000)).await;
    aws.script(Reply::Accept.delayed(Duration::from_millis(500)));
    let flushing = spawn_flush(&client);
    aws.until(|aws| aws.delivered_count() > 0).await;
    assert_eq!(client.clear_cache().await.unwrap().records_cleared, 1_000);
    assert_eq!(flushing.await.unwrap().unwrap().records_flushed, 0);
    assert_eq!(keys(&told).len(), 1_000);

    record(&client, STREAM, &mixed("cancelled", 1_000)).await;
    let before = aws.request_count();
    aws.script(Reply::Accept.delayed(Duration::from_millis(500)));
    let flushing = spawn_flush(&client);
    aws.until(|aws| aws.request_count() > before).await;
    flushing.abort();
    _ = flushing.await;
    let done = client.drain(Duration::from_secs(30)).await.unwrap();
    assert_eq!(client.cache_stats().records, 0);
    let told = keys(&told);
    let distinct: BTreeSet<_> = told.iter().collect();
    assert_eq!((told.len(), distinct.len()), (1_000, 1_000));
    assert_eq!(aws.request_count(), before + 1, "{done:?}");
}

/// The endpoint refuses and remembers any request that exceeds a limit.
#[tokio::test]
async fn whatever_sizes_events_have_no_limit_is_broken_and_none_is_lost() {
    for seed in 0..6 {
        let mut random = fastrand::Rng::with_seed(seed);
        let aws = Endpoint::start();
        aws.set_shards(STREAM, halves());
        let most = 1 << random.u32(8..24);
        let limits = KplLimits::default().max_bytes(most);
        let limits = limits.max_events(random.usize(1..2_000));
        let method = match seed % 3 {
            0 => {
                Aggregation::Concatenate(amplify_kinesis::Concatenation::default().max_bytes(most))
            }
            1 => Aggregation::Kpl(limits),
            _ => Aggregation::Kpl(KplLimits::default()),
        };
        let options = options()
            .aggregation(method)
            .request_timeout(Duration::from_secs(60));
        let client = in_memory(&aws, options).await;
        let mut sent = Vec::new();
        for place in 0..1_000_usize {
            let size = match random.u32(0..200) {
                0 => random.usize(0..(4 << 20)),
                1..20 => random.usize(0..100_000),
                _ => random.usize(0..100),
            };
            let mut data = vec![b'x'; size];
            data.extend_from_slice(place.to_string().as_bytes());
            let key = "k".repeat(random.usize(1..=256));
            let hash_key = random.bool().then(|| random.u128(..));
            let record = with_hash_key(KinesisRecord::new(&data, key, STREAM), hash_key);
            if client.record_all([record]).await.is_err() {
                break;
            }
            sent.push(data);
        }
        let done = client.drain(Duration::from_secs(60)).await.unwrap();
        assert_eq!(done.records_flushed, sent.len(), "{seed}");
        let records = events(&aws, STREAM).into_iter();
        let read = records.flat_map(|(_, events)| events.into_iter().map(|event| event.2));
        let lines = |data: Vec<u8>| match seed % 3 {
            0 => {
                let lines = data
                    .strip_suffix(b"\n")
                    .unwrap()
                    .split(|byte| *byte == b'\n');
                lines.map(<[u8]>::to_vec).collect()
            }
            _ => vec![data],
        };
        let mut read: Vec<_> = read.flat_map(lines).collect();
        read.sort();
        sent.sort();
        assert!(read == sent, "{seed}");
    }
}

/// A sequence number that is not text goes unnoticed until it is read.
#[tokio::test]
async fn an_answer_is_read_whole_only_where_somebody_is_told_of_it() {
    for is_told in [false, true] {
        let aws = Endpoint::start();
        let (telling, told) = telling(options());
        let options = if is_told { telling } else { options() };
        let client = in_memory(&aws, options).await;
        client.record("payload", "k", STREAM).await.unwrap();
        let answer = r#"{"Records":[{"SequenceNumber":7,"ShardId":"s"}]}"#;
        aws.script(page(200, answer));
        let flushed = client.flush().await;
        assert_eq!(flushed.is_err(), is_told, "{flushed:?}");
        assert_eq!(client.cache_stats().records, usize::from(is_told));
        assert!(keys(&told).is_empty());
    }
}

/// Most records leave, so the store moves the others again and again.
#[tokio::test]
async fn hash_keys_stay_with_records_that_a_store_moves() {
    for in_a_journal in [false, true] {
        let aws = Endpoint::start();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cache");
        let open = async || {
            let options = options().cache_max_bytes(1 << 20).max_retries(u32::MAX);
            let builder = kinesis(&aws, options);
            let builder = match in_a_journal {
                true => builder.journal(&path),
                false => builder.storage_path(&path),
            };
            builder.build().await.unwrap()
        };
        let mut client = open().await;
        let mut expected = BTreeMap::new();
        aws.always(|_| Reply::fail_where(|record| record.data[0] == b'x', "InternalFailure"));
        for round in 0..40_u32 {
            let stream = format!("stream-{}", round % 3);
            let stays = format!("x{round}");
            let hash_key = (round % 4 != 0).then(|| u128::MAX / u128::from(round));
            expected.insert(stays.clone(), hash_key.map(|key| key.to_string()));
            let leaves = KinesisRecord::new(vec![b'y'; 10_000], "k", &stream);
            let mut records = vec![leaves.explicit_hash_key(round.into()); 61];
            records[0] = with_hash_key(KinesisRecord::new(stays, "k", &stream), hash_key);
            client.record_all(records).await.unwrap();
            client.flush().await.unwrap();
            if round % 10 == 9 {
                client.close().await.unwrap();
                client = open().await;
            }
        }
        assert_eq!(client.cache_stats().records, 40);
        aws.clear_script();
        client.flush().await.unwrap();
        let streams = (0..3).flat_map(|n| aws.delivered(&format!("stream-{n}")));
        let stayed = streams.filter(|record| record.data[0] == b'x');
        let text = |data: &[u8]| String::from_utf8(data.to_vec()).unwrap();
        let arrived: BTreeMap<_, _> = stayed
            .map(|record| (text(&record.data), record.explicit_hash_key))
            .collect();
        assert_eq!(arrived, expected);
        client.close().await.unwrap();
    }
}
