//! A record on its way in.

use std::fmt;

use flush_engine::aws::{IntoPayload, UncheckedRecord};

/// A record for [`record_all`](crate::AmplifyFirehoseClient::record_all).
#[derive(Clone, PartialEq, Eq)]
pub struct FirehoseRecord(pub(crate) UncheckedRecord);

impl FirehoseRecord {
    /// A record for a delivery stream. It is checked when it is recorded.
    #[must_use]
    pub fn new(data: impl IntoPayload, stream_name: impl Into<String>) -> Self {
        Self(UncheckedRecord::new(data, None, stream_name))
    }
}

impl fmt::Debug for FirehoseRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_as("FirehoseRecord", f)
    }
}
