//! A LocalStack that runs for as long as a value lives.
//!
//! `cargo xtask e2e` finds or installs an [`Installation`] of LocalStack and passes it to the tests
//! through the environment. Tests that stop, start or configure LocalStack reserve a [`LocalStack`]
//! of their own from it.

mod bucket;
mod docker;
mod host;
mod http;
mod installation;
mod slot;

use std::fs::{self, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use self::slot::Slot;
pub use self::{
    bucket::Bucket,
    http::{await_kinesis, is_localstack},
    installation::{Engine, HostEngine, Installation, SHARED_ENDPOINT, shared_endpoint},
};

const SERVICES: &str = "kinesis,firehose,s3,sts";
const TIME_TO_START: Duration = Duration::from_secs(180);
const TIME_TO_STOP: Duration = Duration::from_secs(25);
const POLL: Duration = Duration::from_millis(50);

/// A reserved LocalStack: a directory and a port, the same at every start.
#[derive(Debug)]
pub struct LocalStack {
    engine: Engine,
    slot: Slot,
    port: u16,
    endpoint: String,
    settings: Vec<(String, String)>,
}

impl LocalStack {
    /// Reserves a directory and a port without starting anything.
    ///
    /// # Errors
    /// If the directory cannot be created or no port is free.
    pub fn reserve(installation: &Installation) -> io::Result<Self> {
        let port = free_port()?;
        Ok(Self {
            engine: installation.engine.clone(),
            slot: Slot::reserve(&installation.home)?,
            port,
            endpoint: format!("http://127.0.0.1:{port}"),
            settings: Vec::new(),
        })
    }

    /// Sets one of LocalStack's own configuration variables.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// The endpoint while LocalStack runs.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The log file, which holds LocalStack's output since the reservation.
    pub fn log(&self) -> PathBuf {
        self.slot.log()
    }

    /// Starts LocalStack and waits until Kinesis answers.
    ///
    /// The streams, delivery streams and buckets of an earlier start are gone.
    ///
    /// # Errors
    /// If LocalStack cannot be started, exits early or is not ready in time. The message ends with
    /// the last lines of the log.
    ///
    /// # Cancel safety
    /// LocalStack is stopped again.
    pub async fn start(&self) -> io::Result<RunningLocalStack<'_>> {
        self.end_leftovers()?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())?;
        let child = self
            .command()?
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| self.explain(&error.to_string()))?;
        let mut running = RunningLocalStack { stack: self, child };
        match tokio::time::timeout(TIME_TO_START, running.ready()).await {
            Ok(Ok(())) => Ok(running),
            Ok(Err(error)) => Err(self.explain(&error.to_string())),
            Err(_) => Err(self.explain("it was not ready in time")),
        }
    }

    fn command(&self) -> io::Result<Command> {
        match &self.engine {
            Engine::Host(host) => host::command(host, &self.slot, self.port, &self.settings),
            Engine::Docker { image } => Ok(docker::command(
                image,
                &self.slot,
                self.port,
                &self.settings,
            )),
        }
    }

    /// Ends processes left running by a former owner of the directory that was killed.
    fn end_leftovers(&self) -> io::Result<()> {
        match &self.engine {
            Engine::Host(_) => host::kill_processes(&self.slot),
            Engine::Docker { .. } => docker::remove(&self.slot),
        }
    }

    fn explain(&self, problem: &str) -> io::Error {
        let log = self.log();
        io::Error::other(format!(
            "LocalStack could not be started: {problem}\nits log, {}, ends with:\n{}",
            log.display(),
            last_lines(&log, 20),
        ))
    }
}

/// A running LocalStack. Dropping it stops it.
///
/// Dropping blocks until its processes are gone, a few seconds. If the owner is killed, a
/// LocalStack on the host stops by itself.
#[derive(Debug)]
pub struct RunningLocalStack<'a> {
    stack: &'a LocalStack,
    child: Child,
}

impl RunningLocalStack<'_> {
    /// The endpoint.
    pub fn endpoint(&self) -> &str {
        self.stack.endpoint()
    }

    /// Stops LocalStack. Connections are refused once this returns.
    ///
    /// Blocks until its processes are gone, a few seconds.
    pub fn stop(self) {}

    async fn ready(&mut self) -> io::Result<()> {
        while !is_localstack(self.endpoint()).await {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("it ended early ({status})")));
            }
            tokio::time::sleep(POLL).await;
        }
        await_kinesis(self.endpoint()).await
    }

    fn end(&mut self) -> io::Result<()> {
        match self.stack.engine {
            // The launcher takes the end of its input as the order to stop.
            Engine::Host(_) => drop(self.child.stdin.take()),
            Engine::Docker { .. } => docker::stop(&self.stack.slot)?,
        }
        if !ended_within(&mut self.child, TIME_TO_STOP)? {
            self.child.kill()?;
            self.child.wait()?;
        }
        self.stack.end_leftovers()
    }
}

impl Drop for RunningLocalStack<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!(
                "LocalStack at {} could not be stopped: {error}",
                self.endpoint()
            );
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "called on drop, which cannot await"
)]
fn ended_within(child: &mut Child, limit: Duration) -> io::Result<bool> {
    let mut waited = Duration::ZERO;
    while child.try_wait()?.is_none() {
        if waited >= limit {
            return Ok(false);
        }
        std::thread::sleep(POLL);
        waited += POLL;
    }
    Ok(true)
}

/// A port below the range for outgoing connections, so that it is still free when LocalStack is
/// restarted.
fn free_port() -> io::Result<u16> {
    let dice = RandomState::new();
    (0..100)
        .filter_map(|attempt| u16::try_from(20_000 + dice.hash_one(attempt) % 12_000).ok())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or_else(|| io::Error::other("no free port was found between 20000 and 32000"))
}

fn last_lines(path: &Path, count: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
