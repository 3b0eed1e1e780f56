//! What `on_delivered` is handed.

use std::fmt;

/// A record that Kinesis accepted, and where it is; see
/// [`on_delivered`](crate::AmplifyKinesisClientOptions::on_delivered).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveredRecord {
    /// The stream that it was recorded for.
    pub stream_name: String,
    /// Its partition key.
    pub partition_key: Option<String>,
    /// The shard that took it; empty if the endpoint did not say.
    pub shard_id: String,
    /// Its place in the shard.
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

// Shows no key.
impl fmt::Debug for DeliveredRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveredRecord")
            .field("stream_name", &self.stream_name)
            .field("shard_id", &self.shard_id)
            .field("sequence_number", &self.sequence_number)
            .finish_non_exhaustive()
    }
}
