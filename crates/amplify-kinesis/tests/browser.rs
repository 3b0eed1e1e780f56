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

use amplify_kinesis::browser::{Credentials, PageCredentials};
use amplify_kinesis::{
    AmplifyKinesisClient, AmplifyKinesisClientBuilder, AmplifyKinesisClientOptions,
    AmplifyKinesisError, FlushStrategy, NoAnswer, StoragePlace,
};
use js_sys::JSON;
use wasm_bindgen::JsCast;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

use self::fetch::{answer_by, js, text, until_empty, wait_for};

wasm_bindgen_test_configure!(run_in_browser);

/// A response that accepts one record.
const ACCEPTS: &str = r#"() => new Response(JSON.stringify(
    {FailedRecordCount: 0, Records: [{SequenceNumber: "1", ShardId: "shardId-0"}]}))"#;
const FAILS: &str = "() => Promise.reject(new TypeError('Failed to fetch'))";
const HANGS: &str = "() => new Promise(() => {})";

fn options() -> AmplifyKinesisClientOptions {
    AmplifyKinesisClientOptions::default().flush_strategy(FlushStrategy::None)
}

fn builder(host: &str) -> AmplifyKinesisClientBuilder {
    AmplifyKinesisClient::builder()
        .region("us-east-1")
        .endpoint_url(format!("https://{host}.example"))
        .credentials_provider(Credentials::new("the-id", "secret", None, None, "test"))
        .options(options())
}

async fn in_memory(host: &str, options: AmplifyKinesisClientOptions) -> AmplifyKinesisClient {
    let builder = builder(host).in_memory().options(options);
    builder.build().await.unwrap()
}

async fn record(client: &AmplifyKinesisClient) {
    client.record("hello", "key", "stream").await.unwrap();
}

#[wasm_bindgen_test]
async fn a_record_is_sent_by_fetch_signed_and_without_cookies() {
    answer_by("plain", ACCEPTS);
    let client = in_memory("plain", options()).await;
    record(&client).await;
    let flushed = client.flush().await.unwrap();
    assert_eq!(flushed.records_flushed, 1);
    assert_eq!(client.cache_stats().records, 0);
    let how = text("`${calls[0].method} ${calls[0].mode} ${calls[0].credentials}`");
    assert_eq!(how, "POST cors omit");
    let signature = text("calls[0].headers.get('authorization')");
    assert!(signature.contains("Credential=the-id/"), "{signature}");
    let records = js("JSON.parse(bodies[0]).Records");
    let records = String::from(JSON::stringify(&records).unwrap());
    assert_eq!(records, r#"[{"Data":"aGVsbG8=","PartitionKey":"key"}]"#);
    client.close().await.unwrap();
}

#[wasm_bindgen_test]
async fn a_fetch_that_fails_counts_as_offline_and_costs_no_retries() {
    answer_by("offline", FAILS);
    let client = in_memory("offline", options().max_retries(0)).await;
    record(&client).await;
    for _ in 0..2 {
        let error = client.flush().await.unwrap_err();
        assert_eq!(error.reason(), Some(NoAnswer::Offline), "{error}");
    }
    assert_eq!(client.cache_stats().records, 1);
    answer_by("offline", ACCEPTS);
    assert_eq!(client.flush().await.unwrap().records_flushed, 1);
}

#[wasm_bindgen_test]
async fn a_request_that_takes_too_long_is_aborted_and_its_record_kept() {
    answer_by("slow", HANGS);
    let limit = Duration::from_millis(300);
    let client = in_memory("slow", options().request_timeout(limit)).await;
    record(&client).await;
    let error = client.flush().await.unwrap_err();
    assert_eq!(error.reason(), Some(NoAnswer::TimedOut), "{error}");
    wait_for("calls.length == 1 && calls[0].signal.aborted").await;
    assert_eq!(client.cache_stats().records, 1);
}

#[wasm_bindgen_test]
async fn an_answer_that_breaks_off_costs_no_retries() {
    answer_by(
        "broken",
        "() => new Response(new ReadableStream({
            start(body) { body.enqueue(new TextEncoder().encode('{\"Failed')) },
            pull(body) { body.error(new TypeError('network error')) }
        }))",
    );
    let client = in_memory("broken", options().max_retries(0)).await;
    record(&client).await;
    client.flush().await.unwrap_err();
    assert_eq!(client.cache_stats().records, 1);
}

#[wasm_bindgen_test]
async fn the_page_is_asked_for_credentials_again_after_a_service_refused_them() {
    answer_by(
        "expired",
        r#"request => request.headers.get('authorization').includes('Credential=id-1/')
            ? new Response('{"__type": "ExpiredTokenException"}', {status: 400})
            : new Response('{"FailedRecordCount": 0, "Records": [{"SequenceNumber": "1"}]}')"#,
    );
    let function = js("globalThis.asked = 0;
        async () => ({
            accessKeyId: `id-${++asked}`, secretAccessKey: 'secret', sessionToken: 'token',
            expiration: new Date(Date.now() + 3600e3)
        })");
    let credentials = PageCredentials::new(function.unchecked_into());
    let builder = builder("expired").in_memory();
    let client = builder.credentials_provider(credentials).build().await;
    let client = client.unwrap();
    record(&client).await;
    assert_eq!(client.flush().await.unwrap().skipped_streams.len(), 1);
    assert_eq!(client.flush().await.unwrap().records_flushed, 1);
    let asked = text("`${asked} ${calls.at(-1).headers.get('x-amz-security-token')}`");
    assert_eq!(asked, "2 token");
}

#[wasm_bindgen_test]
async fn records_wait_while_the_page_has_no_credentials() {
    answer_by("unsigned", ACCEPTS);
    for (function, message) in [
        (
            "() => Promise.reject(new Error('signed out'))",
            "signed out",
        ),
        ("() => { throw new Error('signed out') }", "signed out"),
        ("() => ({accessKeyId: 'hidden'})", "secretAccessKey"),
        (
            "() => ({accessKeyId: 'id', secretAccessKey: 'hidden', expiration: 'soon'})",
            "expiration",
        ),
    ] {
        let credentials = PageCredentials::new(js(function).unchecked_into());
        let builder = builder("unsigned").in_memory();
        let client = builder.credentials_provider(credentials).build().await;
        let client = client.unwrap();
        record(&client).await;
        let error = client.flush().await.unwrap_err();
        assert_eq!(error.reason(), Some(NoAnswer::Credentials), "{error}");
        let all = with_causes(&error);
        assert!(all.contains(message) && !all.contains("hidden"), "{all}");
        assert_eq!(client.cache_stats().records, 1);
    }
}

fn with_causes(error: &AmplifyKinesisError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[wasm_bindgen_test]
async fn what_was_recorded_is_in_the_database_and_sent_by_the_next_client() {
    answer_by("stored", ACCEPTS);
    let first = builder("stored").name("next").build().await.unwrap();
    match first.storage() {
        StoragePlace::Database { name, slot: 0, .. } => {
            assert!(name.starts_with("next/kinesis_records_us-east-1"), "{name}");
        }
        other => panic!("{other:?}"),
    }
    record(&first).await;
    first.close().await.unwrap();
    let next = builder("stored").name("next").build().await.unwrap();
    assert_eq!(next.cache_stats().records, 1);
    assert_eq!(next.flush().await.unwrap().records_flushed, 1);
    next.close().await.unwrap();
}

#[wasm_bindgen_test]
async fn two_clients_of_a_page_need_names_of_their_own() {
    let first = builder("named").name("one").build().await.unwrap();
    let error = builder("named").name("one").build().await.unwrap_err();
    assert!(
        matches!(error, AmplifyKinesisError::Validation { .. }),
        "{error}"
    );
    let second = builder("named").name("two").build().await.unwrap();
    first.close().await.unwrap();
    second.close().await.unwrap();
    let again = builder("named").name("one").build().await.unwrap();
    again.close().await.unwrap();
}

#[wasm_bindgen_test]
async fn without_a_database_records_are_kept_in_memory_and_that_is_said() {
    answer_by("refused", ACCEPTS);
    js(
        "globalThis.database = Object.getOwnPropertyDescriptor(globalThis, 'indexedDB');
        Object.defineProperty(globalThis, 'indexedDB', {value: undefined, configurable: true})",
    );
    let client = builder("refused").build().await;
    js("Object.defineProperty(globalThis, 'indexedDB', database)");
    let client = client.unwrap();
    assert_eq!(client.storage(), &StoragePlace::Memory);
    record(&client).await;
    assert_eq!(client.flush().await.unwrap().records_flushed, 1);
}

#[wasm_bindgen_test]
async fn the_timer_sends_what_waits() {
    answer_by("timer", ACCEPTS);
    let interval = FlushStrategy::Interval(Duration::from_millis(100));
    let client = in_memory("timer", options().flush_strategy(interval)).await;
    record(&client).await;
    until_empty(|| client.cache_stats().records).await;
    assert!(js("calls.length == 1").is_truthy());
    client.close().await.unwrap();
}

#[wasm_bindgen_test]
async fn a_page_that_goes_into_the_background_sends_at_once_and_the_browser_sees_it_through() {
    answer_by("hidden", ACCEPTS);
    let interval = FlushStrategy::Interval(Duration::from_secs(3600));
    let client = in_memory("hidden", options().flush_strategy(interval)).await;
    record(&client).await;
    js(
        "Object.defineProperty(document, 'visibilityState', {value: 'hidden', configurable: true});
        document.dispatchEvent(new Event('visibilitychange'))",
    );
    wait_for("calls.length == 1").await;
    js("delete document.visibilityState");
    assert!(js("calls[0].keepalive").is_truthy());
    client.close().await.unwrap();
}

#[wasm_bindgen_test]
async fn nothing_may_block_the_page() {
    let client = in_memory("blocking", options()).await;
    let error = client.record_blocking("hello", "key", "stream");
    let error = error.unwrap_err();
    assert!(
        matches!(error, AmplifyKinesisError::Validation { .. }),
        "{error}"
    );
}
