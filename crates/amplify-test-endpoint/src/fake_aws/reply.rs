//! The replies that the endpoint can be told to give.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::request::PutRecord;

/// What the endpoint does with one request.
///
/// Only [`Accept`](Self::Accept), [`AcceptFirst`](Self::AcceptFirst),
/// [`RecordErrors`](Self::RecordErrors) and [`FailWhere`](Self::FailWhere) accept records. Any
/// other reply accepts none, unless wrapped by [`after_accepting`](Self::after_accepting).
///
/// ```
/// use amplify_test_endpoint::{FakeAws, Reply};
/// use std::time::Duration;
///
/// let aws = FakeAws::start();
/// aws.script(Reply::fail_at([0, 2], "InternalFailure"));
/// aws.script(Reply::record_errors([None, Some("InternalFailure")]));
/// aws.script(Reply::fail_where(|record| record.data.len() > 1000, "TooLarge"));
/// // The service has the records, and the client does not know.
/// aws.script(Reply::Hang.after_accepting());
/// aws.script(Reply::Accept.delayed(Duration::from_secs(3)));
/// aws.script(Reply::Status(503));
/// ```
#[derive(Clone, Debug)]
pub enum Reply {
    /// Accepts all records.
    Accept,
    /// Accepts the first `n` records; the others fail as throttled.
    AcceptFirst(usize),
    /// One entry for each record, in order: its error code, or `None` to accept it. Records beyond
    /// the last entry are accepted.
    RecordErrors(Vec<Option<String>>),
    /// Matching records fail with the code; the others are accepted.
    FailWhere {
        /// Which records fail.
        matches: RecordMatcher,
        /// Their error code.
        code: String,
    },
    /// Refuses the whole request.
    Refuse(Refusal),
    /// Refuses the whole request as throttled: Kinesis with 400
    /// `ProvisionedThroughputExceededException`, Firehose with 503 `ServiceUnavailableException`.
    Throttle,
    /// Answers with this HTTP status, an empty body and no error code.
    Status(u16),
    /// Answers with this HTTP status and this body as `text/html`, like a proxy in between.
    Page {
        /// HTTP status.
        status: u16,
        /// The whole body.
        body: Bytes,
    },
    /// Never answers; holds the connection until the client or the endpoint gives up.
    Hang,
    /// Closes the connection without an answer.
    Close,
    /// Resets the connection (RST) without an answer.
    Reset,
    /// Answers 200 with a body that is not JSON.
    Garbage,
    /// Answers with bytes that are not HTTP, then closes the connection.
    NotHttp,
    /// Answers 200 with this many successful results, whatever was sent.
    WrongCount(usize),
    /// Announces a whole response, sends half of it, then closes the connection.
    Truncated,
    /// Accepts all records, then acts like the inner reply; built by
    /// [`after_accepting`](Self::after_accepting).
    AfterAccepting(Box<Reply>),
    /// Acts like the inner reply, but answers this much later; built by [`delayed`](Self::delayed).
    Delayed(Duration, Box<Reply>),
}

impl Reply {
    /// [`RecordErrors`](Self::RecordErrors) from anything that converts to codes.
    pub fn record_errors<C: Into<String>>(codes: impl IntoIterator<Item = Option<C>>) -> Self {
        Self::RecordErrors(codes.into_iter().map(|code| code.map(Into::into)).collect())
    }

    /// The records at these indexes fail with `code`; the others are accepted.
    pub fn fail_at(indexes: impl IntoIterator<Item = usize>, code: &str) -> Self {
        let mut codes = Vec::new();
        for index in indexes {
            if codes.len() <= index {
                codes.resize(index + 1, None);
            }
            codes[index] = Some(code.to_owned());
        }
        Self::RecordErrors(codes)
    }

    /// The records that match fail with `code`; the others are accepted.
    pub fn fail_where(
        matches: impl Fn(&PutRecord) -> bool + Send + Sync + 'static,
        code: impl Into<String>,
    ) -> Self {
        Self::FailWhere {
            matches: RecordMatcher(Arc::new(matches)),
            code: code.into(),
        }
    }

    /// Every record fails with `code`, in a response with status 200.
    pub fn fail_all(code: impl Into<String>) -> Self {
        Self::fail_where(|_| true, code)
    }

    /// Refuses the whole request with `status` and an error code, named in the body's `__type`.
    pub fn refuse(status: u16, code: impl Into<String>) -> Self {
        Self::Refuse(Refusal::new(status, code))
    }

    /// Accepts all records first, so the client hears of fewer than were accepted.
    ///
    /// `Reply::Hang.after_accepting()` is a timeout after the service has accepted the records.
    #[must_use]
    pub fn after_accepting(self) -> Self {
        Self::AfterAccepting(Box::new(self))
    }

    /// Sends the response this much later; records are still accepted immediately.
    #[must_use]
    pub fn delayed(self, delay: Duration) -> Self {
        Self::Delayed(delay, Box::new(self))
    }
}

/// Decides which records of a request fail; built by [`Reply::fail_where`].
///
/// ```
/// use amplify_test_endpoint::{FakeAws, Reply};
///
/// // One bad record, wherever it is in a batch.
/// let aws = FakeAws::start();
/// aws.always(|_| Reply::fail_where(|record| record.data == "bad", "InternalFailure"));
/// ```
#[derive(Clone)]
pub struct RecordMatcher(Arc<dyn Fn(&PutRecord) -> bool + Send + Sync>);

impl RecordMatcher {
    pub(super) fn matches(&self, record: &PutRecord) -> bool {
        (self.0)(record)
    }
}

impl fmt::Debug for RecordMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordMatcher(..)")
    }
}

/// A refused request: status, error code, message, and where the code appears.
///
/// ```
/// use amplify_test_endpoint::{CodeIn, FakeAws, Refusal};
///
/// let aws = FakeAws::start();
/// let expired = Refusal::new(400, "ExpiredTokenException")
///     .message("The security token included in the request is expired")
///     .code_in(CodeIn::Header);
/// aws.script(expired.into());
/// aws.script(Refusal::without_code(500).into());
/// ```
#[derive(Clone, Debug)]
pub struct Refusal {
    pub(super) status: u16,
    pub(super) code: Option<String>,
    pub(super) message: String,
    pub(super) code_in: CodeIn,
}

impl Refusal {
    /// A refusal with `status` and `code`, which the body's `__type` names.
    pub fn new(status: u16, code: impl Into<String>) -> Self {
        Self {
            code: Some(code.into()),
            ..Self::without_code(status)
        }
    }

    /// A refusal with `status` whose JSON body has a message but no error code.
    pub fn without_code(status: u16) -> Self {
        Self {
            status,
            code: None,
            message: "the request was refused by this endpoint".to_owned(),
            code_in: CodeIn::Body,
        }
    }

    /// Sets the service's message.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// Sets where the code appears: body, header or both.
    #[must_use]
    pub fn code_in(mut self, code_in: CodeIn) -> Self {
        self.code_in = code_in;
        self
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

/// Where a [`Refusal`] names its error code.
///
/// ```
/// use amplify_test_endpoint::{CodeIn, FakeAws, Refusal};
///
/// // A gateway that answers for the service.
/// let aws = FakeAws::start();
/// aws.script(Refusal::new(403, "AccessDeniedException").code_in(CodeIn::Header).into());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CodeIn {
    /// `__type` in the JSON body, as Kinesis and Firehose do.
    #[default]
    Body,
    /// The header `x-amzn-ErrorType`.
    Header,
    /// Both.
    BodyAndHeader,
}
