//! Random work on a journal, compared with plain queues.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod journal_support;

use std::collections::{BTreeMap, VecDeque};

use journal_support::{copy, in_memory, limits, stream, times};
use proptest::collection::vec;
use proptest::prelude::*;
use record_cache::{
    Durability, JournalStore, NewRecord, Record, RecordId, RecordStore, Settlement,
};
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
    Reopen,
    /// The process ends without closing the store.
    Crash,
    /// So does it after half of a call was written.
    CrashMidway(usize),
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Deleted,
    Counted,
    Left,
}

fn action() -> impl Strategy<Value = Action> {
    let size = prop_oneof![8 => 0..300_usize, 2 => 0..5_000_usize, 1 => 15_000..40_000_usize];
    let fate = prop_oneof![Just(Fate::Deleted), Just(Fate::Counted), Just(Fate::Left)];
    prop_oneof![
        10 => vec((0..3_usize, size), 1..12).prop_map(Action::Append),
        8 => (0..3_usize, vec(fate, 1..20)).prop_map(|(of, fates)| Action::Settle(of, fates)),
        3 => (0..3_usize, 1..30_usize).prop_map(|(of, most)| Action::Read(of, most)),
        1 => Just(Action::Clear),
        2 => Just(Action::Reopen),
        2 => Just(Action::Crash),
        2 => (0..2_000_usize).prop_map(Action::CrashMidway),
        // Behind the head of a group, and behind frames.
        2 => (0..2_000_usize).prop_map(|kept| Action::CrashMidway(kept / 8 * 8)),
        2 => prop_oneof![Just(72), Just(72 + 64), Just(72 + 352)].prop_map(Action::CrashMidway),
    ]
}

struct Pair {
    place: TempDir,
    durability: Durability,
    store: JournalStore,
    model: BTreeMap<usize, VecDeque<Record>>,
    appended: u8,
}

async fn open(place: &TempDir, durability: Durability) -> JournalStore {
    let builder = JournalStore::builder(place.path()).durability(durability);
    builder.open().await.unwrap()
}

impl Pair {
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
                let held: usize = self.model.values().map(VecDeque::len).sum();
                assert_eq!(cleared.records, held);
                self.model.clear();
            }
            Action::Reopen => {
                self.store.close().await.unwrap();
                self.store = open(&self.place, self.durability).await;
            }
            Action::Crash => self.crash(None).await,
            Action::CrashMidway(kept) => self.crash(Some(*kept)).await,
        }
        let held: usize = self.model.values().map(VecDeque::len).sum();
        let bytes: u64 = self.model.values().flatten().map(Record::size).sum();
        let stats = self.store.stats();
        assert_eq!((stats.records(), stats.bytes()), (held, bytes));
        assert_eq!(stats.damaged_records, 0);
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
        let found = self
            .store
            .oldest(&name, None, limits(most))
            .await
            .unwrap()
            .records;
        assert!(found.iter().eq(expected().take(most)));
        let middle = expected().nth(most / 2).map(|record| record.id);
        let found = self
            .store
            .oldest(&name, middle, limits(most))
            .await
            .unwrap()
            .records;
        let behind = |id: RecordId| middle.is_none_or(|middle| id > middle);
        assert!(
            found
                .iter()
                .eq(expected().filter(|record| behind(record.id)).take(most))
        );
    }

    /// Goes on with the files as they are now, perhaps with a part of one more call.
    async fn crash(&mut self, kept: Option<usize>) {
        let place = in_memory();
        copy(self.place.path(), place.path());
        if let Some(kept) = kept {
            let newest = journal_support::segments(self.place.path()).pop();
            let records = (0..4).map(|n| self.make(n % 3, 300).1).collect();
            self.store.append(records).await.unwrap();
            // A call that began a new segment is lost as a whole.
            if let Some(newest) = newest {
                let to = place.path().join(newest.file_name().unwrap());
                let before = std::fs::read(&to).unwrap().len();
                let mut bytes = std::fs::read(&newest).unwrap();
                bytes.truncate(
                    (before + kept)
                        .min(bytes.len().saturating_sub(8))
                        .max(before),
                );
                std::fs::write(to, bytes).unwrap();
            }
        }
        self.place = place;
        self.store = open(&self.place, self.durability).await;
    }
}

fn run(durability: Durability, actions: &[Action]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let place = in_memory();
        let store = open(&place, durability).await;
        let mut pair = Pair {
            place,
            durability,
            store,
            model: BTreeMap::new(),
            appended: 0,
        };
        for action in actions {
            pair.act(action).await;
        }
        pair.store.close().await.unwrap();
        pair.store = open(&pair.place, durability).await;
        for of in 0..3 {
            pair.agree(of, usize::MAX).await;
        }
    });
}

#[test]
fn crashes_one_behind_the_other_between_two_frames_are_no_damage() {
    // A group's head, the head and a frame that says which numbers are void, and so on.
    let cuts = [72, 128, 136, 144, 432, 440, 784, 792, 800];
    for durability in [Durability::PowerLoss, Durability::ProcessCrash] {
        for (first, second) in cuts.iter().flat_map(|a| cuts.iter().map(move |b| (*a, *b))) {
            let crashes = [first, second, first].map(Action::CrashMidway);
            let actions = [&[Action::Append(vec![(0, 0)])], &crashes[..]].concat();
            run(durability, &actions);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: u32::try_from(times("JOURNAL_MODEL_CASES", 100)).unwrap(),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_journal_agrees_with_plain_queues(synced: bool, actions in vec(action(), 1..60)) {
        run(if synced { Durability::PowerLoss } else { Durability::ProcessCrash }, &actions);
    }
}
