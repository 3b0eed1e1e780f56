//! The record type that callers pass in.

use flush_engine::aws::{IntoPayload, UncheckedRecord};

/// A record for [`record_all`](crate::AmplifyKinesisClient::record_all).
///
/// ```
#[doc = flush_engine::aws_example!(@client "amplify_kinesis", AmplifyKinesisClient)]
/// use amplify_kinesis::KinesisRecord;
///
/// let lines = "an order\nanother order";
/// let records: Vec<_> = lines
///     .lines()
///     .map(|line| KinesisRecord::new(line, "customer-7", "orders"))
///     .collect();
/// client.record_all(records).await?;
/// assert_eq!(client.cache_stats().records, 2);
#[doc = flush_engine::aws_example!(@end)]
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KinesisRecord(pub(crate) UncheckedRecord);

impl KinesisRecord {
    /// A record for a stream. It is validated when it is recorded.
    ///
    /// ```
    #[doc = flush_engine::aws_example!(@client "amplify_kinesis", AmplifyKinesisClient)]
    /// use amplify_kinesis::{KinesisRecord, PartitionKey};
    ///
    /// // Orders of one customer stay in order; page views may go to any shard.
    /// let order = KinesisRecord::new("an order", "customer-7", "orders");
    /// let view = KinesisRecord::new("a page view", PartitionKey::random(), "views");
    /// client.record_all([order, view]).await?;
    #[doc = flush_engine::aws_example!(@end)]
    /// ```
    #[must_use]
    pub fn new(
        data: impl IntoPayload,
        partition_key: impl Into<String>,
        stream_name: impl Into<String>,
    ) -> Self {
        let key = Some(partition_key.into());
        Self(UncheckedRecord::new(data, key, stream_name))
    }

    /// Sets an explicit hash key. The record goes to the shard whose hash key range contains it,
    /// whatever its partition key.
    ///
    /// The hash key is stored with the record and does not count toward its size.
    ///
    /// ```
    /// use amplify_kinesis::KinesisRecord;
    ///
    /// // 0 is the lowest hash key, so the record goes to the shard with the lowest range.
    /// let record = KinesisRecord::new("data", "partition-1", "my-stream").explicit_hash_key(0);
    /// ```
    #[must_use]
    pub fn explicit_hash_key(self, hash_key: u128) -> Self {
        Self(self.0.explicit_hash_key(hash_key))
    }
}

/// Input of [`KinesisStream::record_all`](crate::KinesisStream::record_all): pairs of data and
/// partition key, or [`KinesisRecord`]s for the handle's stream, which may have a hash key.
///
/// This trait is sealed.
///
/// ```
#[doc = flush_engine::aws_example!(@client "amplify_kinesis", AmplifyKinesisClient)]
/// use amplify_kinesis::{AmplifyKinesisError, IntoStreamRecord, KinesisStream};
///
/// /// Records what it is given, whether pairs or records.
/// async fn forward<R: IntoStreamRecord>(
///     stream: &KinesisStream,
///     records: Vec<R>,
/// ) -> Result<usize, AmplifyKinesisError> {
///     Ok(stream.record_all(records).await?.records_stored)
/// }
///
/// let orders = client.stream("orders")?;
/// assert_eq!(forward(&orders, vec![("an order", "customer-7")]).await?, 1);
#[doc = flush_engine::aws_example!(@end)]
/// ```
pub trait IntoStreamRecord: sealed::IntoUnchecked {}

impl<D: IntoPayload, K: Into<String>> IntoStreamRecord for (D, K) {}

impl IntoStreamRecord for KinesisRecord {}

pub(crate) mod sealed {
    use flush_engine::aws::{IntoPayload, UncheckedRecord};

    pub trait IntoUnchecked {
        fn into_unchecked(self) -> UncheckedRecord;
    }

    impl<D: IntoPayload, K: Into<String>> IntoUnchecked for (D, K) {
        fn into_unchecked(self) -> UncheckedRecord {
            let (data, key) = self;
            UncheckedRecord::for_handle(data, Some(key.into()))
        }
    }

    impl IntoUnchecked for super::KinesisRecord {
        fn into_unchecked(self) -> UncheckedRecord {
            self.0
        }
    }
}
