//! The client.

use std::path::Path;
use std::time::Duration;

use aws_credential_types::provider::ProvideCredentials;
use flush_engine::aws::{Client, IntoPayload};
use flush_engine::{CacheStats, ClearCacheData, CloseOptions, FlushData, RecordData, StoragePlace};

use crate::service::Firehose;
use crate::{
    AmplifyFirehoseClientBuilder, AmplifyFirehoseClientOptions, AmplifyFirehoseError,
    FirehoseRecord, FirehoseStream,
};

/// A durable client for Amazon Data Firehose.
///
/// Records are stored in a local cache and delivered in batches by `PutRecordBatch`: on a timer, by
/// [`flush`](Self::flush) or by [`drain`](Self::drain). Clones share one client.
///
/// Dropping the last clone stops the timer and releases the storage a moment later;
/// [`close`](Self::close) waits for that.
#[derive(Debug, Clone)]
pub struct AmplifyFirehoseClient(pub(crate) Client<Firehose>);

impl AmplifyFirehoseClient {
    /// Creates a client that stores its records in the default directory.
    ///
    /// # Errors
    /// As [`AmplifyFirehoseClientBuilder::build`].
    ///
    /// # Cancel safety
    /// If the storage was already opened, it is released shortly afterwards.
    pub async fn create(
        region: impl Into<String>,
        credentials: impl ProvideCredentials + 'static,
        options: AmplifyFirehoseClientOptions,
    ) -> Result<Self, AmplifyFirehoseError> {
        let builder = Self::builder().region(region);
        let builder = builder.credentials_provider(credentials);
        builder.options(options).build().await
    }

    /// Returns a builder for a client.
    pub fn builder() -> AmplifyFirehoseClientBuilder {
        AmplifyFirehoseClientBuilder::default()
    }

    /// Records data for a delivery stream.
    ///
    /// `Ok` means that the record is stored with the configured
    /// [`durability`](AmplifyFirehoseClientOptions::durability), after all earlier records of its
    /// stream. While the client is disabled, the record is dropped, and `Ok` means only that.
    ///
    /// # Errors
    /// In this order: [`ClientClosed`](AmplifyFirehoseError::ClientClosed);
    /// [`Validation`](AmplifyFirehoseError::Validation) when the record breaks one of the
    /// [limits](crate::limits); [`LimitExceeded`](AmplifyFirehoseError::LimitExceeded) when the
    /// cache is full (with [`DropOldest`](crate::OverflowPolicy::DropOldest), when dropping the
    /// oldest records cannot make enough room); [`Storage`](AmplifyFirehoseError::Storage) when the
    /// disk fails. In each case, nothing is stored.
    ///
    /// # Cancel safety
    /// If the future is dropped, the whole record is stored or nothing is.
    pub async fn record(
        &self,
        data: impl IntoPayload,
        stream_name: impl Into<String>,
    ) -> Result<RecordData, AmplifyFirehoseError> {
        self.record_all([FirehoseRecord::new(data, stream_name)])
            .await
    }

    /// As [`record`](Self::record), for a thread that belongs to no tokio runtime; see the
    /// [guide](crate::guide#programs-without-async).
    ///
    /// # Errors
    /// As `record`, and [`Validation`](AmplifyFirehoseError::Validation) where it would never end: on a
    /// thread of a runtime, or if the client was made in a runtime of a single thread.
    pub fn record_blocking(
        &self,
        data: impl IntoPayload,
        stream_name: impl Into<String>,
    ) -> Result<RecordData, AmplifyFirehoseError> {
        let record = FirehoseRecord::new(data, stream_name);
        let checked = self.0.check([record.0])?;
        Ok(self.0.record_blocking(checked)?)
    }

    /// Records several records, of one or more streams: all of them or, on an error, none.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    ///
    /// # Cancel safety
    /// If the future is dropped, all of the records are stored or none is.
    pub async fn record_all(
        &self,
        records: impl IntoIterator<Item = FirehoseRecord>,
    ) -> Result<RecordData, AmplifyFirehoseError> {
        let checked = self.0.check(records.into_iter().map(|record| record.0))?;
        Ok(self.0.record(checked).await?)
    }

    /// A handle for one delivery stream. Its name is checked once, here.
    ///
    /// # Errors
    /// [`Validation`](AmplifyFirehoseError::Validation) when no stream can have this name.
    pub fn stream(&self, name: impl Into<String>) -> Result<FirehoseStream, AmplifyFirehoseError> {
        Ok(FirehoseStream(self.0.stream(name.into())?))
    }

    /// Sends one batch of each stream that has cached records, oldest first, with streams in
    /// parallel. Works while the client is disabled.
    ///
    /// Returns at once, with [`flush_in_progress`](FlushData::flush_in_progress), if a pass is
    /// already running. Rejected records and skipped streams are counted, not returned as errors.
    ///
    /// # Errors
    /// [`Unknown`](AmplifyFirehoseError::Unknown) when there was no readable answer (no network, a
    /// timeout, no credentials), and [`Storage`](AmplifyFirehoseError::Storage);
    /// [`flush_data`](AmplifyFirehoseError::flush_data) says what was done before the error.
    /// [`ClientClosed`](AmplifyFirehoseError::ClientClosed). None of these errors loses a record.
    ///
    /// # Cancel safety
    /// The pass continues if the future is dropped.
    pub async fn flush(&self) -> Result<FlushData, AmplifyFirehoseError> {
        Ok(self.0.flush().await?)
    }

    /// Flushes until the cache is empty, no progress is made, an error occurs, or the deadline
    /// (counted from now) passes. Returns the totals.
    ///
    /// Waits for a running pass first. After the deadline, no new request starts; requests in
    /// flight are finished. After a failure, a stream is retried after a backoff of up to 5 s. Each
    /// stream has one request in flight at a time, or as many as `max_in_flight_per_stream` allows.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    ///
    /// # Cancel safety
    /// If the future is dropped, requests in flight are finished and no other starts.
    pub async fn drain(&self, deadline: Duration) -> Result<FlushData, AmplifyFirehoseError> {
        Ok(self.0.drain(deadline).await?)
    }

    /// Deletes all cached records, including those of requests in flight, which may still be
    /// delivered.
    ///
    /// # Errors
    /// [`Storage`](AmplifyFirehoseError::Storage) and
    /// [`ClientClosed`](AmplifyFirehoseError::ClientClosed).
    ///
    /// # Cancel safety
    /// The cache is cleared even if the future is dropped.
    pub async fn clear_cache(&self) -> Result<ClearCacheData, AmplifyFirehoseError> {
        Ok(self.0.clear_cache().await?)
    }

    /// Accepts records again and resumes the timer. Does nothing if the client is enabled.
    pub fn enable(&self) {
        self.0.enable();
    }

    /// From now on, drops new records and pauses the timer. Cached records stay, and
    /// [`flush`](Self::flush) still sends them.
    pub fn disable(&self) {
        self.0.disable();
    }

    /// Whether records are accepted.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.0.is_enabled()
    }

    /// Whether [`close`](Self::close) was called on any clone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Delivers cached records, as [`drain`](Self::drain) does, within the given time, and then
    /// closes in any case. Returns what was delivered; the rest stays on disk. The
    /// [guide](crate::guide) has an example.
    ///
    /// Once the call has begun, nothing is recorded: all other operations return
    /// [`ClientClosed`](AmplifyFirehoseError::ClientClosed). Calling [`close`](Self::close) ends
    /// the drain. A second `close_with` waits for the first, but no longer than its own limit, and
    /// has nothing to report.
    ///
    /// # Errors
    /// As [`drain`](Self::drain), with what was delivered before the error, and
    /// [`Storage`](AmplifyFirehoseError::Storage) when the last writes could not be made durable.
    /// The client is closed in any case.
    ///
    /// # Cancel safety
    /// The client drains and closes even if the future is dropped.
    pub async fn close_with(
        &self,
        options: CloseOptions,
    ) -> Result<FlushData, AmplifyFirehoseError> {
        Ok(self.0.close_with(options).await?)
    }

    /// Stops the timer, waits for requests in flight (each takes at most
    /// [`request_timeout`](AmplifyFirehoseClientOptions::request_timeout)), and releases the
    /// storage: the same directory can be opened again at once.
    ///
    /// Records that are still cached stay on disk. Concurrent calls all wait; later calls do
    /// nothing.
    ///
    /// # Errors
    /// [`Storage`](AmplifyFirehoseError::Storage) when the last writes could not be made durable.
    /// The client is closed in any case.
    ///
    /// # Cancel safety
    /// The client closes even if the future is dropped.
    pub async fn close(&self) -> Result<(), AmplifyFirehoseError> {
        Ok(self.0.close().await?)
    }

    /// The SDK client, for everything else the service can do.
    #[must_use]
    pub fn firehose_client(&self) -> &aws_sdk_firehose::Client {
        self.0.sdk_client()
    }

    /// The region.
    #[must_use]
    pub fn region(&self) -> &str {
        self.0.region()
    }

    /// The options that the client was created with.
    #[must_use]
    pub fn options(&self) -> &AmplifyFirehoseClientOptions {
        self.0.options()
    }

    /// The directory of this client's cache, if the client opened one.
    #[must_use]
    pub fn storage_path(&self) -> Option<&Path> {
        self.0.storage_path()
    }

    /// Where this client's cache is: in which directory, in memory, or in a browser's database.
    #[must_use]
    pub fn storage(&self) -> &StoragePlace {
        self.0.storage()
    }

    /// The contents of the cache, from counters: no storage is read. After closing, the last
    /// values.
    #[must_use]
    pub fn cache_stats(&self) -> CacheStats {
        self.0.cache_stats()
    }
}
