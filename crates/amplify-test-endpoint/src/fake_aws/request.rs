//! The requests that the endpoint received, and their outcomes.

use std::time::Instant;

use bytes::Bytes;

/// The service that a request is for.
///
/// ```
/// use amplify_test_endpoint::{FakeAws, Reply, Service};
///
/// let aws = FakeAws::start();
/// aws.always(|request| match request.service {
///     Service::Kinesis => Reply::Accept,
///     Service::Firehose => Reply::Throttle,
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Kinesis Data Streams, `PutRecords`.
    Kinesis,
    /// Data Firehose, `PutRecordBatch`.
    Firehose,
}

/// One record as received, its data decoded.
///
/// ```
/// use amplify_test_endpoint::{FakeAws, PutRecord};
///
/// let aws = FakeAws::start();
/// // … the program under test sends records …
/// let of_customer = |record: &PutRecord| record.partition_key.as_deref() == Some("customer-7");
/// let orders = aws.delivered("orders").into_iter().filter(of_customer);
/// println!("{} orders of one customer", orders.count());
/// ```
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
///
/// ```
/// use amplify_test_endpoint::{FakeAws, PutRequest, Reply};
///
/// /// Accepts the first ten requests only.
/// fn worn_out(request: &PutRequest) -> Reply {
///     println!("{} records for {}", request.records.len(), request.stream);
///     if request.index < 10 { Reply::Accept } else { Reply::Close }
/// }
/// FakeAws::start().always(worn_out);
/// ```
#[derive(Clone, Debug)]
pub struct PutRequest {
    /// Its index in [`FakeAws::requests`](super::FakeAws::requests).
    pub index: usize,
    /// The service it is for.
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

/// The log entry of a request.
///
/// ```
/// use amplify_test_endpoint::{FakeAws, RequestLog};
/// use std::time::Duration;
///
/// /// How long the request took, if it is over.
/// fn duration(request: &RequestLog) -> Option<Duration> {
///     Some(request.ended?.duration_since(request.started))
/// }
/// let aws = FakeAws::start();
/// // … the program under test sends records …
/// assert!(aws.requests().iter().all(|request| duration(request) < Some(Duration::from_secs(1))));
/// ```
#[derive(Clone, Debug)]
pub struct RequestLog {
    /// The service it was for.
    pub service: Service,
    /// The stream, or delivery stream, it named.
    pub stream: String,
    /// How many records it had.
    pub records: usize,
    /// Their size: data and, for Kinesis, partition keys.
    pub bytes: usize,
    /// How many of them were accepted.
    pub accepted: usize,
    /// The header `user-agent`; empty if there was none.
    pub user_agent: String,
    /// The header `x-amz-user-agent`; empty if there was none.
    pub amz_user_agent: String,
    /// Its outcome.
    pub outcome: Outcome,
    /// Requests in flight when its head had been read, including this one.
    pub in_flight_at_start: usize,
    /// When its head had been read.
    pub started: Instant,
    /// When its response was about to be sent, or it was given up; `None` while it is in flight.
    pub ended: Option<Instant>,
}

/// The outcome of a request.
///
/// ```
/// use amplify_test_endpoint::Outcome;
///
/// fn describe(outcome: &Outcome) -> String {
///     match outcome {
///         Outcome::Pending => "in flight".to_owned(),
///         Outcome::Answered { code: Some(code), .. } => code.clone(),
///         Outcome::Answered { status, .. } => format!("HTTP {status}"),
///         Outcome::Unreadable | Outcome::Dropped | Outcome::Abandoned => "no answer".to_owned(),
///     }
/// }
/// assert_eq!(describe(&Outcome::Answered { status: 200, code: None }), "HTTP 200");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in flight.
    Pending,
    /// It was answered with this status and, if refused, this error code.
    Answered {
        /// HTTP status.
        status: u16,
        /// The error code of a refusal.
        code: Option<String>,
    },
    /// It got an unreadable response: garbage, truncated, or a wrong number of results.
    Unreadable,
    /// The endpoint closed the connection without a response.
    Dropped,
    /// The client hung up, or the endpoint was stopped, before the response was sent.
    Abandoned,
}

impl Outcome {
    /// Whether it was answered with status 200, even if single records failed.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Answered { status: 200, .. })
    }
}
