//! Building clients: which settings are refused, which override others, and how requests name their
//! client.

use std::fmt::Debug;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use amplify_firehose::{AmplifyFirehoseClient, AmplifyFirehoseClientOptions};
use amplify_kinesis::{
    AmplifyKinesisClient, AmplifyKinesisClientOptions, Durability, FlushStrategy, MemoryStore,
    OverflowPolicy, SdkConfig,
};
use amplify_test_support::{Reply, RequestLog};
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::SharedCredentialsProvider;
use integration_tests::{
    Case, Client, Endpoint, Kind, SdkClient, Service, Setup, assert_fails, credentials, millis,
    one_attempt, start_with,
};
use tokio::time::Instant;

use super::clients::{self, Counting};

integration_tests::cases! {
    in_memory:
        a_zero_names_its_setting,
        a_record_limit_beyond_the_service_names_its_setting,
        a_missing_or_impossible_region_names_its_setting,
        missing_credentials_name_their_setting,
        an_impossible_endpoint_names_its_setting,
        a_cache_that_can_hold_nothing_names_its_setting,
        an_empty_path_names_its_setting,
        a_password_in_the_endpoint_is_never_shown,
        a_runtime_without_timers_is_refused,
        two_storages_name_each_other,
        a_refused_build_leaves_no_directory,
        outside_a_runtime_there_is_an_error_and_no_panic,
        what_aws_config_finds_is_enough,
        explicit_settings_beat_the_sdk_config,
        the_request_timeout_beats_the_sdk_config,
        retries_of_the_sdk_config_are_kept,
        a_given_sdk_client_is_enough,
        a_given_sdk_client_needs_a_region,
        explicit_settings_beat_a_given_sdk_client,
        a_given_sdk_client_gets_the_request_timeout_and_is_not_changed,
        each_request_names_the_client_once,
        each_attempt_of_the_sdk_names_the_client_once,
        a_client_given_on_names_itself_once;
}

const STREAM: &str = "stream";

/// Checks that the builder refuses a setting and names it in the error.
async fn assert_invalid(setup: Setup, setting: &str) {
    let shown = format!("{setup:?}");
    let error = setup.try_build().await.unwrap_err();
    assert_eq!(error.kind, Kind::Validation, "{error:?}: {shown}");
    assert!(error.message.contains(setting), "{error:?}");
    assert!(error.recovery_suggestion.contains(setting), "{error:?}");
}

/// Checks that the builder's error also names the variable that the setting may have come from.
async fn assert_suggests(setup: Setup, variable: &str) {
    let error = setup.try_build().await.unwrap_err();
    assert!(error.recovery_suggestion.contains(variable), "{error:?}");
}

/// Checks that records get through, and returns the requests that carried them.
async fn assert_works(client: &Client, aws: &Endpoint) -> Vec<RequestLog> {
    let before = aws.request_count();
    client.record_to(STREAM, ["1"]).await;
    assert_eq!(client.flush().await.unwrap().records_flushed, 1);
    aws.requests().split_off(before)
}

/// Long enough for a request to arrive on a busy machine.
const TIMEOUT: Duration = millis(1_000);

/// Checks that a request of this client times out, and returns the client.
async fn assert_times_out(setup: Setup, aws: &Endpoint) -> Client {
    let client = setup.request_timeout(TIMEOUT).build().await;
    client.record_to(STREAM, ["1"]).await;
    aws.script(Reply::Hang);
    let started = Instant::now();
    assert_fails(client.flush().await, Kind::Unknown);
    assert!(started.elapsed() < Duration::from_secs(20));
    client
}

// ---- refused settings

async fn a_zero_names_its_setting(case: Case) {
    let aws = Endpoint::start();
    let setup = || Setup::new(case, &aws);
    assert_invalid(setup().cache_max_bytes(0), "cache_max_bytes").await;
    assert_invalid(setup().request_timeout(Duration::ZERO), "request_timeout").await;
    assert_invalid(setup().max_record_bytes(0), "max_record_bytes").await;
    assert_invalid(setup().max_concurrent_streams(0), "max_concurrent_streams").await;
    assert_invalid(
        setup().max_in_flight_per_stream(0),
        "max_in_flight_per_stream",
    )
    .await;
    assert_invalid(setup().flush_every(Duration::ZERO), "flush_strategy").await;
    assert_invalid(setup().max_stream_share(Some(0)), "max_stream_share").await;
    let no_age = Some(Duration::ZERO);
    assert_invalid(setup().max_record_age(no_age), "max_record_age").await;
    let adaptive = |max_delay, max_records, max_bytes| {
        setup().flush_strategy(FlushStrategy::Adaptive {
            max_delay: Duration::from_secs(max_delay),
            max_records,
            max_bytes,
        })
    };
    assert_invalid(adaptive(0, 1, 1), "flush_strategy.max_delay").await;
    assert_invalid(adaptive(1, 0, 1), "flush_strategy.max_records").await;
    assert_invalid(adaptive(1, 1, 0), "flush_strategy.max_bytes").await;
    adaptive(1, 1, 1).build().await;
    // Zero is allowed for retries, and no flush strategy is needed.
    setup().max_retries(0).build().await;
    setup().flush_strategy(FlushStrategy::None).build().await;
}

async fn a_record_limit_beyond_the_service_names_its_setting(case: Case) {
    let aws = Endpoint::start();
    let most = case.max_record_bytes() as u64;
    let setup = |bytes| Setup::new(case, &aws).max_record_bytes(bytes);
    assert_invalid(setup(most + 1), "max_record_bytes").await;
    setup(most).build().await;
}

async fn a_missing_or_impossible_region_names_its_setting(case: Case) {
    let setup = || {
        Setup::bare(case.service)
            .credentials(credentials())
            .in_memory()
    };
    assert_invalid(setup(), "region").await;
    assert_suggests(setup(), "AWS_REGION").await;
    let long = "r".repeat(64);
    for region in ["", " ", "eu west", "../../etc", "eu-west-1/", "é", &long] {
        assert_invalid(setup().region(region), "region").await;
    }
    for region in ["eu-west-1", "us-gov-east-1", "us-iso-b-1", "local"] {
        assert_eq!(setup().region(region).build().await.region(), region);
    }
}

async fn missing_credentials_name_their_setting(case: Case) {
    let setup = || Setup::bare(case.service).region("eu-west-1").in_memory();
    assert_invalid(setup(), "credentials_provider").await;
    assert_invalid(setup().sdk_config(one_attempt()), "credentials_provider").await;
    setup().credentials(credentials()).build().await;
}

async fn an_impossible_endpoint_names_its_setting(case: Case) {
    let aws = Endpoint::start();
    for url in [
        "",
        "localhost:4566",
        "ftp://localhost",
        "http://",
        "https:///path",
    ] {
        let setup = Setup::new(case, &aws).endpoint_url(url);
        assert_invalid(setup.clone(), "endpoint_url").await;
        assert_suggests(setup.clone(), "AWS_ENDPOINT_URL").await;
        assert_invalid(
            setup.sdk_client(sdk_client(case.service, &aws)),
            "endpoint_url",
        )
        .await;
    }
}

async fn a_cache_that_can_hold_nothing_names_its_setting(case: Case) {
    let aws = Endpoint::start();
    for bytes in [1, 15] {
        let setup = Setup::new(case, &aws).cache_max_bytes(bytes);
        assert_invalid(setup, "cache_max_bytes").await;
    }
    let client = Setup::new(case, &aws).cache_max_bytes(16).build().await;
    client.record_to(STREAM, ["1"]).await;
}

async fn an_empty_path_names_its_setting(case: Case) {
    let aws = Endpoint::start();
    let empty = Path::new("");
    let setup = || Setup::new(case, &aws);
    assert_invalid(setup().storage_path(empty), "storage_path").await;
    assert_invalid(setup().journal(empty), "journal").await;
    assert!(!Path::new("lock").exists());
}

async fn a_password_in_the_endpoint_is_never_shown(case: Case) {
    const PASSWORD: &str = "hunter2";
    let aws = Endpoint::start();
    let url = format!("http://somebody:{PASSWORD}@{}", aws.addr());
    let setup = || Setup::new(case, &aws).endpoint_url(url.clone());
    let given = SdkConfig::builder().endpoint_url(url.clone()).build();
    let found = || Setup::bare(case.service).sdk_config(given.clone());
    let found = || found().region("eu-west-1").credentials(credentials());
    let mut shown = vec![setup().builder_debug(), found().builder_debug()];
    for setup in [setup(), found().in_memory()] {
        let client = setup.build().await;
        client.record_to(STREAM, ["1"]).await;
        shown.push(format!("{client:?}"));
        aws.stop();
        let error = client.flush().await.unwrap_err();
        shown.push(format!("{error:?}"));
        aws.restart().unwrap();
    }
    for wrong in ["ftp://", "http://a b", "http://[", "http://:"] {
        let wrong = format!("{wrong}{PASSWORD}@{}:99999", aws.addr());
        let error = setup().endpoint_url(wrong).try_build().await.unwrap_err();
        assert_eq!(error.kind, Kind::Validation, "{error:?}");
        shown.push(format!("{error:?}"));
    }
    for shown in shown {
        assert!(!shown.contains(PASSWORD), "{shown}");
    }
}

async fn a_runtime_without_timers_is_refused(case: Case) {
    let aws = Endpoint::start();
    let setup = Setup::new(case, &aws);
    let without = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(assert_invalid(setup, "runtime"));
    });
    without.join().unwrap();
}

async fn two_storages_name_each_other(case: Case) {
    let directory = tempfile::tempdir().unwrap();
    let bare = || {
        let setup = Setup::bare(case.service).region("eu-west-1");
        setup.credentials(credentials())
    };
    let path = directory.path().join("cache");
    let journal = |setup: Setup| setup.journal(&path);
    let path = |setup: Setup| setup.storage_path(&path);
    let store = |setup: Setup| setup.store(Arc::new(MemoryStore::new()));
    let twice = [
        (path(bare().in_memory()), ["storage_path", "in_memory"]),
        (store(bare().in_memory()), ["store", "in_memory"]),
        (path(store(bare())), ["store", "storage_path"]),
        (journal(bare().in_memory()), ["journal", "in_memory"]),
        (journal(store(bare())), ["journal", "store"]),
        (journal(path(bare())), ["journal", "storage_path"]),
        (
            path(store(bare().in_memory())),
            ["storage_path", "in_memory"],
        ),
    ];
    for (setup, settings) in twice {
        let error = setup.try_build().await.unwrap_err();
        assert_eq!(error.kind, Kind::Validation, "{error:?}");
        for setting in settings {
            assert!(error.message.contains(setting), "{error:?}");
            assert!(error.recovery_suggestion.contains(setting), "{error:?}");
        }
    }
    bare().in_memory().build().await;
    store(bare()).build().await;
}

async fn a_refused_build_leaves_no_directory(case: Case) {
    let aws = Endpoint::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache");
    for setup in [Setup::storage_path, Setup::journal] {
        let setup = || setup(Setup::new(case, &aws), &path);
        assert_invalid(setup().cache_max_bytes(0), "cache_max_bytes").await;
        assert_invalid(setup().region(""), "region").await;
        assert_invalid(setup().endpoint_url("nonsense"), "endpoint_url").await;
        assert!(!path.exists());
    }
}

async fn outside_a_runtime_there_is_an_error_and_no_panic(case: Case) {
    let aws = Endpoint::start();
    let setup = Setup::new(case, &aws);
    let outside = std::thread::spawn(move || {
        let mut build = pin!(setup.try_build());
        let mut context = Context::from_waker(Waker::noop());
        match build.as_mut().poll(&mut context) {
            Poll::Ready(built) => built.unwrap_err(),
            Poll::Pending => unreachable!("nothing is to be waited for"),
        }
    });
    let error = outside.join().unwrap();
    assert_eq!(error.kind, Kind::Validation, "{error:?}");
    assert!(error.message.contains("runtime"), "{error:?}");
}

// ---- settings from aws-config

async fn loaded(aws: &Endpoint) -> SdkConfig {
    clients::loaded(aws, credentials()).await
}

async fn what_aws_config_finds_is_enough(case: Case) {
    let aws = Endpoint::start();
    let setup = Setup::bare(case.service)
        .sdk_config(loaded(&aws).await)
        .in_memory();
    let client = setup.build().await;
    assert_eq!(client.region(), "eu-central-1");
    assert_works(&client, &aws).await;
}

async fn explicit_settings_beat_the_sdk_config(case: Case) {
    let (aws, elsewhere) = (Endpoint::start(), Endpoint::start());
    let (explicit, found) = (Counting::default(), Counting::default());
    let setup = Setup::bare(case.service)
        .sdk_config(clients::loaded(&elsewhere, found.clone()).await)
        .region("sa-east-1")
        .credentials(explicit.clone())
        .endpoint_url(aws.endpoint_url())
        .in_memory();
    let client = setup.build().await;
    assert_eq!(client.region(), "sa-east-1");
    assert_works(&client, &aws).await;
    assert_eq!(elsewhere.request_count(), 0);
    assert_eq!((explicit.count(), found.count()), (1, 0));
    let region = match client.sdk_client() {
        SdkClient::Kinesis(client) => client.config().region().cloned(),
        SdkClient::Firehose(client) => client.config().region().cloned(),
    };
    assert_eq!(region.unwrap().as_ref(), "sa-east-1");
}

async fn the_request_timeout_beats_the_sdk_config(case: Case) {
    let aws = Endpoint::start();
    let with_timeout = async |timeout| {
        let timeouts = TimeoutConfig::builder().operation_timeout(timeout).build();
        loaded(&aws)
            .await
            .into_builder()
            .timeout_config(timeouts)
            .build()
    };
    let short = with_timeout(millis(20)).await;
    let setup = Setup::bare(case.service).sdk_config(short).in_memory();
    aws.set_latency(millis(150));
    assert_works(&setup.build().await, &aws).await;

    let long = with_timeout(Duration::from_secs(3600)).await;
    let setup = Setup::bare(case.service).sdk_config(long).in_memory();
    assert_times_out(setup, &aws).await;
}

async fn retries_of_the_sdk_config_are_kept(case: Case) {
    let aws = Endpoint::start();
    let retries = RetryConfig::standard()
        .with_max_attempts(5)
        .with_initial_backoff(millis(1));
    let config = loaded(&aws)
        .await
        .into_builder()
        .retry_config(retries)
        .build();
    let setup = Setup::bare(case.service).sdk_config(config).in_memory();
    let client = setup.build().await;
    aws.script_times(4, Reply::Status(500));
    assert_eq!(assert_works(&client, &aws).await.len(), 5);
}

// ---- SDK clients

/// An SDK client built without our clients in mind.
fn sdk_client(service: Service, aws: &Endpoint) -> SdkClient {
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-north-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials()))
        .endpoint_url(aws.endpoint_url())
        .build();
    SdkClient::new(service, &config)
}

async fn put_one(client: &SdkClient) {
    match client {
        SdkClient::Kinesis(client) => {
            let entry = aws_sdk_kinesis::types::PutRecordsRequestEntry::builder()
                .data(aws_sdk_kinesis::primitives::Blob::new("1"))
                .partition_key("k");
            let put = client.put_records().stream_name(STREAM);
            put.records(entry.build().unwrap()).send().await.unwrap();
        }
        SdkClient::Firehose(client) => {
            let record = aws_sdk_firehose::types::Record::builder()
                .data(aws_sdk_firehose::primitives::Blob::new("1"));
            let put = client.put_record_batch().delivery_stream_name(STREAM);
            put.records(record.build().unwrap()).send().await.unwrap();
        }
    }
}

async fn a_given_sdk_client_is_enough(case: Case) {
    let aws = Endpoint::start();
    let given = sdk_client(case.service, &aws);
    let setup = Setup::bare(case.service).sdk_client(given).in_memory();
    let client = setup.build().await;
    assert_eq!(client.region(), "eu-north-1");
    assert_works(&client, &aws).await;
}

async fn a_given_sdk_client_needs_a_region(case: Case) {
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(SharedCredentialsProvider::new(credentials()))
        .build();
    let given = SdkClient::new(case.service, &config);
    let setup = Setup::bare(case.service).sdk_client(given).in_memory();
    assert_invalid(setup.clone(), "region").await;
    assert_eq!(
        setup.region("eu-west-3").build().await.region(),
        "eu-west-3"
    );
}

async fn explicit_settings_beat_a_given_sdk_client(case: Case) {
    let (aws, elsewhere) = (Endpoint::start(), Endpoint::start());
    let explicit = Counting::default();
    let setup = Setup::bare(case.service)
        .sdk_client(sdk_client(case.service, &elsewhere))
        .region("sa-east-1")
        .credentials(explicit.clone())
        .endpoint_url(aws.endpoint_url())
        .in_memory();
    let client = setup.build().await;
    assert_eq!(client.region(), "sa-east-1");
    assert_works(&client, &aws).await;
    assert_eq!((elsewhere.request_count(), explicit.count()), (0, 1));
}

async fn a_given_sdk_client_gets_the_request_timeout_and_is_not_changed(case: Case) {
    let aws = Endpoint::start();
    let given = sdk_client(case.service, &aws);
    let setup = Setup::bare(case.service)
        .sdk_client(given.clone())
        .in_memory();
    let client = assert_times_out(setup, &aws).await;

    let timeouts = match &client.sdk_client() {
        SdkClient::Kinesis(client) => client.config().timeout_config().cloned(),
        SdkClient::Firehose(client) => client.config().timeout_config().cloned(),
    };
    let operation = timeouts.unwrap().operation_timeout();
    assert_eq!(operation, Some(TIMEOUT));

    aws.set_latency(TIMEOUT + millis(300));
    put_one(&given).await;
    let agent = aws.requests().pop().unwrap().user_agent;
    assert!(!agent.contains("amplify"), "{agent}");
}

// ---- the user agent

/// Checks that a request names its client exactly once.
fn assert_named_once(case: Case, request: &RequestLog) {
    let version = env!("CARGO_PKG_VERSION");
    let client = match case.service {
        Service::Kinesis => "amplify-kinesis",
        Service::Firehose => "amplify-firehose",
    };
    let agent = &request.user_agent;
    let words: Vec<_> = agent
        .split(' ')
        .filter(|word| word.contains("amplify"))
        .collect();
    let expected = [
        format!("lib/amplify-rust#{version}"),
        format!("md/{client}#{version}"),
    ];
    assert_eq!(words, expected, "{agent}");
    assert!(
        agent.contains("aws-sdk-rust/"),
        "the SDK's own words stay: {agent}"
    );
}

async fn each_request_names_the_client_once(case: Case) {
    let aws = Endpoint::start();
    let setups = [
        Setup::new(case, &aws),
        Setup::bare(case.service)
            .sdk_config(loaded(&aws).await)
            .in_memory(),
        Setup::bare(case.service)
            .sdk_client(sdk_client(case.service, &aws))
            .in_memory(),
    ];
    for setup in setups {
        let client = setup.build().await;
        for _ in 0..2 {
            for request in assert_works(&client, &aws).await {
                assert_named_once(case, &request);
            }
        }
        // Requests through the returned SDK client carry the name too.
        put_one(&client.sdk_client()).await;
        assert_named_once(case, &aws.requests().pop().unwrap());
    }
    assert_eq!(aws.request_count(), 9);
}

async fn each_attempt_of_the_sdk_names_the_client_once(case: Case) {
    let (aws, client) = start_with(case, |setup| setup.default_attempts()).await;
    aws.script_times(2, Reply::Status(500));
    let requests = assert_works(&client, &aws).await;
    assert_eq!(requests.len(), 3);
    for request in requests {
        assert_named_once(case, &request);
    }
}

async fn a_client_given_on_names_itself_once(case: Case) {
    let aws = Endpoint::start();
    let mut client = Setup::new(case, &aws).build().await;
    for _ in 0..3 {
        let given = client.sdk_client();
        client = Setup::bare(case.service)
            .sdk_client(given)
            .in_memory()
            .build()
            .await;
        for request in assert_works(&client, &aws).await {
            assert_named_once(case, &request);
        }
    }
}

// ---- `create`

#[tokio::test]
async fn create_takes_region_credentials_and_options() {
    // `create` keeps records below the user's own directories, which a test must not touch. A
    // refused setting shows that all three arguments arrive.
    let options = AmplifyKinesisClientOptions::default().cache_max_bytes(0);
    let error = AmplifyKinesisClient::create("eu-west-1", credentials(), options).await;
    assert!(error.unwrap_err().message().contains("cache_max_bytes"));
    let options = AmplifyFirehoseClientOptions::default();
    let error = AmplifyFirehoseClient::create("no region", credentials(), options).await;
    assert!(error.unwrap_err().message().contains("region"));
}

#[test]
fn clients_can_be_shared_and_shown() {
    fn shared<T: Clone + Debug + Send + Sync + 'static>() {}
    shared::<AmplifyKinesisClient>();
    shared::<AmplifyFirehoseClient>();
    shared::<AmplifyKinesisClientOptions>();
    shared::<AmplifyFirehoseClientOptions>();
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    macro_rules! check {
        ($options:ident, $max_record_bytes:expr) => {
            let options = $options::default();
            assert_eq!(options.cache_max_bytes, 5 * 1024 * 1024);
            assert_eq!(options.max_retries, 5);
            assert_eq!(
                options.flush_strategy,
                FlushStrategy::Interval(Duration::from_secs(30))
            );
            assert_eq!(options.durability, Durability::PowerLoss);
            assert_eq!(options.request_timeout, Duration::from_secs(30));
            assert_eq!(options.max_record_bytes, $max_record_bytes);
            assert_eq!(options.max_concurrent_streams, 8);
            assert_eq!(options.overflow_policy, OverflowPolicy::Reject);
            assert_eq!(options.max_record_age, None);
            assert_eq!(options.max_in_flight_per_stream, 1);
            assert_eq!(options.max_stream_share, None);
        };
    }
    check!(AmplifyKinesisClientOptions, 10 * 1024 * 1024);
    check!(AmplifyFirehoseClientOptions, 1000 * 1024);
}
