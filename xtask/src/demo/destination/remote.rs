//! A Kinesis endpoint elsewhere: creates the stream and reads it back.

use std::time::Duration;

use amplify_kinesis::aws_sdk_kinesis::Client;
use amplify_kinesis::aws_sdk_kinesis::config::{BehaviorVersion, Region};
use amplify_kinesis::aws_sdk_kinesis::types::{ShardIteratorType, StreamStatus};
use anyhow::{Context, Result, ensure};
use aws_credential_types::Credentials;
use bytes::Bytes;
use tokio::time::{Instant, sleep};

use crate::demo::file::{Arrived, STREAM};

/// How long to wait for new records before reading gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Creates the stream with one shard, so order can be compared. Deletes an old one.
pub(crate) async fn create_stream(endpoint: &str) -> Result<()> {
    let client = client(endpoint).await;
    let is_there = |status: Option<StreamStatus>| status.is_some();
    if is_there(status(&client).await) {
        let delete = client.delete_stream().stream_name(STREAM);
        delete.enforce_consumer_deletion(true).send().await?;
        await_status(&client, |status| !is_there(status)).await?;
    }
    let create = client.create_stream().stream_name(STREAM);
    create.shard_count(1).send().await?;
    await_status(&client, |status| status == Some(StreamStatus::Active)).await
}

/// Reads the stream until it has returned the expected number, or nothing for a while.
pub(crate) async fn read_stream(endpoint: &str, at_least: usize) -> Result<Vec<Arrived>> {
    let client = client(endpoint).await;
    let shards = client.list_shards().stream_name(STREAM).send().await?;
    let shard = shards.shards().first().context("the stream has no shard")?;
    let iterator = client
        .get_shard_iterator()
        .stream_name(STREAM)
        .shard_id(shard.shard_id())
        .shard_iterator_type(ShardIteratorType::TrimHorizon);
    let iterator = iterator.send().await?;
    let mut next = iterator.shard_iterator;
    let mut arrived = Vec::new();
    let mut last_news = Instant::now();
    while let Some(iterator) = next {
        let answer = client.get_records().shard_iterator(iterator).send().await?;
        next = answer.next_shard_iterator;
        if !answer.records.is_empty() {
            last_news = Instant::now();
        } else if arrived.len() >= at_least || last_news.elapsed() > PATIENCE {
            break;
        } else {
            // A shard allows five reads a second.
            sleep(Duration::from_millis(200)).await;
        }
        arrived.extend(answer.records.into_iter().map(|record| Arrived {
            key: record.partition_key.unwrap_or_default(),
            data: Bytes::from(record.data.into_inner()),
        }));
    }
    Ok(arrived)
}

async fn client(endpoint: &str) -> Client {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("demo", "demo", None, None, "demo"))
        .endpoint_url(endpoint)
        .load()
        .await;
    Client::new(&config)
}

async fn status(client: &Client) -> Option<StreamStatus> {
    let describe = client.describe_stream_summary().stream_name(STREAM);
    let summary = describe.send().await.ok()?;
    Some(summary.stream_description_summary?.stream_status)
}

async fn await_status(
    client: &Client,
    is_reached: impl Fn(Option<StreamStatus>) -> bool,
) -> Result<()> {
    let since = Instant::now();
    while !is_reached(status(client).await) {
        ensure!(
            since.elapsed() <= PATIENCE,
            "the stream `{STREAM}` did not become ready in time"
        );
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
