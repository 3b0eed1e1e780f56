//! Neither logs, at any level and under every fault, nor `Debug` output contain a payload, a
//! partition key, a credential or a message from the service.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::future::ready;
use std::sync::LazyLock;
use std::time::Duration;

use amplify_firehose::FirehoseRecord;
use amplify_kinesis::{CloseOptions, KinesisRecord, OverflowPolicy};
use amplify_test_support::{Refusal, Reply};
use aws_credential_types::Credentials;
use aws_credential_types::credential_fn::provide_credentials_fn;
use aws_credential_types::provider::error::CredentialsError;
use integration_tests::{Case, Discards, Endpoint, Log, Service, Setup, eventually, page};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

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

/// A secret payload that is larger than any record may be.
fn too_large() -> String {
    format!("{PAYLOAD}{}", "x".repeat(11 << 20))
}

/// A payload printed as a list of numbers.
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

// ---- logs

const TARGETS: &str = "amplify_kinesis=trace,amplify_firehose=trace,flush_engine=trace,\
                       record_cache=trace,batcher=trace";

/// Everything logged under our own targets, at every level, from the first use on.
static LOG: LazyLock<Log> = LazyLock::new(|| {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(TARGETS))
        .with_span_events(FmtSpan::FULL)
        .with_writer(move || writer.clone())
        .init();
    log
});

fn secret_credentials() -> Credentials {
    Credentials::new(ACCESS_KEY, SECRET_KEY, Some(TOKEN.to_owned()), None, "test")
}

async fn no_log_line_carries_a_secret(case: Case) {
    LazyLock::force(&LOG);
    let aws = Endpoint::start();
    let discards = Discards::default();
    let setup = || {
        let setup = Setup::new(case, &aws).credentials(secret_credentials());
        setup
            .request_timeout(Duration::from_millis(200))
            .max_retries(0)
    };
    let client = setup().discards(&discards).build().await;
    let refuse = |refusal: Refusal| Reply::from(refusal.message(MESSAGE));
    let replies = [
        refuse(Refusal::new(400, "ValidationException")),
        refuse(Refusal::new(400, "ResourceNotFoundException")),
        refuse(Refusal::new(403, "AccessDeniedException")),
        refuse(Refusal::new(500, "InternalFailure")),
        refuse(Refusal::without_code(400)),
        page(403, MESSAGE),
        page(200, MESSAGE),
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
        for payload in [PAYLOAD, SECOND_PAYLOAD] {
            client.keep(STREAM, PARTITION_KEY, payload).await;
        }
        aws.always(move |_| reply.clone());
        let _ = client.flush().await;
    }
    client.drain(Duration::from_secs(30)).await.unwrap();
    for (stream, data) in [(STREAM, too_large()), ("not a name", PAYLOAD.to_owned())] {
        let refused = client.record_keyed(stream, PARTITION_KEY, data).await;
        refused.unwrap_err();
    }
    client.keep(STREAM, PARTITION_KEY, PAYLOAD).await;
    client.clear_cache().await.unwrap();
    client.disable();
    client.keep(STREAM, PARTITION_KEY, PAYLOAD).await;
    client.close().await.unwrap();
    assert!(!discards.all().is_empty());

    // A full cache, and records that expire.
    aws.always(|_| Reply::Accept);
    let full = setup()
        .cache_max_bytes(200)
        .overflow_policy(OverflowPolicy::DropOldest)
        .max_record_age(Some(Duration::from_millis(1)))
        .discards(&discards);
    let client = full.build().await;
    for _ in 0..20 {
        client.keep(STREAM, PARTITION_KEY, PAYLOAD).await;
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(client.flush().await.unwrap().records_discarded > 0);
    let last = CloseOptions::default().drain(Duration::from_secs(30));
    client.close_with(last).await.unwrap();

    // The timer and the discard handler log too.
    let panicking = setup()
        .flush_every(Duration::from_millis(5))
        .on_discard(|_| {
            std::panic::resume_unwind(Box::new("on_discard of a test"));
        });
    let client = panicking.build().await;
    client.keep(STREAM, PARTITION_KEY, PAYLOAD).await;
    let sent = aws.request_count();
    aws.always(|_| Reply::Reset);
    aws.until(|aws| aws.request_count() > sent + 2).await;
    aws.always(|_| Reply::fail_all("InternalFailure"));
    eventually("the record is given up", async || client.cached() == 0).await;
    client.close().await.unwrap();

    let failing =
        provide_credentials_fn(|| ready(Err(CredentialsError::provider_error(PROVIDER_MESSAGE))));
    let client = setup().credentials(failing).build().await;
    client.keep(STREAM, PARTITION_KEY, PAYLOAD).await;
    client.flush().await.unwrap_err();
    client.close().await.unwrap();

    let logged = LOG.text();
    for expected in [
        "refused",
        "records were discarded",
        "automatic flush failed",
        "on_discard panicked",
    ] {
        assert!(logged.contains(expected), "{expected}: {logged}");
    }
    logged.lines().for_each(assert_no_secret);
}

/// A failed record with a message.
fn answer_with_message(case: Case) -> Reply {
    let (count, results) = match case.service {
        Service::Kinesis => ("FailedRecordCount", "Records"),
        Service::Firehose => ("FailedPutCount", "RequestResponses"),
    };
    let failed = format!(r#"{{"ErrorCode":"InternalFailure","ErrorMessage":"{MESSAGE}"}}"#);
    page(
        200,
        format!(r#"{{"{count}":2,"{results}":[{failed},{failed}]}}"#),
    )
}

// ---- `Debug` output

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

    client.keep(STREAM, PARTITION_KEY, PAYLOAD).await;
    assert_no_secret(&format!("{client:?}"));
    assert_no_secret(&client.options_debug());
    assert_no_secret(&format!("{:?}", client.cache_stats()));
    aws.always(|_| Reply::fail_all("InternalFailure"));
    assert_no_secret(&format!("{:?}", client.flush().await.unwrap()));
    let discarded = discards.all();
    assert_eq!(discarded.len(), 1);
    assert_no_secret(&format!("{discarded:?}"));
    assert_no_secret(&format!("{discarded:#?}"));

    client.keep(STREAM, PARTITION_KEY, PAYLOAD).await;
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
    for (stream, data) in [(STREAM, too_large()), ("not a name", PAYLOAD.to_owned())] {
        let refused = client.record_keyed(stream, PARTITION_KEY, data).await;
        let error = refused.unwrap_err();
        assert_no_secret(&error.debug);
        assert_no_secret(&error.message);
    }
    let record = KinesisRecord::new(PAYLOAD, PARTITION_KEY, STREAM);
    assert_no_secret(&format!("{record:?} {record:#?}"));
    let record = FirehoseRecord::new(PAYLOAD, STREAM);
    assert_no_secret(&format!("{record:?} {record:#?}"));
}
