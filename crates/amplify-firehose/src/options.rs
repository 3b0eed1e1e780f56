//! Settings of a client.

use aggregation::Concatenation;
use bytes::Bytes;

use crate::DeliveredRecord;
use crate::limits::MAX_RECORD_BYTES;

/// How several events share a record.
///
/// Order, retries, `on_discard` and all counts are by event, whatever the records are. See
/// [the guide](crate::guide#several-events-in-one-record).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Aggregation {
    /// They do not: each event is a record.
    #[default]
    None,
    /// Joined, each followed by a delimiter: at most 500 events and 1,000 KiB
    /// a record.
    Concatenate(Concatenation),
}

flush_engine::aws_options! {
    /// Settings of an [`AmplifyFirehoseClient`](crate::AmplifyFirehoseClient).
    ///
    /// ```
    /// use std::time::Duration;
    /// use amplify_firehose::{AmplifyFirehoseClientOptions, FlushStrategy};
    ///
    /// let options = AmplifyFirehoseClientOptions::default()
    ///     .cache_max_bytes(10 * 1024 * 1024)
    ///     .max_retries(3)
    ///     .flush_strategy(FlushStrategy::Interval(Duration::from_secs(60)));
    /// assert_eq!(options.max_retries, 3);
    /// ```
    pub struct AmplifyFirehoseClientOptions {
        max_record_bytes: MAX_RECORD_BYTES,
        request: "PutRecordBatch",
        record_limit: "Bytes that one record may have. Default, and most: 1,000 KiB.",
        delivered: DeliveredRecord,
        /// How several events share a record, which costs less. Default: each is a record.
        ///
        /// An event that is too large to share goes alone.
        aggregation: Aggregation = Aggregation::None,
        /// Appended to each record that does not end with it, if records are not
        /// shared; a newline, say. Default: nothing.
        record_delimiter: Bytes = Bytes::new(),
    }
}
