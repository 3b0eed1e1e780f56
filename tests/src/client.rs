//! One interface to either client.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use amplify_firehose::{AmplifyFirehoseClient, FirehoseRecord};
use amplify_kinesis::{
    AmplifyKinesisClient, CacheStats, ClearCacheData, CloseOptions, FlushData, IntoPayload,
    KinesisRecord, RecordData, SdkConfig,
};
use amplify_test_support::Service;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::{Failure, KEY};

/// Either client.
#[derive(Clone)]
pub struct Client {
    pub(super) side: Side,
    /// Lives as long as the client that stores its records there.
    pub(super) _directory: Option<Arc<TempDir>>,
}

#[derive(Clone)]
pub(super) enum Side {
    Kinesis(AmplifyKinesisClient),
    Firehose(AmplifyFirehoseClient),
}

/// The SDK's client behind either client.
#[derive(Clone, Debug)]
pub enum SdkClient {
    Kinesis(aws_sdk_kinesis::Client),
    Firehose(aws_sdk_firehose::Client),
}

impl SdkClient {
    pub fn new(service: Service, config: &SdkConfig) -> Self {
        match service {
            Service::Kinesis => Self::Kinesis(aws_sdk_kinesis::Client::new(config)),
            Service::Firehose => Self::Firehose(aws_sdk_firehose::Client::new(config)),
        }
    }
}

macro_rules! each {
    ($self:ident, $client:ident => $body:expr) => {
        match &$self.side {
            Side::Kinesis($client) => $body,
            Side::Firehose($client) => $body,
        }
    };
}

impl Client {
    pub async fn record(
        &self,
        stream: &str,
        data: impl IntoPayload,
    ) -> Result<RecordData, Failure> {
        self.record_keyed(stream, KEY, data).await
    }

    /// Firehose has no keys and ignores the key.
    pub async fn record_keyed(
        &self,
        stream: &str,
        key: &str,
        data: impl IntoPayload,
    ) -> Result<RecordData, Failure> {
        Ok(match &self.side {
            Side::Kinesis(client) => client.record(data, key, stream).await?,
            Side::Firehose(client) => client.record(data, stream).await?,
        })
    }

    /// The same for a record that must be accepted.
    pub async fn keep(&self, stream: &str, key: &str, data: impl IntoPayload) {
        self.record_keyed(stream, key, data).await.unwrap();
    }

    /// Records pairs of stream and data.
    pub async fn record_all<'a, D: IntoPayload>(
        &self,
        records: impl IntoIterator<Item = (&'a str, D)>,
    ) -> Result<RecordData, Failure> {
        let records = records.into_iter();
        self.record_all_keyed(records.map(|(stream, data)| (stream, KEY, data)))
            .await
    }

    /// Records triples of stream, key and data. Firehose has no keys and ignores them.
    pub async fn record_all_keyed<'a, D: IntoPayload>(
        &self,
        records: impl IntoIterator<Item = (&'a str, &'a str, D)>,
    ) -> Result<RecordData, Failure> {
        let records = records.into_iter();
        Ok(match &self.side {
            Side::Kinesis(client) => {
                let records =
                    records.map(|(stream, key, data)| KinesisRecord::new(data, key, stream));
                client.record_all(records).await?
            }
            Side::Firehose(client) => {
                let records = records.map(|(stream, _, data)| FirehoseRecord::new(data, stream));
                client.record_all(records).await?
            }
        })
    }

    /// Records these payloads for one stream.
    pub async fn record_to<D: IntoPayload>(
        &self,
        stream: &str,
        payloads: impl IntoIterator<Item = D>,
    ) {
        let records = payloads.into_iter().map(|data| (stream, data));
        self.record_all(records).await.unwrap();
    }

    pub async fn flush(&self) -> Result<FlushData, Failure> {
        each!(self, client => Ok(client.flush().await?))
    }

    /// Flushes in a separate task.
    pub fn flushing(&self) -> JoinHandle<Result<FlushData, Failure>> {
        let client = self.clone();
        tokio::spawn(async move { client.flush().await })
    }

    pub async fn drain(&self, deadline: Duration) -> Result<FlushData, Failure> {
        each!(self, client => Ok(client.drain(deadline).await?))
    }

    pub async fn clear_cache(&self) -> Result<ClearCacheData, Failure> {
        each!(self, client => Ok(client.clear_cache().await?))
    }

    pub async fn close(&self) -> Result<(), Failure> {
        each!(self, client => Ok(client.close().await?))
    }

    pub async fn close_with(&self, options: CloseOptions) -> Result<FlushData, Failure> {
        each!(self, client => Ok(client.close_with(options).await?))
    }

    pub fn enable(&self) {
        each!(self, client => client.enable());
    }

    pub fn disable(&self) {
        each!(self, client => client.disable());
    }

    pub fn is_enabled(&self) -> bool {
        each!(self, client => client.is_enabled())
    }

    pub fn is_closed(&self) -> bool {
        each!(self, client => client.is_closed())
    }

    pub fn region(&self) -> &str {
        each!(self, client => client.region())
    }

    pub fn storage_path(&self) -> Option<&Path> {
        each!(self, client => client.storage_path())
    }

    pub fn cache_stats(&self) -> CacheStats {
        each!(self, client => client.cache_stats())
    }

    /// The number of cached records.
    pub fn cached(&self) -> usize {
        self.cache_stats().records
    }

    /// The number of cached records of a stream.
    pub fn cached_of(&self, stream: &str) -> usize {
        let stats = self.cache_stats();
        let mut streams = stats.streams.iter();
        let of_stream = streams.find(|stats| stats.stream_name == stream);
        of_stream.map_or(0, |stats| stats.records)
    }

    pub fn options_debug(&self) -> String {
        each!(self, client => format!("{:?}", client.options()))
    }

    pub fn max_retries(&self) -> u32 {
        each!(self, client => client.options().max_retries)
    }

    pub fn sdk_client(&self) -> SdkClient {
        match &self.side {
            Side::Kinesis(client) => SdkClient::Kinesis(client.kinesis_client().clone()),
            Side::Firehose(client) => SdkClient::Firehose(client.firehose_client().clone()),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        each!(self, client => client.fmt(f))
    }
}
