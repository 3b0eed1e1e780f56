//! Random work on a sled store, compared with plain queues.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sled_support;

use std::collections::{BTreeMap, VecDeque};
use std::fs;

use proptest::collection::vec;
use proptest::prelude::*;
use record_cache::{
    Durability, NewRecord, Record, RecordId, RecordStore, Settlement, SledStore, StoreError,
};
use sled_support::{assert_no_blobs, copy, limits, settled_down, stream, times};
use tempfile::TempDir;

const STREAMS: [&str; 3] = ["one", "two", "three"];

#[derive(Debug, Clone)]
enum Action {
    /// Records of so many bytes, each to a stream.
    Append(Vec<(usize, usize)>),
    /// For each record at the front, what becomes of it.
    Settle(usize, Vec<Fate>),
    Read(usize, usize),
    Clear,
    /// `clear` meets an obstacle, and must leave everything as it is.
    ClearInVain,
    Reopen,
    /// The process ends without closing the store.
    Crash,
    /// Many records come and go, so that the generation is replaced.
    Churn(usize),
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Deleted,
    Counted,
    Left,
}

fn action() -> impl Strategy<Value = Action> {
    let size = prop_oneof![8 => 0..300_usize, 2 => 0..7_000_usize, 1 => 15_000..40_000_usize];
    let fate = prop_oneof![Just(Fate::Deleted), Just(Fate::Counted), Just(Fate::Left)];
    prop_oneof![
        10 => vec((0..3_usize, size), 1..12).prop_map(Action::Append),
        8 => (0..3_usize, vec(fate, 1..20)).prop_map(|(of, fates)| Action::Settle(of, fates)),
        3 => (0..3_usize, 1..30_usize).prop_map(|(of, most)| Action::Read(of, most)),
        1 => Just(Action::Clear),
        1 => Just(Action::ClearInVain),
        2 => Just(Action::Reopen),
        2 => Just(Action::Crash),
        1 => (0..3_usize).prop_map(Action::Churn),
    ]
}

struct Pair {
    place: TempDir,
    durability: Durability,
    store: SledStore,
    model: BTreeMap<usize, VecDeque<Record>>,
    appended: u8,
}

async fn open(place: &TempDir, durability: Durability) -> SledStore {
    let builder = SledStore::builder(place.path()).durability(durability);
    builder.expected_bytes(100_000).open().await.unwrap()
}

impl Pair {
    async fn new(durability: Durability) -> Self {
        let place = TempDir::new().unwrap();
        let store = open(&place, durability).await;
        Self {
            place,
            durability,
            store,
            model: BTreeMap::new(),
            appended: 0,
        }
    }

    async fn act(&mut self, action: &Action) {
        match action {
            Action::Append(records) => {
                let records: Vec<_> = records
                    .iter()
                    .map(|&(of, size)| self.make(of, size))
                    .collect();
                let new = records.iter().map(|(_, record)| record.clone()).collect();
                self.store.append(new).await.unwrap();
                for (of, record) in records {
                    self.learn(of, record).await;
                }
            }
            Action::Settle(of, fates) => self.settle(*of, fates).await,
            Action::Read(of, most) => self.agree(*of, *most).await,
            Action::Clear => {
                let cleared = self.store.clear().await.unwrap();
                assert_eq!(cleared.records, self.held());
                self.model.clear();
            }
            Action::ClearInVain => self.clear_in_vain().await,
            Action::Reopen => {
                self.store.close().await.unwrap();
                self.store = open(&self.place, self.durability).await;
            }
            Action::Crash => self.crash().await,
            Action::Churn(of) => self.churn(*of).await,
        }
        let bytes: u64 = self.model.values().flatten().map(Record::size).sum();
        let stats = self.store.stats();
        assert_eq!((stats.records(), stats.bytes()), (self.held(), bytes));
        assert_eq!(stats.damaged_records, 0);
        assert_no_blobs(self.place.path());
    }

    fn held(&self) -> usize {
        self.model.values().map(VecDeque::len).sum()
    }

    fn make(&mut self, of: usize, size: usize) -> (usize, NewRecord) {
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
        (of, NewRecord::new(stream(STREAMS[of]), key, data))
    }

    async fn learn(&mut self, of: usize, new: NewRecord) {
        let queue = self.model.entry(of).or_default();
        let after = queue.back().map(|record| record.id);
        let found = self
            .store
            .oldest(&stream(STREAMS[of]), after, limits(1))
            .await
            .unwrap();
        let id = found.records[0].id;
        let expected = Record::new(id, new.key, new.data, 0, new.recorded_at);
        assert_eq!(found.records[0], expected);
        queue.push_back(expected);
    }

    async fn settle(&mut self, of: usize, fates: &[Fate]) {
        let queue = self.model.entry(of).or_default();
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
        assert_eq!(
            self.store.settle(settlement).await.unwrap().records,
            deleted
        );
    }

    async fn agree(&self, of: usize, most: usize) {
        let name = stream(STREAMS[of]);
        let expected = || self.model.get(&of).into_iter().flatten();
        let found = self.store.oldest(&name, None, limits(most)).await.unwrap();
        assert!(found.records.iter().eq(expected().take(most)));
        let middle = expected().nth(most / 2).map(|record| record.id);
        let found = self
            .store
            .oldest(&name, middle, limits(most))
            .await
            .unwrap();
        let behind = |id: RecordId| middle.is_none_or(|middle| id > middle);
        let expected = expected().filter(|record| behind(record.id)).take(most);
        assert!(found.records.iter().eq(expected));
    }

    async fn clear_in_vain(&mut self) {
        settled_down(&self.store).await;
        // A directory stands where the next manifest is to be written.
        let obstacle = self.place.path().join("manifest.tmp");
        fs::create_dir(&obstacle).unwrap();
        let refused = self.store.clear().await;
        assert!(matches!(refused, Err(StoreError::Unavailable { .. })));
        fs::remove_dir(obstacle).unwrap();
        for of in 0..STREAMS.len() {
            self.agree(of, usize::MAX).await;
        }
    }

    /// Goes on with the files as they are now.
    async fn crash(&mut self) {
        settled_down(&self.store).await;
        let place = TempDir::new().unwrap();
        copy(self.place.path(), place.path());
        self.place = place;
        self.store = open(&self.place, self.durability).await;
    }

    async fn churn(&mut self, of: usize) {
        let name = stream(STREAMS[of]);
        for _ in 0..12 {
            let after = self.model.entry(of).or_default().back().map(|last| last.id);
            let records = (0..40).map(|_| self.make(of, 9_000).1).collect();
            self.store.append(records).await.unwrap();
            let found = self.store.oldest(&name, after, limits(50)).await.unwrap();
            assert_eq!(found.records.len(), 40);
            let ids = found.records.iter().map(|record| record.id);
            let settlement = Settlement::new(name.clone()).delete(ids);
            self.store.settle(settlement).await.unwrap();
        }
    }
}

fn agrees(durability: Durability, actions: &[Action]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut pair = Pair::new(durability).await;
        for action in actions {
            pair.act(action).await;
        }
        pair.store.close().await.unwrap();
        pair.store = open(&pair.place, durability).await;
        for of in 0..STREAMS.len() {
            pair.agree(of, usize::MAX).await;
        }
        pair.store.close().await.unwrap();
    });
}

fn cases(usual: usize) -> ProptestConfig {
    let cases = u32::try_from(times("SLED_MODEL_CASES", usual)).unwrap();
    ProptestConfig {
        cases,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(30))]

    #[test]
    fn a_store_without_syncs_agrees_with_plain_queues(actions in vec(action(), 1..60)) {
        agrees(Durability::ProcessCrash, &actions);
    }
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn a_store_with_syncs_agrees_with_plain_queues(actions in vec(action(), 1..60)) {
        agrees(Durability::PowerLoss, &actions);
    }
}
