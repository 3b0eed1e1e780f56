//! Settings of a client.

use flush_engine::aws::wire::WireFormat;

use crate::DeliveredRecord;
use crate::limits::MAX_RECORD_BYTES;

flush_engine::aws_options! {
    /// Settings of an [`AmplifyKinesisClient`](crate::AmplifyKinesisClient).
    ///
    /// ```
    /// use std::time::Duration;
    /// use amplify_kinesis::{AmplifyKinesisClientOptions, FlushStrategy};
    ///
    /// let options = AmplifyKinesisClientOptions::default()
    ///     .cache_max_bytes(10 * 1024 * 1024)
    ///     .max_retries(3)
    ///     .flush_strategy(FlushStrategy::Interval(Duration::from_secs(60)));
    /// assert_eq!(options.max_retries, 3);
    /// ```
    pub struct AmplifyKinesisClientOptions {
        max_record_bytes: MAX_RECORD_BYTES,
        request: "PutRecords",
        record_limit: "Bytes that one record may have, data and partition key. Lower it to the \
                       stream's own `MaxRecordSize`. Default, and most: 10 MiB.",
        delivered: DeliveredRecord,
        /// How requests are written. Default: in CBOR for AWS's own hosts, else in JSON.
        ///
        /// A protocol that the given SDK client or `SdkConfig` brings goes before this.
        wire_format: WireFormat = WireFormat::Auto,
    }
}
