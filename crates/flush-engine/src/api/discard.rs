//! Discarded records, and the handler that receives them.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use record_cache::{Record, StreamName};

/// Why a record was discarded.
///
/// ```
/// # use flush_engine::DiscardReason;
/// /// Whether more room, or more time, could have saved the record.
/// fn is_for_lack_of_space_or_time(reason: DiscardReason) -> bool {
///     match reason {
///         DiscardReason::Overflow | DiscardReason::Expired => true,
///         // The service does not want it: see the record's `code`.
///         DiscardReason::RetriesExhausted => false,
///         _ => false,
///     }
/// }
/// assert!(is_for_lack_of_space_or_time(DiscardReason::Expired));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DiscardReason {
    /// It was charged more failures than `max_retries` allows.
    RetriesExhausted,
    /// It was dropped to make room for newer records.
    Overflow,
    /// It became too old.
    Expired,
}

#[cfg(feature = "metrics")]
impl DiscardReason {
    /// All reasons.
    #[cfg(feature = "metrics")]
    pub(crate) const ALL: [Self; 3] = [Self::RetriesExhausted, Self::Overflow, Self::Expired];

    /// The reason as a single word, for metrics.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::RetriesExhausted => "retries_exhausted",
            Self::Overflow => "overflow",
            Self::Expired => "expired",
        }
    }
}

/// A discarded record. The handler is the last chance to save it.
///
/// ```
/// # use flush_engine::DiscardedRecord;
/// // A callback for `on_discard`.
/// fn keep(record: DiscardedRecord) {
///     eprintln!(
///         "{}: gave up a record of {} bytes after {} attempts: {:?} {}",
///         record.stream_name,
///         record.data.len(),
///         record.attempts,
///         record.reason,
///         record.code.unwrap_or_default(),
///     );
/// }
/// # flush_engine::DiscardHandler::new(keep);
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiscardedRecord {
    /// The stream it was recorded for.
    pub stream_name: String,
    /// Its partition key, if the service uses one.
    pub partition_key: Option<String>,
    /// Its explicit hash key, if it has one.
    pub explicit_hash_key: Option<u128>,
    /// Its payload.
    pub data: Bytes,
    /// How many attempts were charged to it.
    pub attempts: u32,
    /// Why it was discarded.
    pub reason: DiscardReason,
    /// The error code of the last attempt, if there was one.
    pub code: Option<String>,
}

impl DiscardedRecord {
    pub(crate) fn new(
        stream: &StreamName,
        record: Record,
        attempts: u32,
        reason: DiscardReason,
        code: Option<String>,
    ) -> Self {
        Self {
            stream_name: stream.as_str().to_owned(),
            partition_key: record.key,
            explicit_hash_key: record.explicit_hash_key,
            data: record.data,
            attempts,
            reason,
            code,
        }
    }
}

impl fmt::Debug for DiscardedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscardedRecord")
            .field("stream_name", &self.stream_name)
            .field("bytes", &self.data.len())
            .field("attempts", &self.attempts)
            .field("reason", &self.reason)
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}

/// Called for each discarded record, before the record is deleted.
///
/// ```
/// use flush_engine::{DiscardHandler, EngineOptions};
///
/// let mut options = EngineOptions::default();
/// options.on_discard = Some(DiscardHandler::new(|record| {
///     eprintln!("discarded from {}: {:?}", record.stream_name, record.reason);
/// }));
/// ```
#[derive(Clone)]
pub struct DiscardHandler(Arc<dyn Fn(DiscardedRecord) + Send + Sync>);

impl DiscardHandler {
    /// Wraps a function. A panic in it is contained.
    ///
    /// In the handler, `drain`, `clear`, `close` and `close_with` of the same engine immediately
    /// return [`EngineError::Validation`](crate::EngineError::Validation), since they would wait
    /// for the handler. `flush` reports that a pass is in progress. `record` neither waits nor
    /// drops records.
    pub fn new(handler: impl Fn(DiscardedRecord) + Send + Sync + 'static) -> Self {
        Self(Arc::new(handler))
    }

    pub(crate) fn call(&self, record: DiscardedRecord) {
        (self.0)(record);
    }
}

impl fmt::Debug for DiscardHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DiscardHandler")
    }
}
