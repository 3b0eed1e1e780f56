//! The record type that callers pass in.

use flush_engine::aws::{IntoPayload, UncheckedRecord};

/// A record for [`record_all`](crate::AmplifyFirehoseClient::record_all).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirehoseRecord(pub(crate) UncheckedRecord);

impl FirehoseRecord {
    /// A record for a delivery stream. It is validated when it is recorded.
    #[must_use]
    pub fn new(data: impl IntoPayload, stream_name: impl Into<String>) -> Self {
        Self(UncheckedRecord::new(data, None, stream_name))
    }
}
