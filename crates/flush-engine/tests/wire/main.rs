//! Sends batches through the real SDK, in both formats, to a server that checks every request.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper that fails fails its test"
)]

mod cbor;
mod server;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use aws_credential_types::Credentials;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{BehaviorVersion, Config, Region};
use aws_sdk_kinesis::operation::put_records::PutRecordsError;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::RetryConfig;
use flush_engine::aws::judge;
use flush_engine::aws::wire::{
    Entry, Handover, Operation, Outcome, Receipts, Target, Wire, WireFormat,
};
use flush_engine::{Fault, NoAnswer, SendError};

use crate::cbor::Value;
use crate::server::{JSON, Request, SECRET, Server, signature, signed};

fn config(url: &str) -> aws_sdk_kinesis::config::Builder {
    Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::from_keys("id", SECRET, None))
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .endpoint_url(url)
}

/// A sender like the client's.
struct Sender {
    client: Client,
    wire: Wire,
    receipts: Receipts,
}

impl Sender {
    fn new(url: &str, format: WireFormat) -> Self {
        Self::of(config(url), format)
    }

    fn of(config: aws_sdk_kinesis::config::Builder, format: WireFormat) -> Self {
        Self {
            client: Client::from_conf(config.build()),
            wire: Wire::new(Operation::PutRecords, format),
            receipts: Receipts::Skip,
        }
    }

    async fn send(&self, entries: &[Entry<'_>]) -> Result<Vec<Outcome>, SendError> {
        self.send_noting(entries, |_| ()).await
    }

    /// Sends these entries, and shows `note` the error of the SDK, if there is one.
    async fn send_noting(
        &self,
        entries: &[Entry<'_>],
        note: impl Fn(&SdkError<PutRecordsError, HttpResponse>),
    ) -> Result<Vec<Outcome>, SendError> {
        let call = async |handover: Handover| {
            let mut with_protocol = Config::builder();
            with_protocol.set_protocol(Some(self.wire.protocol()));
            let operation = self.client.put_records().stream_name("orders").customize();
            let call = operation
                .config_override(with_protocol)
                .interceptor(handover);
            call.send().await.inspect_err(&note)
        };
        let (target, entries) = (Target::Name("orders"), entries.iter().copied());
        self.wire.send(target, entries, self.receipts, call).await
    }
}

fn batch() -> [Entry<'static>; 2] {
    let second = Entry {
        explicit_hash_key: Some(u128::MAX),
        ..Entry::new(&[0, 0xff, b'"'], Some("clé"))
    };
    [Entry::new(b"hello", Some("k")), second]
}

const THROTTLED: &str = "ProvisionedThroughputExceededException";

const TWO_ACCEPTED: &str = r#"{"Records":[{"SequenceNumber":"1","ShardId":"shard-a"},{"SequenceNumber":"2","ShardId":"shard-b"}]}"#;

fn accepted() -> Vec<Outcome> {
    vec![Outcome::Accepted(None), Outcome::Accepted(None)]
}

fn two_accepted(request: &Request) -> Vec<u8> {
    if request.is_cbor() {
        b"\xa1\x67Records\x82\xa2\x6eSequenceNumber\x611\x67ShardId\x67shard-a\
          \xbf\x6eSequenceNumber\x612\x67ShardId\x67shard-b\xff"
            .to_vec()
    } else {
        TWO_ACCEPTED.into()
    }
}

/// A refusal in the request's format.
fn refusal(request: &Request, code: &str) -> Vec<u8> {
    if request.is_cbor() {
        let head = [0x78, u8::try_from(code.len()).unwrap()];
        let code = [&head[..], code.as_bytes()].concat();
        [b"\xbf\x66__type", &code[..], b"\x67message\x62no\xff"].concat()
    } else {
        format!(r#"{{"__type":"{code}","message":"no"}}"#).into()
    }
}

fn refused(code: &str, status: u16) -> SendError {
    SendError::refused(judge(Some(code), status), Some(code.to_owned()), "no")
}

fn assert_in_order(request: &Request) {
    let length = request.body.len().to_string();
    assert_eq!(request.header("content-length"), length);
    let target = request.header("x-amz-target");
    assert_eq!(target, "Kinesis_20131202.PutRecords");
    assert!(request.header("user-agent").contains("aws-sdk-rust/"));
    let authorization = request.header("authorization");
    assert!(authorization.contains("content-length;content-type;host;"));
    assert_eq!(signed(request), signature(request), "{request:?}");
}

#[tokio::test]
async fn a_batch_arrives_in_cbor_signed_as_it_was_sent() {
    let server = Server::start(|_, request| (200, two_accepted(request))).await;
    let mut sender = Sender::new(&server.url, WireFormat::Cbor);
    assert_eq!(sender.send(&batch()).await, Ok(accepted()));

    let [request] = server.requests().try_into().unwrap();
    assert!(request.is_cbor());
    assert_in_order(&request);
    let records = vec![
        Value::map([
            ("Data", Value::Bytes(b"hello".to_vec())),
            ("PartitionKey", Value::text("k")),
        ]),
        Value::map([
            ("Data", Value::Bytes(vec![0, 0xff, b'"'])),
            ("PartitionKey", Value::text("clé")),
            ("ExplicitHashKey", Value::text(&u128::MAX.to_string())),
        ]),
    ];
    let whole = Value::map([
        ("StreamName", Value::text("orders")),
        ("Records", Value::Array(records)),
    ]);
    assert_eq!(cbor::decode(&request.body), whole);

    sender.receipts = Receipts::Read;
    let outcomes = sender.send(&batch()).await.unwrap();
    let shards = outcomes.iter().map(|outcome| match outcome {
        Outcome::Accepted(Some(receipt)) => (receipt.id.as_str(), receipt.shard_id.as_deref()),
        other => panic!("{other:?}"),
    });
    let expected = [("1", Some("shard-a")), ("2", Some("shard-b"))];
    assert_eq!(shards.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn elsewhere_a_batch_arrives_in_json_and_only_in_json() {
    for format in [WireFormat::Auto, WireFormat::Json] {
        let server = Server::start(|_, request| (200, two_accepted(request))).await;
        let sender = Sender::new(&server.url, format);
        for _ in 0..2 {
            assert_eq!(sender.send(&batch()).await, Ok(accepted()));
        }
        let requests = server.requests();
        assert_eq!(requests.len(), 2);
        for request in &requests {
            assert_eq!(request.header("content-type"), JSON);
            assert_in_order(request);
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            let golden = serde_json::json!({
                "StreamName": "orders",
                "Records": [
                    { "Data": "aGVsbG8=", "PartitionKey": "k" },
                    { "Data": "AP8i", "PartitionKey": "clé",
                      "ExplicitHashKey": u128::MAX.to_string() },
                ]
            });
            assert_eq!(body, golden);
        }
    }
}

#[tokio::test]
async fn the_sdk_retries_with_the_same_body_signed_again() {
    let server = Server::start(|place, request| match place {
        0 => (503, refusal(request, "ServiceUnavailable")),
        1 => (400, refusal(request, THROTTLED)),
        _ => (200, two_accepted(request)),
    })
    .await;
    let sender = Sender::new(&server.url, WireFormat::Cbor);
    assert_eq!(sender.send(&batch()).await, Ok(accepted()));
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    for (attempt, request) in requests.iter().enumerate() {
        assert!(request.is_cbor());
        assert_in_order(request);
        assert_eq!(request.body, requests[0].body);
        let named = format!("attempt={}", attempt + 1);
        assert!(request.header("amz-sdk-request").contains(&named));
    }
}

#[tokio::test]
async fn errors_stay_typed_and_are_judged_by_their_code() {
    let code = "com.amazonaws.kinesis#ResourceNotFoundException";
    let server = Server::start(move |_, request| (400, refusal(request, code))).await;
    let sender = Sender::new(&server.url, WireFormat::Cbor);
    let is_typed = AtomicBool::new(false);
    let note = |error: &SdkError<PutRecordsError, HttpResponse>| {
        let error = error.as_service_error().unwrap();
        let is_right = error.is_resource_not_found_exception();
        let is_right = is_right && error.meta().message() == Some("no");
        is_typed.store(is_right, Ordering::Relaxed);
    };
    let sent = sender.send_noting(&batch(), note).await;
    let refused = refused("ResourceNotFoundException", 400);
    assert_eq!(sent, Err(refused));
    assert!(is_typed.into_inner());
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn where_the_first_cbor_is_refused_the_batch_goes_in_json_at_once_and_ever_after() {
    for (status, code) in [
        (404, None),
        (415, None),
        (415, Some("UnsupportedMediaType")),
        (400, Some("UnknownOperationException")),
        (404, Some("UnknownOperationException")),
        (400, Some("SerializationException")),
    ] {
        let server = Server::start(move |_, request| match code {
            _ if !request.is_cbor() => (200, two_accepted(request)),
            Some(code) => (status, refusal(request, code)),
            None => (status, b"<html>what?</html>".to_vec()),
        })
        .await;
        let sender = Sender::new(&server.url, WireFormat::Cbor);
        for _ in 0..2 {
            let sent = sender.send(&batch()).await;
            assert_eq!(sent, Ok(accepted()), "{status} {code:?}");
        }
        let formats = server.are_cbor();
        assert_eq!(formats, [true, false, false], "{status} {code:?}");
        server.requests().iter().for_each(assert_in_order);
    }
}

#[tokio::test]
async fn the_page_of_a_proxy_does_not_change_the_format() {
    for status in [404, 415] {
        let server = Server::start(move |place, request| match place {
            0 | 1 => (status, b"<html>Sign in</html>".to_vec()),
            _ => (200, two_accepted(request)),
        })
        .await;
        let sender = Sender::new(&server.url, WireFormat::Cbor);
        assert!(sender.send(&batch()).await.is_err(), "neither is answered");
        assert_eq!(sender.send(&batch()).await, Ok(accepted()));
        assert_eq!(server.are_cbor(), [true, false, true], "{status}");
    }
}

#[tokio::test]
async fn other_refusals_do_not_change_the_format() {
    for (status, code) in [
        (400, "ResourceNotFoundException"),
        (404, "ResourceNotFoundException"),
        (400, "InvalidArgumentException"),
        (403, "AccessDeniedException"),
    ] {
        let server = Server::start(move |_, request| (status, refusal(request, code))).await;
        let sender = Sender::new(&server.url, WireFormat::Cbor);
        for _ in 0..2 {
            let refused = refused(code, status);
            assert_eq!(sender.send(&batch()).await, Err(refused));
        }
        assert_eq!(server.are_cbor(), [true, true]);
    }
}

#[tokio::test]
async fn once_cbor_was_understood_a_refusal_is_about_the_records() {
    let server = Server::start(|place, request| match place {
        0 => (200, two_accepted(request)),
        _ => (400, refusal(request, "SerializationException")),
    })
    .await;
    let sender = Sender::new(&server.url, WireFormat::Cbor);
    assert_eq!(sender.send(&batch()).await, Ok(accepted()));
    let refused = sender.send(&batch()).await.unwrap_err();
    assert!(
        matches!(
            refused,
            SendError::Refused {
                fault: Fault::Records,
                ..
            }
        ),
        "{refused:?}"
    );
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn an_answer_is_told_by_its_first_byte() {
    let answers: [(&[u8], bool); 7] = [
        (TWO_ACCEPTED.as_bytes(), true),
        (b"<html><body>Sign in</body></html>", false),
        (b"", false),
        (b"\x00\x01\x02", false),
        (b"\xa1\x67Records\x81\xa1\x6eSequenceNumber\x611", false),
        (b"{\"Records\":[]}", false),
        (
            b"\xa1\x67Records\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
            false,
        ),
    ];
    for (answer, is_answer) in answers {
        let server = Server::start(move |_, _| (200, answer.to_vec())).await;
        for format in [WireFormat::Cbor, WireFormat::Json] {
            let sent = Sender::new(&server.url, format).send(&batch()).await;
            match sent {
                Ok(sent) if is_answer => assert_eq!(sent, accepted()),
                Err(SendError::NoAnswer { reason, .. }) if !is_answer => {
                    assert_eq!(reason, NoAnswer::Unreadable, "{answer:?}");
                }
                sent => panic!("{sent:?} to {answer:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_that_cannot_be_read_is_judged_by_its_status() {
    for (status, fault) in [
        (413, Some(Fault::Records)),
        (500, Some(Fault::Service)),
        (403, None),
    ] {
        let server = Server::start(move |_, _| (status, b"<html>".to_vec())).await;
        let sender = Sender::new(&server.url, WireFormat::Cbor);
        let sent = sender.send(&batch()).await;
        match (sent.unwrap_err(), fault) {
            (SendError::Refused { fault, .. }, Some(expected)) => assert_eq!(fault, expected),
            (SendError::NoAnswer { .. }, None) => {}
            (other, _) => panic!("{other:?} for {status}"),
        }
    }
}

/// Answers in place of the network.
#[derive(Debug, Clone, Default)]
struct Everywhere {
    requests: Arc<Mutex<Vec<(String, String)>>>,
}

impl HttpConnector for Everywhere {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let content_type = request.headers().get("content-type").unwrap_or_default();
        let seen = (request.uri().to_owned(), content_type.to_owned());
        self.requests.lock().unwrap().push(seen);
        let status = 200.try_into().unwrap();
        let answer = HttpResponse::new(status, SdkBody::from(TWO_ACCEPTED));
        HttpConnectorFuture::ready(Ok(answer))
    }
}

#[tokio::test]
async fn auto_speaks_cbor_to_hosts_of_aws() {
    let network = Everywhere::default();
    let connector = SharedHttpConnector::new(network.clone());
    let http_client = http_client_fn(move |_, _| connector.clone());
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("cn-north-1"))
        .credentials_provider(Credentials::from_keys("id", SECRET, None))
        .http_client(http_client);
    let sender = Sender::of(config, WireFormat::Auto);
    for _ in 0..2 {
        assert_eq!(sender.send(&batch()).await, Ok(accepted()));
    }
    let url = "https://kinesis.cn-north-1.amazonaws.com.cn/".to_owned();
    let seen = network.requests.lock().unwrap().clone();
    assert_eq!(seen, vec![(url, server::CBOR.to_owned()); 2]);
}
