//! Programs of this package, started against a loopback endpoint.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![allow(dead_code, reason = "not every test needs all of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use amplify_test_endpoint::FakeAws;
use rustix::process::{Pid, Signal, kill_process};

/// A program, with an isolated environment below `home`.
pub(crate) fn program(path: &str, aws: &FakeAws, home: &Path) -> Command {
    let mut command = Command::new(path);
    command
        .current_dir(home)
        .env("HOME", home)
        .env("NO_COLOR", "1")
        .env("XDG_DATA_HOME", home.join("data"))
        .env("AWS_ENDPOINT_URL", aws.endpoint_url())
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "example")
        .env("AWS_SECRET_ACCESS_KEY", "example")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The output of a child that ends well.
pub(crate) fn finish_well(child: Child) -> String {
    let (ended_well, output) = finish(child);
    assert!(ended_well, "{output}");
    output
}

pub(crate) fn assert_says(output: &str, told: &str) {
    assert!(output.contains(told), "{told:?} is not in {output}");
}

/// Writes all that the child gets to read, and closes its input.
pub(crate) fn feed(child: &mut Child, input: &[u8]) {
    child.stdin.take().unwrap().write_all(input).unwrap();
}

/// The whole answer to a request with this first line, if there is one.
pub(crate) fn ask(address: &str, request: &str, body: &str) -> Option<String> {
    let mut connection = TcpStream::connect(address).ok()?;
    write!(
        connection,
        "{request}\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// The address on which a child listens, which is the end of its first line.
pub(crate) fn address_of(child: &mut Child) -> String {
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://");
    address.unwrap().to_owned()
}

/// A child's output, once it has exited. A child that does not exit fails the test.
pub(crate) fn finish(child: Child) -> (bool, String) {
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let output = ended.recv_timeout(Duration::from_secs(120));
    let Output {
        status,
        stdout,
        stderr,
    } = output.unwrap().unwrap();
    let text = [stdout, stderr].concat();
    (status.success(), String::from_utf8(text).unwrap())
}

/// Sends SIGTERM, as an orchestrator does.
pub(crate) fn terminate(child: &Child) {
    let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
}
