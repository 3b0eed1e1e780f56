//! The client.

use std::path::Path;
use std::time::Duration;

use aws_credential_types::provider::ProvideCredentials;
use flush_engine::aws::{Client, IntoPayload};
use flush_engine::{CacheStats, ClearCacheData, CloseOptions, FlushData, RecordData};

use crate::service::Firehose;
use crate::{
    AmplifyFirehoseClientBuilder, AmplifyFirehoseClientOptions, AmplifyFirehoseError,
    FirehoseRecord, FirehoseStream,
};

/// A durable client for Amazon Data Firehose.
///
/// Records are kept in a local cache and delivered in batches by `PutRecordBatch`: on a timer, by
/// [`flush`](Self::flush) or by [`drain`](Self::drain). Clones share one client.
///
/// Dropping the last clone stops the timer and releases the storage a moment later;
/// [`close`](Self::close) waits for that.
#[derive(Debug, Clone)]
pub struct AmplifyFirehoseClient(pub(crate) Client<Firehose>);

impl AmplifyFirehoseClient {
    /// Makes a client that keeps its records in the default directory.
    ///
    /// # Errors
    /// As [`AmplifyFirehoseClientBuilder::build`].
    ///
    /// # Cancel safety
    /// A storage that was opened is released a moment later.
    pub async fn create(
        region: impl Into<String>,
        credentials: impl ProvideCredentials + 'static,
        options: AmplifyFirehoseClientOptions,
    ) -> Result<Self, AmplifyFirehoseError> {
        let builder = Self::builder().region(region);
        let builder = builder.credentials_provider(credentials);
        builder.options(options).build().await
    }

    /// Begins to make a client.
    pub fn builder() -> AmplifyFirehoseClientBuilder {
        AmplifyFirehoseClientBuilder::default()
    }

    /// Records data for a delivery stream.
    ///
    /// `Ok` means that the record is stored, at the promised
    /// [`durability`](AmplifyFirehoseClientOptions::durability), behind all earlier ones of its
    /// stream. While the client is disabled, it means that the record was dropped.
    ///
    /// # Errors
    /// In this order: [`ClientClosed`](AmplifyFirehoseError::ClientClosed);
    /// [`Validation`](AmplifyFirehoseError::Validation) when the record breaks one of the
    /// [limits](crate::limits); [`LimitExceeded`](AmplifyFirehoseError::LimitExceeded) when the
    /// cache is full (with [`DropOldest`](crate::OverflowPolicy::DropOldest), when the oldest
    /// records cannot make enough room); [`Storage`](AmplifyFirehoseError::Storage) when the disk
    /// refuses. Nothing is stored then.
    ///
    /// # Cancel safety
    /// A future that is dropped has stored the whole record or nothing.
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

    /// Records several records, of one stream or of many: all of them or, on an error, none.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    ///
    /// # Cancel safety
    /// A future that is dropped has stored all of the records or none.
    pub async fn record_all(
        &self,
        records: impl IntoIterator<Item = FirehoseRecord>,
    ) -> Result<RecordData, AmplifyFirehoseError> {
        let checked = self.0.check(records.into_iter().map(|record| record.0))?;
        Ok(self.0.record(checked).await?)
    }

    /// A handle for one delivery stream, whose name is checked once, here.
    ///
    /// # Errors
    /// [`Validation`](AmplifyFirehoseError::Validation) when no stream can have this name.
    pub fn stream(&self, name: impl Into<String>) -> Result<FirehoseStream, AmplifyFirehoseError> {
        Ok(FirehoseStream(self.0.stream(name.into())?))
    }

    /// Sends one batch for each stream that has cached records, oldest first, streams side by
    /// side. Works while the client is disabled.
    ///
    /// Returns at once, with [`flush_in_progress`](FlushData::flush_in_progress), when a pass
    /// is running. Records and streams that the service turns down are counted, not returned
    /// as errors.
    ///
    /// # Errors
    /// [`Unknown`](AmplifyFirehoseError::Unknown) when there was no answer that can be read
    /// (no network, a time-out, no credentials) and [`Storage`](AmplifyFirehoseError::Storage);
    /// [`flush_data`](AmplifyFirehoseError::flush_data) tells what was done before.
    /// [`ClientClosed`](AmplifyFirehoseError::ClientClosed). No record is lost by any of them.
    ///
    /// # Cancel safety
    /// The pass goes on although the future was dropped.
    pub async fn flush(&self) -> Result<FlushData, AmplifyFirehoseError> {
        Ok(self.0.flush().await?)
    }

    /// Flushes until the cache is empty, nothing moves, an error occurs or the deadline, counted
    /// from now, is there. Returns the sums.
    ///
    /// Waits for a pass under way first. At the deadline no new request starts; those under way
    /// are finished. A stream whose records failed is left alone for a while, up to 5 s,
    /// before it is tried again. Each stream has one request under way at a time, or as many as
    /// `max_in_flight_per_stream` allows.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    ///
    /// # Cancel safety
    /// Requests under way are finished although the future was dropped; no other starts.
    pub async fn drain(&self, deadline: Duration) -> Result<FlushData, AmplifyFirehoseError> {
        Ok(self.0.drain(deadline).await?)
    }

    /// Deletes all cached records. Those of a request under way are deleted too, though they may
    /// be delivered all the same.
    ///
    /// # Errors
    /// [`Storage`](AmplifyFirehoseError::Storage) and
    /// [`ClientClosed`](AmplifyFirehoseError::ClientClosed).
    ///
    /// # Cancel safety
    /// The cache is cleared although the future was dropped.
    pub async fn clear_cache(&self) -> Result<ClearCacheData, AmplifyFirehoseError> {
        Ok(self.0.clear_cache().await?)
    }

    /// Takes records in again and resumes the timer. Changes nothing when the client is enabled.
    pub fn enable(&self) {
        self.0.enable();
    }

    /// Drops new records from now on and pauses the timer. Cached records stay, and
    /// [`flush`](Self::flush) still sends them.
    pub fn disable(&self) {
        self.0.disable();
    }

    /// Whether records are taken in.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.0.is_enabled()
    }

    /// Whether [`close`](Self::close) was called on any clone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Delivers what is cached, as [`drain`](Self::drain) does and for no longer than it is
    /// told, then closes, whatever came of it. Returns what was delivered; what was not stays
    /// on disk. The [guide](crate::guide) has an example.
    ///
    /// As soon as the call has begun, nothing is recorded any more: all other operations
    /// return [`ClientClosed`](AmplifyFirehoseError::ClientClosed). A call of
    /// [`close`](Self::close) meanwhile ends the drain. A second `close_with` waits for the
    /// first one, but not longer than it would drain itself, and has nothing to report.
    ///
    /// # Errors
    /// As [`drain`](Self::drain), with what was delivered before, and
    /// [`Storage`](AmplifyFirehoseError::Storage) when the last writes could not be made
    /// durable. The client is closed all the same.
    ///
    /// # Cancel safety
    /// The client drains and closes although the future was dropped.
    pub async fn close_with(
        &self,
        options: CloseOptions,
    ) -> Result<FlushData, AmplifyFirehoseError> {
        Ok(self.0.close_with(options).await?)
    }

    /// Stops the timer, waits for requests under way (each takes no longer than
    /// [`request_timeout`](AmplifyFirehoseClientOptions::request_timeout)), and releases the
    /// storage: the same directory can be opened again at once.
    ///
    /// Records that are still cached stay on disk. Calls at the same time all wait; later ones
    /// do nothing.
    ///
    /// # Errors
    /// [`Storage`](AmplifyFirehoseError::Storage) when the last writes could not be made durable.
    /// The client is closed all the same.
    ///
    /// # Cancel safety
    /// The client closes although the future was dropped.
    pub async fn close(&self) -> Result<(), AmplifyFirehoseError> {
        Ok(self.0.close().await?)
    }

    /// The SDK client, for everything else that the service can do.
    #[must_use]
    pub fn firehose_client(&self) -> &aws_sdk_firehose::Client {
        self.0.sdk_client()
    }

    /// The region.
    #[must_use]
    pub fn region(&self) -> &str {
        self.0.region()
    }

    /// The options that the client was made with.
    #[must_use]
    pub fn options(&self) -> &AmplifyFirehoseClientOptions {
        self.0.options()
    }

    /// The directory of this client's cache, if it is in one that the client has opened.
    #[must_use]
    pub fn storage_path(&self) -> Option<&Path> {
        self.0.storage_path()
    }

    /// What the cache holds, from counters: no storage is read. After closing, the last values.
    #[must_use]
    pub fn cache_stats(&self) -> CacheStats {
        self.0.cache_stats()
    }
}
