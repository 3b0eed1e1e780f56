//! `cargo xtask endpoint`: its output, the records it accepts, and its typed commands.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

const BODY: &str = r#"{"StreamName":"orders","Records":[{"Data":"YWJj","PartitionKey":"k"}]}"#;

/// The first line and the body of the answer to a `PutRecords`.
fn put(address: &str) -> (String, String) {
    let mut connection = TcpStream::connect(address).unwrap();
    write!(
        connection,
        "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         X-Amz-Target: Kinesis_20131202.PutRecords\r\n\
         Content-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    )
    .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn an_endpoint_prints_its_environment_takes_records_in_and_does_as_it_is_told() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["endpoint", "--port", "0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    let (line, lines) = mpsc::channel();
    thread::spawn(move || told.try_for_each(|told| line.send(told.unwrap())));
    let hear = |words: &str| {
        let mut heard = Vec::new();
        while !heard
            .last()
            .is_some_and(|line: &String| line.contains(words))
        {
            let next = lines.recv_timeout(Duration::from_secs(30));
            heard.push(next.unwrap_or_else(|_| panic!("no {words:?} in {heard:#?}")));
        }
    };

    let environment: Vec<String> = output.lines().take(4).map(Result::unwrap).collect();
    let url = environment[0].strip_prefix("export AWS_ENDPOINT_URL=http://");
    let address = url.unwrap();
    for name in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        let set = format!("export {name}=");
        assert!(
            environment.iter().any(|line| line.starts_with(&set)),
            "{environment:?}"
        );
    }

    assert_eq!(put(address).0, "HTTP/1.1 200 OK");
    hear("kinesis orders: 1 request, 1 record taken in, 200");
    stdin.write_all(b"throttle\n").unwrap();
    hear("throttle");
    assert!(put(address).0.starts_with("HTTP/1.1 400"));
    hear("0 records taken in, 400 ProvisionedThroughputExceededException");
    stdin.write_all(b"refuse\n").unwrap();
    hear("refuse");
    let (status, body) = put(address);
    assert!(status.starts_with("HTTP/1.1 400"), "{status}");
    // Nobody who types has a script.
    assert!(body.contains("refused by this endpoint"), "{body}");
    stdin.write_all(b"fail\n").unwrap();
    hear("fail");
    let (status, body) = put(address);
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(body.contains(r#""FailedRecordCount":1"#), "{body}");
    assert!(body.contains(r#""ErrorCode":"InternalFailure""#), "{body}");
    assert!(body.contains("refused by this endpoint"), "{body}");
    hear("0 records taken in, 200");
    stdin.write_all(b"down\n").unwrap();
    hear("down");
    TcpStream::connect(address).unwrap_err();
    stdin.write_all(b"up\naccept\n").unwrap();
    hear("accept");
    let (_, body) = put(address);
    assert!(body.contains(r#""FailedRecordCount":0"#), "{body}");

    let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert!(
        child.wait().unwrap().success(),
        "an interruption is its usual end"
    );
}
