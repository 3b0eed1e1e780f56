//! Tests the endpoint through a bare socket.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use aggregation::Shard;

use super::{FakeAws, Outcome, Reply};
use crate::{clock, unique_name};

const WAIT: Duration = Duration::from_secs(30);
const BODY: &str = r#"{"StreamName":"s","Records":[{"Data":"YWJj","PartitionKey":"k"}]}"#;

fn head(more: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: Kinesis_20131202.PutRecords\r\n\
         Content-Type: application/x-amz-json-1.1\r\n{more}\r\n"
    )
}

fn put() -> String {
    head(&format!("Content-Length: {}\r\n", BODY.len())) + BODY
}

fn connect(aws: &FakeAws) -> TcpStream {
    let stream = TcpStream::connect(aws.addr()).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    stream
}

/// Opens a connection and sends this request.
fn send(aws: &FakeAws, request: &str) -> TcpStream {
    let mut stream = connect(aws);
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// Sends a request on its own connection and returns the response.
fn ask(aws: &FakeAws, request: &str) -> (String, String) {
    read_answer(&mut send(aws, request))
}

/// Reads one response: its status line and its body.
fn read_answer(stream: &mut TcpStream) -> (String, String) {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            break at + 4;
        }
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "no whole head");
        bytes.push(byte[0]);
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    let status = head.lines().next().unwrap().to_owned();
    (status, String::from_utf8(body).unwrap())
}

fn assert_taken_in(answer: &(String, String)) {
    assert_eq!(answer.0, "HTTP/1.1 200 OK");
    assert!(answer.1.contains(r#""FailedRecordCount":0"#), "{answer:?}");
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let aws = FakeAws::start();
    let mut stream = connect(&aws);
    for _ in 0..3 {
        stream.write_all(put().as_bytes()).unwrap();
        assert_taken_in(&read_answer(&mut stream));
    }
    assert_eq!(aws.delivered_count(), 3);
    assert_eq!(aws.connection_count(), 1);
}

#[test]
fn requests_sent_at_once_are_answered_in_turn() {
    let aws = FakeAws::start();
    let mut stream = connect(&aws);
    let requests = put().repeat(20);
    stream.write_all(requests.as_bytes()).unwrap();
    for _ in 0..20 {
        assert_taken_in(&read_answer(&mut stream));
    }
}

#[test]
fn big_requests_sent_at_once_are_told_apart() {
    let aws = FakeAws::start();
    let mut stream = connect(&aws);
    // Each is smaller than the last, so that there is room to read ahead into the next one.
    let quanta = [50_000, 40_000, 30_000, 20_000];
    let requests = quanta.map(|quanta| {
        let body = BODY.replace("YWJj", &"YWJj".repeat(quanta));
        head(&format!("Content-Length: {}\r\n", body.len())) + &body
    });
    std::thread::scope(|scope| {
        let mut writer = stream.try_clone().unwrap();
        scope.spawn(move || writer.write_all(requests.concat().as_bytes()).unwrap());
        for _ in quanta {
            assert_taken_in(&read_answer(&mut stream));
        }
    });
    assert_eq!(aws.delivered_bytes(), 3 * 140_000 + 4);
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let aws = FakeAws::start();
    let mut stream = connect(&aws);
    stream.set_nodelay(true).unwrap();
    for byte in put().as_bytes() {
        stream.write_all(&[*byte]).unwrap();
    }
    assert_taken_in(&read_answer(&mut stream));
}

#[test]
fn a_page_of_any_origin_may_send_whatever_headers_and_read_the_answer() {
    let aws = FakeAws::start();
    let mut stream = send(
        &aws,
        "OPTIONS / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://example.com\r\n\
         Access-Control-Request-Method: POST\r\n\
         Access-Control-Request-Headers: authorization,x-amz-target\r\n\r\n",
    );
    stream.write_all(put().as_bytes()).unwrap();
    let mut both = Vec::new();
    while !both.ends_with(b"}]}") {
        let mut bytes = [0; 256];
        let read = stream.read(&mut bytes).unwrap();
        assert_ne!(read, 0, "no whole answer");
        both.extend_from_slice(&bytes[..read]);
    }
    let both = String::from_utf8(both).unwrap();
    assert!(both.starts_with("HTTP/1.1 204 "), "{both}");
    assert!(both.contains("\r\nAccess-Control-Allow-Headers: authorization,x-amz-target\r\n"));
    assert_eq!(
        both.matches("\r\nAccess-Control-Allow-Origin: *\r\n")
            .count(),
        2
    );
    assert_eq!((aws.delivered_count(), aws.request_count()), (1, 1));
}

#[test]
fn a_body_may_come_in_chunks() {
    let aws = FakeAws::start();
    let mut stream = connect(&aws);
    let (start, rest) = BODY.split_at(7);
    let chunked = format!(
        "{}7\r\n{start}\r\n{:x};note=1\r\n{rest}\r\n0\r\nx-trailer: 1\r\n\r\n",
        head("Transfer-Encoding: chunked\r\n"),
        rest.len()
    );
    stream.write_all(chunked.as_bytes()).unwrap();
    assert_taken_in(&read_answer(&mut stream));
    stream.write_all(put().as_bytes()).unwrap();
    assert_taken_in(&read_answer(&mut stream));
    assert_eq!(aws.delivered_count_of("s"), 2);
}

#[test]
fn a_client_that_asks_first_is_told_to_continue() {
    let aws = FakeAws::start();
    let mut stream = connect(&aws);
    let length = BODY.len();
    let head = head(&format!(
        "Content-Length: {length}\r\nExpect: 100-continue\r\n"
    ));
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(
        read_answer(&mut stream).0,
        "HTTP/1.1 100 Continue",
        "before the body"
    );
    stream.write_all(BODY.as_bytes()).unwrap();
    assert_taken_in(&read_answer(&mut stream));
}

#[test]
fn what_cannot_be_read_is_refused_and_counted() {
    let aws = FakeAws::start();
    for (request, told) in [
        ("this is no HTTP\r\n\r\n", "HTTP/1.1 400"),
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404"),
        (
            &put().replace("PutRecords", "PutRecord"),
            "UnknownOperationException",
        ),
        (&put().replace("YWJj", "YW%j"), "SerializationException"),
        (&head("Content-Length: 99999999\r\n"), "HTTP/1.1 413"),
    ] {
        let (status, body) = ask(&aws, request);
        assert!(
            status.starts_with(told) || body.contains(told),
            "{status}: {body}"
        );
    }
    assert_eq!(aws.limit_violations().len(), 5);
    assert_eq!(aws.delivered_count(), 0);
}

#[test]
fn a_reset_is_one_and_a_close_is_none() {
    let aws = FakeAws::start();
    aws.script(Reply::Reset);
    aws.script(Reply::Close);
    let after_put = || send(&aws, &put()).read(&mut [0]);
    let error = after_put().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(after_put().unwrap(), 0);
    assert_eq!(aws.delivered_count(), 0);
    let outcomes: Vec<_> = aws.requests().into_iter().map(|log| log.outcome).collect();
    assert_eq!(outcomes, [Outcome::Dropped, Outcome::Dropped]);
}

#[test]
fn a_truncated_answer_ends_early() {
    let aws = FakeAws::start();
    aws.script(Reply::Truncated);
    let mut answer = String::new();
    send(&aws, &put()).read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let announced: usize = head.rsplit_once(": ").unwrap().1.parse().unwrap();
    assert!(!body.is_empty() && body.len() < announced, "{answer}");
}

#[test]
fn stop_ends_connections_and_refuses_new_ones() {
    let aws = FakeAws::start();
    aws.script(Reply::Hang);
    let mut hanging = send(&aws, &put());
    aws.wait_until_blocking(WAIT, |aws| aws.request_count() == 1)
        .unwrap();
    aws.stop();
    assert!(
        matches!(hanging.read(&mut [0]), Ok(0) | Err(_)),
        "the connection is gone"
    );
    let refused = TcpStream::connect(aws.addr()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(aws.requests()[0].outcome, Outcome::Abandoned);
    assert_eq!(aws.in_flight(), 0);

    aws.restart().unwrap();
    assert_taken_in(&ask(&aws, &put()));
}

#[test]
fn a_dropped_endpoint_frees_its_port() {
    for _ in 0..20 {
        let first = FakeAws::start();
        let addr = first.addr();
        assert_taken_in(&ask(&first, &put()));
        let taken = FakeAws::start_on(addr).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        drop(first);
        let second = FakeAws::start_on(addr).unwrap();
        assert_eq!(second.addr(), addr);
        assert_eq!(second.request_count(), 0);
    }
}

#[test]
fn records_that_are_taken_out_stay_counted() {
    let aws = FakeAws::start();
    ask(&aws, &put());
    let taken = aws.take_delivered();
    assert_eq!(&taken["s"][0].data[..], b"abc");
    assert_eq!(
        (aws.take_delivered().len(), aws.delivered("s").len()),
        (0, 0)
    );
    aws.set_shards("s", [Shard::new("merged", 0, u128::MAX)]);
    ask(&aws, &put());
    let shards: Vec<_> = aws
        .delivered_by_shard("s")
        .into_iter()
        .map(|it| it.0)
        .collect();
    assert_eq!(
        (aws.delivered_count_of("s"), shards),
        (2, vec!["merged".to_owned()])
    );
}

// Windows has no socket that reserves a port for a later listener.
#[cfg(not(windows))]
#[test]
fn a_stopped_endpoint_keeps_its_port_from_strangers() {
    let aws = FakeAws::start();
    aws.stop();
    // The kernel may hand out the port; anyone who asks for it by number may reuse it.
    let stranger = || tokio::net::TcpSocket::new_v4().unwrap().bind(aws.addr());
    assert_eq!(stranger().unwrap_err().kind(), ErrorKind::AddrInUse);
    let heir = FakeAws::start_on(aws.addr()).unwrap();
    assert_eq!(aws.restart().unwrap_err().kind(), ErrorKind::AddrInUse);
    drop(heir);
    aws.restart().unwrap();
    aws.restart().unwrap();
    let addr = aws.addr();
    drop(aws);
    tokio::net::TcpSocket::new_v4().unwrap().bind(addr).unwrap();
}

#[test]
fn scripts_come_before_the_rule_and_streams_before_all() {
    let aws = FakeAws::start();
    aws.always(|_| Reply::Status(503));
    aws.script_times(2, Reply::Status(502));
    aws.script_for("s", Reply::Status(501));
    aws.script_for("other", Reply::Status(599));
    let mut stream = connect(&aws);
    let mut status = || {
        stream.write_all(put().as_bytes()).unwrap();
        let (status, body) = read_answer(&mut stream);
        assert_eq!(body, "");
        status["HTTP/1.1 ".len()..][..3].to_owned()
    };
    let statuses = [status(), status(), status(), status(), status()];
    assert_eq!(statuses, ["501", "502", "502", "503", "503"]);
    aws.clear_script();
    stream.write_all(put().as_bytes()).unwrap();
    assert_taken_in(&read_answer(&mut stream));
}

#[test]
fn a_client_that_leaves_a_slow_link_has_sent_nothing() {
    let aws = FakeAws::start();
    aws.set_link_speed(Some(1));
    aws.script(Reply::Status(500));
    let stream = send(&aws, &put());
    aws.wait_until_blocking(WAIT, |aws| aws.request_count() == 1)
        .unwrap();
    drop(stream);
    aws.wait_until_blocking(WAIT, |aws| aws.in_flight() == 0)
        .unwrap();
    let log = &aws.requests()[0];
    assert_eq!((&log.outcome, log.accepted), (&Outcome::Abandoned, 0));

    aws.set_link_speed(Some(10 * BODY.len() as u64));
    let (status, _) = ask(&aws, &put());
    assert!(
        status.starts_with("HTTP/1.1 500"),
        "the reply waited: {status}"
    );
    let log = &aws.requests()[1];
    let took = log.ended.unwrap() - log.started;
    assert!(took >= Duration::from_millis(100), "{took:?}");
}

#[test]
fn waiting_works_without_a_runtime_and_says_what_was_seen() {
    let aws = FakeAws::start();
    let limit = Duration::from_millis(20);
    let timeout = aws
        .wait_until_blocking(limit, |aws| aws.delivered_count() == 1)
        .unwrap_err();
    assert!(timeout.to_string().contains("0 records delivered"));
    let mut stream = connect(&aws);
    // Gives the waiter time to fall asleep before the record is accepted.
    aws.set_link_speed(Some(5 * BODY.len() as u64));
    let start = clock::now();
    std::thread::scope(|scope| {
        let waiter =
            scope.spawn(|| aws.wait_until_blocking(WAIT, |aws| aws.delivered_count() == 1));
        stream.write_all(put().as_bytes()).unwrap();
        waiter.join().unwrap().unwrap();
    });
    assert!(start.elapsed() < WAIT, "it was woken, not timed out");
}

#[tokio::test(start_paused = true)]
async fn waiting_is_in_real_time_even_if_the_clock_is_paused() {
    let aws = FakeAws::start();
    aws.set_latency(Duration::from_millis(50));
    let _stream = send(&aws, &put());
    aws.wait_until(|aws| aws.requests().iter().any(|log| log.outcome.is_success()))
        .await
        .unwrap();
    let limit = Duration::from_millis(20);
    let timeout = aws.wait_until_within(limit, |_| false).await.unwrap_err();
    assert!(timeout.to_string().contains("1 of 1 records of s taken in"));
}

#[test]
fn a_panicking_rule_costs_its_own_connection_only() {
    let aws = FakeAws::start();
    aws.always(|_| panic!("the rule's own"));
    assert_eq!(send(&aws, &put()).read(&mut [0]).unwrap(), 0);
    assert_eq!(aws.in_flight(), 0);
    aws.clear_script();
    assert_taken_in(&ask(&aws, &put()));
}

#[test]
fn names_of_streams_are_checked() {
    let aws = FakeAws::start();
    let name = unique_name("n");
    let ask = |stream_name: &str| {
        let body = BODY.replace(r#""s""#, &format!("\"{stream_name}\""));
        let request = head(&format!("Content-Length: {}\r\n", body.len())) + &body;
        ask(&aws, &request)
    };
    assert_taken_in(&ask(&name));
    assert_taken_in(&ask(&"n".repeat(128)));
    for bad in ["", "a b", "ä", &"n".repeat(129)] {
        let (_, body) = ask(bad);
        assert!(body.contains("ValidationException"), "{bad}: {body}");
    }
    aws.only_streams([&name]);
    assert_taken_in(&ask(&name));
    let (_, body) = ask("other");
    assert!(body.contains("ResourceNotFoundException"), "{body}");
    aws.all_streams();
    assert_taken_in(&ask("other"));
    assert_eq!(aws.limit_violations().len(), 4);
}
