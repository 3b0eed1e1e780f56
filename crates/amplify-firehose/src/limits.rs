//! The service's quotas, in one place.
//!
//! Source: the Amazon Data Firehose API reference, `PutRecordBatch`
//! (<https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html>), and the
//! developer guide's page on quotas. A record counts with its data before base64 encoding.
//! KiB = 1024 bytes, MiB = 1024² bytes.

/// Records in one `PutRecordBatch` request.
pub const MAX_RECORDS_PER_REQUEST: usize = 500;
/// Bytes of data in one `PutRecordBatch` request: 4 MiB.
pub const MAX_REQUEST_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes of data in one record: 1,000 KiB.
pub const MAX_RECORD_BYTES: u64 = 1000 * 1024;
/// Events that Firehose takes out of one record, where it partitions by what is in them.
pub const MAX_EVENTS_PER_RECORD: usize = 500;
/// Characters of a stream name, which has at least one, each of `[A-Za-z0-9_.-]`.
pub const MAX_STREAM_NAME_CHARS: usize = 64;
