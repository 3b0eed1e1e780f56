//! Calls `on_delivered` with what the service accepted, before the records are deleted.

use record_cache::StreamName;

use crate::api::{DeliveredRecord, Receipt};
use crate::cache::Cache;
use crate::telemetry::log;

/// What `on_delivered` gets for one record: its key, and its receipt from the service.
pub(super) type Delivered = (Option<String>, Option<Receipt>);

impl Cache {
    /// Whether there is a handler.
    pub(crate) const fn tells_delivered(&self) -> bool {
        self.on_delivered.is_some()
    }

    /// Passes records to `on_delivered`, if set.
    pub(super) fn tell_delivered(&self, stream: &StreamName, delivered: Vec<Delivered>) {
        let Some(handler) = &self.on_delivered else {
            return;
        };
        let mut panics = 0_usize;
        for (key, receipt) in delivered {
            let record = DeliveredRecord::new(stream, key, receipt);
            let call = || handler.call(record);
            panics += usize::from(self.lifecycle.call_back("on_delivered", call).is_err());
        }
        if panics > 0 {
            tracing::error!(target: log::TARGET, records = panics, "on_delivered panicked");
        }
    }
}
