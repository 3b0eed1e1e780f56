//! Both clients used in one program: what compiles, and what it means.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use amplify_firehose::{
    AmplifyFirehoseClient, AmplifyFirehoseClientOptions, AmplifyFirehoseError, FirehoseRecord,
};
use amplify_kinesis::{
    AmplifyKinesisClient, AmplifyKinesisClientOptions, AmplifyKinesisError, KinesisRecord,
    PartitionKey,
};
use amplify_test_support::Reply;
use integration_tests::Endpoint;

use super::clients;

/// A program's error, caused by an error of either client.
#[derive(Debug)]
enum ProgramError {
    Kinesis(AmplifyKinesisError),
    Firehose(AmplifyFirehoseError),
}

impl From<AmplifyKinesisError> for ProgramError {
    fn from(error: AmplifyKinesisError) -> Self {
        Self::Kinesis(error)
    }
}

impl From<AmplifyFirehoseError> for ProgramError {
    fn from(error: AmplifyFirehoseError) -> Self {
        Self::Firehose(error)
    }
}

async fn kinesis(aws: &Endpoint) -> AmplifyKinesisClient {
    let builder = clients::kinesis(aws, AmplifyKinesisClientOptions::default());
    builder.in_memory().build().await.unwrap()
}

async fn firehose(aws: &Endpoint) -> AmplifyFirehoseClient {
    let builder = clients::firehose(aws, AmplifyFirehoseClientOptions::default());
    builder.build().await.unwrap()
}

#[tokio::test]
async fn the_errors_of_both_clients_are_distinct_types_with_the_same_kinds() {
    use amplify_firehose::AmplifyFirehoseError::Validation as OfFirehose;
    use amplify_kinesis::AmplifyKinesisError::Validation as OfKinesis;

    async fn record(aws: &Endpoint, into_kinesis: bool) -> Result<(), ProgramError> {
        if into_kinesis {
            kinesis(aws).await.record("data", "", "stream").await?;
        } else {
            firehose(aws).await.record("data", "no stream").await?;
        }
        Ok(())
    }
    let aws = Endpoint::start();
    match record(&aws, true).await.unwrap_err() {
        ProgramError::Kinesis(OfKinesis { message, .. }) => assert!(message.contains("key")),
        error => unreachable!("{error:?}"),
    }
    match record(&aws, false).await.unwrap_err() {
        ProgramError::Firehose(OfFirehose { message, .. }) => assert!(message.contains("name")),
        error => unreachable!("{error:?}"),
    }
}

#[tokio::test]
async fn payloads_are_owned_or_borrowed() {
    let aws = Endpoint::start();
    let client = kinesis(&aws).await;
    {
        let (text, bytes) = (String::from("text"), b"bytes".to_vec());
        let borrowed: &str = &text;
        client.record(borrowed, "k", "stream").await.unwrap();
        client.record(&text, "k", "stream").await.unwrap();
        client.record(&bytes, "k", "stream").await.unwrap();
        client.record(&bytes[..], "k", "stream").await.unwrap();
        client.record(text, "k", "stream").await.unwrap();
        client.record(bytes, "k", "stream").await.unwrap();
        client.record("static", "k", "stream").await.unwrap();
        client.record(b"static", "k", "stream").await.unwrap();
        let shared = amplify_kinesis::Bytes::from_static(b"shared");
        client.record(shared, "k", "stream").await.unwrap();
    }
    client.flush().await.unwrap();
    let expected = [
        "text", "text", "bytes", "bytes", "text", "bytes", "static", "static", "shared",
    ];
    assert_eq!(aws.payloads("stream"), expected);
}

#[tokio::test]
async fn a_partition_key_may_be_drawn_at_random() {
    let aws = Endpoint::start();
    let client = kinesis(&aws).await;
    let key = PartitionKey::random;
    client.record("1", key(), "stream").await.unwrap();
    let record = KinesisRecord::new("2", key(), "stream");
    client.record_all([record]).await.unwrap();
    let stream = client.stream("stream").unwrap();
    stream.record("3", key()).await.unwrap();
    stream.record_all([("4", key())]).await.unwrap();
    client.flush().await.unwrap();
    let keys: HashSet<_> = aws
        .delivered("stream")
        .into_iter()
        .map(|record| record.partition_key.unwrap())
        .collect();
    assert_eq!(keys.len(), 4);
}

#[tokio::test]
async fn stats_tell_the_limit_and_how_long_the_oldest_record_waits() {
    let aws = Endpoint::start();
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        let options = AmplifyKinesisClientOptions::default().cache_max_bytes(1000);
        let builder = clients::kinesis(&aws, options);
        builder.storage_path(directory.path().join("cache")).build()
    };
    let client = open().await.unwrap();
    let stats = client.cache_stats();
    assert_eq!(
        (stats.cache_max_bytes, stats.oldest_recorded_at),
        (1000, None)
    );
    client.record("1", "k", "stream").await.unwrap();
    let wait = Duration::from_millis(50);
    tokio::time::sleep(wait).await;
    client.record("2", "k", "other").await.unwrap();
    let stats = client.cache_stats();
    let recorded_at = stats.oldest_recorded_at.unwrap();
    assert!(recorded_at.elapsed().unwrap() >= wait / 2);
    let ages = stats
        .streams
        .iter()
        .map(|of| (of.stream_name.as_str(), of.oldest_recorded_at));
    let ages: HashMap<_, _> = ages.collect();
    assert_eq!(ages["stream"], stats.oldest_recorded_at);
    assert!(ages["other"] > ages["stream"]);
    client.close().await.unwrap();
    // The age of earlier records is known once they are read. A retried record stays the oldest.
    let client = open().await.unwrap();
    aws.script_times(2, Reply::fail_all("InternalFailure"));
    client.flush().await.unwrap();
    let oldest = client.cache_stats().oldest_recorded_at.unwrap();
    assert!(oldest <= recorded_at && recorded_at < oldest + wait);
    client.flush().await.unwrap();
    assert_eq!(client.cache_stats().oldest_recorded_at, None);
}

#[tokio::test]
async fn a_handle_records_for_its_stream() {
    let aws = Endpoint::start();
    let client = kinesis(&aws).await;
    let stream = client.stream("stream").unwrap();
    assert_eq!(stream.name(), "stream");
    assert_eq!(stream.record("1", "k").await.unwrap().records_stored, 1);
    let several = stream.record_all([("2", "k"), ("3", "l")]).await;
    assert_eq!(several.unwrap().records_stored, 2);
    let record = KinesisRecord::new("4", "k", "stream");
    client.record_all([record]).await.unwrap();
    assert_eq!(client.flush().await.unwrap().records_flushed, 4);
    assert_eq!(aws.payloads("stream"), ["1", "2", "3", "4"]);
    let refused = stream.record_all([("5", "k"), ("6", "")]).await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, AmplifyKinesisError::Validation { .. }));
    assert_eq!(client.cache_stats().records, 0);
    let no_stream = client.stream("arn:aws:kinesis").unwrap_err();
    assert!(matches!(no_stream, AmplifyKinesisError::Validation { .. }));
    client.disable();
    let dropped = stream.record("dropped", "k").await.unwrap();
    assert_eq!(dropped.records_stored, 0);
    assert_eq!(client.cache_stats().records, 0);
    client.close().await.unwrap();
    let closed = stream.record("7", "").await.unwrap_err();
    assert!(matches!(closed, AmplifyKinesisError::ClientClosed));
    for name in ["stream", "not a name"] {
        let closed = client.stream(name).unwrap_err();
        assert!(matches!(closed, AmplifyKinesisError::ClientClosed));
    }

    let client = firehose(&aws).await;
    let stream = client.stream("delivery").unwrap();
    stream.record("1").await.unwrap();
    stream.record_all(["2", "3"]).await.unwrap();
    let record = FirehoseRecord::new("4", "delivery");
    client.record_all([record]).await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(aws.payloads("delivery"), ["1", "2", "3", "4"]);
    let no_stream = client.stream("").unwrap_err();
    assert!(matches!(no_stream, AmplifyFirehoseError::Validation { .. }));
}

/// A closure with borrowed arguments in the iterator must not keep the future from being `Send`.
#[tokio::test]
async fn records_that_are_made_by_a_closure_can_be_recorded_by_a_spawned_task() {
    async fn record<'a>(
        client: &AmplifyKinesisClient,
        records: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) {
        let of = |(stream, data)| KinesisRecord::new(data, "k", stream);
        client
            .record_all(records.into_iter().map(of))
            .await
            .unwrap();
        let stream = client.stream("stream").unwrap();
        let lines = ["2", "3"].iter().map(|line| (*line, "k"));
        stream.record_all(lines).await.unwrap();
    }
    let aws = Endpoint::start();
    let client = kinesis(&aws).await;
    let task = tokio::spawn({
        let client = client.clone();
        async move {
            let (stream, data) = ("stream".to_owned(), "1".to_owned());
            record(&client, vec![(&*stream, &*data)]).await;
        }
    });
    task.await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(aws.payloads("stream"), ["1", "2", "3"]);
}

#[tokio::test]
async fn firehose_takes_the_wire_formats_that_it_can_send() {
    use amplify_firehose::WireFormat;

    let aws = Endpoint::start();
    for (format, is_taken) in [
        (WireFormat::Auto, true),
        (WireFormat::Json, true),
        (WireFormat::Cbor, false),
    ] {
        let options = AmplifyFirehoseClientOptions::default().wire_format(format);
        match clients::firehose(&aws, options).build().await {
            Ok(_) => assert!(is_taken, "{format:?}"),
            Err(error) => {
                assert!(
                    !is_taken && error.message().contains("wire_format"),
                    "{error}"
                );
            }
        }
    }
}
