//! The trait of a sender, which talks to a service.

use std::fmt::Debug;

use async_trait::async_trait;
use batcher::BatchLimits;
use record_cache::{Record, StreamName};

use crate::api::{Cause, Fault, NoAnswer};

/// Sends one batch to a service.
///
/// ```
/// use async_trait::async_trait;
/// use flush_engine::{BatchLimits, Cause, NoAnswer, RecordSender, SendError, Verdict};
/// use record_cache::{Record, StreamName};
/// use std::num::{NonZeroU64, NonZeroUsize};
/// use tokio::io::AsyncWriteExt;
///
/// /// Sends to a socket of this machine, which accepts whatever it reads.
/// #[derive(Debug)]
/// struct Socket(&'static str);
///
/// #[async_trait]
/// impl RecordSender for Socket {
///     fn limits(&self) -> BatchLimits {
///         BatchLimits::new(NonZeroUsize::MAX, NonZeroU64::MIN.saturating_add(65_535))
///     }
///
///     async fn send(&self, _: &StreamName, batch: &[Record]) -> Result<Vec<Verdict>, SendError> {
///         let lost = |error: std::io::Error| {
///             let cause = Cause::chain([error.to_string()]);
///             SendError::lost(NoAnswer::Offline, "the socket is closed", cause)
///         };
///         let mut socket = tokio::net::TcpStream::connect(self.0).await.map_err(lost)?;
///         for record in batch {
///             socket.write_all(&record.data).await.map_err(lost)?;
///         }
///         Ok(vec![Verdict::Accepted(None); batch.len()])
///     }
/// }
/// ```
#[async_trait]
pub trait RecordSender: Debug + Send + Sync + 'static {
    /// How many records and bytes to read for one request.
    fn limits(&self) -> BatchLimits;

    /// How many of these records, counted from the first, fit into one request: at least one. For
    /// senders whose [`limits`](Self::limits) alone do not decide that.
    ///
    /// # Cancel safety
    /// Nothing is sent.
    async fn fit(&self, _stream: &StreamName, batch: &[Record]) -> usize {
        batch.len()
    }

    /// Sends a batch and returns one verdict per record, in order. The batch is never empty, stays
    /// within [`limits`](Self::limits), and is cut to what [fits](Self::fit).
    ///
    /// # Errors
    /// [`SendError::Refused`] when the service refused the whole request, and
    /// [`SendError::NoAnswer`] when its outcome is unknown.
    ///
    /// # Cancel safety
    /// The engine drops the future when the request takes too long. The service may have accepted
    /// the records anyway.
    async fn send(&self, stream: &StreamName, batch: &[Record]) -> Result<Vec<Verdict>, SendError>;
}

/// The service's answer for one record.
///
/// ```
/// use flush_engine::{Receipt, Verdict};
///
/// /// From an answer for one record: its id, or an error code.
/// fn verdict(answer: Result<&str, &str>) -> Verdict {
///     match answer {
///         Ok(id) => Verdict::Accepted(Some(Receipt::new(id.to_owned(), None))),
///         Err(code) => Verdict::Failed { code: code.to_owned() },
///     }
/// }
/// assert_ne!(verdict(Ok("17")), verdict(Err("TooBusy")));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The service accepted it, with a receipt if there is one.
    Accepted(Option<Receipt>),
    /// The service rejected it with this error code.
    Failed {
        /// The code.
        code: String,
    },
    /// It was refused together with other records, because of something in one of them. They are
    /// sent again in smaller parts before any is charged.
    FailedTogether {
        /// The code.
        code: String,
    },
    /// It must be sent again. No one is at fault.
    Kept,
}

/// Where an accepted record went.
///
/// ```
/// use flush_engine::Receipt;
///
/// let receipt = Receipt::new("4953".to_owned(), Some("shardId-000000000000".to_owned()));
/// assert_eq!(receipt.id, "4953");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The service's id for the record: Kinesis' sequence number, Firehose's record id.
    pub id: String,
    /// The shard, if the service has shards.
    pub shard_id: Option<String>,
}

impl Receipt {
    /// A receipt from the service.
    #[must_use]
    pub const fn new(id: String, shard_id: Option<String>) -> Self {
        Self { id, shard_id }
    }
}

/// Why there are no verdicts.
///
/// ```
/// use flush_engine::{Fault, NoAnswer, SendError};
///
/// let no_stream = SendError::refused(Fault::Stream, Some("NoSuchStream".to_owned()), "no stream");
/// let too_late = SendError::timed_out("no answer within 30 s");
/// let not_ours = SendError::unreadable("a page of a proxy");
/// let offline = SendError::lost(NoAnswer::Offline, "no route", None);
/// let unknown = SendError::no_answer("the request could not be made");
/// assert!(matches!(no_stream, SendError::Refused { fault: Fault::Stream, .. }));
/// assert!(matches!(too_late, SendError::NoAnswer { reason: NoAnswer::TimedOut, .. }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The service refused the whole request.
    #[non_exhaustive]
    Refused {
        /// Who is at fault. Decides what is charged.
        fault: Fault,
        /// The error code, if there was one.
        code: Option<String>,
        /// The service's message; shown to the caller, never logged.
        message: String,
    },
    /// There was no readable answer.
    #[non_exhaustive]
    NoAnswer {
        /// Why.
        reason: NoAnswer,
        /// What happened; shown to the caller, never logged.
        message: String,
        /// The cause; shown to the caller, never logged.
        source: Option<Cause>,
    },
}

impl SendError {
    /// A refusal with the service's code and message.
    #[must_use]
    pub fn refused(fault: Fault, code: Option<String>, message: impl Into<String>) -> Self {
        match fault {
            Fault::Unreadable => Self::unreadable(message),
            fault => Self::Refused {
                fault,
                code,
                message: message.into(),
            },
        }
    }

    /// No answer, for some other reason.
    #[must_use]
    pub fn no_answer(message: impl Into<String>) -> Self {
        Self::lost(NoAnswer::Other, message, None)
    }

    /// No answer within the time limit of the request.
    #[must_use]
    pub fn timed_out(message: impl Into<String>) -> Self {
        Self::lost(NoAnswer::TimedOut, message, None)
    }

    /// An unreadable answer.
    #[must_use]
    pub fn unreadable(message: impl Into<String>) -> Self {
        Self::lost(NoAnswer::Unreadable, message, None)
    }

    /// No answer, with this reason and cause.
    #[must_use]
    pub fn lost(reason: NoAnswer, message: impl Into<String>, source: Option<Cause>) -> Self {
        Self::NoAnswer {
            reason,
            message: message.into(),
            source,
        }
    }
}
