//! Settings of a client.

use aggregation::{Concatenation, KplLimits};
use flush_engine::aws::wire::WireFormat;

use crate::DeliveredRecord;
use crate::limits::MAX_RECORD_BYTES;

/// How several events share a record.
///
/// Order within a partition key, retries, `on_discard` and all counts apply to events, however they
/// are packed into records. See [the guide](crate::guide#several-events-in-one-record).
///
/// ```
/// use amplify_kinesis::{Aggregation, AmplifyKinesisClientOptions, Concatenation, KplLimits};
///
/// let options = AmplifyKinesisClientOptions::default();
/// // For readers that use the KCL, or Lambda with a library for it.
/// let for_kcl = options.clone().aggregation(Aggregation::Kpl(KplLimits::default()));
/// // For readers that split at newlines.
/// let lines = options.aggregation(Aggregation::Concatenate(Concatenation::default()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Aggregation {
    /// Each event is a record.
    #[default]
    None,
    /// The format of the Kinesis Producer Library, keys included. Needs permission for
    /// `ListShards`; without it, only events with the same partition key share a record.
    Kpl(KplLimits),
    /// Events joined, each followed by a delimiter. Only events with the same partition key share a
    /// record.
    Concatenate(Concatenation),
}

flush_engine::aws_options! {
    /// Settings of Kinesis alone:
    ///
    /// ```
    /// use amplify_kinesis::{Aggregation, AmplifyKinesisClientOptions, KplLimits, WireFormat};
    ///
    /// let options = AmplifyKinesisClientOptions::default()
    ///     .aggregation(Aggregation::Kpl(KplLimits::default().max_bytes(25 * 1024)))
    ///     .wire_format(WireFormat::Json);
    /// ```
    pub struct AmplifyKinesisClientOptions {
        crate: "amplify_kinesis",
        client: AmplifyKinesisClient,
        max_record_bytes: MAX_RECORD_BYTES,
        request: "PutRecords",
        record_limit: "Maximum bytes of a record, data and partition key together. Lower it to the \
                       stream's own `MaxRecordSize`. Default and upper limit: 10 MiB.",
        delivered: DeliveredRecord,
        /// The format of requests. Default: CBOR for AWS hosts, JSON for others.
        ///
        /// A protocol set in the given SDK client or `SdkConfig` takes precedence.
        wire_format: WireFormat = WireFormat::Auto,
        /// Whether several events share a record, which costs less. Default: no.
        ///
        /// Shared records stay within the aggregation's own limits and `max_record_bytes`. An event
        /// too large to share a record is sent in one of its own.
        aggregation: Aggregation = Aggregation::None,
    }
}
