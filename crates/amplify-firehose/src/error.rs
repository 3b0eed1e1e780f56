//! What can go wrong in a client.

use std::error::Error;

use flush_engine::{EngineError, FlushData, InvalidSetting, LimitExceeded, StorageError};
use record_cache::StoreError;

/// What can go wrong in a client, in the five kinds that callers treat differently.
#[derive(Debug, thiserror::Error)]
pub enum AmplifyFirehoseError {
    /// A record or a setting is not valid. Nothing was stored; trying again is of no use.
    #[error("{message}")]
    #[non_exhaustive]
    Validation {
        /// What is wrong.
        message: String,
        /// What to do.
        recovery_suggestion: String,
    },
    /// The local cache has no room. Nothing was stored.
    #[error("{message}")]
    #[non_exhaustive]
    LimitExceeded {
        /// What did not fit.
        message: String,
        /// What to do.
        recovery_suggestion: String,
    },
    /// The local cache failed. Nothing that was acknowledged is lost.
    #[error("{message}")]
    #[non_exhaustive]
    Storage {
        /// What failed.
        message: String,
        /// What to do.
        recovery_suggestion: String,
        /// What the system said, if it said anything.
        source: Option<Box<dyn Error + Send + Sync>>,
        /// What the pass had done before, if it was a flush.
        flush_data: Option<Box<FlushData>>,
    },
    /// The client was closed and cannot be used any more.
    #[error("the client is closed")]
    ClientClosed,
    /// The service did not answer, or something unforeseen happened. Nothing is lost.
    #[error("{message}")]
    #[non_exhaustive]
    Unknown {
        /// What happened.
        message: String,
        /// What to do.
        recovery_suggestion: String,
        /// What the pass had done before, if it was a flush.
        flush_data: Option<Box<FlushData>>,
    },
}

impl AmplifyFirehoseError {
    /// What happened.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Validation { message, .. }
            | Self::LimitExceeded { message, .. }
            | Self::Storage { message, .. }
            | Self::Unknown { message, .. } => message,
            Self::ClientClosed => "the client is closed",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn recovery_suggestion(&self) -> &str {
        match self {
            Self::Validation {
                recovery_suggestion,
                ..
            }
            | Self::LimitExceeded {
                recovery_suggestion,
                ..
            }
            | Self::Storage {
                recovery_suggestion,
                ..
            }
            | Self::Unknown {
                recovery_suggestion,
                ..
            } => recovery_suggestion,
            Self::ClientClosed => "create a new client",
        }
    }

    /// What a flush or drain had done before the error ended it.
    #[must_use]
    pub fn flush_data(&self) -> Option<&FlushData> {
        match self {
            Self::Storage { flush_data, .. } | Self::Unknown { flush_data, .. } => {
                flush_data.as_deref()
            }
            Self::Validation { .. } | Self::LimitExceeded { .. } | Self::ClientClosed => None,
        }
    }

    pub(crate) fn validation(
        message: impl Into<String>,
        recovery_suggestion: impl Into<String>,
    ) -> Self {
        Self::Validation {
            message: message.into(),
            recovery_suggestion: recovery_suggestion.into(),
        }
    }

    fn storage(error: StoreError, flush_data: Option<Box<FlushData>>) -> Self {
        let recovery_suggestion = match &error {
            StoreError::InUse { .. } => {
                "close the other client, or give this one a directory of its own (storage_path, journal)"
            }
            StoreError::Incompatible { .. } => {
                "use the version and the store that wrote the directory, or choose another one (storage_path, journal)"
            }
            _ => "check that the disk has room and that the directory can be written, then retry",
        };
        let (message, source) = match error {
            StoreError::Unavailable {
                context, source, ..
            } => (context, source),
            error => (error.to_string(), None),
        };
        Self::Storage {
            message,
            recovery_suggestion: recovery_suggestion.to_owned(),
            source: source.map(|source| Box::new(source) as Box<dyn Error + Send + Sync>),
            flush_data,
        }
    }
}

impl From<EngineError> for AmplifyFirehoseError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::LimitExceeded(limit) => Self::LimitExceeded {
                message: limit.to_string(),
                recovery_suggestion: match limit {
                    LimitExceeded::NeverFits { .. } => {
                        "record less at once, or raise cache_max_bytes"
                    }
                    _ => {
                        "call flush or clear_cache to free space, raise cache_max_bytes, or let \
                         the oldest records make room by overflow_policy"
                    }
                }
                .to_owned(),
            },
            EngineError::Storage {
                source, flushed, ..
            } => Self::storage(source, flushed),
            EngineError::Closed => Self::ClientClosed,
            EngineError::Unknown {
                message, flushed, ..
            } => Self::Unknown {
                message,
                recovery_suggestion: "check the network, the endpoint and the credentials; the \
                                      records stay cached and are sent by a later flush"
                    .to_owned(),
                flush_data: flushed,
            },
            error => Self::Unknown {
                message: error.to_string(),
                recovery_suggestion: "retry; the records stay cached".to_owned(),
                flush_data: None,
            },
        }
    }
}

impl From<InvalidSetting> for AmplifyFirehoseError {
    fn from(invalid: InvalidSetting) -> Self {
        Self::validation(invalid.to_string(), invalid.suggestion)
    }
}

impl From<StorageError> for AmplifyFirehoseError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Setting(invalid) => invalid.into(),
            StorageError::Store(error) => Self::storage(error, None),
            error => Self::Storage {
                message: error.to_string(),
                recovery_suggestion: "choose another storage_path".to_owned(),
                source: None,
                flush_data: None,
            },
        }
    }
}
