//! A directory opened by different stores in turn, at every step of a history.

use std::fs;
use std::path::Path;

use record_cache::Durability;
use tempfile::TempDir;

use crate::support::model::{Fate, Model, STREAMS};
use crate::support::subject::for_each_store;
use crate::support::{
    Damage, End, Numbers, Store, Subject, copy, crash, files_below, in_memory, indexes,
    remove_indexes, times,
};

for_each_store!(each_store_goes_on_where_another_one_ended);

#[tokio::test]
async fn a_journal_deletes_the_indexes_that_it_finds_and_nothing_else() {
    let sample = crate::sample(Subject::Journal, End::Closed).await;
    let path = sample.place.path();
    let elsewhere = in_memory();
    fs::write(elsewhere.path().join("kept"), "as it is").unwrap();
    for name in ["index-old", "index-"] {
        fs::create_dir(path.join(name)).unwrap();
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink(elsewhere.path(), path.join("index-7")).unwrap();
    fs::write(path.join("index-8"), "a file").unwrap();

    let store = Subject::Journal.open_fast(path).await;
    assert_eq!(store.stats().records(), sample.live.len());
    assert_eq!(
        indexes(path),
        ["index-", "index-old"].map(|name| path.join(name))
    );
    let kept = elsewhere.path().join("kept");
    assert!(kept.exists(), "a link is not followed");
    store.close().await.unwrap();
}

struct History {
    random: Numbers,
    place: TempDir,
    store: Store,
    model: Model,
    /// Indexes saved at an earlier step.
    kept: TempDir,
}

async fn each_store_goes_on_where_another_one_ended(first: Subject) {
    for seed in 0..times("INDEX_HISTORIES", 8) {
        let place = in_memory();
        let mut history = History {
            random: Numbers::new(70 + seed as u64),
            store: first.open_fast(place.path()).await,
            place,
            model: Model::default(),
            kept: in_memory(),
        };
        for step in 0..40 {
            history.work().await;
            history.change_hands().await;
            history.model.assert_counted(&*history.store);
            for of in 0..STREAMS.len() {
                history.model.agree(&*history.store, of, usize::MAX).await;
            }
            if step % 13 == 12 {
                history.model.clear(&*history.store).await;
            }
        }
        history.store.close().await.unwrap();
    }
}

impl History {
    async fn work(&mut self) {
        for _ in 0..1 + self.random.below(4) {
            let count = 1 + self.random.below(60);
            let size = |_| (self.random.below(3), self.random.below(200));
            let sizes: Vec<_> = (0..count).map(size).collect();
            self.model.append(&*self.store, &sizes).await;
            let reach = self.random.below(80);
            let fates = [Fate::Deleted, Fate::Deleted, Fate::Counted, Fate::Left];
            let fate = |_| fates[self.random.below(4)];
            let fates: Vec<_> = (0..reach).map(fate).collect();
            let of = self.random.below(3);
            self.model.settle(&*self.store, of, &fates).await;
        }
    }

    /// Ends the store by a close or a crash. Any of the stores continues.
    async fn change_hands(&mut self) {
        if self.random.below(2) == 0 {
            self.store.close().await.unwrap();
        } else {
            let place = in_memory();
            crash(&*self.store, self.place.path(), place.path()).await;
            self.place = place;
        }
        let path = self.place.path();
        match self.random.below(8) {
            0 => remove_indexes(path),
            1 => {
                for file in indexes(path).iter().flat_map(|index| files_below(index)) {
                    Damage::FlippedBit.is_done_to(&file, &mut self.random);
                }
            }
            2 => {
                self.kept = in_memory();
                copy_indexes(path, self.kept.path());
            }
            3 => {
                remove_indexes(path);
                copy_indexes(self.kept.path(), path);
            }
            _ => {}
        }
        let next = Subject::ALL[self.random.below(Subject::ALL.len())];
        let durability = [Durability::PowerLoss, Durability::ProcessCrash][self.random.below(2)];
        self.store = next.open_with(path, durability).await;
    }
}

fn copy_indexes(from: &Path, to: &Path) {
    for index in indexes(from) {
        copy(&index, &to.join(index.file_name().unwrap()));
    }
}
