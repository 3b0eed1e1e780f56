//! A store in memory, which keeps nothing across restarts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::{
    Amount, NewRecord, QueueStats, ReadBatch, ReadLimits, Record, RecordId, RecordStore,
    Settlement, StoreError, StoreStats, StreamName,
};

/// Stores records in memory; they are lost when the process ends.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    queues: BTreeMap<StreamName, Queue>,
}

/// Kept even when empty, so that its ids continue from where they were.
#[derive(Default)]
struct Queue {
    next: u64,
    bytes: u64,
    records: VecDeque<Record>,
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
        let first = after.map_or(0, |after| queue.records.partition_point(|r| r.id <= after));
        let mut fitting: Vec<Record> = Vec::new();
        let mut bytes = 0;
        for record in queue.records.range(first..).take(limits.max_records.get()) {
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
            if let Some(record) = queue.find(id) {
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
            queue.records = VecDeque::new();
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
        let NewRecord {
            stream: _,
            key,
            explicit_hash_key,
            data,
            attempts,
            recorded_at,
        } = record;
        let record = Record::new(id, key, data, attempts, recorded_at);
        self.records
            .push_back(record.with_explicit_hash_key(explicit_hash_key));
    }

    fn find(&mut self, id: RecordId) -> Option<&mut Record> {
        let at = self
            .records
            .binary_search_by_key(&id, |record| record.id)
            .ok()?;
        self.records.get_mut(at)
    }

    fn remove(&mut self, mut ids: Vec<RecordId>) -> Amount {
        ids.sort_unstable();
        let Some(&last) = ids.last() else {
            return Amount::default();
        };
        let reach = self.records.partition_point(|record| record.id <= last);
        let mut removed = Amount::default();
        // Only looks at the front, up to the last id: the rest costs nothing.
        let mut kept = Vec::new();
        for record in self.records.drain(..reach) {
            if ids.binary_search(&record.id).is_ok() {
                removed += Amount::new(1, record.size());
            } else {
                kept.push(record);
            }
        }
        for record in kept.into_iter().rev() {
            self.records.push_front(record);
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
