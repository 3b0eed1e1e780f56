//! The client.

use aws_credential_types::provider::ProvideCredentials;
use flush_engine::RecordData;
use flush_engine::aws::{Client, IntoPayload};

use crate::service::Kinesis;
use crate::{
    AmplifyKinesisClientBuilder, AmplifyKinesisClientOptions, AmplifyKinesisError, KinesisRecord,
    KinesisStream,
};

/// A durable client for Amazon Kinesis Data Streams.
///
/// Records are stored in a local cache and delivered in batches by `PutRecords`: on a timer, by
/// [`flush`](Self::flush) or by [`drain`](Self::drain). Clones share one client.
///
/// Dropping the last clone stops the timer and releases the storage a moment later;
/// [`close`](Self::close) waits for that.
///
/// ```
#[doc = flush_engine::aws_example!(@builder "amplify_kinesis")]
/// use amplify_kinesis::AmplifyKinesisClient;
///
/// # let aws = amplify_test_support::FakeAws::start();
/// let client = AmplifyKinesisClient::builder()
///     .region("us-east-1")
///     .credentials_provider(credentials)
/// #    .endpoint_url(aws.endpoint_url())
/// #    .in_memory()
///     .build()
///     .await?;
/// client.record("an order", "customer-7", "orders").await?;
/// client.flush().await?;
/// client.close().await?;
/// # assert_eq!(aws.delivered_count_of("orders"), 1);
#[doc = flush_engine::aws_example!(@end)]
/// ```
#[derive(Debug, Clone)]
pub struct AmplifyKinesisClient(pub(crate) Client<Kinesis>);

impl AmplifyKinesisClient {
    /// Creates a client that stores its records in the default directory.
    ///
    /// ```no_run
    #[doc = flush_engine::aws_example!(@builder "amplify_kinesis")]
    /// use amplify_kinesis::{AmplifyKinesisClient, AmplifyKinesisClientOptions};
    /// use aws_credential_types::Credentials;
    ///
    /// let credentials = Credentials::new("access key", "secret key", None, None, "example");
    /// let options = AmplifyKinesisClientOptions::default();
    /// let client = AmplifyKinesisClient::create("us-east-1", credentials, options).await?;
    #[doc = flush_engine::aws_example!(@end)]
    /// ```
    ///
    /// # Errors
    /// Same as [`AmplifyKinesisClientBuilder::build`].
    ///
    /// # Cancel safety
    /// If the storage was already opened, it is released shortly afterwards.
    pub async fn create(
        region: impl Into<String>,
        credentials: impl ProvideCredentials + 'static,
        options: AmplifyKinesisClientOptions,
    ) -> Result<Self, AmplifyKinesisError> {
        let builder = Self::builder().region(region);
        let builder = builder.credentials_provider(credentials);
        builder.options(options).build().await
    }

    /// Returns a builder for a client.
    ///
    /// ```no_run
    #[doc = flush_engine::aws_example!(@builder "amplify_kinesis")]
    /// use amplify_kinesis::AmplifyKinesisClient;
    ///
    /// let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    /// let client = AmplifyKinesisClient::builder()
    ///     .sdk_config(&config)
    ///     .storage_path("/var/lib/shop/records")
    ///     .build()
    ///     .await?;
    #[doc = flush_engine::aws_example!(@end)]
    /// ```
    pub fn builder() -> AmplifyKinesisClientBuilder {
        AmplifyKinesisClientBuilder::default()
    }

    /// Records data for a stream, given by name or ARN.
    ///
    /// `Ok` means that the record is stored with the configured
    /// [`durability`](AmplifyKinesisClientOptions::durability), after all earlier records of its
    /// stream. While the client is disabled, records are dropped and the call still returns `Ok`.
    ///
    /// ```
    #[doc = flush_engine::aws_example!(@client "amplify_kinesis", AmplifyKinesisClient)]
    /// let stored = client.record(r#"{"order": 17}"#, "customer-7", "orders").await?;
    /// assert_eq!(stored.records_stored, 1);
    /// // Stored, and delivered by a later flush.
    /// assert_eq!(client.cache_stats().records, 1);
    #[doc = flush_engine::aws_example!(@end)]
    /// ```
    ///
    /// # Errors
    /// Checked in this order: [`ClientClosed`](AmplifyKinesisError::ClientClosed);
    /// [`Validation`](AmplifyKinesisError::Validation) if the record breaks one of the
    /// [limits](crate::limits); [`LimitExceeded`](AmplifyKinesisError::LimitExceeded) if the cache
    /// is full (with [`DropOldest`](crate::OverflowPolicy::DropOldest), if dropping the oldest
    /// records cannot make enough room; with [`Wait`](crate::OverflowPolicy::Wait), if there is
    /// none in time); [`Storage`](AmplifyKinesisError::Storage) if the disk
    /// fails. In each case, nothing is stored.
    ///
    /// # Cancel safety
    /// If the future is dropped, the record is stored either in full or not at all.
    pub async fn record(
        &self,
        data: impl IntoPayload,
        partition_key: impl Into<String>,
        stream_name: impl Into<String>,
    ) -> Result<RecordData, AmplifyKinesisError> {
        self.record_all([KinesisRecord::new(data, partition_key, stream_name)])
            .await
    }

    /// Like [`record`](Self::record), for a thread outside any tokio runtime; see the
    /// [guide](crate::guide#programs-without-async).
    ///
    /// ```
    #[doc = flush_engine::aws_example!(@client "amplify_kinesis", AmplifyKinesisClient)]
    /// // A thread that reads a sensor, and knows nothing of async.
    /// let thread = std::thread::spawn({
    ///     let client = client.clone();
    ///     move || client.record_blocking("21.5", "sensor-7", "measurements")
    /// });
    /// thread.join().map_err(|_| "the thread panicked")??;
    /// # assert_eq!(client.cache_stats().records, 1);
    #[doc = flush_engine::aws_example!(@end)]
    /// ```
    ///
    /// # Errors
    /// Same as `record`, plus [`Validation`](AmplifyKinesisError::Validation) where the call would
    /// block forever: on a runtime thread, or if the client was built in a single-threaded runtime.
    pub fn record_blocking(
        &self,
        data: impl IntoPayload,
        partition_key: impl Into<String>,
        stream_name: impl Into<String>,
    ) -> Result<RecordData, AmplifyKinesisError> {
        let record = KinesisRecord::new(data, partition_key, stream_name);
        let checked = self.0.check([record.0])?;
        Ok(self.0.record_blocking(checked)?)
    }

    /// Records several records, for one or more streams. On an error, none is stored.
    ///
    /// ```
    #[doc = flush_engine::aws_example!(@client "amplify_kinesis", AmplifyKinesisClient)]
    /// use amplify_kinesis::KinesisRecord;
    ///
    /// // An order is never stored without its invoice.
    /// client
    ///     .record_all([
    ///         KinesisRecord::new("an order", "customer-7", "orders"),
    ///         KinesisRecord::new("its invoice", "customer-7", "invoices"),
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
        records: impl IntoIterator<Item = KinesisRecord>,
    ) -> Result<RecordData, AmplifyKinesisError> {
        let checked = self.0.check(records.into_iter().map(|record| record.0))?;
        Ok(self.0.record(checked).await?)
    }

    /// Returns a handle for one stream. The name or ARN is validated once, here.
    ///
    /// ```
    #[doc = flush_engine::aws_example!(@client "amplify_kinesis", AmplifyKinesisClient)]
    /// let orders = client.stream("orders")?;
    /// orders.record("an order", "customer-7").await?;
    /// // A typo is found here, not by the first record.
    /// assert!(client.stream("orders ").is_err());
    #[doc = flush_engine::aws_example!(@end)]
    /// ```
    ///
    /// # Errors
    /// [`Validation`](AmplifyKinesisError::Validation) if no stream can have this name, or if the
    /// ARN does not belong to a stream in the client's region.
    pub fn stream(&self, name: impl Into<String>) -> Result<KinesisStream, AmplifyKinesisError> {
        Ok(KinesisStream(self.0.stream(name.into())?))
    }

    /// The SDK client, for all other operations of the service.
    ///
    /// ```no_run
    #[doc = flush_engine::aws_example!(@client "amplify_kinesis", AmplifyKinesisClient)]
    /// let description = client
    ///     .kinesis_client()
    ///     .describe_stream_summary()
    ///     .stream_name("orders")
    ///     .send()
    ///     .await?;
    /// println!("{:?}", description.stream_description_summary());
    #[doc = flush_engine::aws_example!(@end)]
    /// ```
    #[must_use]
    pub fn kinesis_client(&self) -> &aws_sdk_kinesis::Client {
        self.0.sdk_client()
    }
}

flush_engine::aws_client!(
    AmplifyKinesisClient,
    AmplifyKinesisError,
    AmplifyKinesisClientOptions,
    crate: "amplify_kinesis",
    record: r#"client.record("an order", "customer-7", "orders").await?;"#,
);
