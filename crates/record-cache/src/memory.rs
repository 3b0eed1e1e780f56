//! An in-memory store, which keeps nothing across restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::{
    Amount, NewRecord, QueueStats, ReadBatch, ReadLimits, Record, RecordId, RecordStore,
    Settlement, StoreError, StoreStats, StreamName,
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
}

/// Kept even when empty, so ids continue from where they were.
#[derive(Default)]
struct Queue {
    next: u64,
    bytes: u64,
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
        for record in records {
            state
                .queues
                .entry(record.stream.clone())
                .or_default()
                .push(record);
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
        Ok(queue.remove(settlement.delete))
    }

    async fn clear(&self) -> Result<Amount, StoreError> {
        let mut state = self.open_state()?;
        let mut removed = Amount::default();
        for queue in state.queues.values_mut() {
            removed += Amount::new(queue.records.len(), queue.bytes);
            queue.records = BTreeMap::new();
            queue.bytes = 0;
        }
        Ok(removed)
    }

    fn stats(&self) -> StoreStats {
        let state = self.lock();
        let held = state
            .queues
            .iter()
            .filter(|(_, queue)| !queue.records.is_empty());
        let streams = held
            .map(|(name, queue)| {
                (
                    name.clone(),
                    QueueStats::new(queue.records.len(), queue.bytes),
                )
            })
            .collect();
        StoreStats::new(streams, 0)
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

impl Queue {
    fn push(&mut self, record: NewRecord) {
        self.bytes += record.size();
        let id = RecordId::new(self.next);
        self.next += 1;
        let hash_key = record.explicit_hash_key;
        let (key, data) = (record.key, record.data);
        let record = Record::new(id, key, data, record.attempts, record.recorded_at)
            .with_explicit_hash_key(hash_key);
        self.records.insert(id, record);
    }

    fn remove(&mut self, ids: Vec<RecordId>) -> Amount {
        let mut removed = Amount::default();
        for id in ids {
            if let Some(record) = self.records.remove(&id) {
                removed += Amount::new(1, record.size());
            }
        }
        self.bytes -= removed.bytes;
        removed
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
