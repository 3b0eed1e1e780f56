//! Tests indexes that break at any call.

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::history::{History, Settled, TestStore, open, open_with, some};
use super::sim::{Fault, Numbers, SimDisk};
use crate::index::Entry;
use crate::index::paged::{PagedIndex, PlainIndex};
use crate::index::ranges::Ranges;
use crate::index::{Broken, Checkpoint, Found, Index, Indexes};
use crate::log::catalog::lock;
use crate::log::replay::rebuild;
use crate::{Durability, NewRecord, ReadLimits, RecordStore, Settlement, StreamName};

const STEPS: usize = 50;

/// An index that breaks after a number of calls, either before or after doing the requested work.
#[derive(Debug)]
struct Fragile {
    inner: PlainIndex,
    calls: Arc<Mutex<usize>>,
    breaks: bool,
    is_broken: bool,
}

#[derive(Debug)]
struct FragileOnes {
    /// How many calls each index survives, in the order of the indexes.
    stand: Vec<Arc<Mutex<usize>>>,
}

/// Makes indexes that survive this many calls each. Returns the calls that the first one has left.
pub(super) fn fragile(
    stand: &[usize],
) -> (
    impl FnOnce(&Path) -> Box<dyn Indexes> + Send + 'static,
    Arc<Mutex<usize>>,
) {
    let stand: Vec<_> = stand.iter().map(|&n| Arc::new(Mutex::new(n))).collect();
    let first = Arc::clone(&stand[0]);
    let indexes = move |_: &Path| Box::new(FragileOnes { stand }) as Box<dyn Indexes>;
    (indexes, first)
}

impl Fragile {
    fn call<T>(&mut self, work: impl FnOnce(&mut PlainIndex) -> T) -> Result<T, Broken> {
        let mut calls = self.calls.lock().unwrap();
        if self.breaks && *calls == 0 {
            // Half of the breaks happen after the work is done.
            if !self.is_broken {
                drop(work(&mut self.inner));
            }
            self.is_broken = true;
            return Err(Broken("it was set to break".to_owned()));
        }
        *calls = calls.wrapping_sub(1);
        drop(calls);
        Ok(work(&mut self.inner))
    }
}

impl Index for Fragile {
    fn put(
        &mut self,
        stream: &StreamName,
        entries: &[Entry],
        replaced: &mut dyn FnMut(Entry),
    ) -> Result<(), Broken> {
        // Each entry counts as a call, so an index also breaks in the middle of a group.
        let mut entries = entries.chunks(1);
        entries.try_for_each(|one| self.call(|index| index.put(stream, one, replaced))?)
    }

    fn find(&mut self, stream: &StreamName, numbers: &Ranges) -> Result<Vec<Entry>, Broken> {
        self.call(|index| index.find(stream, numbers))?
    }

    fn remove(
        &mut self,
        stream: &StreamName,
        numbers: &Ranges,
        removed: &mut dyn FnMut(Entry),
    ) -> Result<(), Broken> {
        self.call(|index| index.remove(stream, numbers, removed))?
    }

    fn count_attempts(&mut self, stream: &StreamName, numbers: &Ranges) -> Result<(), Broken> {
        self.call(|index| index.count_attempts(stream, numbers))?
    }

    fn after(
        &mut self,
        stream: &StreamName,
        number: Option<u64>,
        limits: ReadLimits,
    ) -> Result<Vec<Entry>, Broken> {
        self.call(|index| index.after(stream, number, limits))?
    }

    fn clear(&mut self) -> Result<(), Broken> {
        self.call(Index::clear)?
    }

    fn relieve(&mut self) -> Result<(), Broken> {
        self.call(Index::relieve)?
    }

    fn wants_checkpoint(&self) -> bool {
        true
    }

    fn checkpoint(&mut self, at: &Checkpoint) -> Result<(), Broken> {
        self.call(|index| index.checkpoint(at))?
    }

    fn close(&mut self, at: &Checkpoint) -> Result<(), Broken> {
        self.call(|index| index.close(at))?
    }
}

impl Indexes for FragileOnes {
    fn keep_files(&self) -> bool {
        true
    }

    fn open(&mut self) -> Found {
        let index = self.fresh();
        Found { index, kept: None }
    }

    fn fresh(&mut self) -> Box<dyn Index> {
        if self.stand.is_empty() {
            return Box::new(PagedIndex::in_memory());
        }
        let calls = self.stand.remove(0);
        let breaks = *calls.lock().unwrap() < usize::MAX / 2;
        Box::new(Fragile {
            inner: PlainIndex::default(),
            calls,
            breaks,
            is_broken: false,
        })
    }
}

/// Compares all counters with the log.
fn check_accounts(store: &TestStore, context: &str) {
    let shared = &store.0.shared;
    let segments = lock(&shared.catalog).segments.clone();
    let index = Box::new(PlainIndex::default());
    let rebuilt = rebuild(&segments, (&Ranges::default(), &[]), index, &|| {}).unwrap();
    assert_eq!(store.stats(), rebuilt.counters.stats(), "{context}");
    for (number, segment) in &segments {
        let other = &rebuilt.catalog.segments[number];
        assert_eq!(
            (segment.live_records, segment.live_bytes),
            (other.live_records, other.live_bytes),
            "{context}, segment {number}"
        );
    }
}

/// Works with indexes that break after this many calls each. Returns how many the first one still
/// has.
async fn a_run(seed: u64, stand: &[usize]) -> usize {
    a_run_with(seed, stand, None).await
}

/// Like `a_run`, on a disk where some operations fail.
async fn a_run_with(seed: u64, stand: &[usize], fault: Option<Fault>) -> usize {
    let context = format!("seed {seed}, calls {stand:?}, {fault:?}");
    let disk = SimDisk::default();
    fault.into_iter().for_each(|fault| disk.fail(fault));
    let (indexes, first) = fragile(stand);
    let durability = Durability::PowerLoss;
    let mut history = History::default();
    let store = open_with(&disk, durability, indexes).await;
    let store = store.expect(&context);
    let mut numbers = Numbers::new(seed);
    for _ in 0..5 {
        history.work(&store, &disk, &mut numbers, STEPS / 5).await;
        assert!(fault.is_some() || history.failures() == 0, "{context}");
        let checked = history.check(&store, disk.events(), Settled::Kept).await;
        checked.expect(&context);
        // Waits for a call after all others, so that nothing is under way.
        let nothing = Settlement::new(StreamName::new("none").unwrap());
        store.settle(nothing).await.unwrap();
    }
    while fault.is_some_and(|fault| disk.operations() < fault.to) {
        history.work(&store, &disk, &mut numbers, 1).await;
    }
    if fault.is_none() {
        check_accounts(&store, &context);
    }
    let stats = store.stats();
    store.close().await.expect(&context);
    let store = open(&disk, durability).await.expect(&context);
    assert_eq!(store.stats(), stats, "{context}");
    history.assert_kept(&store, &context).await;
    store.close().await.expect(&context);
    *first.lock().unwrap()
}

#[tokio::test]
async fn an_index_may_break_at_any_call() {
    for seed in [81, 82] {
        let calls = usize::MAX - a_run(seed, &[usize::MAX]).await;
        assert!(calls > 200, "only {calls} calls");
        for at in 0..calls {
            a_run(seed, &[at]).await;
        }
    }
}

#[tokio::test]
async fn an_index_may_break_on_a_disk_that_fails() {
    let calls = usize::MAX - a_run(84, &[usize::MAX]).await;
    for at in (0..calls).step_by(3) {
        for operation in (10..130).step_by(8) {
            let failing = operation + at % 8;
            let fault = Fault::new(failing..failing + 1, std::io::ErrorKind::Other);
            a_run_with(84, &[at], Some(fault)).await;
        }
    }
}

#[tokio::test]
async fn the_index_that_is_built_may_break_too() {
    let calls = usize::MAX - a_run(83, &[usize::MAX]).await;
    for at in (0..calls).step_by(7) {
        for again in [0, 1, 5, 20, 60] {
            a_run(83, &[at, again]).await;
        }
    }
}

#[tokio::test]
async fn a_reader_that_finds_the_index_broken_has_it_built_again() {
    let disk = SimDisk::default();
    let (store, name, calls) = three_records(&disk).await;
    *calls.lock().unwrap() = 0;
    let read = store.oldest(&name, None, some(9)).await.unwrap();
    assert_eq!(read.records.len(), 3);
    store.close().await.unwrap();
}

/// A store with some records in one stream, and its index's remaining calls.
pub(super) async fn three_records(disk: &SimDisk) -> (TestStore, StreamName, Arc<Mutex<usize>>) {
    let (indexes, calls) = fragile(&[1000]);
    let store = open_with(disk, Durability::PowerLoss, indexes).await;
    let store = store.unwrap();
    let name = StreamName::new("few").unwrap();
    let record = NewRecord::new(name.clone(), None, vec![1; 50]);
    store.append(vec![record; 3]).await.unwrap();
    (store, name, calls)
}

#[tokio::test]
async fn segments_stay_while_an_index_is_broken_and_cannot_be_rebuilt() {
    let disk = SimDisk::default();
    let (store, name, calls) = three_records(&disk).await;
    let held = store.oldest(&name, None, some(9)).await.unwrap().records;
    let all = held.iter().map(|record| record.id);
    let settled = Settlement::new(name.clone()).delete(all);
    store.settle(settled).await.unwrap();
    disk.fail_reads(disk.reads()..usize::MAX);
    *calls.lock().unwrap() = 0;
    for number in 0..200 {
        let record = NewRecord::new(name.clone(), None, vec![number; 500]);
        store.append(vec![record]).await.unwrap();
    }
    assert!(lock(&store.0.shared.catalog).broken().is_some());
    // The log's own list of needed segments must include them, too.
    let killed = disk.as_it_is();
    let reopened = open(&killed, Durability::PowerLoss).await.unwrap();
    disk.heal_reads();
    for store in [store, reopened] {
        let held = store.oldest(&name, None, some(999)).await.unwrap().records;
        let numbers: Vec<u8> = held.iter().map(|record| record.data[0]).collect();
        assert_eq!(numbers, (0..200).collect::<Vec<u8>>());
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_a_failed_sync_took_from_the_log_is_in_an_index_that_is_built_then() {
    let disk = SimDisk::default();
    let (store, name, calls) = three_records(&disk).await;
    let held = store.oldest(&name, None, some(9)).await.unwrap().records;
    let settled = Settlement::new(name.clone()).delete([held[0].id]);
    store.settle(settled).await.unwrap();
    // The write succeeds; the sync fails.
    disk.fail_after(1, 1);
    let record = NewRecord::new(name.clone(), None, vec![2; 50]);
    store.append(vec![record]).await.unwrap_err();
    *calls.lock().unwrap() = 0;
    let held = store.oldest(&name, None, some(9)).await.unwrap().records;
    assert_eq!(held.len(), 2, "what was settled is not back");
    assert_eq!(store.stats().records(), 2);
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_was_refused_is_not_in_an_index_that_is_built_then() {
    let disk = SimDisk::default();
    let (store, name, calls) = three_records(&disk).await;
    // The write succeeds; neither the sync nor the truncation does.
    disk.fail_after(1, 2);
    let record = NewRecord::new(name.clone(), None, vec![2; 50]);
    store.append(vec![record]).await.unwrap_err();
    *calls.lock().unwrap() = 0;
    let held = store.oldest(&name, None, some(99)).await.unwrap();
    assert_eq!(held.records.len(), 3);
    assert_eq!((store.stats().records(), held.damaged.records), (3, 0));
    store.close().await.unwrap();
}
