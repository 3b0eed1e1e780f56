//! Records on their way from `record()` into the shards of a Kinesis stream of LocalStack.

use std::time::Duration;

use amplify_kinesis::DiscardReason;
use amplify_test_support::unique_name;
use integration_tests::{Discards, Service, Setup};
use tempfile::TempDir;

use super::{LONG, Stream, assert_skipped_as_missing, by_key, endpoint, setup};

/// The largest record that LocalStack takes has 1 MiB.
const MIB: usize = 1024 * 1024;
const KEY: &str = "key";

fn kinesis(directory: &TempDir) -> Setup {
    setup(Service::Kinesis, &endpoint(), directory.path())
}

#[tokio::test(flavor = "multi_thread")]
async fn records_arrive_byte_for_byte_and_in_order() {
    let stream = Stream::create(&endpoint(), 4).await;
    let directory = tempfile::tempdir().unwrap();
    let client = kinesis(&directory).build().await;

    let records = various_records(1_203);
    let keyed = records
        .iter()
        .map(|(key, data)| (stream.name(), &**key, data.clone()));
    client.record_all_keyed(keyed).await.unwrap();

    let first = client.flush().await.unwrap();
    assert_eq!(first.records_flushed, 500);
    let rest = client.drain(LONG).await.unwrap();
    assert_eq!(rest.records_flushed, 703);
    assert_eq!(client.cached(), 0);
    client.close().await.unwrap();

    let shards = stream.shards().await;
    assert!(
        shards.iter().all(|shard| !shard.is_empty()),
        "a shard is empty"
    );
    let arrived = by_key(shards.into_iter().flatten());
    assert!(
        arrived == by_key(records),
        "the shards hold other records than were recorded"
    );
    stream.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_stream_is_named_and_the_others_are_delivered() {
    let stream = Stream::create(&endpoint(), 1).await;
    let missing = unique_name("missing");
    let directory = tempfile::tempdir().unwrap();
    let client = kinesis(&directory).build().await;

    for name in [missing.as_str(), stream.name()] {
        for data in ["one", "two", "three"] {
            client.record_keyed(name, KEY, data).await.unwrap();
        }
    }
    let flushed = client.flush().await.unwrap();

    assert_skipped_as_missing(&flushed, &missing);
    assert_eq!(client.cached(), 3);
    client.close().await.unwrap();

    let expected = ["one", "two", "three"].map(|data| data.as_bytes().to_vec());
    assert_eq!(stream.by_key().await[KEY], expected);
    stream.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_automatic_flush_delivers_without_being_asked() {
    let stream = Stream::create(&endpoint(), 1).await;
    let directory = tempfile::tempdir().unwrap();
    let setup = kinesis(&directory).flush_every(Duration::from_millis(200));
    let client = setup.build().await;

    let by_itself = client.record_keyed(stream.name(), KEY, "by itself");
    by_itself.await.unwrap();
    tokio::time::timeout(LONG, async {
        while client.cached() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    client.close().await.unwrap();

    assert_eq!(stream.by_key().await[KEY], [b"by itself"]);
    stream.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_refused_does_not_hold_the_others_back() {
    let stream = Stream::create(&endpoint(), 1).await;
    let directory = tempfile::tempdir().unwrap();
    let discards = Discards::default();
    let setup = kinesis(&directory).max_retries(0).discards(&discards);
    let client = setup.build().await;

    let poison = vec![b'!'; MIB + 1];
    for number in 0..9 {
        let data = match number {
            4 => poison.clone(),
            _ => vec![b'0' + number],
        };
        client.record_keyed(stream.name(), KEY, data).await.unwrap();
    }
    let flushed = client.flush().await.unwrap();

    assert_eq!(flushed.records_flushed, 8);
    assert_eq!(flushed.records_discarded, 1);
    assert_eq!(client.cached(), 0);
    let [discarded] = discards.all().try_into().unwrap();
    assert!(discarded.data == poison, "another record was discarded");
    assert_eq!(discarded.reason, DiscardReason::RetriesExhausted);
    assert_eq!(discarded.code.as_deref(), Some("InvalidArgumentException"));
    client.close().await.unwrap();

    let expected: Vec<Vec<u8>> = b"01235678".iter().map(|digit| vec![*digit]).collect();
    assert_eq!(stream.by_key().await[KEY], expected);
    stream.delete().await;
}

/// Partition keys of several lengths and scripts, enough to fill four shards; payloads of every
/// byte, an empty one and a large one.
fn various_records(count: usize) -> Vec<(String, Vec<u8>)> {
    let mut keys: Vec<String> = ["ключ", "パーティション", "🔑", "k"]
        .map(String::from)
        .into();
    keys.push("é".repeat(256));
    keys.extend((0..32).map(|number| format!("partition-{number}")));
    let bytes: Vec<u8> = (0..=u8::MAX).collect();
    (0..count)
        .map(|number| {
            let data = match number {
                0 => Vec::new(),
                1 => bytes.repeat(MIB / 512),
                _ => [format!("{number}\n").as_bytes(), &bytes[..number % 257]].concat(),
            };
            (keys[number % keys.len()].clone(), data)
        })
        .collect()
}
