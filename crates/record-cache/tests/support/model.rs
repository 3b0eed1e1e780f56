//! A model of plain queues for a store to agree with.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use record_cache::{NewRecord, Record, RecordId, RecordStore, Settlement};

use super::{limits, stream};

pub(crate) const STREAMS: [&str; 3] = ["one", "two", "three"];

/// The fate of a record when settled.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    Deleted,
    Counted,
    Left,
}

pub(crate) fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![Just(Fate::Deleted), Just(Fate::Counted), Just(Fate::Left)]
}

/// The records that the store must hold, by stream.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) queues: BTreeMap<usize, VecDeque<Record>>,
    appended: u8,
}

impl Model {
    pub(crate) fn held(&self) -> usize {
        self.queues.values().map(VecDeque::len).sum()
    }

    pub(crate) async fn append(&mut self, store: &dyn RecordStore, sizes: &[(usize, usize)]) {
        let records: Vec<_> = sizes
            .iter()
            .map(|&(of, size)| self.make(of, size))
            .collect();
        let new = records.iter().map(|(_, record)| record.clone()).collect();
        store.append(new).await.unwrap();
        for (of, record) in records {
            self.learn(store, of, record).await;
        }
    }

    pub(crate) async fn clear(&mut self, store: &dyn RecordStore) {
        let cleared = store.clear().await.unwrap();
        assert_eq!(cleared.records, self.held());
        self.queues.clear();
    }

    pub(crate) fn assert_counted(&self, store: &dyn RecordStore) {
        let bytes: u64 = self.queues.values().flatten().map(Record::size).sum();
        let stats = store.stats();
        assert_eq!((stats.records(), stats.bytes()), (self.held(), bytes));
        assert_eq!(stats.damaged_records, 0);
    }

    pub(crate) fn make(&mut self, of: usize, size: usize) -> (usize, NewRecord) {
        self.appended = self.appended.wrapping_add(1);
        let key = self
            .appended
            .is_multiple_of(3)
            .then(|| format!("key {}", self.appended));
        let data: Vec<u8> = (0..size)
            .map(|n| {
                self.appended
                    .wrapping_mul(31)
                    .wrapping_add(u8::try_from(n % 256).unwrap())
            })
            .collect();
        let hash_key = self.appended.is_multiple_of(4);
        let hash_key = hash_key.then(|| u128::MAX / u128::from(self.appended.max(1)));
        let record = NewRecord::new(stream(STREAMS[of]), key, data);
        (of, record.with_explicit_hash_key(hash_key))
    }

    async fn learn(&mut self, store: &dyn RecordStore, of: usize, new: NewRecord) {
        let queue = self.queues.entry(of).or_default();
        let after = queue.back().map(|record| record.id);
        let found = store
            .oldest(&stream(STREAMS[of]), after, limits(1))
            .await
            .unwrap();
        let id = found.records[0].id;
        let expected = Record::new(id, new.key, new.data, 0, new.recorded_at);
        let expected = expected.with_explicit_hash_key(new.explicit_hash_key);
        assert_eq!(found.records[0], expected);
        queue.push_back(expected);
    }

    pub(crate) async fn settle(&mut self, store: &dyn RecordStore, of: usize, fates: &[Fate]) {
        let queue = self.queues.entry(of).or_default();
        let mut settlement = Settlement::new(stream(STREAMS[of]));
        let mut kept = VecDeque::new();
        let reach = fates.len().min(queue.len());
        for (mut record, fate) in queue.drain(..reach).zip(fates) {
            match fate {
                Fate::Deleted => {
                    settlement.delete.push(record.id);
                    continue;
                }
                Fate::Counted => {
                    settlement.count_attempt.push(record.id);
                    record.attempts += 1;
                }
                Fate::Left => {}
            }
            kept.push_back(record);
        }
        kept.append(queue);
        *queue = kept;
        let deleted = settlement.delete.len();
        assert_eq!(store.settle(settlement).await.unwrap().records, deleted);
    }

    pub(crate) async fn agree(&self, store: &dyn RecordStore, of: usize, most: usize) {
        let name = stream(STREAMS[of]);
        let expected = || self.queues.get(&of).into_iter().flatten();
        let found = store.oldest(&name, None, limits(most)).await.unwrap();
        assert!(found.records.iter().eq(expected().take(most)));
        let middle = expected().nth(most / 2).map(|record| record.id);
        let found = store.oldest(&name, middle, limits(most)).await.unwrap();
        let behind = |id: RecordId| middle.is_none_or(|middle| id > middle);
        let expected = expected().filter(|record| behind(record.id)).take(most);
        assert!(found.records.iter().eq(expected));
    }
}
