//! What the endpoint was sent, and what became of it.

use std::time::Instant;

use bytes::Bytes;

/// Which of the two services a request speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Kinesis Data Streams, `PutRecords`.
    Kinesis,
    /// Data Firehose, `PutRecordBatch`.
    Firehose,
}

/// One record as it came over the wire, its data decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutRecord {
    /// The payload.
    pub data: Bytes,
    /// The partition key; Firehose has none.
    pub partition_key: Option<String>,
    /// The explicit hash key, if there is one.
    pub explicit_hash_key: Option<String>,
}

/// A request within the services' limits, shown to a rule before it is answered.
#[derive(Clone, Debug)]
pub struct PutRequest {
    /// Its place in [`FakeAws::requests`](super::FakeAws::requests).
    pub index: usize,
    /// The service it speaks to.
    pub service: Service,
    /// The stream, or delivery stream, it names.
    pub stream: String,
    /// Its records in order.
    pub records: Vec<PutRecord>,
    /// The header `user-agent`; empty if there is none.
    pub user_agent: String,
    /// The header `x-amz-user-agent`; empty if there is none.
    pub amz_user_agent: String,
}

/// What is remembered of a request, in order of arrival.
#[derive(Clone, Debug)]
pub struct RequestLog {
    /// The service it spoke to.
    pub service: Service,
    /// The stream, or delivery stream, it named.
    pub stream: String,
    /// How many records it had.
    pub records: usize,
    /// Their size: data and, for Kinesis, partition keys.
    pub bytes: usize,
    /// How many of them were taken in.
    pub accepted: usize,
    /// The header `user-agent`; empty if there was none.
    pub user_agent: String,
    /// The header `x-amz-user-agent`; empty if there was none.
    pub amz_user_agent: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Requests under way when its head had been read, this one included.
    pub in_flight_at_start: usize,
    /// When its head had been read.
    pub started: Instant,
    /// When its answer was about to be sent, or it was given up; `None` while it is under way.
    pub ended: Option<Instant>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is under way.
    Pending,
    /// It was answered by this status and, if refused, this error code.
    Answered {
        /// HTTP status.
        status: u16,
        /// The error code of a refusal.
        code: Option<String>,
    },
    /// It got an answer that cannot be read: garbage, truncated, or a wrong number of results.
    Unreadable,
    /// The endpoint ended the connection without an answer.
    Dropped,
    /// The client hung up, or the endpoint was stopped, before the answer was sent.
    Abandoned,
}

impl Outcome {
    /// Whether it was answered by status 200, though single records may have failed.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Answered { status: 200, .. })
    }
}
