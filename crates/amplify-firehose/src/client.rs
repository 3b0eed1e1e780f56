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
///
/// ```
#[doc = flush_engine::aws_example!(@builder "amplify_firehose")]
/// use amplify_firehose::AmplifyFirehoseClient;
///
/// # let aws = amplify_test_support::FakeAws::start();
/// let client = AmplifyFirehoseClient::builder()
///     .region("us-east-1")
///     .credentials_provider(credentials)
/// #    .endpoint_url(aws.endpoint_url())
/// #    .in_memory()
///     .build()
///     .await?;
/// client.record("an order", "orders").await?;
/// client.flush().await?;
/// client.close().await?;
/// # assert_eq!(aws.delivered_count_of("orders"), 1);
#[doc = flush_engine::aws_example!(@end)]
/// ```
#[derive(Debug, Clone)]
pub struct AmplifyFirehoseClient(pub(crate) Client<Firehose>);

impl AmplifyFirehoseClient {
    /// Creates a client that stores its records in the default directory.
    ///
    /// ```no_run
    #[doc = flush_engine::aws_example!(@builder "amplify_firehose")]
    /// use amplify_firehose::{AmplifyFirehoseClient, AmplifyFirehoseClientOptions};
    /// use aws_credential_types::Credentials;
    ///
    /// let credentials = Credentials::new("access key", "secret key", None, None, "example");
    /// let options = AmplifyFirehoseClientOptions::default();
    /// let client = AmplifyFirehoseClient::create("us-east-1", credentials, options).await?;
    #[doc = flush_engine::aws_example!(@end)]
    /// ```
    ///
    /// # Errors
    /// Same as [`AmplifyFirehoseClientBuilder::build`].
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
    ///
    /// ```no_run
    #[doc = flush_engine::aws_example!(@builder "amplify_firehose")]
    /// use amplify_firehose::AmplifyFirehoseClient;
    ///
    /// let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    /// let client = AmplifyFirehoseClient::builder()
    ///     .sdk_config(&config)
    ///     .storage_path("/var/lib/shop/records")
    ///     .build()
    ///     .await?;
    #[doc = flush_engine::aws_example!(@end)]
    /// ```
    pub fn builder() -> AmplifyFirehoseClientBuilder {
        AmplifyFirehoseClientBuilder::default()
    }

    /// Records data for a delivery stream.
    ///
    /// `Ok` means that the record is stored with the configured
    /// [`durability`](AmplifyFirehoseClientOptions::durability), after all earlier records of its
    /// stream. While the client is disabled, records are dropped and the call still returns `Ok`.
    ///
    /// ```
    #[doc = flush_engine::aws_example!(@client "amplify_firehose", AmplifyFirehoseClient)]
    /// let stored = client.record(r#"{"order": 17}"#, "orders").await?;
    /// assert_eq!(stored.records_stored, 1);
    /// // Stored, and delivered by a later flush.
    /// assert_eq!(client.cache_stats().records, 1);
    #[doc = flush_engine::aws_example!(@end)]
    /// ```
    ///
    /// # Errors
    /// Checked in this order: [`ClientClosed`](AmplifyFirehoseError::ClientClosed);
    /// [`Validation`](AmplifyFirehoseError::Validation) if the record breaks one of the
    /// [limits](crate::limits); [`LimitExceeded`](AmplifyFirehoseError::LimitExceeded) if the cache
    /// is full (with [`DropOldest`](crate::OverflowPolicy::DropOldest), if dropping the oldest
    /// records cannot make enough room; with [`Wait`](crate::OverflowPolicy::Wait), if there is
    /// none in time); [`Storage`](AmplifyFirehoseError::Storage) if the disk
    /// fails. In each case, nothing is stored.
    ///
    /// # Cancel safety
    /// If the future is dropped, the record is stored either in full or not at all.
    pub async fn record(
        &self,
        data: impl IntoPayload,
        stream_name: impl Into<String>,
    ) -> Result<RecordData, AmplifyFirehoseError> {
        self.record_all([FirehoseRecord::new(data, stream_name)])
            .await
    }

    /// Like [`record`](Self::record), for a thread outside any tokio runtime; see the
    /// [guide](crate::guide#programs-without-async).
    ///
    /// ```
    #[doc = flush_engine::aws_example!(@client "amplify_firehose", AmplifyFirehoseClient)]
    /// // A thread that reads a sensor, and knows nothing of async.
    /// let thread = std::thread::spawn({
    ///     let client = client.clone();
    ///     move || client.record_blocking("21.5", "measurements")
    /// });
    /// thread.join().map_err(|_| "the thread panicked")??;
    /// # assert_eq!(client.cache_stats().records, 1);
    #[doc = flush_engine::aws_example!(@end)]
    /// ```
    ///
    /// # Errors
    /// Same as `record`, plus [`Validation`](AmplifyFirehoseError::Validation) where the call would
    /// block forever: on a runtime thread, or if the client was built in a single-threaded runtime.
    pub fn record_blocking(
        &self,
        data: impl IntoPayload,
        stream_name: impl Into<String>,
    ) -> Result<RecordData, AmplifyFirehoseError> {
        let record = FirehoseRecord::new(data, stream_name);
        let checked = self.0.check([record.0])?;
        Ok(self.0.record_blocking(checked)?)
    }

    /// Records several records, for one or more streams. On an error, none is stored.
    ///
    /// ```
    #[doc = flush_engine::aws_example!(@client "amplify_firehose", AmplifyFirehoseClient)]
    /// use amplify_firehose::FirehoseRecord;
    ///
    /// // An order is never stored without its invoice.
    /// client
    ///     .record_all([
    ///         FirehoseRecord::new("an order", "orders"),
    ///         FirehoseRecord::new("its invoice", "invoices"),
    ///     ])
    ///     .await?;
    /// assert_eq!(client.cache_stats().streams.len(), 2);
    #[doc = flush_engine::aws_example!(@end)]
    /// ```
    ///
    /// # Errors
    /// Same as [`record`](Self::record).
    ///
    /// # Cancel safety
    /// If the future is dropped, either all records are stored or none.
    pub async fn record_all(
        &self,
        records: impl IntoIterator<Item = FirehoseRecord>,
    ) -> Result<RecordData, AmplifyFirehoseError> {
        let checked = self.0.check(records.into_iter().map(|record| record.0))?;
        Ok(self.0.record(checked).await?)
    }

    /// Returns a handle for one delivery stream. The name is validated once, here.
    ///
    /// ```
    #[doc = flush_engine::aws_example!(@client "amplify_firehose", AmplifyFirehoseClient)]
    /// let orders = client.stream("orders")?;
    /// orders.record("an order").await?;
    /// // A typo is found here, not by the first record.
    /// assert!(client.stream("orders ").is_err());
    #[doc = flush_engine::aws_example!(@end)]
    /// ```
    ///
    /// # Errors
    /// [`Validation`](AmplifyFirehoseError::Validation) if no stream can have this name.
    pub fn stream(&self, name: impl Into<String>) -> Result<FirehoseStream, AmplifyFirehoseError> {
        Ok(FirehoseStream(self.0.stream(name.into())?))
    }

    /// The SDK client, for all other operations of the service.
    ///
    /// ```no_run
    #[doc = flush_engine::aws_example!(@client "amplify_firehose", AmplifyFirehoseClient)]
    /// let description = client
    ///     .firehose_client()
    ///     .describe_delivery_stream()
    ///     .delivery_stream_name("orders")
    ///     .send()
    ///     .await?;
    /// println!("{:?}", description.delivery_stream_description());
    #[doc = flush_engine::aws_example!(@end)]
    /// ```
    #[must_use]
    pub fn firehose_client(&self) -> &aws_sdk_firehose::Client {
        self.0.sdk_client()
    }
}

flush_engine::aws_client!(
    AmplifyFirehoseClient,
    AmplifyFirehoseError,
    AmplifyFirehoseClientOptions,
    crate: "amplify_firehose",
    record: r#"client.record("an order", "orders").await?;"#,
);
