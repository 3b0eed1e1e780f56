//! `axum_events` answers once an event is on disk, reports metrics, and delivers before it exits.

mod support;

use std::time::Duration;

use amplify_test_endpoint::FakeAws;

use self::support::{address_of, assert_says, finish_well, program, terminate};

#[test]
fn events_are_taken_in_counted_and_delivered_before_the_service_ends() {
    let (aws, home) = (FakeAws::start(), tempfile::tempdir().unwrap());
    aws.stop();
    let mut child = program(env!("CARGO_BIN_EXE_axum_events"), &aws, home.path())
        .args(["--stream", "events", "--listen", "127.0.0.1:0"])
        .args(["--cache", "cache"])
        .spawn()
        .unwrap();
    let address = address_of(&mut child);
    let ask = |method, path: &str, body| {
        support::ask(&address, &format!("{method} {path} HTTP/1.1"), body).unwrap()
    };

    // The network is down; callers do not notice.
    let answer = ask("POST", "/events/sign-up", r#"{"user":"u-7"}"#);
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let too_long = format!("/events/{}", "k".repeat(257));
    let answer = ask("POST", &too_long, "{}");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let answer = ask("GET", "/health", "");
    assert_says(&answer, r#""records":1"#);
    let answer = ask("GET", "/metrics", "");
    for told in ["amplify_recorded_records_total", r#"stream="events""#] {
        assert_says(&answer, told);
    }

    let no_answer = r#"outcome="no_answer""#;
    while !ask("GET", "/metrics", "").contains(no_answer) {}

    aws.restart().unwrap();
    aws.wait_until_blocking(Duration::from_secs(60), |aws| aws.delivered_count() == 1)
        .unwrap();
    // One more event during shutdown: the last drain delivers it, if not before.
    let answer = ask("POST", "/events/sign-up", r#"{"user":"u-8"}"#);
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    terminate(&child);
    let output = finish_well(child);
    for told in [
        "the client is open",
        "deliveries of a stream fail stream=events reason=\"offline\"",
        "deliveries of a stream work again",
        "closed",
    ] {
        assert_eq!(output.matches(told).count(), 1, "{told} in {output}");
    }
    let cache = home.path().join("cache");
    assert_says(&output, &format!("path={}", cache.display()));
    assert_eq!(aws.delivered_count_of("events"), 2);
    assert_eq!(aws.delivered("events")[1].data, r#"{"user":"u-8"}"#);
}
