//! Neither what we log, at any level and under every fault, nor what `Debug` shows carries a
//! payload, a partition key, a credential or the words of a service.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fmt::{self, Write as _};
use std::sync::{Mutex, Once};
use std::time::Duration;

use amplify_firehose::FirehoseRecord;
use amplify_kinesis::{CloseOptions, KinesisRecord, OverflowPolicy};
use amplify_test_support::{Refusal, Reply};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Providing;
use integration_tests::{Case, Discards, Endpoint, Service, Setup, eventually};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

integration_tests::cases! {
    everywhere:
        no_log_line_carries_a_secret;
    in_memory:
        no_debug_text_carries_a_secret;
}

const STREAM: &str = "stream";
const PAYLOAD: &str = "PAYLOAD-that-is-secret";
const SECOND_PAYLOAD: &str = "PAYLOAD-that-fails";
const PARTITION_KEY: &str = "KEY-that-is-secret";
const ACCESS_KEY: &str = "AKIDTHATISSECRET";
const SECRET_KEY: &str = "SECRETKEYTHATISSECRET";
const TOKEN: &str = "TOKENTHATISSECRET";
const MESSAGE: &str = "MESSAGE of the service";
const PROVIDER_MESSAGE: &str = "MESSAGE of the provider";
const SECRETS: [&str; 7] = [
    "PAYLOAD",
    "KEY-that",
    ACCESS_KEY,
    SECRET_KEY,
    TOKEN,
    MESSAGE,
    PROVIDER_MESSAGE,
];

/// How a payload looks where it is printed as a list of numbers.
fn as_numbers(text: &str) -> String {
    let numbers: Vec<_> = text.bytes().map(|byte| byte.to_string()).collect();
    numbers.join(", ")
}

fn assert_no_secret(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret:?} is in {text}");
        let numbers = as_numbers(secret);
        assert!(!text.contains(&numbers), "{secret:?} is in {text}");
    }
}

// ---- what is logged

/// Keeps whatever our own targets log, at every level.
struct Log;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

const TARGETS: [&str; 5] = [
    "amplify_kinesis",
    "amplify_firehose",
    "flush_engine",
    "record_cache",
    "batcher",
];

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        TARGETS
            .iter()
            .any(|target| metadata.target().starts_with(target))
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut line = Line(format!(
            "{} span {}",
            span.metadata().target(),
            span.metadata().name()
        ));
        span.record(&mut line);
        LINES.lock().unwrap().push(line.0);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut line = Line("span".to_owned());
        values.record(&mut line);
        LINES.lock().unwrap().push(line.0);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut line = Line(format!("{} {}", metadata.target(), metadata.level()));
        event.record(&mut line);
        LINES.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Log).unwrap());
}

/// Fails in words that are nobody's business.
#[derive(Debug)]
struct Failing;

impl ProvideCredentials for Failing {
    fn provide_credentials<'a>(&'a self) -> Providing<'a>
    where
        Self: 'a,
    {
        Providing::ready(Err(CredentialsError::provider_error(PROVIDER_MESSAGE)))
    }
}

fn secret_credentials() -> Credentials {
    Credentials::new(ACCESS_KEY, SECRET_KEY, Some(TOKEN.to_owned()), None, "test")
}

async fn no_log_line_carries_a_secret(case: Case) {
    listen();
    let aws = Endpoint::start();
    let discards = Discards::default();
    let setup = || {
        let setup = Setup::new(case, &aws).credentials(secret_credentials());
        setup
            .request_timeout(Duration::from_millis(200))
            .max_retries(0)
    };
    let client = setup().discards(&discards).build().await;
    let replies = [
        Refusal::new(400, "ValidationException")
            .message(MESSAGE)
            .into(),
        Refusal::new(400, "ResourceNotFoundException")
            .message(MESSAGE)
            .into(),
        Refusal::new(403, "AccessDeniedException")
            .message(MESSAGE)
            .into(),
        Refusal::new(500, "InternalFailure").message(MESSAGE).into(),
        Refusal::without_code(400).message(MESSAGE).into(),
        Reply::Page {
            status: 403,
            body: MESSAGE.into(),
        },
        Reply::Page {
            status: 200,
            body: MESSAGE.into(),
        },
        answer_with_message(case),
        Reply::fail_all("InternalFailure"),
        Reply::Hang,
        Reply::Reset,
        Reply::Garbage,
        Reply::Truncated,
        Reply::WrongCount(9),
        Reply::Accept,
    ];
    for reply in replies {
        let payloads = [PAYLOAD, SECOND_PAYLOAD];
        for payload in payloads {
            client
                .record_keyed(STREAM, PARTITION_KEY, payload)
                .await
                .unwrap();
        }
        aws.always(move |_| reply.clone());
        let _ = client.flush().await;
    }
    client.drain(Duration::from_secs(30)).await.unwrap();
    client
        .record_keyed(STREAM, PARTITION_KEY, vec![b'x'; 11 << 20])
        .await
        .unwrap_err();
    client
        .record_keyed("not a name", PARTITION_KEY, PAYLOAD)
        .await
        .unwrap_err();
    client
        .record_keyed(STREAM, PARTITION_KEY, PAYLOAD)
        .await
        .unwrap();
    client.clear_cache().await.unwrap();
    client.disable();
    client
        .record_keyed(STREAM, PARTITION_KEY, PAYLOAD)
        .await
        .unwrap();
    client.close().await.unwrap();
    assert!(!discards.all().is_empty());

    // A full cache, and records that grew too old.
    aws.always(|_| Reply::Accept);
    let full = setup()
        .cache_max_bytes(200)
        .overflow_policy(OverflowPolicy::DropOldest)
        .max_record_age(Some(Duration::from_millis(1)))
        .discards(&discards);
    let client = full.build().await;
    for _ in 0..20 {
        client
            .record_keyed(STREAM, PARTITION_KEY, PAYLOAD)
            .await
            .unwrap();
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(client.flush().await.unwrap().records_discarded > 0);
    let last = CloseOptions::default().drain(Duration::from_secs(30));
    client.close_with(last).await.unwrap();

    // The timer and the discard handler have things to log, too.
    let panicking = setup()
        .flush_every(Duration::from_millis(5))
        .on_discard(|_| {
            std::panic::resume_unwind(Box::new("on_discard of a test"));
        });
    let client = panicking.build().await;
    client
        .record_keyed(STREAM, PARTITION_KEY, PAYLOAD)
        .await
        .unwrap();
    let sent = aws.request_count();
    aws.always(|_| Reply::Reset);
    aws.until(|aws| aws.request_count() > sent + 2).await;
    aws.always(|_| Reply::fail_all("InternalFailure"));
    eventually("the record is given up", async || client.cached() == 0).await;
    client.close().await.unwrap();

    let client = setup().credentials(Failing).build().await;
    client
        .record_keyed(STREAM, PARTITION_KEY, PAYLOAD)
        .await
        .unwrap();
    client.flush().await.unwrap_err();
    client.close().await.unwrap();

    let lines = LINES.lock().unwrap().clone();
    for expected in [
        "refused",
        "given up",
        "automatic flush failed",
        "on_discard panicked",
    ] {
        assert!(
            lines.iter().any(|line| line.contains(expected)),
            "{expected}: {lines:#?}"
        );
    }
    for line in lines {
        assert_no_secret(&line);
    }
}

/// A record that fails, with words.
fn answer_with_message(case: Case) -> Reply {
    let (count, results) = match case.service {
        Service::Kinesis => ("FailedRecordCount", "Records"),
        Service::Firehose => ("FailedPutCount", "RequestResponses"),
    };
    let failed = format!(r#"{{"ErrorCode":"InternalFailure","ErrorMessage":"{MESSAGE}"}}"#);
    Reply::Page {
        status: 200,
        body: format!(r#"{{"{count}":2,"{results}":[{failed},{failed}]}}"#).into(),
    }
}

// ---- what Debug shows

async fn no_debug_text_carries_a_secret(case: Case) {
    let aws = Endpoint::start();
    let discards = Discards::default();
    let setup = Setup::new(case, &aws)
        .credentials(secret_credentials())
        .max_retries(0);
    assert_no_secret(&setup.clone().builder_debug());
    let client = setup.clone().discards(&discards).build().await;
    let given = setup.clone().sdk_client(client.sdk_client());
    assert_no_secret(&given.builder_debug());
    let config = aws_config::SdkConfig::builder().credentials_provider(
        aws_credential_types::provider::SharedCredentialsProvider::new(secret_credentials()),
    );
    assert_no_secret(&setup.sdk_config(config.build()).builder_debug());

    client
        .record_keyed(STREAM, PARTITION_KEY, PAYLOAD)
        .await
        .unwrap();
    assert_no_secret(&format!("{client:?}"));
    assert_no_secret(&client.options_debug());
    assert_no_secret(&format!("{:?}", client.cache_stats()));
    aws.always(|_| Reply::fail_all("InternalFailure"));
    assert_no_secret(&format!("{:?}", client.flush().await.unwrap()));
    let discarded = discards.all();
    assert_eq!(discarded.len(), 1);
    assert_no_secret(&format!("{discarded:?}"));
    assert_no_secret(&format!("{discarded:#?}"));

    client
        .record_keyed(STREAM, PARTITION_KEY, PAYLOAD)
        .await
        .unwrap();
    for reply in [
        Reply::Reset,
        Reply::Garbage,
        Reply::WrongCount(7),
        Reply::Status(403),
    ] {
        aws.always(move |_| reply.clone());
        let error = client.flush().await.unwrap_err();
        assert_no_secret(&error.debug);
        assert_no_secret(&error.message);
    }
    let huge = format!("{PAYLOAD}{}", "x".repeat(11 << 20));
    let refused = [
        client
            .record_keyed(STREAM, PARTITION_KEY, huge)
            .await
            .unwrap_err(),
        client
            .record_keyed("not a name", PARTITION_KEY, PAYLOAD)
            .await
            .unwrap_err(),
    ];
    for error in refused {
        assert_no_secret(&error.debug);
        assert_no_secret(&error.message);
    }
    let record = KinesisRecord::new(PAYLOAD, PARTITION_KEY, STREAM);
    assert_no_secret(&format!("{record:?} {record:#?}"));
    let record = FirehoseRecord::new(PAYLOAD, STREAM);
    assert_no_secret(&format!("{record:?} {record:#?}"));
}
