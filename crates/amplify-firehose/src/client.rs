//! The client.

use aws_credential_types::provider::ProvideCredentials;
use flush_engine::RecordData;
use flush_engine::aws::{Client, IntoPayload};

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

    /// The SDK client, for everything else the service can do.
    #[must_use]
    pub fn firehose_client(&self) -> &aws_sdk_firehose::Client {
        self.0.sdk_client()
    }
}

flush_engine::aws_client!(
    AmplifyFirehoseClient,
    AmplifyFirehoseError,
    AmplifyFirehoseClientOptions
);
