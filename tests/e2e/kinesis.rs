//! Records on their way from `record()` to the shards of a LocalStack Kinesis stream.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amplify_kinesis::{
    AmplifyKinesisClient, AmplifyKinesisClientOptions, DiscardReason, FlushStrategy, WireFormat,
};
use amplify_test_support::unique_name;
use aws_credential_types::Credentials;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_kinesis::config::{
    BehaviorVersion, Config, ConfigBag, Intercept, Region, RuntimeComponents,
};
use aws_sdk_kinesis::error::BoxError;
use integration_tests::{Discards, Service, Setup, eventually};
use tempfile::TempDir;

use super::{LONG, Stream, assert_skipped_as_missing, by_key, endpoint, setup};

/// LocalStack accepts records up to 1 MiB.
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
    let is_empty = shards.iter().any(Vec::is_empty);
    assert!(!is_empty, "a shard is empty");
    let arrived = by_key(shards.into_iter().flatten());
    assert!(arrived == by_key(records), "the shards hold other records");
    stream.delete().await;
}

/// Collects the content types of requests.
#[derive(Debug, Clone, Default)]
struct ContentTypes(Arc<Mutex<BTreeSet<String>>>);

impl Intercept for ContentTypes {
    fn name(&self) -> &'static str {
        "ContentTypes"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let content_type = context.request().headers().get("content-type");
        let content_type = content_type.unwrap_or_default().to_owned();
        let mut seen = self.0.lock().map_err(|_| "a test panicked")?;
        seen.insert(content_type);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_arrive_in_each_format() {
    for (wire_format, content_type) in [
        (WireFormat::Cbor, "application/x-amz-cbor-1.1"),
        (WireFormat::Json, "application/x-amz-json-1.1"),
        (WireFormat::Auto, "application/x-amz-json-1.1"),
    ] {
        let stream = Stream::create(&endpoint(), 2).await;
        let missing = unique_name("missing");
        let seen = ContentTypes::default();
        let config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::from_keys("id", "secret", None))
            .endpoint_url(endpoint())
            .interceptor(seen.clone());
        let options = AmplifyKinesisClientOptions::default().flush_strategy(FlushStrategy::None);
        let client = AmplifyKinesisClient::builder()
            .kinesis_client(Client::from_conf(config.build()))
            .options(options.wire_format(wire_format))
            .in_memory();
        let client = client.build().await.unwrap();

        let records = various_records(503);
        for (key, data) in &records {
            client.record(data, key, stream.name()).await.unwrap();
        }
        client.record("lost", "key", &missing).await.unwrap();
        let flushed = client.flush().await.unwrap();
        assert_eq!(flushed.records_flushed, 500, "{wire_format:?}");
        let code = flushed.skipped_streams[0].code.as_deref();
        assert_eq!(code, Some("ResourceNotFoundException"), "{wire_format:?}");
        client.flush().await.unwrap();
        client.close().await.unwrap();

        let arrived = by_key(stream.shards().await.into_iter().flatten());
        assert!(
            arrived == by_key(records),
            "other records in {wire_format:?}"
        );
        let seen = seen.0.lock().unwrap().clone();
        assert_eq!(seen, BTreeSet::from([content_type.to_owned()]));
        stream.delete().await;
    }
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
    eventually("the timer has delivered", async || client.cached() == 0).await;
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

/// Partition keys of several lengths and scripts, enough to reach four shards. The payloads cover
/// every byte, one is empty and one is large.
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
