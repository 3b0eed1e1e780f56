//! The argument of `on_delivered` callbacks.

/// A record that Firehose accepted; see
/// [`on_delivered`](crate::AmplifyFirehoseClientOptions::on_delivered).
///
/// ```
/// use amplify_firehose::{AmplifyFirehoseClientOptions, DeliveredRecord};
///
/// fn log(record: DeliveredRecord) {
///     println!("{}: {}", record.stream_name, record.record_id);
/// }
/// let options = AmplifyFirehoseClientOptions::default().on_delivered(log);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveredRecord {
    /// The stream that the record was recorded for.
    pub stream_name: String,
    /// The record id that Firehose assigned.
    pub record_id: String,
}

impl From<flush_engine::DeliveredRecord> for DeliveredRecord {
    fn from(record: flush_engine::DeliveredRecord) -> Self {
        Self {
            stream_name: record.stream_name,
            record_id: record.receipt.map(|receipt| receipt.id).unwrap_or_default(),
        }
    }
}
