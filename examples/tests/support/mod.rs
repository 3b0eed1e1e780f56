//! Programs of this package, started against a loopback endpoint.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

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

/// A child's output, once it has exited. A child that does not exit fails the test.
#[allow(dead_code, reason = "not every test needs it")]
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
#[allow(dead_code, reason = "not every test needs it")]
pub(crate) fn terminate(child: &Child) {
    let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
}
