//! An in-memory store, which keeps nothing across restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::counters::Counters;
use crate::{
    Amount, NewRecord, ReadBatch, ReadLimits, Record, RecordId, RecordStore, Settlement,
    StoreError, StoreStats, StreamName,
};

/// Stores records in memory; they are lost when the process ends.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use record_cache::{MemoryStore, NewRecord, RecordStore, StreamName};
///
/// let store = MemoryStore::new();
/// let orders = StreamName::new("orders")?;
/// store.append(vec![NewRecord::new(orders, None, "an order")]).await?;
/// assert_eq!(store.stats().records(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    queues: BTreeMap<StreamName, Queue>,
    counters: Counters,
}

/// Kept even when empty, so ids continue from where they were.
#[derive(Default)]
struct Queue {
    next: u64,
    records: BTreeMap<RecordId, Record>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn open_state(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.lock();
        if state.closed {
            Err(StoreError::Closed)
        } else {
            Ok(state)
        }
    }

    // No code that can panic runs under the lock, so a poisoned lock is still consistent.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl RecordStore for MemoryStore {
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), StoreError> {
        let mut state = self.open_state()?;
        state.counters.add_all(&records);
        for record in records {
            let queue = state.queues.entry(record.stream).or_default();
            let id = RecordId::new(queue.next);
            queue.next += 1;
            let (key, data) = (record.key, record.data);
            let new = Record::new(id, key, data, record.attempts, record.recorded_at);
            let new = new.with_explicit_hash_key(record.explicit_hash_key);
            queue.records.insert(id, new);
        }
        Ok(())
    }

    async fn oldest(
        &self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Result<ReadBatch, StoreError> {
        let state = self.open_state()?;
        let Some(queue) = state.queues.get(stream) else {
            return Ok(ReadBatch::default());
        };
        let mut fitting: Vec<Record> = Vec::new();
        let mut bytes = 0;
        let from = after.map_or(Unbounded, Excluded);
        let records = queue.records.range((from, Unbounded));
        for (_, record) in records.take(limits.max_records.get()) {
            bytes += record.size();
            if bytes > limits.max_bytes.get() && !fitting.is_empty() {
                break;
            }
            fitting.push(record.clone());
        }
        Ok(ReadBatch::new(fitting, Amount::default()))
    }

    async fn settle(&self, settlement: Settlement) -> Result<Amount, StoreError> {
        let mut state = self.open_state()?;
        let Some(queue) = state.queues.get_mut(&settlement.stream) else {
            return Ok(Amount::default());
        };
        for id in BTreeSet::from_iter(settlement.count_attempt) {
            if let Some(record) = queue.records.get_mut(&id) {
                record.attempts = record.attempts.saturating_add(1);
            }
        }
        let mut removed = Amount::default();
        for id in settlement.delete {
            if let Some(record) = queue.records.remove(&id) {
                removed += Amount::new(1, record.size());
            }
        }
        state.counters.remove(&settlement.stream, removed);
        Ok(removed)
    }

    async fn clear(&self) -> Result<Amount, StoreError> {
        let mut state = self.open_state()?;
        for queue in state.queues.values_mut() {
            queue.records.clear();
        }
        Ok(state.counters.clear())
    }

    fn stats(&self) -> StoreStats {
        self.lock().counters.stats()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.lock().closed = true;
        Ok(())
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        f.debug_struct("MemoryStore")
            .field("records", &stats.records())
            .field("bytes", &stats.bytes())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::MemoryStore;
    use crate::{RecordStore, conformance};

    #[tokio::test]
    async fn memory_store_conforms() {
        conformance::run_all(async || Arc::new(MemoryStore::new()) as Arc<dyn RecordStore>).await;
    }
}
