//! LocalStack in a container of the local Docker engine.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::process::{Command, Stdio};

use super::{SERVICES, slot::Slot};

pub(super) fn command(
    image: &str,
    slot: &Slot,
    port: u16,
    settings: &[(String, String)],
) -> Command {
    let fixed = [
        ("SERVICES", SERVICES),
        ("KINESIS_PERSISTENCE", "0"),
        ("KINESIS_LATENCY", "0"),
    ];
    let given = settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let mut command = Command::new("docker");
    command
        .args(["run", "--rm", "--name", &name(slot)])
        .args(["--publish", &format!("127.0.0.1:{port}:4566")])
        .args([
            "--env",
            "DISABLE_EVENTS=1",
            "--env",
            "SKIP_SSL_CERT_DOWNLOAD=1",
        ]);
    for (name, value) in fixed.into_iter().chain(given) {
        command.args(["--env", &format!("{name}={value}")]);
    }
    command.arg(image);
    command
}

pub(super) fn stop(slot: &Slot) -> io::Result<()> {
    quietly(&["stop", "-t", "15", &name(slot)])
}

pub(super) fn remove(slot: &Slot) -> io::Result<()> {
    quietly(&["rm", "--force", "--volumes", &name(slot)])
}

/// The container's name, the same for each run in the same directory, so that a leftover container
/// is found.
fn name(slot: &Slot) -> String {
    let mut hasher = DefaultHasher::new();
    slot.directory().hash(&mut hasher);
    format!("amplify-localstack-{:016x}", hasher.finish())
}

/// Runs `docker` without checking whether the container existed.
fn quietly(arguments: &[&str]) -> io::Result<()> {
    Command::new("docker")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map(drop)
}
