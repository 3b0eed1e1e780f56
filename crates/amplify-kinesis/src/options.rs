//! Settings of a client.

use aggregation::{Concatenation, KplLimits};
use flush_engine::aws::wire::WireFormat;

use crate::DeliveredRecord;
use crate::limits::MAX_RECORD_BYTES;

/// How several events share a record.
///
/// Order within a partition key, retries, `on_discard` and all counts are by event, whatever the
/// records are. See [the guide](crate::guide#several-events-in-one-record).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Aggregation {
    /// They do not: each event is a record.
    #[default]
    None,
    /// In the format of the Kinesis Producer Library, keys included. Needs permission for
    /// `ListShards`; without it, only events of one partition key share a record.
    Kpl(KplLimits),
    /// One behind the other, each with a delimiter behind it. Only events of one partition key
    /// share a record.
    Concatenate(Concatenation),
}

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
        /// How several events share a record, which costs less. Default: each is a record.
        ///
        /// A record has at most what this says, and with a partition key of any length never
        /// more than `max_record_bytes`. An event that is too large to share goes alone.
        aggregation: Aggregation = Aggregation::None,
    }
}
