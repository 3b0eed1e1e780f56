//! The child process: records lines, then waits until they are delivered.

use std::io::{Write as _, stdout};
use std::time::Duration;

use amplify_kinesis::{
    AmplifyKinesisClient, AmplifyKinesisClientOptions, FlushStrategy, KinesisRecord,
};
use anyhow::Result;
use aws_credential_types::Credentials;

use super::file::{Lines, STREAM, key_of};
use crate::flags::RecorderFlags;

/// Lines per call: each group costs one sync.
const GROUP: usize = 256;
const GROUP_BYTES: usize = 1024 * 1024;

/// Records the lines of a file from a given line, and ends once all are delivered.
pub(crate) async fn run(flags: RecorderFlags) -> Result<()> {
    let lines = Lines::read(&flags.file)?;
    let options = AmplifyKinesisClientOptions::default()
        .cache_max_bytes(lines.cache_bytes())
        .flush_strategy(FlushStrategy::Interval(Duration::from_millis(200)))
        // No line may be discarded because an endpoint refuses for a while.
        .max_retries(1000);
    let client = AmplifyKinesisClient::builder()
        .region("us-east-1")
        .credentials_provider(Credentials::new("demo", "demo", None, None, "demo"))
        .endpoint_url(flags.endpoint)
        .storage_path(flags.cache)
        .options(options)
        .build()
        .await?;
    let mut next = flags.from;
    while next < lines.count() {
        let group = group(&lines, next);
        let after = next + group.len();
        client.record_all(group).await?;
        next = after;
        tell("recorded", next)?;
    }
    loop {
        let drained = client.drain(Duration::from_secs(1)).await;
        let cached = client.cache_stats().records;
        tell("cached", cached)?;
        if cached == 0 {
            break;
        }
        if drained.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    client.close().await?;
    Ok(())
}

fn group(lines: &Lines, from: usize) -> Vec<KinesisRecord> {
    let mut group = Vec::new();
    let mut bytes = 0;
    for (at, line) in lines.lines.iter().enumerate().skip(from).take(GROUP) {
        if bytes >= GROUP_BYTES {
            break;
        }
        bytes += line.len();
        group.push(KinesisRecord::new(line.clone(), key_of(at), STREAM));
    }
    group
}

/// Writes a line at once, so a kill leaves a whole line or none.
fn tell(what: &str, count: usize) -> Result<()> {
    let mut stdout = stdout().lock();
    stdout.write_all(format!("{what} {count}\n").as_bytes())?;
    Ok(stdout.flush()?)
}
