//! A record on its way in.

use std::fmt;

use flush_engine::aws::{IntoPayload, UncheckedRecord};

/// A record for [`record_all`](crate::AmplifyKinesisClient::record_all).
#[derive(Clone, PartialEq, Eq)]
pub struct KinesisRecord(pub(crate) UncheckedRecord);

impl KinesisRecord {
    /// A record for a stream. It is checked when it is recorded.
    #[must_use]
    pub fn new(
        data: impl IntoPayload,
        partition_key: impl Into<String>,
        stream_name: impl Into<String>,
    ) -> Self {
        let key = Some(partition_key.into());
        Self(UncheckedRecord::new(data, key, stream_name))
    }
}

impl fmt::Debug for KinesisRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_as("KinesisRecord", f)
    }
}
