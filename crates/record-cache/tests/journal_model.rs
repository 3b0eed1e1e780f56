//! Random work on a journal, compared with plain queues.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod journal_support;

use journal_support::model::{Fate, Model, fate};
use journal_support::{copy, in_memory, times};
use proptest::collection::vec;
use proptest::prelude::*;
use record_cache::{Durability, JournalStore, RecordStore};
use tempfile::TempDir;

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

fn action() -> impl Strategy<Value = Action> {
    let size = prop_oneof![8 => 0..300_usize, 2 => 0..5_000_usize, 1 => 15_000..40_000_usize];
    prop_oneof![
        10 => vec((0..3_usize, size), 1..12).prop_map(Action::Append),
        8 => (0..3_usize, vec(fate(), 1..20)).prop_map(|(of, fates)| Action::Settle(of, fates)),
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
    model: Model,
}

async fn open(place: &TempDir, durability: Durability) -> JournalStore {
    let builder = JournalStore::builder(place.path()).durability(durability);
    builder.open().await.unwrap()
}

impl Pair {
    async fn act(&mut self, action: &Action) {
        match action {
            Action::Append(sizes) => self.model.append(&self.store, sizes).await,
            Action::Settle(of, fates) => self.model.settle(&self.store, *of, fates).await,
            Action::Read(of, most) => self.model.agree(&self.store, *of, *most).await,
            Action::Clear => self.model.clear(&self.store).await,
            Action::Reopen => {
                self.store.close().await.unwrap();
                self.store = open(&self.place, self.durability).await;
            }
            Action::Crash => self.crash(None).await,
            Action::CrashMidway(kept) => self.crash(Some(*kept)).await,
        }
        self.model.assert_counted(&self.store);
    }

    /// Goes on with the files as they are now, perhaps with a part of one more call.
    async fn crash(&mut self, kept: Option<usize>) {
        let place = in_memory();
        copy(self.place.path(), place.path());
        if let Some(kept) = kept {
            let newest = journal_support::segments(self.place.path()).pop();
            let records = (0..4).map(|n| self.model.make(n % 3, 300).1).collect();
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
            model: Model::default(),
        };
        for action in actions {
            pair.act(action).await;
        }
        pair.store.close().await.unwrap();
        pair.store = open(&pair.place, durability).await;
        for of in 0..3 {
            pair.model.agree(&pair.store, of, usize::MAX).await;
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
