//! The client, its builder and its error.

use flush_engine::RecordData;
use flush_engine::aws::IntoPayload;

use crate::service::Firehose;
use crate::{AmplifyFirehoseClientOptions, FirehoseRecord, FirehoseStream};

flush_engine::aws_client! {
    pub struct AmplifyFirehoseClient {
        crate: "amplify_firehose",
        service: Firehose,
        service_name: "Amazon Data Firehose",
        request: "PutRecordBatch",
        record: r#"client.record("an order", "orders")"#,
    }
}

impl AmplifyFirehoseClient {
    flush_engine::aws_create!(
        AmplifyFirehoseClient,
        AmplifyFirehoseClientBuilder,
        AmplifyFirehoseError,
        AmplifyFirehoseClientOptions,
        crate: "amplify_firehose",
    );

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

    flush_engine::aws_record_all!(
        AmplifyFirehoseClient,
        AmplifyFirehoseError,
        FirehoseRecord,
        crate: "amplify_firehose",
        order: r#"FirehoseRecord::new("an order", "orders")"#,
        invoice: r#"FirehoseRecord::new("its invoice", "invoices")"#,
    );

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

    flush_engine::aws_sdk_getter!(
        AmplifyFirehoseClient,
        sdk: aws_sdk_firehose => firehose_client,
        crate: "amplify_firehose",
        describe: describe_delivery_stream(delivery_stream_name) => delivery_stream_description,
    );
}

flush_engine::aws_client_methods!(
    AmplifyFirehoseClient,
    AmplifyFirehoseError,
    AmplifyFirehoseClientOptions,
    crate: "amplify_firehose",
    record: r#"client.record("an order", "orders")"#,
);

flush_engine::aws_builder! {
    pub struct AmplifyFirehoseClientBuilder {
        crate: "amplify_firehose",
        service: Firehose,
        sdk: aws_sdk_firehose => firehose_client,
        client: AmplifyFirehoseClient,
        error: AmplifyFirehoseError,
        options: AmplifyFirehoseClientOptions,
        record: r#"client.record("an order", "orders")"#,
    }
}

flush_engine::aws_error! {
    pub enum AmplifyFirehoseError {
        crate: "amplify_firehose",
        client: AmplifyFirehoseClient,
        record: r#"client.record("an order", "orders")"#,
    }
}
