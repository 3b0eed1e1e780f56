//! The service's quotas, in one place.
//!
//! Source: the Amazon Kinesis Data Streams API reference, `PutRecords`
//! (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>) and
//! `PutRecordsRequestEntry`. A record counts with its data before base64 encoding and
//! with its partition key in UTF-8. MiB = 1024² bytes.

/// Records in one `PutRecords` request.
pub const MAX_RECORDS_PER_REQUEST: usize = 500;
/// Bytes in one `PutRecords` request: data and partition keys, 10 MiB.
pub const MAX_REQUEST_BYTES: u64 = 10 * 1024 * 1024;
/// Bytes of one record, data and partition key: 10 MiB. A stream's own `MaxRecordSize` may
/// be lower; see
/// [`max_record_bytes`](crate::AmplifyKinesisClientOptions::max_record_bytes).
pub const MAX_RECORD_BYTES: u64 = 10 * 1024 * 1024;
/// Unicode scalar values in a partition key, which has at least one.
pub const MAX_PARTITION_KEY_CHARS: usize = 256;
/// Characters of a stream name, which has at least one, each of `[A-Za-z0-9_.-]`.
pub const MAX_STREAM_NAME_CHARS: usize = 128;
