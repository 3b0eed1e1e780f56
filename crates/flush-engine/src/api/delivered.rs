//! Delivered records, and the handler that receives them.

use std::fmt;
use std::sync::Arc;

use record_cache::StreamName;

use crate::api::Receipt;

/// A record that the service accepted.
///
/// ```
/// use flush_engine::{DeliveredHandler, DeliveredRecord};
///
/// fn log(record: DeliveredRecord) {
///     match record.receipt {
///         Some(receipt) => println!("{}: {}", record.stream_name, receipt.id),
///         None => println!("{}: accepted", record.stream_name),
///     }
/// }
/// let handler = DeliveredHandler::new(log);
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveredRecord {
    /// The stream it was recorded for.
    pub stream_name: String,
    /// Its partition key, if the service uses one.
    pub partition_key: Option<String>,
    /// Where the service put it, if the sender reported that.
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

// Leaves out the key.
impl fmt::Debug for DeliveredRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveredRecord")
            .field("stream_name", &self.stream_name)
            .field("receipt", &self.receipt)
            .finish_non_exhaustive()
    }
}

/// Called for each record the service accepted, before the record is deleted.
///
/// ```
/// use flush_engine::{DeliveredHandler, EngineOptions};
///
/// let mut options = EngineOptions::default();
/// options.on_delivered = Some(DeliveredHandler::new(|record| {
///     println!("delivered to {}", record.stream_name);
/// }));
/// ```
#[derive(Clone)]
pub struct DeliveredHandler(Arc<dyn Fn(DeliveredRecord) + Send + Sync>);

impl DeliveredHandler {
    /// Wraps a function. A panic in it is contained.
    ///
    /// The limits on calls from within it are those of
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
