//! Settings of a client.

use crate::DeliveredRecord;
use crate::limits::MAX_RECORD_BYTES;

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
    }
}
