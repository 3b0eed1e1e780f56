//! A handle for one stream.

use flush_engine::RecordData;
use flush_engine::aws::IntoPayload;

use crate::AmplifyKinesisError;
use crate::record::IntoStreamRecord;
use crate::record::sealed::IntoUnchecked;
use crate::service::Kinesis;

flush_engine::aws_stream! {
    pub struct KinesisStream {
        crate: "amplify_kinesis",
        service: Kinesis,
        client: AmplifyKinesisClient,
        error: AmplifyKinesisError,
        noun: "stream",
        record: r#"orders.record(format!("order {number}"), "customer-7")"#,
    }
}

impl KinesisStream {
    /// The stream's name.
    ///
    /// ```
    #[doc = flush_engine::aws_example!(@client "amplify_kinesis", AmplifyKinesisClient)]
    /// let orders = client.stream("orders")?;
    /// assert_eq!(orders.name(), "orders");
    /// // The ARN, if the handle was created by one.
    /// let shared = client.stream("arn:aws:kinesis:us-east-1:123456789012:stream/orders")?;
    /// assert!(shared.name().starts_with("arn:"));
    #[doc = flush_engine::aws_example!(@end)]
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Records data for the stream; see
    /// [`AmplifyKinesisClient::record`](crate::AmplifyKinesisClient::record).
    ///
    /// ```
    #[doc = flush_engine::aws_example!(@client "amplify_kinesis", AmplifyKinesisClient)]
    /// let orders = client.stream("orders")?;
    /// let stored = orders.record("an order", "customer-7").await?;
    /// assert_eq!(stored.records_stored, 1);
    #[doc = flush_engine::aws_example!(@end)]
    /// ```
    ///
    /// # Errors
    /// Same as `AmplifyKinesisClient::record`.
    ///
    /// # Cancel safety
    /// If the future is dropped, the record is stored either in full or not at all.
    pub async fn record(
        &self,
        data: impl IntoPayload,
        partition_key: impl Into<String>,
    ) -> Result<RecordData, AmplifyKinesisError> {
        self.record_all([(data, partition_key)]).await
    }

    /// Like [`record`](Self::record), for a thread outside any tokio runtime; see
    /// [`AmplifyKinesisClient::record_blocking`](crate::AmplifyKinesisClient::record_blocking).
    ///
    /// ```
    #[doc = flush_engine::aws_example!(@client "amplify_kinesis", AmplifyKinesisClient)]
    /// let measurements = client.stream("measurements")?;
    /// let thread = std::thread::spawn(move || measurements.record_blocking("21.5", "sensor-7"));
    /// thread.join().map_err(|_| "the thread panicked")??;
    /// # assert_eq!(client.cache_stats().records, 1);
    #[doc = flush_engine::aws_example!(@end)]
    /// ```
    ///
    /// # Errors
    /// Same as `AmplifyKinesisClient::record_blocking`.
    pub fn record_blocking(
        &self,
        data: impl IntoPayload,
        partition_key: impl Into<String>,
    ) -> Result<RecordData, AmplifyKinesisError> {
        let checked = self.0.check([(data, partition_key).into_unchecked()])?;
        Ok(self.0.record_blocking(checked)?)
    }

    /// Records pairs of data and partition key, or [`KinesisRecord`](crate::KinesisRecord)s for
    /// this stream. On an error, none is stored.
    ///
    /// ```
    /// use amplify_kinesis::{AmplifyKinesisError, KinesisRecord, KinesisStream};
    ///
    /// # async fn example(stream: KinesisStream) -> Result<(), AmplifyKinesisError> {
    /// stream.record_all([("one", "partition-1"), ("two", "partition-2")]).await?;
    /// let record = KinesisRecord::new("three", "partition-1", stream.name());
    /// stream.record_all([record.explicit_hash_key(0)]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`record`](Self::record), plus [`Validation`](AmplifyKinesisError::Validation) if a
    /// record is for another stream.
    ///
    /// # Cancel safety
    /// If the future is dropped, either all records are stored or none.
    pub async fn record_all<R: IntoStreamRecord>(
        &self,
        records: impl IntoIterator<Item = R>,
    ) -> Result<RecordData, AmplifyKinesisError> {
        let records = records.into_iter().map(IntoUnchecked::into_unchecked);
        let checked = self.0.check(records)?;
        Ok(self.0.record(checked).await?)
    }
}
