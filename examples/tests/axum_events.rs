//! `axum_events` answers once an event is on disk, reports metrics, and delivers before it exits.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::ChildStdout;
use std::time::Duration;

use amplify_test_endpoint::FakeAws;

use self::support::{finish, program, terminate};

/// The whole answer to one request.
fn ask(address: &str, method: &str, path: &str, body: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    write!(
        connection,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

fn address(stdout: ChildStdout) -> String {
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    line.trim()
        .strip_prefix("listening on http://")
        .unwrap()
        .to_owned()
}

#[test]
fn events_are_taken_in_counted_and_delivered_before_the_service_ends() {
    let (aws, home) = (FakeAws::start(), tempfile::tempdir().unwrap());
    aws.stop();
    let mut child = program(env!("CARGO_BIN_EXE_axum_events"), &aws, home.path())
        .args([
            "--stream",
            "events",
            "--listen",
            "127.0.0.1:0",
            "--cache",
            "cache",
        ])
        .spawn()
        .unwrap();
    let address = address(child.stdout.take().unwrap());

    // The network is down; callers do not notice.
    let answer = ask(&address, "POST", "/events/sign-up", r#"{"user":"u-7"}"#);
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let too_long = format!("/events/{}", "k".repeat(257));
    let answer = ask(&address, "POST", &too_long, "{}");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let answer = ask(&address, "GET", "/health", "");
    assert!(answer.contains(r#""records":1"#), "{answer}");
    let answer = ask(&address, "GET", "/metrics", "");
    assert!(
        answer.contains("amplify_recorded_records_total"),
        "{answer}"
    );
    assert!(answer.contains(r#"stream="events""#), "{answer}");

    let no_answer = r#"outcome="no_answer""#;
    while !ask(&address, "GET", "/metrics", "").contains(no_answer) {}

    aws.restart().unwrap();
    aws.wait_until_blocking(Duration::from_secs(60), |aws| aws.delivered_count() == 1)
        .unwrap();
    // One more event during shutdown: the last drain delivers it, if not before.
    let answer = ask(&address, "POST", "/events/sign-up", r#"{"user":"u-8"}"#);
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    terminate(&child);
    let (ended_well, output) = finish(child);
    assert!(ended_well, "{output}");
    for told in [
        "the client is open",
        "deliveries of a stream fail stream=events reason=\"offline\"",
        "deliveries of a stream work again",
        "closed",
    ] {
        assert_eq!(output.matches(told).count(), 1, "{told} in {output}");
    }
    let cache = home.path().join("cache");
    assert!(
        output.contains(&format!("path={}", cache.display())),
        "{output}"
    );
    assert_eq!(aws.delivered_count_of("events"), 2);
    assert_eq!(aws.delivered("events")[1].data, r#"{"user":"u-8"}"#);
}
