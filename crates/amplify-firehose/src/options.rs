//! Settings of a client.

use aggregation::Concatenation;
use bytes::Bytes;
use flush_engine::aws::wire::WireFormat;

use crate::DeliveredRecord;
use crate::limits::MAX_RECORD_BYTES;

/// How several events share a record.
///
/// Order, retries, `on_discard` and all counts apply to events, however they are packed into
/// records. See [the guide](crate::guide#several-events-in-one-record).
///
/// ```
/// use amplify_firehose::{Aggregation, AmplifyFirehoseClientOptions, Concatenation};
///
/// // JSON events, one on each line.
/// let lines = Concatenation::default().max_events(100);
/// let options = AmplifyFirehoseClientOptions::default()
///     .aggregation(Aggregation::Concatenate(lines));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Aggregation {
    /// Each event is a record.
    #[default]
    None,
    /// Events joined, each followed by a delimiter: at most 500 events and 1,000 KiB per record.
    Concatenate(Concatenation),
}

flush_engine::aws_options! {
    /// Settings of Firehose alone:
    ///
    /// ```
    /// use amplify_firehose::{Aggregation, AmplifyFirehoseClientOptions, Concatenation};
    ///
    /// let options = AmplifyFirehoseClientOptions::default();
    /// // One event in each record, which ends with a newline.
    /// let each = options.clone().record_delimiter("\n");
    /// // Many events in each record, each with a newline.
    /// let shared = options.aggregation(Aggregation::Concatenate(Concatenation::default()));
    /// ```
    pub struct AmplifyFirehoseClientOptions {
        crate: "amplify_firehose",
        client: AmplifyFirehoseClient,
        max_record_bytes: MAX_RECORD_BYTES,
        request: "PutRecordBatch",
        record_limit: "Maximum bytes of a record. Default and upper limit: 1,000 KiB.",
        delivered: DeliveredRecord,
        /// The format of requests. Firehose reads JSON only, so `Cbor` is refused. The setting is
        /// that of `amplify-kinesis`, for code that sets up both.
        wire_format: WireFormat = WireFormat::Auto,
        /// Whether several events share a record, which costs less. Default: no.
        ///
        /// An event too large to share a record is sent in one of its own.
        aggregation: Aggregation = Aggregation::None,
        /// A delimiter, such as a newline, appended to each record that does not end with it.
        /// Cannot be combined with `aggregation`. Default: none.
        record_delimiter: Bytes = Bytes::new(),
    }
}
