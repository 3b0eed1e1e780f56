//! Records that the service has taken, and the handler that is told.

use std::fmt;
use std::sync::Arc;

use record_cache::StreamName;

use crate::api::Receipt;

/// A record that the service accepted.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveredRecord {
    /// The stream that it was recorded for.
    pub stream_name: String,
    /// Its partition key, where the service has one.
    pub partition_key: Option<String>,
    /// Where it went, if the sender said.
    pub receipt: Option<Receipt>,
}

impl DeliveredRecord {
    pub(crate) fn new(
        stream: &StreamName,
        partition_key: Option<String>,
        receipt: Option<Receipt>,
    ) -> Self {
        Self {
            stream_name: stream.as_str().to_owned(),
            partition_key,
            receipt,
        }
    }
}

// Shows no key.
impl fmt::Debug for DeliveredRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveredRecord")
            .field("stream_name", &self.stream_name)
            .field("receipt", &self.receipt)
            .finish_non_exhaustive()
    }
}

/// Called for every record that the service accepted, before it is deleted.
#[derive(Clone)]
pub struct DeliveredHandler(Arc<dyn Fn(DeliveredRecord) + Send + Sync>);

impl DeliveredHandler {
    /// Wraps a function. A panic in it is contained.
    ///
    /// What may be called from within it is as with
    /// [`DiscardHandler`](crate::DiscardHandler::new).
    pub fn new(handler: impl Fn(DeliveredRecord) + Send + Sync + 'static) -> Self {
        Self(Arc::new(handler))
    }

    pub(crate) fn call(&self, record: DeliveredRecord) {
        (self.0)(record);
    }
}

impl fmt::Debug for DeliveredHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeliveredHandler")
    }
}
