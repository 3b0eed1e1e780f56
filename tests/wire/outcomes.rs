//! The outcome table, row by row and code by code: how a request's outcome affects its records,
//! their retry counts and the pass.

use std::time::Duration;

use amplify_kinesis::{DiscardReason, FlushData, SkippedStream};
use amplify_test_support::{CodeIn, PutRequest, Refusal, Reply};
use integration_tests::{
    Case, Client, Discards, Endpoint, Kind, Service, Setup, millis, page, start_with,
};

integration_tests::cases! {
    everywhere:
        accepted_records_are_deleted_and_the_others_charged,
        what_is_refused_for_its_stream_is_charged_and_not_bisected,
        what_is_refused_for_its_records_is_bisected_and_charged,
        refusals_of_the_service_or_the_caller_charge_nobody,
        no_readable_answer_charges_nobody_and_ends_the_pass,
        a_record_is_charged_one_attempt_more_than_it_may_be_retried;
    in_memory:
        a_code_is_found_wherever_a_service_writes_it,
        a_refusal_is_told_with_the_words_of_the_service;
}

/// Passes visit streams by name, so this one comes first …
const FIRST: &str = "a-first";
/// … and this one shows whether the pass continued.
const SECOND: &str = "b-second";

/// An endpoint, the discarded records, and a client that sends to one stream at a time, with three
/// records for the first stream and one for the second.
async fn filled(case: Case, change: impl FnOnce(Setup) -> Setup) -> (Endpoint, Discards, Client) {
    let discards = Discards::default();
    let setup = |setup| change(setup).discards(&discards).max_concurrent_streams(1);
    let (aws, client) = start_with(case, setup).await;
    client.record_to(FIRST, ["a", "b", "c"]).await;
    client.record_to(SECOND, ["z"]).await;
    (aws, discards, client)
}

/// Answers requests for the first stream with `reply` and accepts all others.
fn only_first(reply: Reply) -> impl Fn(&PutRequest) -> Reply + Send + Sync {
    move |request| match &*request.stream {
        FIRST => reply.clone(),
        _ => Reply::Accept,
    }
}

fn counts(done: &FlushData) -> [usize; 3] {
    assert!(!done.flush_in_progress);
    [
        done.records_flushed,
        done.records_retried,
        done.records_discarded,
    ]
}

fn skipped(done: &FlushData) -> Vec<(&str, Option<&str>)> {
    let skipped = done.skipped_streams.iter();
    let skipped = skipped.map(|of: &SkippedStream| (&*of.stream_name, of.code.as_deref()));
    skipped.collect()
}

async fn accepted_records_are_deleted_and_the_others_charged(case: Case) {
    let codes = [
        "ProvisionedThroughputExceededException",
        "ServiceUnavailableException",
        "InternalFailure",
        "KMSAccessDeniedException",
        "ValidationException",
        "SomethingNobodyHasHeardOf",
    ];
    for code in codes {
        let (aws, discards, client) = filled(case, |setup| setup.max_retries(1)).await;
        aws.always(only_first(Reply::fail_at([1], code)));
        let done = client.flush().await.unwrap();
        assert_eq!(counts(&done), [3, 1, 0], "{code}");
        assert_eq!(skipped(&done), []);
        assert_eq!(client.cached(), 1);
        assert_eq!(aws.payloads(SECOND), ["z"]);

        aws.always(only_first(Reply::fail_all(code)));
        assert_eq!(counts(&client.flush().await.unwrap()), [0, 0, 1], "{code}");
        assert_eq!(client.cached(), 0);
        assert_eq!(discards.payloads(), ["b"]);
        assert_eq!(discards.all()[0].code.as_deref(), Some(code));
        assert_eq!(aws.payloads(FIRST), ["a", "c"]);
    }
}

async fn what_is_refused_for_its_stream_is_charged_and_not_bisected(case: Case) {
    let codes = [
        (400, "ResourceNotFoundException"),
        (404, "ResourceNotFound"),
        (400, "InvalidSourceException"),
        (500, "InvalidSource"),
    ];
    for (status, code) in codes {
        let (aws, discards, client) = filled(case, |setup| setup.max_retries(1)).await;
        aws.always(only_first(Reply::refuse(status, code)));

        let done = client.flush().await.unwrap();
        assert_eq!(counts(&done), [1, 3, 0], "{code}");
        assert_eq!(skipped(&done), [(FIRST, Some(code))]);
        assert_eq!(aws.requests_to(FIRST).len(), 1, "{code}");
        assert_eq!(client.cached_of(FIRST), 3);
        assert_eq!(aws.payloads(SECOND), ["z"]);

        let done = client.flush().await.unwrap();
        assert_eq!(counts(&done), [0, 0, 3], "{code}");
        assert_eq!(skipped(&done), [(FIRST, Some(code))]);
        assert_eq!(discards.payloads(), ["a", "b", "c"]);
        assert!(
            discards
                .all()
                .iter()
                .all(|record| record.code.as_deref() == Some(code))
        );
        assert_eq!(client.cached(), 0);
    }
}

async fn what_is_refused_for_its_records_is_bisected_and_charged(case: Case) {
    let coded = [
        (400, "InvalidArgumentException"),
        (500, "InvalidArgument"),
        (400, "ValidationException"),
        (400, "ValidationError"),
        (400, "SerializationException"),
    ];
    let coded = coded.map(|(status, code)| (Reply::refuse(status, code), Some(code)));
    for (refusal, code) in coded.into_iter().chain([(Reply::Status(413), None)]) {
        let (aws, discards, client) = filled(case, |setup| setup.max_retries(1)).await;
        let of_one_record = refusal.clone();
        aws.always(
            move |request| match request.records.iter().any(|record| record.data == "b") {
                true => of_one_record.clone(),
                false => Reply::Accept,
            },
        );

        let done = client.flush().await.unwrap();
        assert_eq!(counts(&done), [3, 1, 0], "{refusal:?}");
        assert_eq!(skipped(&done), [(FIRST, code)]);
        assert_eq!(aws.payloads(FIRST), ["a", "c"]);
        assert_eq!(aws.payloads(SECOND), ["z"]);
        assert_eq!(client.cached(), 1);

        let done = client.flush().await.unwrap();
        assert_eq!(counts(&done), [0, 0, 1], "{refusal:?}");
        assert_eq!(discards.payloads(), ["b"]);
        assert_eq!(discards.all()[0].code.as_deref(), code);

        // Nothing is accepted at all: after two single records fail, all are charged.
        client.record_to(FIRST, ["d", "e", "f", "g"]).await;
        aws.always(only_first(refusal.clone()));
        let sent_before = aws.request_count();
        let done = client.flush().await.unwrap();
        assert_eq!(counts(&done), [0, 4, 0], "{refusal:?}");
        assert_eq!(aws.request_count() - sent_before, 4);
        let done = client.flush().await.unwrap();
        assert_eq!(counts(&done), [0, 0, 4], "{refusal:?}");
        assert_eq!(client.cached(), 0);
    }
}

async fn refusals_of_the_service_or_the_caller_charge_nobody(case: Case) {
    let coded = [
        (400, "ProvisionedThroughputExceededException"),
        (400, "ThrottlingException"),
        (400, "Throttling"),
        (400, "LimitExceededException"),
        (400, "RequestLimitExceeded"),
        (500, "InternalFailure"),
        (500, "InternalServerError"),
        (503, "ServiceUnavailable"),
        (503, "ServiceUnavailableException"),
        (400, "AccessDeniedException"),
        (403, "AccessDenied"),
        (400, "ExpiredTokenException"),
        (403, "ExpiredToken"),
        (400, "UnrecognizedClientException"),
        (403, "InvalidSignatureException"),
        (400, "RequestExpired"),
        (400, "IncompleteSignature"),
        (400, "MissingAuthenticationTokenException"),
        (400, "OptInRequired"),
        (400, "KMSAccessDeniedException"),
        (400, "KMSDisabledException"),
        (400, "KMSInvalidStateException"),
        (400, "KMSNotFoundException"),
        (400, "KMSOptInRequired"),
        (400, "KMSThrottlingException"),
        (400, "InvalidKMSResourceException"),
        (400, "SomethingNobodyHasHeardOf"),
        (413, "SomethingNobodyHasHeardOf"),
        (418, "SomethingNobodyHasHeardOf"),
    ];
    let coded = coded.map(|(status, code)| (Reply::refuse(status, code), Some(code)));
    let throttle = match case.service {
        Service::Kinesis => "ProvisionedThroughputExceededException",
        Service::Firehose => "ServiceUnavailableException",
    };
    let others = [
        (Reply::Throttle, Some(throttle)),
        (Reply::Status(429), None),
        (Reply::Status(500), None),
        (Reply::Status(502), None),
        (Reply::Status(503), None),
        (Reply::Status(504), None),
        (Refusal::without_code(500).into(), None),
        (Refusal::without_code(429).into(), None),
        (blocked(503), None),
    ];
    // One client for all rows. With no retries allowed, the first charge would show.
    let (aws, discards, client) = filled(case, |setup| setup.max_retries(0)).await;
    for (refusal, code) in coded.into_iter().chain(others) {
        aws.always(only_first(refusal.clone()));
        let (to_first, to_second) = (aws.requests_to(FIRST).len(), aws.delivered_count_of(SECOND));
        let done = client.flush().await.unwrap();
        assert_eq!(counts(&done), [1, 0, 0], "{refusal:?}");
        assert_eq!(skipped(&done), [(FIRST, code)], "{refusal:?}");
        assert_eq!(client.cached_of(FIRST), 3);
        assert_eq!(aws.requests_to(FIRST).len() - to_first, 1, "{refusal:?}");
        assert_eq!(aws.delivered_count_of(SECOND) - to_second, 1);
        client.record_to(SECOND, ["z"]).await;
    }
    assert_eq!(discards.payloads(), [""; 0]);
    aws.clear_script();
    assert_eq!(counts(&client.flush().await.unwrap()), [4, 0, 0]);
    assert_eq!(aws.payloads(FIRST), ["a", "b", "c"]);
}

async fn no_readable_answer_charges_nobody_and_ends_the_pass(case: Case) {
    let replies = [
        Reply::Close,
        Reply::Reset,
        Reply::Garbage,
        Reply::NotHttp,
        Reply::Truncated,
        Reply::WrongCount(0),
        Reply::WrongCount(2),
        Reply::WrongCount(4),
        Reply::Status(200),
        Reply::Status(301),
        Reply::Status(400),
        Reply::Status(403),
        Reply::Status(404),
        Reply::Status(407),
        Refusal::without_code(400).into(),
        blocked(200),
        blocked(302),
        blocked(403),
        blocked(407),
        Reply::Hang,
    ];
    for reply in replies {
        let timeout = match reply {
            Reply::Hang => millis(200),
            _ => Duration::from_secs(30),
        };
        let setup = |setup: Setup| setup.max_retries(0).request_timeout(timeout);
        let (aws, discards, client) = filled(case, setup).await;
        aws.always(only_first(reply.clone()));

        let error = client.flush().await.unwrap_err();
        assert_eq!(error.kind, Kind::Unknown, "{reply:?}: {error:?}");
        assert_eq!(error.flushed(), &FlushData::default(), "{reply:?}");
        assert_eq!(aws.streams_in_order(), [FIRST], "{reply:?}");
        assert_eq!((client.cached_of(FIRST), client.cached_of(SECOND)), (3, 1));
        assert_eq!(discards.payloads(), [""; 0], "{reply:?}");

        aws.clear_script();
        let done = client.drain(Duration::from_secs(30)).await.unwrap();
        assert_eq!(counts(&done), [4, 0, 0], "{reply:?}");
        assert_eq!(aws.payloads(FIRST), ["a", "b", "c"], "{reply:?}");
        assert_eq!(client.cached(), 0);
    }

    // The endpoint is down.
    let (aws, _, client) = filled(case, |setup| setup.max_retries(0)).await;
    aws.stop();
    for _ in 0..3 {
        let error = client.flush().await.unwrap_err();
        assert_eq!(error.kind, Kind::Unknown, "{error:?}");
        assert_eq!(client.cached(), 4);
    }
    aws.restart().unwrap();
    assert_eq!(counts(&client.flush().await.unwrap()), [4, 0, 0]);
    assert_eq!(aws.payloads(FIRST), ["a", "b", "c"]);
}

async fn a_record_is_charged_one_attempt_more_than_it_may_be_retried(case: Case) {
    for max_retries in [0, 1, 4] {
        let discards = Discards::default();
        let (aws, client) = start_with(case, |setup| {
            setup.max_retries(max_retries).discards(&discards)
        })
        .await;
        client.keep(FIRST, "its key", "its payload").await;
        aws.always(|_| Reply::fail_all("InternalFailure"));
        for _ in 0..max_retries {
            assert_eq!(counts(&client.flush().await.unwrap()), [0, 1, 0]);
            assert_eq!(discards.payloads(), [""; 0]);
        }
        assert_eq!(counts(&client.flush().await.unwrap()), [0, 0, 1]);
        assert_eq!(aws.request_count(), max_retries as usize + 1);

        let discarded = discards.all().remove(0);
        assert_eq!(discarded.stream_name, FIRST);
        assert_eq!(discarded.data, "its payload");
        let key = match case.service {
            Service::Kinesis => Some("its key"),
            Service::Firehose => None,
        };
        assert_eq!(discarded.partition_key.as_deref(), key);
        assert_eq!(discarded.attempts, max_retries + 1);
        assert_eq!(discarded.reason, DiscardReason::RetriesExhausted);
        assert_eq!(discarded.code.as_deref(), Some("InternalFailure"));
        assert_eq!(client.cached(), 0);
    }
}

async fn a_code_is_found_wherever_a_service_writes_it(case: Case) {
    let code = "ResourceNotFoundException";
    let replies = [
        Refusal::new(400, code).code_in(CodeIn::Body),
        Refusal::new(400, code).code_in(CodeIn::Header),
        Refusal::new(400, code).code_in(CodeIn::BodyAndHeader),
        Refusal::new(400, format!("com.amazonaws.kinesis.v20131202#{code}")),
        Refusal::new(400, format!("{code}:http://internal.amazon.com/coral/"))
            .code_in(CodeIn::Header),
    ];
    for reply in replies {
        let (aws, _, client) = filled(case, |setup| setup).await;
        aws.always(only_first(reply.clone().into()));
        let done = client.flush().await.unwrap();
        assert_eq!(counts(&done), [1, 3, 0], "{reply:?}");
        assert_eq!(skipped(&done), [(FIRST, Some(code))], "{reply:?}");
    }
}

async fn a_refusal_is_told_with_the_words_of_the_service(case: Case) {
    let (aws, _, client) = filled(case, |setup| setup).await;
    let refusal = Refusal::new(400, "AccessDeniedException").message("you shall not pass");
    aws.always(only_first(refusal.into()));
    let done = client.flush().await.unwrap();
    assert_eq!(done.skipped_streams[0].message, "you shall not pass");
    // If the service sends no message, the client supplies one.
    for reply in [Reply::Status(503), Reply::Status(413), blocked(503)] {
        aws.always(only_first(reply));
        let done = client.flush().await.unwrap();
        let message = &done.skipped_streams[0].message;
        assert!(
            message.contains("503") || message.contains("413"),
            "{message}"
        );
    }
}

fn blocked(status: u16) -> Reply {
    page(
        status,
        "<html><body>Access to this site is blocked.</body></html>",
    )
}
