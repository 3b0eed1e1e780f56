//! The arguments of `on_delivered` in both clients, for both ways of reading answers.

use std::sync::{Arc, Mutex};

use amplify_firehose::{AmplifyFirehoseClient, AmplifyFirehoseClientOptions};
use amplify_kinesis::{
    Aggregation, AmplifyKinesisClient, AmplifyKinesisClientOptions, Concatenation, FlushStrategy,
};
use amplify_test_support::Reply;
use aws_sdk_kinesis::config::{BehaviorVersion, Config};
use aws_smithy_json::protocol::aws_json_rpc::AwsJsonRpcProtocol;
use integration_tests::Endpoint;

use super::credentials::credentials;

fn sdk_client(has_a_protocol: bool) -> aws_sdk_kinesis::Client {
    let mut config = Config::builder().behavior_version(BehaviorVersion::latest());
    if has_a_protocol {
        let protocol = AwsJsonRpcProtocol::aws_json_1_1();
        config = config.protocol(protocol.with_default_namespace("com.amazonaws.kinesis"));
    }
    aws_sdk_kinesis::Client::from_conf(config.build())
}

#[tokio::test]
async fn kinesis_says_which_shard_took_a_record_and_where() {
    for has_a_protocol in [false, true] {
        let aws = Endpoint::start();
        aws.script(Reply::fail_at([1], "InternalFailure"));
        let told: Arc<Mutex<Vec<amplify_kinesis::DeliveredRecord>>> = Arc::default();
        let heard = Arc::clone(&told);
        let options = AmplifyKinesisClientOptions::default()
            .flush_strategy(FlushStrategy::None)
            .on_delivered(move |record| heard.lock().unwrap().push(record));
        let client = AmplifyKinesisClient::builder()
            .region("eu-west-1")
            .credentials_provider(credentials())
            .endpoint_url(aws.endpoint_url())
            .kinesis_client(sdk_client(has_a_protocol))
            .in_memory()
            .options(options);
        let client = client.build().await.unwrap();
        for key in ["secret-1", "secret-2", "secret-3"] {
            client.record("payload", key, "stream").await.unwrap();
        }
        client.flush().await.unwrap();
        let told = told.lock().unwrap();
        let keys = told.iter().map(|record| record.partition_key.as_deref());
        assert!(keys.eq([Some("secret-1"), Some("secret-3")]));
        for record in told.iter() {
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
    let told: Arc<Mutex<Vec<amplify_kinesis::DeliveredRecord>>> = Arc::default();
    let heard = Arc::clone(&told);
    let options = AmplifyKinesisClientOptions::default()
        .flush_strategy(FlushStrategy::None)
        .aggregation(Aggregation::Concatenate(Concatenation::default()))
        .on_delivered(move |record| heard.lock().unwrap().push(record));
    let client = AmplifyKinesisClient::builder()
        .region("eu-west-1")
        .credentials_provider(credentials())
        .endpoint_url(aws.endpoint_url())
        .in_memory()
        .options(options);
    let client = client.build().await.unwrap();
    for data in ["1", "2", "3"] {
        client.record(data, "k", "stream").await.unwrap();
    }
    client.flush().await.unwrap();
    assert_eq!(aws.payloads("stream"), ["1\n2\n3\n"]);
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 3);
    assert!(told[0].sequence_number.starts_with("49"));
    assert!(told.iter().all(|record| *record == told[0]));
}

#[tokio::test]
async fn firehose_says_what_it_calls_a_record() {
    let aws = Endpoint::start();
    aws.script(Reply::fail_at([1], "ServiceUnavailableException"));
    let told: Arc<Mutex<Vec<amplify_firehose::DeliveredRecord>>> = Arc::default();
    let heard = Arc::clone(&told);
    let options = AmplifyFirehoseClientOptions::default()
        .flush_strategy(FlushStrategy::None)
        .on_delivered(move |record| heard.lock().unwrap().push(record));
    let client = AmplifyFirehoseClient::builder()
        .region("eu-west-1")
        .credentials_provider(credentials())
        .endpoint_url(aws.endpoint_url())
        .in_memory()
        .options(options);
    let client = client.build().await.unwrap();
    let stream = client.stream("delivery").unwrap();
    stream.record_all(["1", "2", "3"]).await.unwrap();
    client.flush().await.unwrap();
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|record| record.stream_name == "delivery"));
    assert!(told.iter().all(|record| record.record_id.len() == 56));
    assert_ne!(told[0].record_id, told[1].record_id);
}
