//! The arguments of `on_delivered` in both clients, for both ways of reading answers.

use std::sync::mpsc;

use amplify_firehose::AmplifyFirehoseClientOptions;
use amplify_kinesis::{Aggregation, AmplifyKinesisClientOptions, Concatenation};
use amplify_test_support::Reply;
use integration_tests::Endpoint;

use super::clients::{firehose, kinesis, sdk_client};

#[tokio::test]
async fn kinesis_says_which_shard_took_a_record_and_where() {
    for has_a_protocol in [false, true] {
        let aws = Endpoint::start();
        aws.script(Reply::fail_at([1], "InternalFailure"));
        let (tell, told) = mpsc::channel();
        let options = AmplifyKinesisClientOptions::default()
            .on_delivered(move |record| tell.send(record).unwrap());
        let client = kinesis(&aws, options).kinesis_client(sdk_client(has_a_protocol));
        let client = client.in_memory().build().await.unwrap();
        for key in ["secret-1", "secret-2", "secret-3"] {
            client.record("payload", key, "stream").await.unwrap();
        }
        client.flush().await.unwrap();
        let told: Vec<_> = told.try_iter().collect();
        let keys = told.iter().map(|record| record.partition_key.as_deref());
        assert!(keys.eq([Some("secret-1"), Some("secret-3")]));
        for record in &told {
            assert_eq!(record.stream_name, "stream");
            assert_eq!(record.shard_id, "shardId-000000000000");
            assert!(record.sequence_number.starts_with("49"), "{record:?}");
            assert!(!format!("{record:?} {record:#?}").contains("secret"));
        }
        assert!(told[0].sequence_number < told[1].sequence_number);
    }
}

#[tokio::test]
async fn each_event_of_a_record_that_is_shared_is_told_of() {
    let aws = Endpoint::start();
    let (tell, told) = mpsc::channel();
    let options = AmplifyKinesisClientOptions::default()
        .aggregation(Aggregation::Concatenate(Concatenation::default()))
        .on_delivered(move |record| tell.send(record).unwrap());
    let client = kinesis(&aws, options).in_memory().build().await.unwrap();
    for data in ["1", "2", "3"] {
        client.record(data, "k", "stream").await.unwrap();
    }
    client.flush().await.unwrap();
    assert_eq!(aws.payloads("stream"), ["1\n2\n3\n"]);
    let told: Vec<_> = told.try_iter().collect();
    assert_eq!(told.len(), 3);
    assert!(told[0].sequence_number.starts_with("49"));
    assert!(told.iter().all(|record| *record == told[0]));
}

#[tokio::test]
async fn firehose_says_what_it_calls_a_record() {
    let aws = Endpoint::start();
    aws.script(Reply::fail_at([1], "ServiceUnavailableException"));
    let (tell, told) = mpsc::channel();
    let options = AmplifyFirehoseClientOptions::default()
        .on_delivered(move |record| tell.send(record).unwrap());
    let client = firehose(&aws, options).build().await.unwrap();
    let stream = client.stream("delivery").unwrap();
    stream.record_all(["1", "2", "3"]).await.unwrap();
    client.flush().await.unwrap();
    let told: Vec<_> = told.try_iter().collect();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|record| record.stream_name == "delivery"));
    assert!(told.iter().all(|record| record.record_id.len() == 56));
    assert_ne!(told[0].record_id, told[1].record_id);
}
