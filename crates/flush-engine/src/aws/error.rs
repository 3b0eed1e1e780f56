//! The error type of a client: what happened, and what to do about it.

use std::error::Error;

use record_cache::StoreError;

use crate::{EngineError, FlushData, InvalidSetting, LimitExceeded, NoAnswer, StorageError};

type BoxError = Box<dyn Error + Send + Sync>;

/// The error of a client of any service.
///
/// A client's own error has the same variants; [`aws_error!`](crate::aws_error) creates it.
///
/// ```
/// use flush_engine::aws::ClientError;
///
/// fn kind(error: &ClientError) -> &'static str {
///     match error {
///         ClientError::Validation { .. } => "wrong",
///         ClientError::LimitExceeded { .. } => "full",
///         ClientError::Storage { .. } | ClientError::Unknown { .. } => "try again",
///         ClientError::ClientClosed => "closed",
///     }
/// }
/// assert_eq!(kind(&ClientError::ClientClosed), "closed");
/// ```
#[derive(Debug)]
#[expect(missing_docs, reason = "as in the error of each client")]
pub enum ClientError {
    Validation {
        message: String,
        recovery_suggestion: String,
    },
    LimitExceeded {
        message: String,
        recovery_suggestion: String,
    },
    Storage {
        message: String,
        recovery_suggestion: String,
        source: Option<BoxError>,
        flush_data: Option<Box<FlushData>>,
    },
    ClientClosed,
    Unknown {
        message: String,
        recovery_suggestion: String,
        reason: NoAnswer,
        source: Option<BoxError>,
        flush_data: Option<Box<FlushData>>,
    },
}

impl ClientError {
    pub(crate) fn validation(
        message: impl Into<String>,
        recovery_suggestion: impl Into<String>,
    ) -> Self {
        Self::Validation {
            message: message.into(),
            recovery_suggestion: recovery_suggestion.into(),
        }
    }

    fn limit_exceeded(limit: &LimitExceeded) -> Self {
        let recovery_suggestion = match limit {
            LimitExceeded::NeverFits { .. } => {
                "record fewer bytes per call, or raise cache_max_bytes"
            }
            LimitExceeded::StreamNeverFits { .. } => {
                "record fewer bytes per call, or raise max_stream_share"
            }
            LimitExceeded::StreamFull { .. } => {
                "call flush to deliver records of the stream, raise max_stream_share, or let its \
                 oldest records make room by overflow_policy"
            }
            LimitExceeded::Full { .. } => {
                "call flush or clear_cache to free space, raise cache_max_bytes, or let the oldest \
                 records make room by overflow_policy"
            }
        };
        Self::LimitExceeded {
            message: limit.to_string(),
            recovery_suggestion: recovery_suggestion.to_owned(),
        }
    }

    fn storage(error: StoreError, flush_data: Option<Box<FlushData>>) -> Self {
        let recovery_suggestion = match &error {
            StoreError::InUse { .. } => {
                "close the other client, or give this one a place of its own (storage_path, \
                 journal; in a browser, name)"
            }
            StoreError::Incompatible { .. } => {
                "use the version and the store that wrote the records, or choose another place \
                 (storage_path, journal; in a browser, name)"
            }
            StoreError::Unavailable { source: None, .. } => {
                "do what the message says, or choose another place (storage_path, journal; in a \
                 browser, name)"
            }
            _ => {
                "check that the disk (in a browser, the site's quota) has room and that the \
                 directory can be written, then retry"
            }
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
            source: source.map(|source| Box::new(source) as BoxError),
            flush_data,
        }
    }
}

impl From<EngineError> for ClientError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::LimitExceeded(limit) => Self::limit_exceeded(&limit),
            EngineError::Storage {
                source, flushed, ..
            } => Self::storage(source, flushed),
            EngineError::Validation(invalid) => invalid.into(),
            EngineError::Closed => Self::ClientClosed,
            EngineError::Unknown {
                reason,
                message,
                source,
                flushed,
                ..
            } => Self::Unknown {
                message,
                recovery_suggestion: format!(
                    "{}; the records stay cached and are sent by a later flush",
                    remedy(reason)
                ),
                reason,
                source: source.map(|source| Box::new(source) as BoxError),
                flush_data: flushed,
            },
        }
    }
}

fn remedy(reason: NoAnswer) -> &'static str {
    match reason {
        NoAnswer::Offline => "check the network and the endpoint",
        NoAnswer::TimedOut => "check the network, or raise request_timeout",
        NoAnswer::Credentials => "check the credentials provider",
        NoAnswer::Unreadable => "check what answers at the endpoint; it may be a proxy",
        NoAnswer::Other => "check the network, the endpoint and the credentials",
    }
}

impl From<InvalidSetting> for ClientError {
    fn from(invalid: InvalidSetting) -> Self {
        Self::validation(invalid.to_string(), invalid.suggestion)
    }
}

impl From<StorageError> for ClientError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Setting(invalid) => invalid.into(),
            StorageError::Store(error) => Self::storage(error, None),
        }
    }
}

/// Defines the error of a client: an enum of five kinds that callers handle differently.
///
/// `crate`, `client` and `record` appear only in the examples of the documentation: the name of the
/// calling crate, which must depend on `thiserror`, the type of the client, and a call that records
/// something with a `client`.
///
/// ```
/// flush_engine::aws_error! {
///     pub enum MyError {
///         crate: "my_client",
///         client: MyClient,
///         record: r#"client.record("an order", "orders")"#,
///     }
/// }
///
/// assert_eq!(MyError::ClientClosed.recovery_suggestion(), "create a new client");
/// ```
#[macro_export]
macro_rules! aws_error {
    (
        pub enum $error:ident {
            crate: $krate:literal,
            client: $client:ident,
            record: $record:literal,
        }
    ) => {
        /// A client error, of one of five kinds that callers handle differently.
        ///
        /// ```
        #[doc = concat!("use ", $krate, "::{", stringify!($client), ", ", stringify!($error), "};")]
        ///
        #[doc = concat!(
            "# async fn example(client: &", stringify!($client), ") -> Result<(), ", stringify!($error), "> {"
        )]
        #[doc = concat!("match ", $record, ".await {")]
        ///     // Too much to be cached at the moment: make room, and try once more.
        #[doc = concat!("    Err(", stringify!($error), "::LimitExceeded { .. }) => {")]
        ///         client.flush().await?;
        #[doc = concat!("        ", $record, ".await?;")]
        ///     }
        ///     Err(error) => println!("not recorded: {error}; {}", error.recovery_suggestion()),
        ///     Ok(_) => {}
        /// }
        /// # Ok(())
        /// # }
        /// ```
        #[derive(Debug, thiserror::Error)]
        pub enum $error {
            /// A record or a setting is not valid. Nothing was stored, and retrying does not help.
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
            /// The local cache failed. No acknowledged record is lost.
            #[error("{message}")]
            #[non_exhaustive]
            Storage {
                /// What failed.
                message: String,
                /// What to do.
                recovery_suggestion: String,
                /// The operating system's error, if there was one.
                source: Option<Box<dyn std::error::Error + Send + Sync>>,
                /// What the pass did before the error, if this was a flush.
                flush_data: Option<Box<$crate::FlushData>>,
            },
            /// The client was closed and can no longer be used.
            #[error("the client is closed")]
            ClientClosed,
            /// The service did not answer, or something unexpected happened. Nothing is lost.
            #[error("{message}")]
            #[non_exhaustive]
            Unknown {
                /// What happened.
                message: String,
                /// What to do.
                recovery_suggestion: String,
                /// Why there was no response.
                reason: $crate::NoAnswer,
                /// The cause, if known.
                source: Option<Box<dyn std::error::Error + Send + Sync>>,
                /// What the pass did before the error, if this was a flush.
                flush_data: Option<Box<$crate::FlushData>>,
            },
        }

        impl $error {
            /// What happened.
            ///
            /// ```
            #[doc = concat!("use ", $krate, "::", stringify!($error), ";")]
            ///
            #[doc = concat!("let error = ", stringify!($error), "::ClientClosed;")]
            /// assert_eq!(error.message(), "the client is closed");
            /// assert_eq!(error.message(), error.to_string());
            /// ```
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
            ///
            /// ```
            #[doc = concat!("use ", $krate, "::", stringify!($error), ";")]
            ///
            #[doc = concat!("fn for_operators(error: &", stringify!($error), ") -> String {")]
            ///     format!("{error}: {}", error.recovery_suggestion())
            /// }
            #[doc = concat!("let line = for_operators(&", stringify!($error), "::ClientClosed);")]
            /// assert_eq!(line, "the client is closed: create a new client");
            /// ```
            #[must_use]
            pub fn recovery_suggestion(&self) -> &str {
                match self {
                    Self::Validation { recovery_suggestion, .. }
                    | Self::LimitExceeded { recovery_suggestion, .. }
                    | Self::Storage { recovery_suggestion, .. }
                    | Self::Unknown { recovery_suggestion, .. } => recovery_suggestion,
                    Self::ClientClosed => "create a new client",
                }
            }

            /// What a flush or drain did before the error ended it.
            ///
            /// ```
            #[doc = concat!("use ", $krate, "::{", stringify!($error), ", FlushData};")]
            ///
            /// // Counts what was delivered, even before a failure.
            #[doc = concat!("fn delivered(flushed: &Result<FlushData, ", stringify!($error), ">) -> usize {")]
            ///     let done = flushed.as_ref().map_or_else(|error| error.flush_data(), Some);
            ///     done.map_or(0, |done| done.records_flushed)
            /// }
            #[doc = concat!("# assert_eq!(delivered(&Err(", stringify!($error), "::ClientClosed)), 0);")]
            /// ```
            #[must_use]
            pub fn flush_data(&self) -> Option<&$crate::FlushData> {
                match self {
                    Self::Storage { flush_data, .. } | Self::Unknown { flush_data, .. } => {
                        flush_data.as_deref()
                    }
                    Self::Validation { .. } | Self::LimitExceeded { .. } | Self::ClientClosed => None,
                }
            }

            /// Why the service gave no response, if the error is [`Unknown`](Self::Unknown);
            /// `source()` has more details.
            ///
            /// ```
            #[doc = concat!("use ", $krate, "::{", stringify!($error), ", NoAnswer};")]
            ///
            /// // Only a person can renew the credentials; a network usually recovers by itself.
            #[doc = concat!("fn needs_a_person(error: &", stringify!($error), ") -> bool {")]
            ///     error.reason() == Some(NoAnswer::Credentials)
            /// }
            #[doc = concat!("# assert!(!needs_a_person(&", stringify!($error), "::ClientClosed));")]
            /// ```
            #[must_use]
            pub fn reason(&self) -> Option<$crate::NoAnswer> {
                match self {
                    Self::Unknown { reason, .. } => Some(*reason),
                    Self::Validation { .. }
                    | Self::LimitExceeded { .. }
                    | Self::Storage { .. }
                    | Self::ClientClosed => None,
                }
            }
        }

        impl From<$crate::aws::ClientError> for $error {
            fn from(error: $crate::aws::ClientError) -> Self {
                use $crate::aws::ClientError;
                match error {
                    ClientError::Validation { message, recovery_suggestion } => {
                        Self::Validation { message, recovery_suggestion }
                    }
                    ClientError::LimitExceeded { message, recovery_suggestion } => {
                        Self::LimitExceeded { message, recovery_suggestion }
                    }
                    ClientError::Storage { message, recovery_suggestion, source, flush_data } => {
                        Self::Storage { message, recovery_suggestion, source, flush_data }
                    }
                    ClientError::ClientClosed => Self::ClientClosed,
                    ClientError::Unknown {
                        message,
                        recovery_suggestion,
                        reason,
                        source,
                        flush_data,
                    } => Self::Unknown {
                        message,
                        recovery_suggestion,
                        reason,
                        source,
                        flush_data,
                    },
                }
            }
        }
    };
}
