//! The argument of `on_delivered` callbacks.

use std::fmt;

/// A record that Kinesis accepted, with its shard and sequence number; see
/// [`on_delivered`](crate::AmplifyKinesisClientOptions::on_delivered).
///
/// ```
/// use amplify_kinesis::{AmplifyKinesisClientOptions, DeliveredRecord};
///
/// fn log(record: DeliveredRecord) {
///     let DeliveredRecord { stream_name, shard_id, sequence_number, .. } = record;
///     println!("{stream_name}: {sequence_number} in {shard_id}");
/// }
/// let options = AmplifyKinesisClientOptions::default().on_delivered(log);
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveredRecord {
    /// The stream that the record was recorded for.
    pub stream_name: String,
    /// The record's partition key.
    pub partition_key: Option<String>,
    /// The shard that stored the record; empty if the endpoint did not name it.
    pub shard_id: String,
    /// The record's sequence number in the shard.
    pub sequence_number: String,
}

impl From<flush_engine::DeliveredRecord> for DeliveredRecord {
    fn from(record: flush_engine::DeliveredRecord) -> Self {
        let (sequence_number, shard_id) = match record.receipt {
            Some(receipt) => (receipt.id, receipt.shard_id.unwrap_or_default()),
            None => (String::new(), String::new()),
        };
        Self {
            stream_name: record.stream_name,
            partition_key: record.partition_key,
            shard_id,
            sequence_number,
        }
    }
}

// Omits the partition key.
impl fmt::Debug for DeliveredRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveredRecord")
            .field("stream_name", &self.stream_name)
            .field("shard_id", &self.shard_id)
            .field("sequence_number", &self.sequence_number)
            .finish_non_exhaustive()
    }
}
