//! Several instances side by side, simulated by slots of one process.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use batcher::BatchLimits;
use futures_util::future::BoxFuture;
use tempfile::TempDir;

use super::*;
use crate::FlushEngine;
use crate::api::{EngineOptions, FlushStrategy, RecordSender, SendError, Verdict};

/// A sender that is never used.
#[derive(Debug)]
struct Nobody;

#[async_trait]
impl RecordSender for Nobody {
    fn limits(&self) -> BatchLimits {
        BatchLimits::new(NonZeroUsize::MAX, NonZeroU64::MAX)
    }

    async fn send(&self, _: &StreamName, _: &[Record]) -> Result<Vec<Verdict>, SendError> {
        Err(SendError::no_answer("nobody is there"))
    }
}

/// An instance that has just taken a slot.
struct Instance {
    slots: Slots,
    store: Arc<dyn RecordStore>,
}

/// Starts an instance, which takes the first slot that nobody holds.
async fn instance(directory: &TempDir) -> Instance {
    instance_of(OnDisk::USUAL, directory).await
}

async fn instance_of(kind: OnDisk, directory: &TempDir) -> Instance {
    let (slots, store) = slots_of(kind, directory).take_free_one().await.unwrap();
    Instance { slots, store }
}

impl Instance {
    /// Gives the instance a cache of this size, which adopts what nobody holds.
    fn with_cache_of(self, max_bytes: u64) -> FlushEngine {
        engine(self.store, self.slots, max_bytes)
    }

    /// Closes the instance when it has adopted so much that it holds this many records.
    async fn adopts_until(self, max_bytes: u64, records: usize) {
        let engine = self.with_cache_of(max_bytes);
        until(|| engine.cache_stats().records == records).await;
        engine.close().await.unwrap();
    }

    /// Ends the instance and leaves these records in its slot.
    async fn leaves(self, records: Vec<NewRecord>) {
        self.store.append(records).await.unwrap();
        self.store.close().await.unwrap();
    }
}

/// Checks the records of stream `a` in a slot, which must not be in use.
async fn assert_holds(slots: &Slots, slot: u32, expected: Range<usize>) {
    let store = slots.open(slot).await.unwrap();
    assert_eq!(texts(&read(&store, "a").await), numbers(expected));
    store.close().await.unwrap();
}

/// Accepts and counts everything.
#[derive(Debug, Default)]
struct Counting(AtomicUsize);

#[async_trait]
impl RecordSender for Counting {
    fn limits(&self) -> BatchLimits {
        BatchLimits::new(NonZeroUsize::MAX, NonZeroU64::MAX)
    }

    async fn send(&self, _: &StreamName, batch: &[Record]) -> Result<Vec<Verdict>, SendError> {
        self.0.fetch_add(batch.len(), Ordering::SeqCst);
        Ok(vec![Verdict::Accepted(None); batch.len()])
    }
}

/// What happens before a slot is opened.
#[derive(Clone)]
pub(super) struct Hook(Arc<dyn Fn(u32) -> BoxFuture<'static, ()> + Send + Sync>);

impl Hook {
    pub(super) async fn call(&self, slot: u32) {
        (self.0)(slot).await;
    }

    fn new(happens: impl Fn(u32) + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |slot| {
            happens(slot);
            Box::pin(std::future::ready(()))
        }))
    }

    /// Notes which slots are opened.
    fn noting() -> (Self, Arc<Mutex<Vec<u32>>>) {
        let noted = Arc::new(Mutex::new(Vec::new()));
        let opened = Arc::clone(&noted);
        let hook = Self::new(move |slot| opened.lock().unwrap().push(slot));
        (hook, noted)
    }
}

impl Default for Hook {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

fn slots(directory: &TempDir) -> Slots {
    slots_of(OnDisk::USUAL, directory)
}

fn slots_of(kind: OnDisk, directory: &TempDir) -> Slots {
    let directory = directory.path().join("records");
    Slots::below(kind, directory, Durability::ProcessCrash, 1 << 20)
}

fn engine(store: Arc<dyn RecordStore>, slots: Slots, max_bytes: u64) -> FlushEngine {
    let mut options = EngineOptions::DEFAULT;
    options.flush_strategy = FlushStrategy::None;
    options.cache_max_bytes = NonZeroU64::new(max_bytes).unwrap();
    let engine = FlushEngine::start(store, Arc::new(Nobody), options).unwrap();
    engine.adopt_from(slots);
    engine
}

fn numbered(stream: &str, range: Range<usize>) -> Vec<NewRecord> {
    let stream = StreamName::new(stream).unwrap();
    let record = |data| NewRecord::new(stream.clone(), None, data);
    numbers(range).into_iter().map(record).collect()
}

async fn read(store: &Arc<dyn RecordStore>, stream: &str) -> Vec<Record> {
    let all = ReadLimits::new(NonZeroUsize::MAX, NonZeroU64::MAX);
    let stream = StreamName::new(stream).unwrap();
    store.oldest(&stream, None, all).await.unwrap().records
}

fn numbers(numbers: Range<usize>) -> Vec<String> {
    numbers.map(|n| format!("{n:04}")).collect()
}

fn texts(records: &[Record]) -> Vec<&str> {
    let texts = records
        .iter()
        .map(|record| std::str::from_utf8(&record.data));
    texts.map(Result::unwrap).collect()
}

async fn until(condition: impl Fn() -> bool) {
    const LIMIT: Duration = Duration::from_secs(60);
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.unwrap();
}

#[tokio::test]
async fn each_instance_takes_the_first_slot_that_nobody_holds() {
    let directory = TempDir::new().unwrap();
    let (first, second) = (instance(&directory).await, instance(&directory).await);
    assert_eq!((first.slots.own, second.slots.own), (Some(0), Some(1)));
    first.leaves(numbered("a", 0..3)).await;
    let third = instance(&directory).await;
    assert_eq!(third.slots.own, Some(0));
    assert_eq!(read(&third.store, "a").await.len(), 3);
    third.store.close().await.unwrap();
    second.store.close().await.unwrap();
}

#[tokio::test]
async fn records_that_nobody_holds_are_adopted_in_order_with_their_attempts() {
    let directory = TempDir::new().unwrap();
    let heir = instance(&directory).await;
    let own = heir.slots.clone();
    let orphan = instance(&directory).await.store;
    let held = instance(&directory).await.store;
    orphan.append(numbered("a", 0..700)).await.unwrap();
    orphan.append(numbered("b", 0..2)).await.unwrap();
    let first = read(&orphan, "a").await[0].id;
    let charged = Settlement::new(StreamName::new("a").unwrap()).count_attempt([first]);
    orphan.settle(charged).await.unwrap();
    orphan.close().await.unwrap();
    held.append(numbered("a", 900..901)).await.unwrap();

    heir.adopts_until(1 << 20, 702).await;
    assert_eq!(held.stats().records(), 1);
    let adopted = own.open(0).await.unwrap();
    let records = read(&adopted, "a").await;
    assert_eq!(texts(&records), numbers(0..700));
    assert_eq!((records[0].attempts, records[1].attempts), (1, 0));
    assert_eq!(read(&adopted, "b").await.len(), 2);
    let emptied = own.open(1).await.unwrap();
    assert_eq!(emptied.stats().records(), 0);
    for store in [adopted, emptied, held] {
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn no_more_is_adopted_than_there_is_room_for() {
    let directory = TempDir::new().unwrap();
    let heir = instance(&directory).await;
    let orphan = instance(&directory).await;
    orphan.leaves(numbered("a", 0..600)).await;
    // Room for 300 records.
    heir.adopts_until(300 * 16, 300).await;
    assert_holds(&slots(&directory), 1, 300..600).await;
}

#[tokio::test]
async fn an_idle_adaptive_engine_delivers_what_it_adopts() {
    let directory = TempDir::new().unwrap();
    let heir = instance(&directory).await;
    let orphan = instance(&directory).await;
    orphan.leaves(numbered("a", 0..3)).await;

    let sender = Arc::new(Counting::default());
    let mut options = EngineOptions::DEFAULT;
    options.flush_strategy = FlushStrategy::Adaptive {
        max_delay: Duration::from_millis(1),
        max_records: 100,
        max_bytes: 1 << 20,
    };
    let engine = FlushEngine::start(heir.store, sender.clone(), options).unwrap();
    engine.adopt_from(heir.slots);
    // What was adopted does not wait for a record.
    until(|| sender.0.load(Ordering::SeqCst) == 3).await;
    engine.close().await.unwrap();
}

#[cfg(all(feature = "sled", feature = "journal"))]
#[tokio::test]
async fn a_journal_takes_over_what_the_other_store_left_in_any_slot() {
    let directory = TempDir::new().unwrap();
    let first = instance_of(OnDisk::Sled, &directory).await;
    let second = instance_of(OnDisk::Sled, &directory).await;
    first.leaves(numbered("a", 0..3)).await;
    second.leaves(numbered("b", 0..4)).await;
    let journal = instance_of(OnDisk::Journal, &directory).await;
    assert_eq!(read(&journal.store, "a").await.len(), 3);
    journal.adopts_until(1 << 20, 7).await;
}

#[tokio::test]
async fn slots_that_were_never_used_are_not_made() {
    let directory = TempDir::new().unwrap();
    let only = instance(&directory).await;
    let path = only.slots.directory.clone();
    only.with_cache_of(1 << 20).close().await.unwrap();
    let names: Vec<_> = std::fs::read_dir(path).unwrap().collect();
    assert_eq!(names.len(), 1);
}

/// Slot 1 has the rest of a stream whose head is in slot 2. Slot 0 is in use.
async fn half_adopted(directory: &TempDir) -> Arc<dyn RecordStore> {
    let busy = instance(directory).await;
    let orphan = instance(directory).await;
    let heir = instance(directory).await;
    orphan.leaves(numbered("a", 0..600)).await;
    heir.adopts_until(300 * 16, 300).await;
    busy.store
}

#[tokio::test]
async fn the_slot_with_the_head_of_a_stream_is_taken_before_that_with_its_rest() {
    let directory = TempDir::new().unwrap();
    let busy = half_adopted(&directory).await;
    let heir = instance(&directory).await;
    assert_eq!(heir.slots.own, Some(2));
    heir.adopts_until(1 << 20, 600).await;
    assert_holds(&slots(&directory), 2, 0..600).await;
    // Slot 1 is an ordinary slot again.
    let next = instance(&directory).await;
    assert_eq!(next.slots.own, Some(1));
    next.store.close().await.unwrap();
    busy.close().await.unwrap();
}

#[tokio::test]
async fn the_rest_of_a_stream_is_adopted_behind_its_head_however_often_that_moves() {
    let directory = TempDir::new().unwrap();
    let busy = half_adopted(&directory).await;
    let with_the_head = slots(&directory).open(2).await.unwrap();
    let heir = instance(&directory).await;
    assert_eq!(heir.slots.own, Some(3));
    with_the_head.close().await.unwrap();
    // There is room for the head, which moves to slot 3, but not for more.
    heir.adopts_until(300 * 16, 300).await;
    let with_the_head = slots(&directory).open(3).await.unwrap();
    let next = instance(&directory).await;
    let own = next.slots.own.unwrap();
    with_the_head.close().await.unwrap();
    next.adopts_until(1 << 20, 600).await;
    assert_holds(&slots(&directory), own, 0..600).await;
    busy.close().await.unwrap();
}

#[tokio::test]
async fn the_rest_of_a_stream_follows_a_head_that_was_moved_on_by_one_that_was_killed_then() {
    let directory = TempDir::new().unwrap();
    let busy = half_adopted(&directory).await;
    let place = directory.path().join("records");
    // Slot 2 was emptied into slot 3, but the claim on slot 1 was not updated.
    let from = slots(&directory).open(2).await.unwrap();
    let to = slots(&directory).open(3).await.unwrap();
    to.append(numbered("a", 0..300)).await.unwrap();
    from.clear().await.unwrap();
    from.close().await.unwrap();
    std::fs::write(place.join("slot-2.to-3"), "").unwrap();
    let heir = instance(&directory).await;
    assert_eq!(heir.slots.own, Some(4), "slots 1 and 2 are not free");
    to.close().await.unwrap();
    heir.adopts_until(1 << 20, 600).await;
    assert_holds(&slots(&directory), 4, 0..600).await;
    busy.close().await.unwrap();
}

#[tokio::test]
async fn the_rest_of_a_stream_waits_while_the_slot_with_its_head_is_in_use() {
    let directory = TempDir::new().unwrap();
    let busy = half_adopted(&directory).await;
    let with_the_head = slots(&directory).open(2).await.unwrap();
    let heir = instance(&directory).await;
    // Slots are visited in order, so slot 4 shows when slot 1 had its turn.
    leave(&heir.slots, 4, numbered("b", 0..1)).await;
    let heir = heir.with_cache_of(1 << 20);
    until(|| heir.cache_stats().records > 0).await;
    heir.close().await.unwrap();
    assert_eq!(heir.cache_stats().records, 1, "of stream b");
    for store in [with_the_head, busy] {
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_slot_whose_records_follow_those_of_nobody_is_adopted() {
    let directory = TempDir::new().unwrap();
    let busy = half_adopted(&directory).await;
    let place = directory.path().join("records");
    // The head was delivered, or was lost with its directory, or the claim is invalid.
    for claimant in ["2", "77", "1", "x"] {
        let store = slots(&directory).open(1).await.unwrap();
        store.clear().await.unwrap();
        store.append(numbered("b", 0..2)).await.unwrap();
        store.close().await.unwrap();
        let head = slots(&directory).open(2).await.unwrap();
        head.clear().await.unwrap();
        if let Some(old) = claims::of(&place, 1).unwrap() {
            std::fs::remove_file(place.join(format!("slot-1.to-{old}"))).unwrap();
        }
        std::fs::write(place.join(format!("slot-1.to-{claimant}")), "").unwrap();
        let kept = instance(&directory).await.store;
        let heir = instance(&directory).await;
        for store in [head, kept] {
            store.close().await.unwrap();
        }
        let heir = heir.with_cache_of(1 << 20);
        until(|| heir.cache_stats().records == 2).await;
        heir.clear().await.unwrap();
        heir.close().await.unwrap();
        let _ = std::fs::remove_file(place.join("slot-1.to-x"));
    }
    busy.close().await.unwrap();
}

#[tokio::test]
async fn a_cache_that_is_smaller_than_a_step_of_an_adoption_adopts_all_the_same() {
    let directory = TempDir::new().unwrap();
    let heir = instance(&directory).await;
    let orphan = instance(&directory).await;
    orphan.leaves(numbered("a", 0..50)).await;
    // Room for 20 records, and later for as many again.
    heir.adopts_until(20 * 16, 20).await;
    let heir = instance(&directory).await;
    assert_eq!(texts(&read(&heir.store, "a").await), numbers(0..20));
    heir.store.clear().await.unwrap();
    heir.adopts_until(20 * 16, 20).await;
}

/// Leaves records in a slot, which must not be in use.
async fn leave(slots: &Slots, slot: u32, records: Vec<NewRecord>) {
    let left = slots.open(slot).await.unwrap();
    left.append(records).await.unwrap();
    left.close().await.unwrap();
}

/// An instance that has no room, and has looked at both slots in which others left records.
async fn a_full_instance(directory: &TempDir, left: [Vec<NewRecord>; 2]) -> FlushEngine {
    let mut own = instance(directory).await;
    own.store.append(numbered("own", 0..10)).await.unwrap();
    for (slot, records) in (1..).zip(left) {
        leave(&own.slots, slot, records).await;
    }
    let (before_opening, opened) = Hook::noting();
    own.slots.before_opening = before_opening;
    let full = own.with_cache_of(10 * 16);
    until(|| opened.lock().unwrap().contains(&2)).await;
    full
}

fn of_size(stream: &str, bytes: usize) -> NewRecord {
    NewRecord::new(StreamName::new(stream).unwrap(), None, vec![b'x'; bytes])
}

#[tokio::test]
async fn an_instance_that_is_full_leaves_the_records_of_the_dead_to_others() {
    let directory = TempDir::new().unwrap();
    let left = [numbered("a", 0..5), numbered("b", 0..1)];
    let full_one = a_full_instance(&directory, left).await;

    let mut healthy = slots(&directory);
    healthy.own = Some(3);
    let store = healthy.open(3).await.unwrap();
    let heir = engine(store, healthy, 1 << 20);
    until(|| heir.cache_stats().records >= 5).await;
    heir.close().await.unwrap();
    assert_eq!(full_one.cache_stats().records, 10);
    full_one.close().await.unwrap();
}

#[tokio::test]
async fn a_slot_whose_records_had_no_room_can_be_taken_again() {
    let directory = TempDir::new().unwrap();
    let left = [numbered("a", 0..5), numbered("a", 0..5)];
    let full = a_full_instance(&directory, left).await;
    full.close().await.unwrap();
    let busy = instance(&directory).await;
    let next = instance(&directory).await;
    assert_eq!(next.slots.own, Some(1));
    next.store.close().await.unwrap();
    busy.store.close().await.unwrap();
}

#[tokio::test]
async fn a_record_that_is_larger_than_a_limit_is_delivered_and_those_behind_it_follow() {
    let mut small_cache = EngineOptions::DEFAULT;
    small_cache.cache_max_bytes = NonZeroU64::new(160).unwrap();
    let mut small_share = EngineOptions::DEFAULT;
    small_share.max_stream_share = Some(160);
    for mut options in [small_cache, small_share] {
        options.flush_strategy = FlushStrategy::None;
        let directory = TempDir::new().unwrap();
        let Instance { slots: own, store } = instance(&directory).await;
        let mut left = vec![of_size("a", 1000)];
        left.extend(numbered("a", 0..3));
        leave(&own, 1, left).await;

        let sender = Arc::new(Counting::default());
        let heir = FlushEngine::start(store, sender.clone(), options.clone()).unwrap();
        heir.adopt_from(own.clone());
        until(|| heir.cache_stats().records == 1).await;
        assert_eq!(heir.cache_stats().bytes, 1000);
        heir.drain(Duration::from_secs(60)).await.unwrap();
        assert_eq!(sender.0.load(Ordering::SeqCst), 1);
        heir.close().await.unwrap();

        let store = own.open(0).await.unwrap();
        let heir = FlushEngine::start(store, sender, options).unwrap();
        heir.adopt_from(own);
        until(|| heir.cache_stats().records == 3).await;
        heir.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_record_that_is_larger_than_the_cache_is_logged_while_it_waits() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false);
    let subscriber = subscriber.with_writer(move || writer.clone()).finish();
    let _here = tracing::subscriber::set_default(subscriber);
    let directory = TempDir::new().unwrap();
    let heir = instance(&directory).await;
    heir.store.append(numbered("b", 0..1)).await.unwrap();
    leave(&heir.slots, 1, vec![of_size("a", 1000)]).await;
    let heir = heir.with_cache_of(160);
    let line = "could not be adopted slot=1 error=the records can never fit: 1000 bytes";
    until(|| log.text().contains(line)).await;
    assert_eq!(heir.cache_stats().records, 1, "of stream b");
    heir.close().await.unwrap();
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_slot_that_certainly_holds_nothing_is_opened_only_if_it_is_claimed() {
    let directory = TempDir::new().unwrap();
    let mut heir = instance(&directory).await;
    for slot in [1, 2] {
        leave(&heir.slots, slot, Vec::new()).await;
    }
    let claim = heir.slots.directory.join("slot-2.to-7");
    std::fs::write(&claim, "").unwrap();
    leave(&heir.slots, 3, numbered("a", 0..1)).await;
    let (before_opening, opened) = Hook::noting();
    heir.slots.before_opening = before_opening;
    heir.adopts_until(1 << 20, 1).await;
    assert_eq!(*opened.lock().unwrap(), [2, 3]);
    assert!(!claim.exists(), "slot 2 is an ordinary slot again");
}

#[tokio::test]
async fn closing_does_not_wait_until_a_slot_is_open() {
    let directory = TempDir::new().unwrap();
    let mut heir = instance(&directory).await;
    leave(&heir.slots, 1, numbered("a", 0..1)).await;
    let begun = Arc::new(AtomicUsize::new(0));
    let begins = Arc::clone(&begun);
    let hangs = move |_| -> BoxFuture<'static, ()> {
        begins.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::pending())
    };
    heir.slots.before_opening = Hook(Arc::new(hangs));
    let heir = heir.with_cache_of(1 << 20);
    until(|| begun.load(Ordering::SeqCst) == 1).await;
    let closed = tokio::time::timeout(Duration::from_secs(20), heir.close());
    closed.await.expect("it waits for the slot").unwrap();
}

#[tokio::test]
async fn the_rest_of_a_stream_waits_for_a_head_that_moves_on_while_its_slot_is_looked_at() {
    let directory = TempDir::new().unwrap();
    let mut heir = instance(&directory).await;
    let own = &heir.slots;
    let place = own.directory.clone();
    leave(own, 1, numbered("a", 300..600)).await;
    leave(own, 2, Vec::new()).await;
    let with_the_head = own.open(3).await.unwrap();
    with_the_head.append(numbered("a", 0..300)).await.unwrap();
    leave(own, 4, numbered("b", 0..1)).await;
    let (old, new) = (place.join("slot-1.to-2"), place.join("slot-1.to-3"));
    std::fs::write(&old, "").unwrap();
    let moves_on = move |slot| {
        if slot == 2 && old.exists() {
            std::fs::rename(&old, &new).unwrap();
        }
    };
    heir.slots.before_opening = Hook::new(moves_on);
    let heir = heir.with_cache_of(1 << 20);
    until(|| heir.cache_stats().records > 0).await;
    heir.close().await.unwrap();
    assert_eq!(heir.cache_stats().records, 1, "of stream b");
    with_the_head.close().await.unwrap();
}
