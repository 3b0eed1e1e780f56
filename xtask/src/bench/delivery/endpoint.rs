//! The endpoint in its own process. It counts records without keeping them, unless asked to.

use std::collections::BTreeSet;
use std::io::{Read as _, stdin};
use std::process::Stdio;
use std::time::Duration;

use amplify_test_support::FakeAws;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout};

use crate::bench::job::{Job, command};
use crate::bench::process;

/// Serves until standard input ends.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Serve {
    latency: Duration,
    /// Whether to keep records, for their payload sizes.
    keeps: bool,
}

/// The endpoint's counts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) requests: usize,
    pub(crate) records: usize,
    pub(crate) cpu_seconds: f64,
    /// Total bytes of request bodies.
    pub(crate) body_bytes: u64,
    /// The payload size of each record, if records are kept.
    pub(crate) sizes: Vec<u64>,
    violations: Vec<String>,
}

impl Job for Serve {
    const NAME: &'static str = "endpoint";
    type Output = Counts;

    async fn run(self) -> Result<Counts> {
        let mut endpoint = FakeAws::builder().latency(self.latency);
        if !self.keeps {
            endpoint = endpoint.count_only();
        }
        let endpoint = endpoint.start()?;
        println!("{}", endpoint.endpoint_url());
        tokio::task::spawn_blocking(|| stdin().read_to_end(&mut Vec::new())).await??;
        Ok(Counts {
            requests: endpoint.request_count(),
            records: endpoint.delivered_count(),
            cpu_seconds: process::cpu_seconds(),
            body_bytes: endpoint.body_bytes(),
            sizes: sizes(&endpoint),
            violations: endpoint.limit_violations(),
        })
    }
}

fn sizes(endpoint: &FakeAws) -> Vec<u64> {
    let streams = endpoint.requests().into_iter();
    let streams: BTreeSet<_> = streams.map(|request| request.stream).collect();
    let records = streams.iter().flat_map(|stream| endpoint.delivered(stream));
    records.map(|record| record.data.len() as u64).collect()
}

/// The endpoint, as seen by its parent process. Dropping this kills it.
pub(crate) struct Endpoint {
    process: Child,
    output: BufReader<ChildStdout>,
    pub(crate) url: String,
}

impl Endpoint {
    pub(crate) async fn start(latency: Duration) -> Result<Self> {
        let keeps = false;
        Self::serving(&Serve { latency, keeps }).await
    }

    /// Starts an endpoint that reports the sizes of records.
    pub(crate) async fn start_keeping(latency: Duration) -> Result<Self> {
        let keeps = true;
        Self::serving(&Serve { latency, keeps }).await
    }

    async fn serving(serve: &Serve) -> Result<Self> {
        let mut command = command(serve)?;
        let mut process = command
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot start the endpoint")?;
        let output = process
            .stdout
            .take()
            .context("the endpoint has no output")?;
        let mut output = BufReader::new(output);
        let mut url = String::new();
        output.read_line(&mut url).await?;
        Ok(Self {
            process,
            output,
            url: url.trim().to_owned(),
        })
    }

    /// Stops the endpoint and returns its counts.
    pub(crate) async fn counts(mut self) -> Result<Counts> {
        drop(self.process.stdin.take());
        let mut said = Vec::new();
        self.output.read_to_end(&mut said).await?;
        let counts: Counts = serde_json::from_slice(&said).context("what the endpoint said")?;
        if let Some(violation) = counts.violations.first() {
            bail!("a request broke a limit of the service: {violation}");
        }
        Ok(counts)
    }
}
