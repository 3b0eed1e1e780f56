//! The client, its builder and its error.

use flush_engine::RecordData;
use flush_engine::aws::IntoPayload;

use crate::service::Kinesis;
use crate::{AmplifyKinesisClientOptions, KinesisRecord, KinesisStream};

flush_engine::aws_client! {
    pub struct AmplifyKinesisClient {
        crate: "amplify_kinesis",
        service: Kinesis,
        service_name: "Amazon Kinesis Data Streams",
        request: "PutRecords",
        record: r#"client.record("an order", "customer-7", "orders")"#,
    }
}

impl AmplifyKinesisClient {
    flush_engine::aws_create!(
        AmplifyKinesisClient,
        AmplifyKinesisClientBuilder,
        AmplifyKinesisError,
        AmplifyKinesisClientOptions,
        crate: "amplify_kinesis",
    );

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

    flush_engine::aws_record_all!(
        AmplifyKinesisClient,
        AmplifyKinesisError,
        KinesisRecord,
        crate: "amplify_kinesis",
        order: r#"KinesisRecord::new("an order", "customer-7", "orders")"#,
        invoice: r#"KinesisRecord::new("its invoice", "customer-7", "invoices")"#,
    );

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

    flush_engine::aws_sdk_getter!(
        AmplifyKinesisClient,
        sdk: aws_sdk_kinesis => kinesis_client,
        crate: "amplify_kinesis",
        describe: describe_stream_summary(stream_name) => stream_description_summary,
    );
}

flush_engine::aws_client_methods!(
    AmplifyKinesisClient,
    AmplifyKinesisError,
    AmplifyKinesisClientOptions,
    crate: "amplify_kinesis",
    record: r#"client.record("an order", "customer-7", "orders")"#,
);

flush_engine::aws_builder! {
    pub struct AmplifyKinesisClientBuilder {
        crate: "amplify_kinesis",
        service: Kinesis,
        sdk: aws_sdk_kinesis => kinesis_client,
        client: AmplifyKinesisClient,
        error: AmplifyKinesisError,
        options: AmplifyKinesisClientOptions,
        record: r#"client.record("an order", "customer-7", "orders")"#,
    }
}

flush_engine::aws_error! {
    pub enum AmplifyKinesisError {
        crate: "amplify_kinesis",
        client: AmplifyKinesisClient,
        record: r#"client.record("an order", "customer-7", "orders")"#,
    }
}
