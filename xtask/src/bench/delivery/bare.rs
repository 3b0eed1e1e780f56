//! The bare SDK, sending from memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use amplify_kinesis::aws_sdk_kinesis::Client;
use amplify_kinesis::aws_sdk_kinesis::primitives::Blob;
use amplify_kinesis::aws_sdk_kinesis::types::PutRecordsRequestEntry;
use anyhow::{Result, bail};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client;
use super::source::Source;
use crate::bench::contender::KEY;
use crate::bench::job::Job;
use crate::bench::process;

/// Records in one request: the service's maximum.
pub(crate) const BATCH: usize = 500;

/// Sends everything, with this many requests in flight.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Bare {
    pub(crate) endpoint: String,
    pub(crate) source: Source,
    pub(crate) in_flight: usize,
}

/// The cost of sending.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) memory_bytes: u64,
}

impl Job for Bare {
    const NAME: &'static str = "bare";
    type Output = Sent;

    async fn run(self) -> Result<Sent> {
        let records = Arc::new(self.source.load()?);
        let client = client::bare(&self.endpoint);
        let next = Arc::new(AtomicUsize::new(0));
        let meter = Meter::start()?;
        let mut senders = JoinSet::new();
        for sender in 0..self.in_flight {
            let (records, next, client) = (Arc::clone(&records), Arc::clone(&next), client.clone());
            senders.spawn(async move {
                let stream = format!("bench-{sender}");
                while let Some(batch) = records
                    .chunks(BATCH)
                    .nth(next.fetch_add(1, Ordering::Relaxed))
                {
                    send(&client, &stream, batch).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = senders.join_next().await {
            ended??;
        }
        meter.stop()
    }
}

pub(crate) async fn send(client: &Client, stream: &str, batch: &[Bytes]) -> Result<()> {
    let entry = |data: &Bytes| {
        let entry = PutRecordsRequestEntry::builder();
        entry
            .data(Blob::from_maybe_shared(data.clone()))
            .partition_key(KEY)
            .build()
    };
    let entries = batch.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    let request = client
        .put_records()
        .stream_name(stream)
        .set_records(Some(entries));
    let answer = request.send().await?;
    if answer.failed_record_count() != Some(0) || answer.records().len() != batch.len() {
        bail!("the endpoint refused records");
    }
    Ok(())
}

/// Measures time, CPU time and memory from its creation.
pub(crate) struct Meter {
    start: Instant,
    cpu_seconds: f64,
}

impl Meter {
    pub(crate) fn start() -> Result<Self> {
        process::forget_peak()?;
        Ok(Self {
            start: Instant::now(),
            cpu_seconds: process::cpu_seconds(),
        })
    }

    pub(crate) fn stop(self) -> Result<Sent> {
        Ok(Sent {
            seconds: self.start.elapsed().as_secs_f64(),
            cpu_seconds: process::cpu_seconds() - self.cpu_seconds,
            memory_bytes: process::peak_bytes()?,
        })
    }
}
