//! The service's quotas, in one place.
//!
//! Source: the Amazon Kinesis Data Streams API reference, `PutRecords`
//! (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>) and
//! `PutRecordsRequestEntry`. A record's size is its data before base64 encoding plus its partition
//! key in UTF-8. MiB = 1024² bytes.
//!
//! ```
//! use amplify_kinesis::limits::{MAX_PARTITION_KEY_CHARS, MAX_RECORD_BYTES};
//!
//! fn is_recordable(data: &[u8], partition_key: &str) -> bool {
//!     let bytes = data.len() + partition_key.len();
//!     bytes as u64 <= MAX_RECORD_BYTES
//!         && (1..=MAX_PARTITION_KEY_CHARS).contains(&partition_key.chars().count())
//! }
//! assert!(is_recordable(b"an order", "customer-7"));
//! ```

/// Records in one `PutRecords` request.
pub const MAX_RECORDS_PER_REQUEST: usize = 500;
/// Bytes in one `PutRecords` request: data and partition keys, 10 MiB.
pub const MAX_REQUEST_BYTES: u64 = 10 * 1024 * 1024;
/// Bytes in one record, data and partition key: 10 MiB. A stream's own `MaxRecordSize` may be
/// lower; see [`max_record_bytes`](crate::AmplifyKinesisClientOptions::max_record_bytes).
pub const MAX_RECORD_BYTES: u64 = 10 * 1024 * 1024;
/// Unicode scalar values in a partition key; the minimum is one.
pub const MAX_PARTITION_KEY_CHARS: usize = 256;
/// Characters in a stream name, each of `[A-Za-z0-9_.-]`; the minimum is one.
pub const MAX_STREAM_NAME_CHARS: usize = 128;
