//! Explicit hash keys: from the record to the request, in every wire format.

use amplify_kinesis::{
    AmplifyKinesisClient, AmplifyKinesisClientBuilder, AmplifyKinesisClientOptions,
    AmplifyKinesisError, KinesisRecord,
};
use amplify_test_support::Reply;
use integration_tests::{Discards, Endpoint};

use super::clients::{kinesis, sdk_client};

const MOST: &str = "340282366920938463463374607431768211455";

fn builder(aws: &Endpoint) -> AmplifyKinesisClientBuilder {
    kinesis(aws, AmplifyKinesisClientOptions::default())
}

fn record(data: &'static str) -> KinesisRecord {
    KinesisRecord::new(data, "k", "stream")
}

/// Payloads and hash keys as received.
fn arrived(aws: &Endpoint) -> Vec<(String, Option<String>)> {
    let hash_keys = aws.delivered("stream").into_iter();
    let hash_keys = hash_keys.map(|record| record.explicit_hash_key);
    aws.payloads("stream").into_iter().zip(hash_keys).collect()
}

fn expected() -> Vec<(String, Option<String>)> {
    let expected = [
        ("1", Some("0")),
        ("2", None),
        ("3", Some(MOST)),
        ("4", None),
    ];
    let owned = |(data, key): (&str, Option<&str>)| (data.to_owned(), key.map(str::to_owned));
    expected.map(owned).to_vec()
}

async fn record_some(client: &AmplifyKinesisClient) {
    let first = record("1").explicit_hash_key(0);
    client.record_all([first, record("2")]).await.unwrap();
    let stream = client.stream("stream").unwrap();
    let third = record("3").explicit_hash_key(u128::MAX);
    stream.record_all([third, record("4")]).await.unwrap();
}

#[tokio::test]
async fn a_hash_key_is_sent_by_our_writer_and_by_that_of_the_sdk() {
    for has_a_protocol in [false, true] {
        let aws = Endpoint::start();
        let mut client = builder(&aws).in_memory();
        if has_a_protocol {
            client = client.kinesis_client(sdk_client(true));
        }
        let client = client.build().await.unwrap();
        record_some(&client).await;
        client.flush().await.unwrap();
        assert_eq!(arrived(&aws), expected());
    }
}

#[tokio::test]
async fn a_hash_key_survives_a_restart_whatever_the_store() {
    for in_a_journal in [false, true] {
        let aws = Endpoint::start();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cache");
        let builder = || match in_a_journal {
            true => builder(&aws).journal(&path),
            false => builder(&aws).storage_path(&path),
        };
        let client = builder().build().await.unwrap();
        record_some(&client).await;
        client.close().await.unwrap();
        let client = builder().build().await.unwrap();
        client.flush().await.unwrap();
        assert_eq!(arrived(&aws), expected());
        client.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_record_that_is_given_up_still_has_its_hash_key() {
    let aws = Endpoint::start();
    aws.script(Reply::fail_all("InternalFailure"));
    let discards = Discards::default();
    let given_up = discards.clone();
    let options = AmplifyKinesisClientOptions::default()
        .max_retries(0)
        .on_discard(move |record| given_up.push(record));
    let client = kinesis(&aws, options).in_memory().build().await.unwrap();
    let hashed = record("1").explicit_hash_key(7);
    client.record_all([hashed]).await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(discards.all()[0].explicit_hash_key, Some(7));
}

#[tokio::test]
async fn a_handle_refuses_records_of_another_stream() {
    let aws = Endpoint::start();
    let client = builder(&aws).in_memory().build().await.unwrap();
    let stream = client.stream("another").unwrap();
    let refused = stream.record_all([record("1")]).await.unwrap_err();
    assert!(matches!(refused, AmplifyKinesisError::Validation { .. }));
    assert!(refused.message().contains("another"), "{refused}");
    assert_eq!(client.cache_stats().records, 0);
}

#[tokio::test]
async fn a_hash_key_does_not_count_in_the_size_of_a_record() {
    let aws = Endpoint::start();
    let client = builder(&aws).in_memory().build().await.unwrap();
    record_some(&client).await;
    assert_eq!(client.cache_stats().bytes, 4 * 2);
}
