//! Random work on a sled store, compared with plain queues.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sled_support;

use std::fs;

use proptest::collection::vec;
use proptest::prelude::*;
use record_cache::{Durability, RecordStore, Settlement, SledStore, StoreError};
use sled_support::model::{Fate, Model, STREAMS, fate};
use sled_support::{assert_no_blobs, copy, limits, settled_down, stream, times};
use tempfile::TempDir;

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

fn action() -> impl Strategy<Value = Action> {
    let size = prop_oneof![8 => 0..300_usize, 2 => 0..7_000_usize, 1 => 15_000..40_000_usize];
    prop_oneof![
        10 => vec((0..3_usize, size), 1..12).prop_map(Action::Append),
        8 => (0..3_usize, vec(fate(), 1..20)).prop_map(|(of, fates)| Action::Settle(of, fates)),
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
    model: Model,
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
            model: Model::default(),
        }
    }

    async fn act(&mut self, action: &Action) {
        match action {
            Action::Append(sizes) => self.model.append(&self.store, sizes).await,
            Action::Settle(of, fates) => self.model.settle(&self.store, *of, fates).await,
            Action::Read(of, most) => self.model.agree(&self.store, *of, *most).await,
            Action::Clear => self.model.clear(&self.store).await,
            Action::ClearInVain => self.clear_in_vain().await,
            Action::Reopen => {
                self.store.close().await.unwrap();
                self.store = open(&self.place, self.durability).await;
            }
            Action::Crash => self.crash().await,
            Action::Churn(of) => self.churn(*of).await,
        }
        self.model.assert_counted(&self.store);
        assert_no_blobs(self.place.path());
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
            self.model.agree(&self.store, of, usize::MAX).await;
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
            let after = self
                .model
                .queues
                .entry(of)
                .or_default()
                .back()
                .map(|last| last.id);
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
            pair.model.agree(&pair.store, of, usize::MAX).await;
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
