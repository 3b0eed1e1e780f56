//! The service's quotas, in one place.
//!
//! Source: the Amazon Data Firehose API reference, `PutRecordBatch`
//! (<https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html>), and the
//! developer guide's page on quotas. A record's size is its data before base64 encoding. KiB = 1024
//! bytes, MiB = 1024² bytes.
//!
//! ```
//! use amplify_firehose::limits::{MAX_EVENTS_PER_RECORD, MAX_RECORD_BYTES};
//!
//! // Events that Firehose can take apart again, in one record.
//! let (events, bytes) = (500, 120_000);
//! assert!(events <= MAX_EVENTS_PER_RECORD && bytes <= MAX_RECORD_BYTES);
//! ```

/// Records in one `PutRecordBatch` request.
pub const MAX_RECORDS_PER_REQUEST: usize = 500;
/// Bytes of data in one `PutRecordBatch` request: 4 MiB.
pub const MAX_REQUEST_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes of data in one record: 1,000 KiB.
pub const MAX_RECORD_BYTES: u64 = 1000 * 1024;
/// Events that Firehose extracts from one record for dynamic partitioning.
pub const MAX_EVENTS_PER_RECORD: usize = 500;
/// Characters in a stream name, each of `[A-Za-z0-9_.-]`; the minimum is one.
pub const MAX_STREAM_NAME_CHARS: usize = 64;
