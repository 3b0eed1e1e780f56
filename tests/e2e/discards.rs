use std::sync::{Arc, Mutex};

use amplify_kinesis::DiscardedRecord;

/// Collects what is handed to `on_discard`.
#[derive(Clone, Debug, Default)]
pub struct Discards(Arc<Mutex<Vec<DiscardedRecord>>>);

impl Discards {
    /// The handler to be given to a client.
    pub fn handler(&self) -> impl Fn(DiscardedRecord) + Send + Sync + 'static {
        let Self(records) = self.clone();
        move |record| records.lock().unwrap().push(record)
    }

    /// Everything that was given up so far.
    pub fn all(&self) -> Vec<DiscardedRecord> {
        self.0.lock().unwrap().clone()
    }
}
