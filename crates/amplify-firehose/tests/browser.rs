//! Tests the client in a web page, with a fake `fetch`: `cargo xtask ports browser`.

#![cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../../../tests/support/fetch.rs"]
mod fetch;

use std::time::Duration;

use amplify_firehose::browser::Credentials;
use amplify_firehose::{
    AmplifyFirehoseClient, AmplifyFirehoseClientBuilder, AmplifyFirehoseClientOptions,
    FlushStrategy, NoAnswer, StoragePlace,
};
use js_sys::JSON;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

use self::fetch::{answer_by, js, text, until_empty, wait_for};

wasm_bindgen_test_configure!(run_in_browser);

/// A response that accepts one record.
const ACCEPTS: &str = r#"() => new Response(JSON.stringify(
    {FailedPutCount: 0, RequestResponses: [{RecordId: "1"}]}))"#;
const FAILS: &str = "() => Promise.reject(new TypeError('Failed to fetch'))";

/// The body of the request for one record.
const SENT: &str = r#"{"DeliveryStreamName":"stream","Records":[{"Data":"aGVsbG8="}]}"#;

fn sent() -> String {
    JSON::stringify(&js("JSON.parse(bodies[0])"))
        .unwrap()
        .into()
}

fn options() -> AmplifyFirehoseClientOptions {
    AmplifyFirehoseClientOptions::default().flush_strategy(FlushStrategy::None)
}

fn builder(host: &str) -> AmplifyFirehoseClientBuilder {
    AmplifyFirehoseClient::builder()
        .region("us-east-1")
        .endpoint_url(format!("https://{host}.example"))
        .credentials_provider(Credentials::new("the-id", "secret", None, None, "test"))
        .options(options())
}

#[wasm_bindgen_test]
async fn a_record_is_sent_by_fetch_and_signed() {
    answer_by("plain", ACCEPTS);
    let client = builder("plain").in_memory().build().await.unwrap();
    client.record("hello", "stream").await.unwrap();
    assert_eq!(client.flush().await.unwrap().records_flushed, 1);
    assert_eq!(client.cache_stats().records, 0);
    let signature = text("calls[0].headers.get('authorization')");
    assert!(signature.contains("Credential=the-id/"), "{signature}");
    assert_eq!(sent(), SENT);
    client.close().await.unwrap();
}

#[wasm_bindgen_test]
async fn what_was_recorded_offline_is_in_the_database_and_sent_by_the_next_client() {
    answer_by("offline", FAILS);
    let first = builder("offline").name("next").build().await.unwrap();
    match first.storage() {
        StoragePlace::Database { name, slot: 0, .. } => {
            assert!(
                name.starts_with("next/firehose_records_us-east-1"),
                "{name}"
            );
        }
        other => panic!("{other:?}"),
    }
    first.record("hello", "stream").await.unwrap();
    let error = first.flush().await.unwrap_err();
    assert_eq!(error.reason(), Some(NoAnswer::Offline), "{error}");
    first.close().await.unwrap();

    answer_by("offline", ACCEPTS);
    let strategy = FlushStrategy::Interval(Duration::from_millis(100));
    let next = builder("offline").name("next");
    let next = next.options(options().flush_strategy(strategy)).build();
    let next = next.await.unwrap();
    wait_for("calls.length == 1").await;
    until_empty(|| next.cache_stats().records).await;
    assert_eq!(sent(), SENT);
    assert!(js("calls.length == 1").is_truthy());
    next.close().await.unwrap();
}
