//! Drives the endpoint with the real SDK clients to prove that it speaks their protocol.

use std::future::Future;
use std::time::Duration;

use amplify_test_support::{CodeIn, FakeAws, Outcome, Refusal, Reply, Service, unique_name};
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::put_records::{PutRecordsError, PutRecordsOutput};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use integration_tests::{credentials, page};
use tokio::time::Instant;

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn kinesis_records_arrive_byte_for_byte() {
    let aws = FakeAws::start();
    let stream = unique_name("orders");
    let every_byte: Vec<u8> = (0..=255).collect();
    let keys = ["k", "ключ\"\\\n\u{1F980}", &"ä".repeat(256)];
    let mut put = kinesis(&aws).put_records().stream_name(&stream);
    for (length, key) in [0, 1, 2, 3, 255, 256].into_iter().zip(keys.iter().cycle()) {
        put = put.records(entry(every_byte[..length].to_vec(), key));
    }
    let answer = put.send().await.unwrap();

    assert_eq!(answer.failed_record_count(), Some(0));
    assert_eq!(answer.records().len(), 6);
    for result in answer.records() {
        assert_eq!(result.sequence_number().unwrap().len(), 56);
        assert_eq!(result.shard_id(), Some("shardId-000000000000"));
        assert_eq!(result.error_code(), None);
    }
    let delivered = aws.delivered(&stream);
    assert_eq!(delivered.len(), 6);
    let lengths = delivered.iter().zip([0, 1, 2, 3, 255, 256]);
    for ((record, length), key) in lengths.zip(keys.iter().cycle()) {
        assert_eq!(record.data, every_byte[..length]);
        assert_eq!(record.partition_key.as_deref(), Some(*key));
    }
    let request = &aws.requests()[0];
    assert_eq!(request.service, Service::Kinesis);
    assert_eq!(request.stream, stream);
    assert_eq!((request.records, request.accepted), (6, 6));
    let key_bytes: usize = keys.iter().map(|key| key.len()).sum();
    assert_eq!(request.bytes, 1 + 2 + 3 + 255 + 256 + 2 * key_bytes);
    assert_eq!(aws.delivered_bytes(), request.bytes as u64);
    assert!(request.user_agent.contains("aws-sdk-rust/"), "{request:?}");
    assert!(
        request.amz_user_agent.contains("api/kinesis/"),
        "{request:?}"
    );
    assert_eq!(aws.limit_violations(), [""; 0]);
}

#[tokio::test]
async fn firehose_records_arrive_byte_for_byte() {
    let aws = FakeAws::start();
    let stream = unique_name("orders");
    let answer = put_to_firehose(&aws, &stream, &[b"a", b"\xff\x00\n", b""])
        .await
        .unwrap();
    assert_eq!(answer.failed_put_count(), 0);
    assert_eq!(answer.encrypted(), Some(false));
    assert_eq!(answer.request_responses().len(), 3);
    for result in answer.request_responses() {
        assert!(result.record_id().is_some() && result.error_code().is_none());
    }
    let delivered = aws.delivered(&stream);
    let data: Vec<_> = delivered.iter().map(|record| &record.data[..]).collect();
    assert_eq!(data, [&b"a"[..], b"\xff\x00\n", b""]);
    assert!(
        delivered
            .iter()
            .all(|record| record.partition_key.is_none())
    );
    assert_eq!(aws.requests()[0].service, Service::Firehose);
    assert_eq!(aws.requests()[0].bytes, 4);
}

#[tokio::test]
async fn single_records_fail_as_scripted() {
    let aws = FakeAws::start();
    let stream = unique_name("s");
    let codes = |answer: &PutRecordsOutput| -> Vec<String> {
        let results = answer.records().iter();
        results
            .map(|result| {
                let failed = result.error_code().is_some();
                assert_ne!(failed, result.sequence_number().is_some());
                assert_eq!(failed, result.error_message().is_some());
                result.error_code().unwrap_or("-").to_owned()
            })
            .collect()
    };
    aws.script(Reply::record_errors([None, Some("A"), None]));
    aws.script(Reply::fail_at([2, 0], "B"));
    aws.script(Reply::fail_where(|record| record.data == "r1", "C"));
    aws.script(Reply::AcceptFirst(1));
    aws.script(Reply::fail_all("D"));
    let throttled = "ProvisionedThroughputExceededException";
    let expected = [
        (["-", "A", "-"], 1),
        (["B", "-", "B"], 2),
        (["-", "C", "-"], 1),
        (["-", throttled, throttled], 2),
        (["D", "D", "D"], 3),
    ];
    for (codes_expected, failed) in expected {
        let answer = put_to_kinesis(&aws, &stream, 3).await.unwrap();
        assert_eq!(codes(&answer), codes_expected);
        assert_eq!(answer.failed_record_count(), Some(failed));
    }
    let delivered = aws.delivered(&stream);
    let data: Vec<_> = delivered.iter().map(|record| &record.data[..]).collect();
    assert_eq!(data, [&b"r0"[..], b"r2", b"r1", b"r0", b"r2", b"r0"]);
    let accepted: Vec<_> = aws.requests().iter().map(|log| log.accepted).collect();
    assert_eq!(accepted, [2, 1, 2, 1, 0]);

    aws.script(Reply::AcceptFirst(1));
    let answer = put_to_firehose(&aws, &stream, &[b"a", b"b"]).await.unwrap();
    assert_eq!(answer.failed_put_count(), 1);
    let result = &answer.request_responses()[1];
    assert_eq!(result.error_code(), Some("ServiceUnavailableException"));
    assert!(result.error_message().is_some() && result.record_id().is_none());
}

#[tokio::test]
async fn refusals_carry_their_code_where_the_script_says() {
    let aws = FakeAws::start();
    let code_in = |place| {
        let refusal = Refusal::new(400, "AccessDeniedException");
        Reply::from(refusal.message("no").code_in(place))
    };
    let [denied, failed, throttled] = [
        "AccessDeniedException",
        "InternalFailure",
        "ProvisionedThroughputExceededException",
    ]
    .map(Some);
    let cases = [
        (code_in(CodeIn::Body), 400, denied),
        (code_in(CodeIn::Header), 400, denied),
        (code_in(CodeIn::BodyAndHeader), 400, denied),
        (Reply::refuse(500, "InternalFailure"), 500, failed),
        (Refusal::without_code(400).into(), 400, None),
        (Reply::Status(500), 500, None),
        (Reply::Status(413), 413, None),
        (Reply::Throttle, 400, throttled),
    ];
    for (reply, status, code) in cases {
        let case = format!("{reply:?}");
        aws.script(reply);
        let error = put_to_kinesis(&aws, "s", 1).await.unwrap_err();
        assert_eq!(status_of(&error), Some(status), "{case}: {error:?}");
        assert_eq!(error.code(), code, "{case}: {error:?}");
        let logged = aws.requests().pop().unwrap();
        let Outcome::Answered { status: logged, .. } = logged.outcome else {
            panic!("{case}: {:?}", logged.outcome);
        };
        assert_eq!(logged, status, "{case}");
    }
    aws.script(Reply::Throttle);
    let error = put_to_firehose(&aws, "s", &[b"a"]).await.unwrap_err();
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 503);
    assert_eq!(error.code(), Some("ServiceUnavailableException"));

    aws.script(page(502, "<html>Bad Gateway</html>"));
    let error = put_to_kinesis(&aws, "s", 1).await.unwrap_err();
    assert_eq!(status_of(&error), Some(502), "{error:?}");
    let body = error.raw_response().unwrap().body().bytes().unwrap();
    assert_eq!(body, b"<html>Bad Gateway</html>");
    assert_eq!(aws.delivered_count(), 0);
}

#[tokio::test]
async fn the_services_named_errors_are_recognised() {
    let aws = FakeAws::start();
    aws.only_streams(["known"]);
    let error = put_to_kinesis(&aws, "unknown", 1).await.unwrap_err();
    let error = error.into_service_error();
    assert!(error.is_resource_not_found_exception(), "{error:?}");
    let error = put_to_firehose(&aws, "unknown", &[b"a"]).await.unwrap_err();
    let error = error.into_service_error();
    assert!(error.is_resource_not_found_exception(), "{error:?}");
    put_to_kinesis(&aws, "known", 1).await.unwrap();

    aws.script(Reply::Throttle);
    let error = put_to_kinesis(&aws, "known", 1).await.unwrap_err();
    let error = error.into_service_error();
    assert!(error.is_provisioned_throughput_exceeded_exception());
    assert_eq!(aws.delivered_count(), 1);
}

#[tokio::test]
async fn an_answer_that_never_comes_is_a_time_out() {
    let aws = FakeAws::start();
    aws.always(|_| Reply::Hang);
    let limit = TimeoutConfig::builder().operation_timeout(Duration::from_millis(100));
    let config = sdk_config(&aws).into_builder();
    let config = config.timeout_config(limit.build()).build();
    let put = aws_sdk_kinesis::Client::new(&config).put_records();
    let put = put.stream_name("s").records(entry(b"a".to_vec(), "k"));
    let error = put.send().await.unwrap_err();
    assert!(matches!(error, SdkError::TimeoutError(_)), "{error:?}");
}

#[tokio::test]
async fn a_client_that_gives_up_ends_its_request() {
    let aws = FakeAws::start();
    aws.script(Reply::Hang);
    put_until(&aws, |aws| aws.request_count() == 1).await;
    aws.script(Reply::Hang.after_accepting());
    put_until(&aws, |aws| aws.delivered_count() == 1).await;
    aws.wait_until(|aws| aws.in_flight() == 0).await.unwrap();
    let log = aws.requests();
    for (at, log) in log.iter().enumerate() {
        assert_eq!((&log.outcome, log.accepted), (&Outcome::Abandoned, at));
    }
    put_to_kinesis(&aws, "s", 1).await.unwrap();
}

#[tokio::test]
async fn broken_connections_and_answers_look_broken_to_the_client() {
    let aws = FakeAws::start();
    let broken = [
        (Reply::Reset, Outcome::Dropped),
        (Reply::Close, Outcome::Dropped),
        (Reply::NotHttp, Outcome::Unreadable),
        (Reply::Truncated, Outcome::Unreadable),
        (Reply::Garbage, Outcome::Unreadable),
    ];
    let mut delivered = 0;
    for (reply, outcome) in broken {
        for reply in [reply.clone(), reply.after_accepting()] {
            let case = format!("{reply:?}");
            delivered += usize::from(matches!(reply, Reply::AfterAccepting(_)));
            aws.script(reply);
            let error = put_to_kinesis(&aws, "s", 1).await.unwrap_err();
            assert_eq!(error.code(), None, "{case}: {error:?}");
            let broken = matches!(
                &error,
                SdkError::DispatchFailure(_) | SdkError::ResponseError(_)
            );
            assert!(broken, "{case}: {error:?}");
            assert_eq!(aws.requests().pop().unwrap().outcome, outcome, "{case}");
            assert_eq!(aws.delivered_count(), delivered, "{case}");
        }
    }
}

#[tokio::test]
async fn a_wrong_number_of_results_is_sent_as_scripted() {
    let aws = FakeAws::start();
    for results in [0, 1, 5] {
        aws.script(Reply::WrongCount(results));
        let answer = put_to_kinesis(&aws, "s", 3).await.unwrap();
        assert_eq!(answer.records().len(), results);
        assert_eq!(answer.failed_record_count(), Some(0));
    }
    assert_eq!(aws.delivered_count(), 0);
    aws.script(Reply::WrongCount(2).after_accepting());
    put_to_kinesis(&aws, "s", 3).await.unwrap();
    assert_eq!(aws.delivered_count(), 3);
}

#[tokio::test]
async fn kinesis_limits_are_enforced_to_the_byte() {
    let aws = FakeAws::start();
    let one = |data: usize, key: &str| vec![entry(vec![7; data], key)];
    let many = |count: usize, data: usize| vec![entry(vec![7; data], "k"); count];
    let fits = [
        one(10 * MIB - 1, "k"),
        one(10 * MIB - 512, &"ä".repeat(256)),
        many(500, 1),
        many(2, 5 * MIB - 1),
    ];
    for records in fits {
        put_entries(&aws, "s", records).await.unwrap();
    }
    assert_eq!(aws.limit_violations(), [""; 0]);
    let delivered = aws.delivered_count();

    let breaks = [
        (one(10 * MIB, "k"), "ValidationException"),
        (one(10 * MIB - 511, &"ä".repeat(256)), "ValidationException"),
        (one(1, ""), "ValidationException"),
        (one(1, &"k".repeat(257)), "ValidationException"),
        (many(501, 1), "ValidationException"),
        (many(0, 1), "ValidationException"),
        (many(3, 10 * MIB / 3), "InvalidArgumentException"),
    ];
    aws.always(|_| panic!("a request beyond the limits reaches no rule"));
    for (case, (records, code)) in breaks.into_iter().enumerate() {
        let error = put_entries(&aws, "s", records).await.unwrap_err();
        assert_eq!(status_of(&error), Some(400), "{case}: {error:?}");
        assert_eq!(error.code(), Some(code), "{case}: {error:?}");
        assert_eq!(aws.limit_violations().len(), case + 1);
    }
    assert_eq!(aws.delivered_count(), delivered);
}

#[tokio::test]
async fn firehose_limits_are_enforced_to_the_byte() {
    let aws = FakeAws::start();
    let biggest = vec![7; 1000 * 1024];
    let rest = vec![7; 4 * MIB - 4 * biggest.len()];
    let mut full: Vec<&[u8]> = vec![&biggest; 4];
    full.push(&rest);
    put_to_firehose(&aws, "s", &full).await.unwrap();
    let put = put_to_firehose(&aws, &"s".repeat(64), &[&b"a"[..]; 500]).await;
    put.unwrap();
    assert_eq!(aws.limit_violations(), [""; 0]);

    let too_big = vec![7; 1000 * 1024 + 1];
    full.push(b"a");
    let long_name = "s".repeat(65);
    let breaks: [(&str, &[&[u8]], &str); 5] = [
        ("s", &[&too_big], "ValidationException"),
        ("s", &full, "InvalidArgumentException"),
        ("s", &[&b"a"[..]; 501], "ValidationException"),
        ("s", &[], "ValidationException"),
        (&long_name, &[b"a"], "ValidationException"),
    ];
    for (case, (stream, records, code)) in breaks.into_iter().enumerate() {
        let error = put_to_firehose(&aws, stream, records).await.unwrap_err();
        assert_eq!(error.code(), Some(code), "{case}: {error:?}");
        assert_eq!(aws.limit_violations().len(), case + 1);
    }
    assert_eq!(aws.delivered_count(), 505);
}

#[tokio::test]
async fn a_stopped_endpoint_refuses_and_comes_back_at_its_port() {
    let aws = FakeAws::start();
    let client = kinesis(&aws);
    let put = || {
        let put = client.put_records().stream_name("s");
        put.records(entry(b"a".to_vec(), "k")).send()
    };
    put().await.unwrap();
    aws.stop();
    let error = put().await.unwrap_err();
    assert!(matches!(error, SdkError::DispatchFailure(_)), "{error:?}");
    aws.restart().unwrap();
    put().await.unwrap();
    assert_eq!(aws.delivered_count_of("s"), 2);
    assert_eq!(aws.request_count(), 2);
}

#[tokio::test]
async fn latency_and_delays_hold_answers_back_but_not_records() {
    let aws = FakeAws::builder()
        .latency(Duration::from_millis(60))
        .start()
        .unwrap();
    aws.script(Reply::Accept.delayed(Duration::from_millis(60)));
    for least in [120, 60] {
        put_to_kinesis(&aws, "s", 1).await.unwrap();
        let logged = aws.requests().pop().unwrap();
        let took = logged.ended.unwrap() - logged.started;
        assert!(took >= Duration::from_millis(least), "{took:?}");
    }
    aws.set_latency(Duration::from_secs(3600));
    put_until(&aws, |aws| aws.delivered_count() == 3).await;
    aws.wait_until(|aws| aws.in_flight() == 0).await.unwrap();
    assert_eq!(aws.requests()[2].outcome, Outcome::Abandoned);
}

#[tokio::test]
async fn an_upload_takes_its_time_on_a_slow_link() {
    let aws = FakeAws::start();
    aws.set_link_speed(Some(MIB as u64));
    let start = Instant::now();
    let data = vec![7; MIB / 10];
    put_entries(&aws, "s", vec![entry(data, "k")])
        .await
        .unwrap();
    // A tenth of a MiB grows by a third in base64.
    assert!(start.elapsed() >= Duration::from_millis(133), "{start:?}");
}

#[tokio::test]
async fn an_endpoint_may_only_count() {
    let aws = FakeAws::builder().count_only().start().unwrap();
    put_to_kinesis(&aws, "s", 3).await.unwrap();
    assert_eq!((aws.delivered_count(), aws.delivered_bytes()), (3, 9));
    assert_eq!(aws.delivered("s"), []);
    aws.script(Reply::fail_where(|record| record.data == "r1", "C"));
    let answer = put_to_kinesis(&aws, "s", 3).await.unwrap();
    assert_eq!(answer.failed_record_count(), Some(1));
    assert_eq!((aws.delivered_count(), aws.delivered_bytes()), (5, 15));
    assert_eq!(aws.delivered("s"), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_under_way_are_counted_over_all_and_by_stream() {
    let aws = FakeAws::start();
    put_to_kinesis(&aws, "a", 1).await.unwrap();
    put_to_kinesis(&aws, "a", 1).await.unwrap();
    assert_eq!((aws.in_flight(), aws.max_in_flight()), (0, 1));

    aws.always(|_| Reply::Hang);
    let client = kinesis(&aws);
    let tasks: Vec<_> = ["a", "b", "b"]
        .into_iter()
        .map(|stream| {
            let put = client.put_records().stream_name(stream);
            tokio::spawn(put.records(entry(b"a".to_vec(), "k")).send())
        })
        .collect();
    let begun = aws.wait_until(|aws| aws.request_count() == 5).await;
    begun.unwrap();
    assert_eq!((aws.in_flight(), aws.max_in_flight()), (3, 3));
    assert_eq!(
        ["a", "b"].map(|stream| aws.max_in_flight_of(stream)),
        [1, 2]
    );
    let requests = aws.requests();
    let at_start = requests[2..].iter().map(|log| log.in_flight_at_start);
    assert_eq!(at_start.max(), Some(3));
    for task in tasks {
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
    aws.wait_until(|aws| aws.in_flight() == 0).await.unwrap();
    assert_eq!((aws.max_in_flight(), aws.max_in_flight_of("b")), (3, 2));
    aws.clear_script();
    put_to_kinesis(&aws, "b", 1).await.unwrap();
    assert_eq!((aws.max_in_flight(), aws.max_in_flight_of("b")), (3, 2));
}

#[tokio::test]
async fn a_rule_answers_by_what_it_sees() {
    let aws = FakeAws::start();
    aws.always(|request| match request.stream.as_str() {
        "bad" => Reply::refuse(400, "ResourceNotFoundException"),
        _ if request.records.iter().any(|record| record.data == "r2") => Reply::Status(413),
        _ => Reply::Accept,
    });
    let error = put_to_kinesis(&aws, "bad", 1).await.unwrap_err();
    assert_eq!(error.code(), Some("ResourceNotFoundException"));
    let error = put_to_kinesis(&aws, "good", 3).await.unwrap_err();
    assert_eq!(status_of(&error), Some(413));
    put_to_kinesis(&aws, "good", 2).await.unwrap();
    assert_eq!(aws.requests_to("good").len(), 2);
}

fn sdk_config(aws: &FakeAws) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials()))
        .endpoint_url(aws.endpoint_url())
        .retry_config(RetryConfig::disabled())
        .build()
}

fn kinesis(aws: &FakeAws) -> aws_sdk_kinesis::Client {
    aws_sdk_kinesis::Client::new(&sdk_config(aws))
}

fn entry(data: Vec<u8>, key: &str) -> PutRecordsRequestEntry {
    let entry = PutRecordsRequestEntry::builder().data(Blob::new(data));
    entry.partition_key(key).build().unwrap()
}

type KinesisResult = Result<PutRecordsOutput, SdkError<PutRecordsError>>;

async fn put_entries(
    aws: &FakeAws,
    stream: &str,
    records: Vec<PutRecordsRequestEntry>,
) -> KinesisResult {
    let put = kinesis(aws).put_records().stream_name(stream);
    put.set_records(Some(records)).send().await
}

/// Puts the records `r0`, `r1` and so on.
fn put_to_kinesis(
    aws: &FakeAws,
    stream: &str,
    count: usize,
) -> impl Future<Output = KinesisResult> {
    let records = (0..count).map(|at| entry(format!("r{at}").into_bytes(), "k"));
    put_entries(aws, stream, records.collect())
}

/// Puts a record and abandons the request once the condition holds.
async fn put_until(aws: &FakeAws, condition: impl Fn(&FakeAws) -> bool) {
    tokio::select! {
        biased;
        seen = aws.wait_until(condition) => seen.unwrap(),
        answer = put_to_kinesis(aws, "s", 1) => assert!(answer.is_err(), "{answer:?}"),
    }
}

async fn put_to_firehose(
    aws: &FakeAws,
    stream: &str,
    records: &[&[u8]],
) -> Result<
    aws_sdk_firehose::operation::put_record_batch::PutRecordBatchOutput,
    SdkError<aws_sdk_firehose::operation::put_record_batch::PutRecordBatchError>,
> {
    let records = records.iter().map(|data| {
        let data = aws_sdk_firehose::primitives::Blob::new(*data);
        let record = aws_sdk_firehose::types::Record::builder().data(data);
        record.build().unwrap()
    });
    let client = aws_sdk_firehose::Client::new(&sdk_config(aws));
    let put = client.put_record_batch().delivery_stream_name(stream);
    put.set_records(Some(records.collect())).send().await
}

fn status_of(error: &SdkError<PutRecordsError>) -> Option<u16> {
    let response = error.raw_response()?;
    Some(response.status().as_u16())
}
