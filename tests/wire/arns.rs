//! Streams named by their ARN.

use amplify_firehose::{AmplifyFirehoseClientOptions, AmplifyFirehoseError};
use amplify_kinesis::{
    AmplifyKinesisClientBuilder, AmplifyKinesisClientOptions, AmplifyKinesisError,
};
use amplify_test_support::Reply;
use integration_tests::Endpoint;

use super::clients::{firehose, kinesis, sdk_client};

const ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders";

fn builder(aws: &Endpoint) -> AmplifyKinesisClientBuilder {
    kinesis(aws, AmplifyKinesisClientOptions::default())
}

/// The endpoint refuses a request with a name in place of an ARN, or the other way round.
#[tokio::test]
async fn an_arn_is_sent_as_one_and_has_a_queue_of_its_own() {
    for has_a_protocol in [false, true] {
        let aws = Endpoint::start();
        let client = builder(&aws).kinesis_client(sdk_client(has_a_protocol));
        let client = client.in_memory().build().await.unwrap();
        client.record("1", "k", ARN).await.unwrap();
        client.record("2", "k", "orders").await.unwrap();
        let stream = client.stream(ARN).unwrap();
        assert_eq!(stream.name(), ARN);
        stream.record("3", "k").await.unwrap();
        let stats = client.cache_stats().streams.into_iter();
        let stats: Vec<_> = stats.map(|of| (of.stream_name, of.records)).collect();
        assert_eq!(stats, [(ARN.to_owned(), 2), ("orders".to_owned(), 1)]);
        assert_eq!(client.flush().await.unwrap().records_flushed, 3);
        assert_eq!(aws.payloads(ARN), ["1", "3"]);
        assert_eq!(aws.payloads("orders"), ["2"]);
    }
}

#[tokio::test]
async fn a_stream_that_is_skipped_is_told_of_by_its_arn() {
    let aws = Endpoint::start();
    let client = builder(&aws).in_memory().build().await.unwrap();
    client.record("1", "k", ARN).await.unwrap();
    aws.script(Reply::refuse(400, "ResourceNotFoundException"));
    let done = client.flush().await.unwrap();
    assert_eq!(done.skipped_streams[0].stream_name, ARN);
}

#[tokio::test]
async fn an_arn_survives_a_restart() {
    let aws = Endpoint::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache");
    let client = builder(&aws).storage_path(&path).build().await.unwrap();
    client.record("1", "k", ARN).await.unwrap();
    client.close().await.unwrap();
    let client = builder(&aws).storage_path(&path).build().await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(aws.payloads(ARN), ["1"]);
    client.close().await.unwrap();
}

#[tokio::test]
async fn what_is_no_arn_of_a_stream_of_the_region_is_refused() {
    let aws = Endpoint::start();
    let client = builder(&aws).in_memory().build().await.unwrap();
    for (arn, problem) in [
        (
            "arn:aws:kinesis:us-east-1:123456789012:stream/orders",
            "region",
        ),
        (
            "arn:aws-cn:kinesis:eu-west-1:123456789012:stream/orders",
            "partition",
        ),
        (
            "arn:aws:firehose:eu-west-1:123456789012:stream/orders",
            "ARN",
        ),
        ("arn:aws:kinesis:eu-west-1:123456789012:stream/", "name"),
        ("arn:aws:kinesis:eu-west-1:123456789012:stream/a b", "name"),
    ] {
        let refused = client.record("1", "k", arn).await.unwrap_err();
        assert!(matches!(refused, AmplifyKinesisError::Validation { .. }));
        assert!(refused.message().contains(problem), "{refused}");
        assert!(client.stream(arn).is_err());
    }
    let options = AmplifyFirehoseClientOptions::default();
    let client = firehose(&aws, options).build().await.unwrap();
    let arn = "arn:aws:firehose:eu-west-1:123456789012:deliverystream/orders";
    let refused = client.record("1", arn).await.unwrap_err();
    assert!(matches!(refused, AmplifyFirehoseError::Validation { .. }));
    let problem = "PutRecordBatch takes a name, not an ARN";
    assert!(refused.message().contains(problem), "{refused}");
    assert_eq!(aws.request_count(), 0);
}
