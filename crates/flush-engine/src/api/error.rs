//! The errors of an engine.

use record_cache::StoreError;

use crate::api::{Cause, FlushData, InvalidSetting, NoAnswer};

/// The errors of an engine.
///
/// ```
/// use flush_engine::EngineError;
///
/// /// Whether a later call may succeed.
/// fn is_worth_another_try(error: &EngineError) -> bool {
///     match error {
///         EngineError::LimitExceeded(limit) => limit.may_pass(),
///         EngineError::Storage { .. } | EngineError::Unknown { .. } => true,
///         _ => false,
///     }
/// }
/// assert!(!is_worth_another_try(&EngineError::Closed));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// There is no room for the records; nothing was stored.
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
    /// The store failed.
    #[error("the local cache failed")]
    #[non_exhaustive]
    Storage {
        /// How it failed.
        #[source]
        source: StoreError,
        /// What the pass had done before the error.
        flushed: Option<Box<FlushData>>,
    },
    /// The call is not allowed here.
    #[error(transparent)]
    Validation(#[from] InvalidSetting),
    /// The engine was closed.
    #[error("the client is closed")]
    Closed,
    /// The service gave no readable answer, or something unexpected happened.
    #[error("{message}")]
    #[non_exhaustive]
    Unknown {
        /// Why there was no answer.
        reason: NoAnswer,
        /// What happened.
        message: String,
        /// What caused it.
        source: Option<Cause>,
        /// What the pass had done before the error.
        flushed: Option<Box<FlushData>>,
    },
}

impl EngineError {
    pub(crate) fn storage(source: StoreError) -> Self {
        match source {
            StoreError::Closed => Self::Closed,
            source => Self::Storage {
                source,
                flushed: None,
            },
        }
    }

    pub(crate) fn unknown(message: impl Into<String>) -> Self {
        Self::no_answer(NoAnswer::Other, message, None)
    }

    pub(crate) fn no_answer(
        reason: NoAnswer,
        message: impl Into<String>,
        source: Option<Cause>,
    ) -> Self {
        Self::Unknown {
            reason,
            message: message.into(),
            source,
            flushed: None,
        }
    }

    /// The kind of error as a single word, for logs.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::LimitExceeded(_) => "limit_exceeded",
            Self::Storage { .. } => "storage",
            Self::Validation(_) => "validation",
            Self::Closed => "closed",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Why there was no answer, as a single word for logs.
    pub(crate) const fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Unknown { reason, .. } => Some(reason.word()),
            _ => None,
        }
    }

    /// Why nothing is delivered, as a single word for logs: the error kind, or why there was no
    /// answer.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Unknown { reason, .. } => reason.word(),
            _ => self.kind(),
        }
    }

    /// Adds what the pass had done before the error.
    pub(crate) fn after(mut self, done: FlushData) -> Self {
        if let Self::Storage { flushed, .. } | Self::Unknown { flushed, .. } = &mut self {
            *flushed = Some(Box::new(done));
        }
        self
    }

    /// Takes what the pass had done before the error.
    pub(crate) fn take_flushed(&mut self) -> Option<FlushData> {
        match self {
            Self::Storage { flushed, .. } | Self::Unknown { flushed, .. } => {
                flushed.take().map(|data| *data)
            }
            Self::LimitExceeded(_) | Self::Validation(_) | Self::Closed => None,
        }
    }
}

/// The cache has no room for new records.
///
/// ```
/// use flush_engine::LimitExceeded;
///
/// /// Whose records take up the room.
/// fn culprit(limit: &LimitExceeded) -> &str {
///     match limit {
///         LimitExceeded::StreamFull { stream_name, .. }
///         | LimitExceeded::StreamNeverFits { stream_name, .. } => stream_name,
///         _ => "all streams together",
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitExceeded {
    /// There will be room once records are delivered or cleared.
    #[error(
        "the cache is full: {needed} bytes in {needed_records} records do not fit beside {held} \
         bytes in {held_records} records; the limits are {max_bytes} bytes and {max_records} records"
    )]
    #[non_exhaustive]
    Full {
        /// Bytes to store.
        needed: u64,
        /// Records to store.
        needed_records: u64,
        /// Bytes cached or being stored.
        held: u64,
        /// Records cached or being stored.
        held_records: u64,
        /// The cache limit in bytes.
        max_bytes: u64,
        /// The cache limit in records.
        max_records: u64,
    },
    /// There will never be room: even an empty cache is too small.
    #[error(
        "the records can never fit: {needed} bytes in {needed_records} records; an empty cache takes \
         {max_bytes} bytes and {max_records} records"
    )]
    #[non_exhaustive]
    NeverFits {
        /// Bytes to store.
        needed: u64,
        /// Records to store.
        needed_records: u64,
        /// The cache limit in bytes.
        max_bytes: u64,
        /// The cache limit in records.
        max_records: u64,
    },
    /// The stream has used up its share of the cache. There will be room once some of its records
    /// are delivered or cleared. Other streams are not affected.
    #[error(
        "the share of the stream {stream_name} is used up: {needed} bytes do not fit beside {held}; \
         max_stream_share is {max_stream_share} bytes"
    )]
    #[non_exhaustive]
    StreamFull {
        /// The stream.
        stream_name: String,
        /// Bytes to store for it.
        needed: u64,
        /// Bytes of the stream that are cached or being stored.
        held: u64,
        /// The share of one stream, in bytes.
        max_stream_share: u64,
    },
    /// There will never be room: the share of one stream is too small.
    #[error(
        "the records can never fit: {needed} bytes for the stream {stream_name}; max_stream_share is \
         {max_stream_share} bytes"
    )]
    #[non_exhaustive]
    StreamNeverFits {
        /// The stream.
        stream_name: String,
        /// Bytes to store for it.
        needed: u64,
        /// The share of one stream, in bytes.
        max_stream_share: u64,
    },
}

impl LimitExceeded {
    /// Whether there may be room once records leave the cache.
    ///
    /// ```
    /// use flush_engine::{FlushEngine, EngineError};
    /// use record_cache::NewRecord;
    /// use std::time::Duration;
    ///
    /// # async fn example(engine: &FlushEngine, record: NewRecord) -> Result<(), EngineError> {
    /// match engine.record(vec![record.clone()]).await {
    ///     Err(EngineError::LimitExceeded(limit)) if limit.may_pass() => {
    ///         engine.drain(Duration::from_secs(10)).await?;
    ///         engine.record(vec![record]).await?;
    ///     }
    ///     other => drop(other?),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Full { .. } | Self::StreamFull { .. } => true,
            Self::NeverFits { .. } | Self::StreamNeverFits { .. } => false,
        }
    }
}
