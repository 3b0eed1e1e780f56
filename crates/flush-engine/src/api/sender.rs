//! The trait of a sender, which talks to a service.

use std::fmt::Debug;

use async_trait::async_trait;
use batcher::BatchLimits;
use record_cache::{Record, StreamName};

use crate::api::{Cause, Fault, NoAnswer};

/// Sends one batch to a service.
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
