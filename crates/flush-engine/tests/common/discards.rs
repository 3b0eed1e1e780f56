//! What `on_discard` receives.

use std::sync::{Arc, Mutex};

use flush_engine::{DiscardHandler, DiscardedRecord};

/// Collects discarded records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Discards(Arc<Mutex<Vec<DiscardedRecord>>>);

impl Discards {
    /// The handler to pass to an engine.
    pub(crate) fn handler(&self) -> Option<DiscardHandler> {
        let Self(all) = self.clone();
        Some(DiscardHandler::new(move |record| {
            all.lock().unwrap().push(record);
        }))
    }

    pub(crate) fn all(&self) -> Vec<DiscardedRecord> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        let text = |record: DiscardedRecord| String::from_utf8(record.data.to_vec()).unwrap();
        self.all().into_iter().map(text).collect()
    }

    /// The streams of the discarded records, in order.
    pub(crate) fn streams(&self) -> Vec<String> {
        let all = self.all().into_iter();
        all.map(|record| record.stream_name).collect()
    }

    pub(crate) fn forget(&self) {
        self.0.lock().unwrap().clear();
    }
}
