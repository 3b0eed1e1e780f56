//! Opening with a checkpoint that is up to date, behind the log, ahead of it, or from another log.

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::history::{Crash, History, Settled, TestStore, open, open_with, some};
use super::sim::{Numbers, SimDisk};
use crate::index::Entry;
use crate::index::paged::PlainIndex;
use crate::index::ranges::Ranges;
use crate::index::{Broken, Checkpoint, Found, Index, Indexes};
use crate::log::files::Disk;
use crate::log::format::segment_name;
use crate::{
    Durability, NewRecord, ReadLimits, RecordId, RecordStore, Settlement, StoreStats, StreamName,
};

/// The checkpoints kept, each with the disk's event count at the time.
type Shelf = Arc<Mutex<Vec<(usize, Kept)>>>;

#[derive(Debug, Clone)]
struct Kept {
    index: PlainIndex,
    at: Checkpoint,
}

/// An index that keeps a checkpoint whenever possible.
#[derive(Debug)]
struct Keeping {
    index: PlainIndex,
    disk: SimDisk,
    shelf: Shelf,
}

#[derive(Debug)]
struct Keepers {
    disk: SimDisk,
    shelf: Shelf,
    from: Option<Kept>,
    /// How often an index was rebuilt.
    anew: Arc<Mutex<usize>>,
}

impl Index for Keeping {
    fn put(
        &mut self,
        stream: &StreamName,
        entries: &[Entry],
        replaced: &mut dyn FnMut(Entry),
    ) -> Result<(), Broken> {
        self.index.put(stream, entries, replaced)
    }

    fn find(&mut self, stream: &StreamName, numbers: &Ranges) -> Result<Vec<Entry>, Broken> {
        self.index.find(stream, numbers)
    }

    fn remove(
        &mut self,
        stream: &StreamName,
        numbers: &Ranges,
        removed: &mut dyn FnMut(Entry),
    ) -> Result<(), Broken> {
        self.index.remove(stream, numbers, removed)
    }

    fn count_attempts(&mut self, stream: &StreamName, numbers: &Ranges) -> Result<(), Broken> {
        self.index.count_attempts(stream, numbers)
    }

    fn after(
        &mut self,
        stream: &StreamName,
        number: Option<u64>,
        limits: ReadLimits,
    ) -> Result<Vec<Entry>, Broken> {
        self.index.after(stream, number, limits)
    }

    fn clear(&mut self) -> Result<(), Broken> {
        self.index.clear()
    }

    fn relieve(&mut self) -> Result<(), Broken> {
        self.index.relieve()
    }

    fn wants_checkpoint(&self) -> bool {
        true
    }

    fn checkpoint(&mut self, at: &Checkpoint) -> Result<(), Broken> {
        let kept = Kept {
            index: self.index.clone(),
            at: at.clone(),
        };
        self.shelf.lock().unwrap().push((self.disk.events(), kept));
        Ok(())
    }

    fn close(&mut self, at: &Checkpoint) -> Result<(), Broken> {
        self.checkpoint(at)
    }
}

impl Keepers {
    fn make(&self, index: PlainIndex) -> Box<dyn Index> {
        Box::new(Keeping {
            index,
            disk: self.disk.clone(),
            shelf: Arc::clone(&self.shelf),
        })
    }
}

impl Indexes for Keepers {
    fn keep_files(&self) -> bool {
        true
    }

    fn open(&mut self) -> Found {
        let Some(Kept { index, at }) = self.from.take() else {
            let index = self.make(PlainIndex::default());
            return Found { index, kept: None };
        };
        let kept = Some((at, index.held()));
        let index = self.make(index);
        Found { index, kept }
    }

    fn fresh(&mut self) -> Box<dyn Index> {
        *self.anew.lock().unwrap() += 1;
        self.make(PlainIndex::default())
    }
}

/// Does random work. Returns everything its indexes kept.
async fn a_run(seed: u64, durability: Durability) -> (SimDisk, History, Vec<(usize, Kept)>) {
    let disk = SimDisk::default();
    let (mut history, mut numbers) = (History::default(), Numbers::new(seed));
    let shelf = Shelf::default();
    for _ in 0..3 {
        let from = shelf.lock().unwrap().last().map(|(_, kept)| kept.clone());
        let keepers = keepers(&disk, &shelf, from, &Arc::default());
        let store = open_with(&disk, durability, keepers).await;
        let store = store.unwrap();
        history.work(&store, &disk, &mut numbers, 60).await;
        store.close().await.unwrap();
    }
    let kept = shelf.lock().unwrap().clone();
    assert!(kept.len() > 100, "only {} checkpoints", kept.len());
    (disk, history, kept)
}

fn keepers(
    disk: &SimDisk,
    shelf: &Shelf,
    from: Option<Kept>,
    anew: &Arc<Mutex<usize>>,
) -> impl FnOnce(&Path) -> Box<dyn Indexes> + Send + 'static {
    let keepers = Keepers {
        disk: disk.clone(),
        shelf: Arc::clone(shelf),
        from,
        anew: Arc::clone(anew),
    };
    move |_: &Path| Box::new(keepers) as Box<dyn Indexes>
}

/// Opens a crashed disk with a checkpoint that an index had kept. Returns whether it was of use.
async fn check(
    left: &SimDisk,
    kept: &Kept,
    history: &History,
    (at, settled, durability): (usize, Settled, Durability),
    context: &str,
) -> bool {
    let (disk, anew) = (left.as_it_is(), Arc::default());
    let keepers = keepers(&disk, &Shelf::default(), Some(kept.clone()), &anew);
    let store = open_with(&disk, durability, keepers).await;
    let store = store.expect(context);
    history.check(&store, at, settled).await.expect(context);
    let stats = store.stats();
    // The index agrees with the log, whatever was lost.
    let plain = open(&disk.as_it_is(), durability).await;
    let plain = plain.expect(context);
    assert_eq!(plain.stats(), stats, "{context}");
    history.check(&plain, at, settled).await.expect(context);
    plain.close().await.expect(context);
    store.close().await.expect(context);
    let anew = *anew.lock().unwrap();
    anew == 0
}

async fn every_crash(seed: u64, durability: Durability, crash: Crash) {
    let (disk, history, kept) = a_run(seed, durability).await;
    let mut numbers = Numbers::new(seed);
    let (mut of_use, mut of_none) = (0, 0);
    for at in (0..=disk.events()).step_by(2) {
        let (left, settled) = crash.at(at, &disk, &mut numbers);
        let next = kept.partition_point(|(events, _)| *events <= at);
        let behind = numbers.below(next.max(1));
        let ahead = next + numbers.below(6);
        let chosen = [next.checked_sub(1), Some(behind), Some(ahead)];
        for n in chosen.into_iter().flatten() {
            let Some((then, kept)) = kept.get(n) else {
                continue;
            };
            let context = format!("seed {seed}, event {at}, checkpoint {n} at event {then}");
            let moment = (at, settled, durability);
            if check(&left, kept, &history, moment, &context).await {
                of_use += 1;
            } else {
                of_none += 1;
            }
        }
    }
    assert!(
        of_use > 50 && of_none > 20,
        "{of_use} of use, {of_none} of none"
    );
}

#[tokio::test]
async fn a_kill_leaves_a_log_that_any_checkpoint_fits_or_is_found_not_to() {
    every_crash(91, Durability::PowerLoss, Crash::Kill).await;
    every_crash(92, Durability::ProcessCrash, Crash::Kill).await;
}

#[tokio::test]
async fn a_loss_of_power_leaves_a_log_that_any_checkpoint_fits_or_is_found_not_to() {
    every_crash(93, Durability::PowerLoss, Crash::LossOfPower).await;
    every_crash(94, Durability::PowerLoss, Crash::LossOfPower).await;
}

#[tokio::test]
async fn what_was_kept_of_another_log_is_of_no_use() {
    let durability = Durability::PowerLoss;
    let (disk, history, _) = a_run(95, durability).await;
    let (_, _, others) = a_run(95, durability).await;
    let (_, other) = others.last().unwrap();
    let crash = (usize::MAX, Settled::Kept, durability);
    assert!(!check(&disk, other, &history, crash, "another log").await);
}

#[tokio::test]
async fn after_a_clean_close_nothing_is_read_but_what_the_index_does_not_know() {
    let durability = Durability::PowerLoss;
    let (disk, history, kept) = a_run(96, durability).await;
    let (_, last) = kept.last().unwrap();
    let crash = (usize::MAX, Settled::Kept, durability);
    assert!(check(&disk, last, &history, crash, "closed").await);
}

#[tokio::test]
async fn an_index_that_is_ahead_of_a_log_which_went_on_otherwise_is_of_no_use() {
    let durability = Durability::ProcessCrash;
    let disk = SimDisk::default();
    let shelf = Shelf::default();
    let from_nothing = keepers(&disk, &shelf, None, &Arc::default());
    let store = open_with(&disk, durability, from_nothing).await;
    let store = store.unwrap();
    let name = StreamName::new("other").unwrap();
    append(&store, &name, 5).await;
    let lost_from = disk.events();
    // Settles the newest record, and then an old one instead. All frames have the same sizes.
    append_and_settle(&store, &name, 5).await;
    let (_, ahead) = shelf.lock().unwrap().last().unwrap().clone();
    drop(store);

    let left = disk.after_a_kill(lost_from, &mut Numbers::new(1));
    // Records appended now have a later time than the lost ones, as after any real loss.
    let then = crate::clock::now();
    while crate::clock::now() == then {
        tokio::task::yield_now().await;
    }
    let store = open(&left, durability).await.unwrap();
    append_and_settle(&store, &name, 0).await;
    let stats = store.stats();
    let killed = left.as_it_is();
    let plain = store.oldest(&name, None, some(99)).await.unwrap().records;

    let anew = Arc::default();
    let keepers = keepers(&killed, &Shelf::default(), Some(ahead), &anew);
    let store = open_with(&killed, durability, keepers).await;
    let store = store.unwrap();
    assert_eq!(*anew.lock().unwrap(), 1);
    assert_eq!(store.stats(), stats);
    let held = store.oldest(&name, None, some(99)).await.unwrap().records;
    assert_eq!(held, plain);
}

/// A store with one stream, whose index keeps checkpoints. Killed later.
async fn a_store(disk: &SimDisk, shelf: &Shelf) -> (TestStore, StreamName) {
    let keepers = keepers(disk, shelf, None, &Arc::default());
    let store = open_with(disk, Durability::PowerLoss, keepers).await;
    (store.unwrap(), StreamName::new("one").unwrap())
}

fn newest(shelf: &Shelf) -> Kept {
    shelf.lock().unwrap().last().unwrap().1.clone()
}

/// Opens the disk with a kept checkpoint. Returns what the store holds, and how often it rebuilt an
/// index.
async fn opened_with(disk: &SimDisk, kept: Kept) -> (StoreStats, usize) {
    let (disk, anew) = (disk.as_it_is(), Arc::default());
    let keepers = keepers(&disk, &Shelf::default(), Some(kept), &anew);
    let store = open_with(&disk, Durability::PowerLoss, keepers).await;
    (store.unwrap().stats(), *anew.lock().unwrap())
}

#[tokio::test]
async fn what_was_kept_of_segments_that_the_log_has_deleted_since_is_not_built_anew() {
    let (disk, shelf) = (SimDisk::default(), Shelf::default());
    let (store, name) = a_store(&disk, &shelf).await;
    append(&store, &name, 100).await;
    let kept = newest(&shelf);
    let last = segment_name(kept.at.segment);
    // The checkpoint spans two segments. After a while, neither is needed.
    while disk.names().unwrap().contains(&last) {
        append(&store, &name, 10).await;
        let held = store.oldest(&name, None, some(10)).await.unwrap().records;
        let ids = held.iter().map(|record| record.id);
        let settled = Settlement::new(name.clone()).delete(ids);
        store.settle(settled).await.unwrap();
    }
    assert!(kept.at.segments.len() > 1);
    assert_eq!(opened_with(&disk, kept).await, (store.stats(), 0));
}

#[tokio::test]
async fn a_segment_that_is_gone_matters_while_the_index_knows_records_in_it() {
    for left in [1, 0] {
        let (disk, shelf) = (SimDisk::default(), Shelf::default());
        let (store, name) = a_store(&disk, &shelf).await;
        append(&store, &name, 200).await;
        // Once this is answered, all earlier work is done.
        store.settle(Settlement::new(name.clone())).await.unwrap();
        let mut kept = newest(&shelf);
        let &(oldest, records, _) = kept.at.segments.first().unwrap();
        assert!(oldest < kept.at.segment);
        let inside = some(usize::try_from(records).unwrap());
        let held = kept.index.after(&name, None, inside).unwrap();
        let ids = held.iter().map(|entry| RecordId::new(entry.sequence));
        let before = disk.events();
        let settlement = Settlement::new(name.clone()).delete(ids.skip(left));
        store.settle(settlement).await.unwrap();
        let stats = store.stats();
        // Nothing says that the segment is no longer needed.
        let disk = disk.after_a_kill(before + 1, &mut Numbers::new(1));
        disk.remove(&segment_name(oldest)).unwrap();
        let (found, anew) = opened_with(&disk, kept).await;
        assert_eq!(found.records(), stats.records() - left);
        assert_eq!((found.damaged_records, anew), (left as u64, left));
    }
}

#[tokio::test]
async fn a_segment_is_not_missed_when_a_loss_of_power_cuts_off_what_says_that_it_may_go() {
    let (disk, shelf) = (SimDisk::default(), Shelf::default());
    let (store, name) = a_store(&disk, &shelf).await;
    append(&store, &name, 100).await;
    // Once this is answered, all earlier work is done.
    store.settle(Settlement::new(name.clone())).await.unwrap();
    let kept = newest(&shelf);
    let &(oldest, records, _) = kept.at.segments.first().unwrap();
    let inside = some(usize::try_from(records).unwrap());
    let held = store.oldest(&name, None, inside).await.unwrap().records;
    let ids = held.iter().map(|record| record.id);
    // Written but not synced: first the settlement, then the group that says the segment is not
    // needed.
    let (settlement, release) = (disk.events(), disk.events() + 1);
    let settled = Settlement::new(name.clone()).delete(ids);
    store.settle(settled).await.unwrap();
    store.settle(Settlement::new(name.clone())).await.unwrap();
    assert!(!disk.names().unwrap().contains(&segment_name(oldest)));

    let mut numbers = Numbers::new(97);
    for from in [None, Some(kept)] {
        let left = disk.after_the_loss_of(settlement, release + 1);
        assert!(left.names().unwrap().contains(&segment_name(oldest)));
        let began_with = from.is_some();
        let keepers = keepers(&left, &Shelf::default(), from, &Arc::default());
        let store = open_with(&left, Durability::PowerLoss, keepers).await;
        let stats = store.unwrap().stats();
        assert_eq!(stats.damaged_records, 0, "{began_with}");
        let again = open(&left.as_it_is(), Durability::PowerLoss).await;
        assert_eq!(again.unwrap().stats(), stats, "{began_with}");
        // The process ends while opening the store.
        for (at, sample) in (0..left.events()).flat_map(|at| (0..40).map(move |n| (at, n))) {
            let killed = left.after_a_kill(at, &mut numbers);
            let store = open(&killed, Durability::PowerLoss).await;
            let damaged = store.unwrap().stats().damaged_records;
            assert_eq!(damaged, 0, "{began_with}, event {at}, sample {sample}");
        }
    }
}

async fn append(store: &TestStore, name: &StreamName, records: usize) {
    for _ in 0..records {
        let record = NewRecord::new(name.clone(), None, vec![1; 50]);
        store.append(vec![record]).await.unwrap();
    }
}

/// Appends a record, settles the one at this place, appends another, and waits for the
/// housekeeping.
async fn append_and_settle(store: &TestStore, name: &StreamName, place: usize) {
    append(store, name, 1).await;
    let held = store.oldest(name, None, some(99)).await.unwrap().records;
    let settled = Settlement::new(name.clone()).delete([held[place].id]);
    store.settle(settled).await.unwrap();
    append(store, name, 1).await;
    store.settle(Settlement::new(name.clone())).await.unwrap();
}
