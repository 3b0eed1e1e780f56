//! Random work on a store, compared with a simple model.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use record_cache::{Durability, MemoryStore, Settlement};
use support::model::{Fate, Model, STREAMS, fate};
use support::subject::for_each_store;
use support::{
    Store, Subject, assert_no_blobs, block_on, crash, in_memory, limits, segments, stream, times,
};
use tempfile::TempDir;

for_each_store!(
    fn a_store_agrees_with_plain_queues,
    fn crashes_one_behind_the_other_between_two_frames_are_no_damage,
);

#[derive(Debug, Clone)]
enum Action {
    /// Appends records, each given as its stream and size.
    Append(Vec<(usize, usize)>),
    /// Settles the records at the front, each with its fate.
    Settle(usize, Vec<Fate>),
    Read(usize, usize),
    Clear,
    Reopen,
    /// The process ends without closing the store.
    Crash,
    /// The process ends with part of a call written.
    CrashMidway(usize),
    /// Many records come and go, which forces compaction.
    Churn(usize),
}

/// Actions that every store supports.
fn call() -> BoxedStrategy<Action> {
    let size = prop_oneof![8 => 0..300_usize, 2 => 0..7_000_usize, 1 => 15_000..40_000_usize];
    prop_oneof![
        10 => vec((0..3_usize, size), 1..12).prop_map(Action::Append),
        8 => (0..3_usize, vec(fate(), 1..20)).prop_map(|(of, fates)| Action::Settle(of, fates)),
        3 => (0..3_usize, 1..30_usize).prop_map(|(of, most)| Action::Read(of, most)),
        1 => Just(Action::Clear),
        1 => (0..3_usize).prop_map(Action::Churn),
    ]
    .boxed()
}

/// Calls, mixed with the reopens and crashes that a store on disk must survive.
fn event() -> BoxedStrategy<Action> {
    prop_oneof![
        23 => call(),
        2 => Just(Action::Reopen),
        2 => Just(Action::Crash),
        2 => (0..2_000_usize).prop_map(Action::CrashMidway),
        // Cuts at multiples of 8, and right after a group's head or a frame.
        2 => (0..2_000_usize).prop_map(|kept| Action::CrashMidway(kept / 8 * 8)),
        2 => prop_oneof![Just(72), Just(72 + 64), Just(72 + 352)].prop_map(Action::CrashMidway),
    ]
    .boxed()
}

struct Pair {
    /// `None` is the in-memory store.
    subject: Option<Subject>,
    durability: Durability,
    place: TempDir,
    store: Store,
    model: Model,
}

impl Pair {
    async fn new(subject: Option<Subject>, durability: Durability) -> Self {
        let place = in_memory();
        Self {
            subject,
            durability,
            store: open(subject, &place, durability).await,
            place,
            model: Model::default(),
        }
    }

    async fn act(&mut self, action: &Action) {
        match action {
            Action::Append(sizes) => self.model.append(&*self.store, sizes).await,
            Action::Settle(of, fates) => self.model.settle(&*self.store, *of, fates).await,
            Action::Read(of, most) => self.model.agree(&*self.store, *of, *most).await,
            Action::Clear => self.model.clear(&*self.store).await,
            Action::Reopen => self.reopen().await,
            Action::Crash => self.crash(None).await,
            Action::CrashMidway(kept) => self.crash(Some(*kept)).await,
            Action::Churn(of) => self.churn(*of).await,
        }
        self.model.assert_counted(&*self.store);
        assert_no_blobs(self.place.path());
    }

    async fn reopen(&mut self) {
        self.store.close().await.unwrap();
        self.store = open(self.subject, &self.place, self.durability).await;
    }

    /// Continues with the files as they are now, perhaps with part of one more call.
    async fn crash(&mut self, kept: Option<usize>) {
        let place = in_memory();
        crash(&*self.store, self.place.path(), place.path()).await;
        if let Some(kept) = kept {
            let newest = segments(self.place.path()).pop();
            let records = (0..4).map(|n| self.model.make(n % 3, 300).1).collect();
            self.store.append(records).await.unwrap();
            // A call that starts a new segment is lost entirely.
            if let Some(newest) = newest {
                let to = place.path().join(newest.file_name().unwrap());
                let before = fs::read(&to).unwrap().len();
                let mut bytes = fs::read(&newest).unwrap();
                let whole = bytes.len().saturating_sub(8);
                bytes.truncate((before + kept).min(whole).max(before));
                fs::write(to, bytes).unwrap();
            }
        }
        self.place = place;
        self.store = open(self.subject, &self.place, self.durability).await;
    }

    async fn churn(&mut self, of: usize) {
        let name = stream(STREAMS[of]);
        for _ in 0..12 {
            let queue = self.model.queues.entry(of).or_default();
            let after = queue.back().map(|last| last.id);
            let records = (0..40).map(|_| self.model.make(of, 9_000).1).collect();
            self.store.append(records).await.unwrap();
            let found = self.store.oldest(&name, after, limits(50)).await.unwrap();
            assert_eq!(found.records.len(), 40);
            let ids = found.records.iter().map(|record| record.id);
            let settlement = Settlement::new(name.clone()).delete(ids);
            self.store.settle(settlement).await.unwrap();
        }
    }
}

async fn open(subject: Option<Subject>, place: &TempDir, durability: Durability) -> Store {
    match subject {
        // Small enough to allocate and free disk all the time.
        Some(subject) => {
            let opening = subject.try_open(place.path(), durability, Some(100_000));
            opening.await.unwrap()
        }
        None => std::sync::Arc::new(MemoryStore::new()),
    }
}

fn agrees(subject: Option<Subject>, durability: Durability, actions: &[Action]) {
    block_on(async {
        let mut pair = Pair::new(subject, durability).await;
        for action in actions {
            pair.act(action).await;
        }
        if subject.is_some() {
            pair.reopen().await;
        }
        for of in 0..STREAMS.len() {
            pair.model.agree(&*pair.store, of, usize::MAX).await;
        }
        pair.store.close().await.unwrap();
    });
}

/// Runs random lists of actions and shrinks any that fails.
fn try_many(usual: usize, action: BoxedStrategy<Action>, test: impl Fn(Durability, &[Action])) {
    let config = ProptestConfig {
        cases: u32::try_from(times("MODEL_CASES", usual)).unwrap(),
        // proptest would look for this file in the wrong place.
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let outcome =
        TestRunner::new(config).run(&(any::<bool>(), vec(action, 1..60)), |(synced, actions)| {
            let durability = match synced {
                true => Durability::PowerLoss,
                false => Durability::ProcessCrash,
            };
            test(durability, &actions);
            Ok(())
        });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

fn a_store_agrees_with_plain_queues(subject: Subject) {
    try_many(80, event(), |durability, actions| {
        agrees(Some(subject), durability, actions);
    });
}

#[test]
fn a_store_in_memory_agrees_with_plain_queues() {
    try_many(100, call(), |durability, actions| {
        agrees(None, durability, actions)
    });
}

fn crashes_one_behind_the_other_between_two_frames_are_no_damage(subject: Subject) {
    // A group's head, the head and a frame that voids numbers, and so on.
    let cuts = [72, 128, 136, 144, 432, 440, 784, 792, 800];
    for durability in [Durability::PowerLoss, Durability::ProcessCrash] {
        for (first, second) in cuts.iter().flat_map(|a| cuts.iter().map(move |b| (*a, *b))) {
            let crashes = [first, second, first].map(Action::CrashMidway);
            let actions = [&[Action::Append(vec![(0, 0)])], &crashes[..]].concat();
            agrees(Some(subject), durability, &actions);
        }
    }
}
