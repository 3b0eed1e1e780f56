//! A store that keeps all records in one JSON file and rewrites it on each call.
//!
//! It is short rather than fast, and keeps every promise of `RecordStore`: a call takes effect when
//! the new file replaces the old one, so it happens completely or not at all, and durably.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use amplify_kinesis::Bytes;
use async_trait::async_trait;
use record_cache::{
    Amount, NewRecord, QueueStats, ReadBatch, ReadLimits, Record, RecordId, RecordStore,
    Settlement, StoreError, StoreStats, StreamName,
};
use serde::{Deserialize, Serialize};

#[derive(Debug)]
pub(crate) struct JsonFile {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    queues: Queues,
    /// Held so that no other process opens the file. `None` once the store is closed.
    lock: Option<File>,
}

type Queues = BTreeMap<String, Queue>;

/// A queue; kept when empty so that its ids are never reused.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Queue {
    next: u64,
    records: Vec<Entry>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    id: u64,
    key: Option<String>,
    explicit_hash_key: Option<u128>,
    #[serde(with = "as_base64")]
    data: Bytes,
    attempts: u32,
    recorded_at_millis: u64,
}

impl JsonFile {
    /// Opens the file; it need not exist yet.
    pub(crate) fn open(path: PathBuf) -> Result<Self, StoreError> {
        let refused = |error| StoreError::unavailable(format!("opening {}", path.display()), error);
        let lock = File::create(path.with_extension("lock")).map_err(refused)?;
        lock.try_lock().map_err(|_| StoreError::in_use(&path))?;
        let queues = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| refused(error.into()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Queues::new(),
            Err(error) => return Err(refused(error)),
        };
        let state = State {
            queues,
            lock: Some(lock),
        };
        Ok(Self {
            path,
            state: Mutex::new(state),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_open(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.lock();
        match state.lock {
            Some(_) => Ok(state),
            None => Err(StoreError::Closed),
        }
    }

    /// Changes a copy, writes it, and only then adopts it.
    ///
    /// The write blocks the calling thread, and nothing is awaited under the lock. A store for more
    /// than a few records would use its own thread.
    fn change<T>(&self, change: impl FnOnce(&mut Queues) -> T) -> Result<T, StoreError> {
        let mut state = self.lock_open()?;
        let mut queues = state.queues.clone();
        let outcome = change(&mut queues);
        self.write(&queues).map_err(|error| {
            StoreError::unavailable(format!("writing {}", self.path.display()), error)
        })?;
        state.queues = queues;
        Ok(outcome)
    }

    fn write(&self, queues: &Queues) -> io::Result<()> {
        let temporary = self.path.with_extension("tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(queues)?)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        // The new name is durable once the directory is synced.
        let directory = self
            .path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(".".as_ref()))?.sync_all()
    }
}

#[async_trait]
impl RecordStore for JsonFile {
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), StoreError> {
        self.change(|queues| {
            for record in records {
                let queue = queues.entry(record.stream.to_string()).or_default();
                queue.records.push(Entry::new(queue.next, &record));
                queue.next += 1;
            }
        })
    }

    async fn oldest(
        &self,
        stream: &StreamName,
        after: Option<RecordId>,
        limits: ReadLimits,
    ) -> Result<ReadBatch, StoreError> {
        let state = self.lock_open()?;
        let (mut records, mut bytes) = (Vec::new(), 0);
        let queue = state.queues.get(stream.as_str());
        for entry in queue.iter().flat_map(|queue| &queue.records) {
            if after.is_some_and(|after| entry.id <= after.get()) {
                continue;
            }
            let record = entry.record();
            bytes += record.size();
            let full = records.len() == limits.max_records.get() || bytes > limits.max_bytes.get();
            if full && !records.is_empty() {
                break;
            }
            records.push(record);
        }
        Ok(ReadBatch::new(records, Amount::default()))
    }

    async fn settle(&self, settlement: Settlement) -> Result<Amount, StoreError> {
        let deleted: BTreeSet<u64> = settlement.delete.iter().map(|id| id.get()).collect();
        let charged: BTreeSet<u64> = settlement.count_attempt.iter().map(|id| id.get()).collect();
        self.change(|queues| {
            let mut removed = Amount::default();
            if let Some(queue) = queues.get_mut(settlement.stream.as_str()) {
                queue.records.retain_mut(|entry| {
                    entry.attempts += u32::from(charged.contains(&entry.id));
                    let stays = !deleted.contains(&entry.id);
                    if !stays {
                        removed += Amount::new(1, entry.size());
                    }
                    stays
                });
            }
            removed
        })
    }

    async fn clear(&self) -> Result<Amount, StoreError> {
        self.change(|queues| {
            let mut removed = Amount::default();
            for entry in queues
                .values_mut()
                .flat_map(|queue| queue.records.drain(..))
            {
                removed += Amount::new(1, entry.size());
            }
            removed
        })
    }

    fn stats(&self) -> StoreStats {
        let mut streams = BTreeMap::new();
        for (name, queue) in &self.lock().queues {
            let bytes = queue.records.iter().map(Entry::size).sum();
            if let (false, Ok(name)) = (queue.records.is_empty(), StreamName::new(name.as_str())) {
                streams.insert(name, QueueStats::new(queue.records.len(), bytes));
            }
        }
        StoreStats::new(streams, 0)
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.lock().lock = None;
        Ok(())
    }
}

impl Entry {
    fn new(id: u64, record: &NewRecord) -> Self {
        let age = record
            .recorded_at
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            id,
            key: record.key.clone(),
            explicit_hash_key: record.explicit_hash_key,
            data: record.data.clone(),
            attempts: record.attempts,
            recorded_at_millis: age.as_millis().try_into().unwrap_or(u64::MAX),
        }
    }

    fn record(&self) -> Record {
        let recorded_at = UNIX_EPOCH + Duration::from_millis(self.recorded_at_millis);
        let id = RecordId::new(self.id);
        let (key, data) = (self.key.clone(), self.data.clone());
        Record::new(id, key, data, self.attempts, recorded_at)
            .with_explicit_hash_key(self.explicit_hash_key)
    }

    fn size(&self) -> u64 {
        let key = self.key.as_ref().map_or(0, String::len);
        (self.data.len() + key) as u64
    }
}

/// JSON has no byte strings.
mod as_base64 {
    use amplify_kinesis::Bytes;
    use base64_simd::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(data: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode_to_string(data))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(from)?;
        let data = STANDARD.decode_to_vec(text).map_err(D::Error::custom)?;
        Ok(data.into())
    }
}
