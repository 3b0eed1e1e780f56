//! Collects discarded records.

use std::sync::{Arc, Mutex};

use amplify_kinesis::DiscardedRecord;

/// Collects the records passed to `on_discard`.
#[derive(Clone, Debug, Default)]
pub struct Discards(Arc<Mutex<Vec<DiscardedRecord>>>);

impl Discards {
    pub fn push(&self, record: DiscardedRecord) {
        self.0.lock().unwrap().push(record);
    }

    pub fn all(&self) -> Vec<DiscardedRecord> {
        self.0.lock().unwrap().clone()
    }

    pub fn payloads(&self) -> Vec<String> {
        let all = self.all().into_iter();
        all.map(|record| String::from_utf8(record.data.to_vec()).unwrap())
            .collect()
    }
}
