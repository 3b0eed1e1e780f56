//! What can go wrong in an engine.

use record_cache::StoreError;

use crate::api::{Cause, FlushData, InvalidSetting, NoAnswer};

/// Why an engine could not do what was asked.
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
        /// What the pass had done before.
        flushed: Option<Box<FlushData>>,
    },
    /// The call cannot be made here.
    #[error(transparent)]
    Validation(#[from] InvalidSetting),
    /// The engine was closed.
    #[error("the client is closed")]
    Closed,
    /// The service gave no answer that can be read, or something unforeseen happened.
    #[error("{message}")]
    #[non_exhaustive]
    Unknown {
        /// Why there was no answer.
        reason: NoAnswer,
        /// What happened.
        message: String,
        /// What caused it.
        source: Option<Cause>,
        /// What the pass had done before.
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

    /// The kind of error in a word, for logs.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::LimitExceeded(_) => "limit_exceeded",
            Self::Storage { .. } => "storage",
            Self::Validation(_) => "validation",
            Self::Closed => "closed",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Why there was no answer, in a word, for logs.
    pub(crate) const fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Unknown { reason, .. } => Some(reason.word()),
            _ => None,
        }
    }

    /// Why nothing is delivered, in a word for logs: the kind, or why there was no answer.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Unknown { reason, .. } => reason.word(),
            _ => self.kind(),
        }
    }

    /// The same error, with what was done before it happened.
    pub(crate) fn after(mut self, done: FlushData) -> Self {
        if let Self::Storage { flushed, .. } | Self::Unknown { flushed, .. } = &mut self {
            *flushed = Some(Box::new(done));
        }
        self
    }

    /// Takes out what was done before the error happened.
    pub(crate) fn take_flushed(&mut self) -> Option<FlushData> {
        match self {
            Self::Storage { flushed, .. } | Self::Unknown { flushed, .. } => {
                flushed.take().map(|data| *data)
            }
            Self::LimitExceeded(_) | Self::Validation(_) | Self::Closed => None,
        }
    }
}

/// The cache has no room for what was to be recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitExceeded {
    /// There will be room once records have been delivered or cleared.
    #[error(
        "the cache is full: {needed} bytes in {needed_records} records do not fit beside {held} \
         bytes in {held_records} records; the limits are {max_bytes} bytes and {max_records} records"
    )]
    #[non_exhaustive]
    Full {
        /// Bytes to be recorded.
        needed: u64,
        /// Records to be recorded.
        needed_records: u64,
        /// Bytes that are cached or being cached.
        held: u64,
        /// Records that are cached or being cached.
        held_records: u64,
        /// Bytes that may be cached.
        max_bytes: u64,
        /// Records that may be cached.
        max_records: u64,
    },
    /// There will never be room: even an empty cache is too small.
    #[error(
        "can never fit: {needed} bytes in {needed_records} records; an empty cache takes \
         {max_bytes} bytes and {max_records} records"
    )]
    #[non_exhaustive]
    NeverFits {
        /// Bytes to be recorded.
        needed: u64,
        /// Records to be recorded.
        needed_records: u64,
        /// Bytes that may be cached.
        max_bytes: u64,
        /// Records that may be cached.
        max_records: u64,
    },
    /// The stream has its share of the cache. There will be room once records of it have been
    /// delivered or cleared; other streams are taken in.
    #[error(
        "the share of the stream {stream_name} is used up: {needed} bytes do not fit beside {held}; \
         max_stream_share is {max_stream_share} bytes"
    )]
    #[non_exhaustive]
    StreamFull {
        /// The stream.
        stream_name: String,
        /// Bytes to be recorded for it.
        needed: u64,
        /// Bytes of it that are cached or being cached.
        held: u64,
        /// Bytes that one stream may take.
        max_stream_share: u64,
    },
    /// There will never be room: the share of a stream is too small.
    #[error(
        "can never fit: {needed} bytes for the stream {stream_name}; max_stream_share is \
         {max_stream_share} bytes"
    )]
    #[non_exhaustive]
    StreamNeverFits {
        /// The stream.
        stream_name: String,
        /// Bytes to be recorded for it.
        needed: u64,
        /// Bytes that one stream may take.
        max_stream_share: u64,
    },
}

impl LimitExceeded {
    /// Whether there will be room once records have left the cache.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Full { .. } | Self::StreamFull { .. } => true,
            Self::NeverFits { .. } | Self::StreamNeverFits { .. } => false,
        }
    }
}
