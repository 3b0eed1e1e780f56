//! The record type that callers pass in.

use flush_engine::aws::{IntoPayload, UncheckedRecord};

/// A record for [`record_all`](crate::AmplifyFirehoseClient::record_all).
///
/// ```
#[doc = flush_engine::aws_example!(@client "amplify_firehose", AmplifyFirehoseClient)]
/// use amplify_firehose::FirehoseRecord;
///
/// let lines = "an order\nanother order";
/// let records: Vec<_> = lines
///     .lines()
///     .map(|line| FirehoseRecord::new(line, "orders"))
///     .collect();
/// client.record_all(records).await?;
/// assert_eq!(client.cache_stats().records, 2);
#[doc = flush_engine::aws_example!(@end)]
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirehoseRecord(pub(crate) UncheckedRecord);

impl FirehoseRecord {
    /// A record for a delivery stream. It is validated when it is recorded.
    ///
    /// ```
    #[doc = flush_engine::aws_example!(@client "amplify_firehose", AmplifyFirehoseClient)]
    /// use amplify_firehose::FirehoseRecord;
    ///
    /// // Text and bytes; what is owned is not copied.
    /// let text = FirehoseRecord::new("a page view\n", "views");
    /// let bytes = FirehoseRecord::new(vec![0xca, 0xfe], "signals");
    /// client.record_all([text, bytes]).await?;
    #[doc = flush_engine::aws_example!(@end)]
    /// ```
    #[must_use]
    pub fn new(data: impl IntoPayload, stream_name: impl Into<String>) -> Self {
        Self(UncheckedRecord::new(data, None, stream_name))
    }
}
