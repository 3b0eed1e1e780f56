//! Random work on a log, and checks of what must hold after a crash.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::sim::{Numbers, SimDisk};
use super::slow::Gate;
use crate::disk::{Settings, Store};
use crate::index::paged::IndexSettings;
use crate::index::{Indexes, Maker};
use crate::log::files::Disk;
use crate::{
    Durability, NewRecord, ReadLimits, Record, RecordId, RecordStore, Settlement, StoreError,
    StreamName,
};

pub(crate) const SEGMENT_BYTES: u64 = 8 * 1024;
const STREAMS: usize = 3;
/// A stream that the history does not track.
pub(crate) const OTHER: &str = "afterwards";

/// Everything that was requested, and when, counted in disk events.
#[derive(Debug, Default)]
pub(crate) struct History {
    calls: Vec<Append>,
    /// By the number in each record's payload.
    records: BTreeMap<u64, Life>,
    clears: Vec<Clear>,
}

/// From before a call until it returned `Ok`. Failed calls have no end.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    end: Option<usize>,
}

#[derive(Debug)]
struct Clear {
    span: Span,
    /// How many appends preceded it. A clear may leave no event of its own.
    behind: usize,
}

#[derive(Debug)]
struct Append {
    span: Span,
    records: Vec<u64>,
}

#[derive(Debug, Default)]
struct Life {
    stream: usize,
    deleted: Vec<Span>,
    counted: Vec<Span>,
}

/// Whether settlements that had returned survive a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// They are kept.
    Kept,
    /// They may have been undone.
    Doubtful,
}

/// How a process ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Crash {
    Kill,
    LossOfPower,
}

impl Crash {
    /// The disk after a crash at this event, and whether settlements survive that.
    pub(crate) fn at(
        self,
        event: usize,
        disk: &SimDisk,
        numbers: &mut Numbers,
    ) -> (SimDisk, Settled) {
        match self {
            Self::Kill => (disk.after_a_kill(event, numbers), Settled::Kept),
            Self::LossOfPower => {
                let left = disk.after_a_loss_of_power(event, numbers);
                (left, Settled::Doubtful)
            }
        }
    }
}

// The store type used by all tests of this module. They open it with an index of their choice.
#[cfg(feature = "journal")]
pub(crate) use crate::JournalStore as TestStore;
#[cfg(not(feature = "journal"))]
pub(crate) use crate::SledStore as TestStore;

/// Short segments. No store of these tests has a directory.
pub(crate) fn settings(durability: Durability) -> Settings {
    let mut settings = Settings::new("nowhere".into());
    settings.durability = durability;
    settings.segment_bytes = SEGMENT_BYTES;
    settings
}

pub(crate) fn in_memory(path: &Path) -> Box<dyn Indexes> {
    Box::new(Maker::new(path, IndexSettings::in_memory()))
}

pub(crate) async fn open(disk: &SimDisk, durability: Durability) -> Result<TestStore, StoreError> {
    open_with(disk, durability, in_memory).await
}

pub(crate) async fn open_with(
    disk: &SimDisk,
    durability: Durability,
    indexes: impl FnOnce(&Path) -> Box<dyn Indexes> + Send + 'static,
) -> Result<TestStore, StoreError> {
    let disk = disk.clone();
    let disk = move |_: &Path| Ok(Arc::new(disk) as Arc<dyn Disk>);
    let store = Store::open_on(settings(durability), indexes, disk);
    store.await.map(TestStore)
}

fn stream(n: usize) -> StreamName {
    StreamName::new(["one", "two", "a third one"][n]).unwrap()
}

/// The hash key of a record, for some records.
fn hash_key(number: u64) -> Option<u128> {
    let is_hashed = number.is_multiple_of(4) || number % 7 == 1;
    is_hashed.then(|| u128::from(number) << 70)
}

fn payload(number: u64) -> Vec<u8> {
    let length = match number % 23 {
        0 => 3000,
        n if n % 5 == 0 => 700,
        n => usize::try_from(n).unwrap() * 9,
    };
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend((0..length).map(|n| u8::try_from(n % 251).unwrap()));
    bytes
}

fn number_of(record: &Record) -> u64 {
    u64::from_le_bytes(
        *record
            .data
            .first_chunk()
            .expect("a payload that was never written"),
    )
}

pub(crate) fn some(records: usize) -> ReadLimits {
    ReadLimits::new(NonZeroUsize::new(records).unwrap(), NonZeroU64::MAX)
}

impl History {
    /// Does random work. Notes errors and continues.
    pub(crate) async fn work(
        &mut self,
        store: &TestStore,
        disk: &SimDisk,
        numbers: &mut Numbers,
        steps: usize,
    ) {
        for _ in 0..steps {
            match numbers.below(20) {
                0..=8 => self.append(store, disk, numbers).await,
                9 => {
                    self.append_side_by_side(store, disk, numbers).await;
                }
                10..=18 => self.settle(store, disk, numbers).await,
                _ if numbers.below(6) == 0 => self.clear(store, disk).await,
                _ => {}
            }
        }
    }

    fn new_records(&mut self, numbers: &mut Numbers) -> (Vec<u64>, Vec<NewRecord>) {
        let count = 1 + numbers.below(5);
        let mut ids = Vec::new();
        let mut records = Vec::new();
        for _ in 0..count {
            let number = self.records.len() as u64;
            // Uses mostly one stream, so records of the other streams stay for a long time.
            let to = numbers.below(10).min(STREAMS - 1);
            self.records.insert(
                number,
                Life {
                    stream: to,
                    ..Life::default()
                },
            );
            ids.push(number);
            let record = NewRecord::new(stream(to), Some(number.to_string()), payload(number));
            records.push(record.with_explicit_hash_key(hash_key(number)));
        }
        (ids, records)
    }

    async fn append(&mut self, store: &TestStore, disk: &SimDisk, numbers: &mut Numbers) {
        let (ids, records) = self.new_records(numbers);
        let start = disk.events();
        let end = store.append(records).await.ok().map(|()| disk.events());
        self.calls.push(Append {
            span: Span { start, end },
            records: ids,
        });
    }

    async fn append_side_by_side(
        &mut self,
        store: &TestStore,
        disk: &SimDisk,
        numbers: &mut Numbers,
    ) {
        let start = disk.events();
        let (ids, calls): (Vec<_>, Vec<_>) = (0..6).map(|_| self.new_records(numbers)).unzip();
        let mut calls = calls.into_iter().map(|records| store.append(records));
        let [a, b, c, d, e, f] = std::array::from_fn(|_| calls.next().unwrap());
        let (a, b, c, d, e, f) = tokio::join!(a, b, c, d, e, f);
        let end = disk.events();
        for (records, outcome) in ids.into_iter().zip([a, b, c, d, e, f]) {
            let end = outcome.ok().map(|()| end);
            self.calls.push(Append {
                span: Span { start, end },
                records,
            });
        }
    }

    /// Appends two groups, writing the second while the first is being synced if the store does
    /// that, and settles meanwhile. Returns the numbers of both.
    pub(crate) async fn overlap(
        &mut self,
        store: &TestStore,
        disk: &SimDisk,
        gate: &Gate,
        numbers: &mut Numbers,
    ) -> [Vec<u64>; 2] {
        let (syncs, asides) = (gate.syncs_begun(), gate.syncs_aside());
        let ((first, one), (second, two)) = (self.new_records(numbers), self.new_records(numbers));
        let start = disk.events();
        let answered = Cell::new(false);
        gate.hold("sync");
        let meanwhile = async {
            while gate.syncs_begun() == syncs && !answered.get() {
                sleep(Duration::from_micros(100)).await;
            }
            let written = disk.events();
            let is_aside = gate.syncs_aside() > asides;
            let behind = store.append(two);
            let settling = async {
                for _ in 0..5 {
                    if is_aside && disk.events() == written {
                        sleep(Duration::from_millis(1)).await;
                    }
                }
                // If there is no space after the first group, both wait for its sync.
                let released = async {
                    sleep(Duration::from_millis(2)).await;
                    gate.release();
                };
                tokio::join!(self.settle(store, disk, numbers), released);
            };
            let (outcome, ()) = tokio::join!(behind, settling);
            (written, outcome.ok().map(|()| disk.events()))
        };
        let appending = async {
            let outcome = store.append(one).await;
            answered.set(true);
            outcome
        };
        let (outcome, (later, end)) = tokio::join!(appending, meanwhile);
        let spans = [(start, outcome.ok().map(|()| disk.events())), (later, end)];
        for (records, (start, end)) in [&first, &second].into_iter().zip(spans) {
            let (span, records) = (Span { start, end }, records.clone());
            self.calls.push(Append { span, records });
        }
        [first, second]
    }

    /// The numbers of all records in the store.
    pub(crate) async fn present(store: &TestStore) -> Vec<u64> {
        let mut present = Vec::new();
        for of in 0..STREAMS {
            let batch = store.oldest(&stream(of), None, some(usize::MAX)).await;
            present.extend(batch.unwrap().records.iter().map(number_of));
        }
        present
    }

    async fn settle(&mut self, store: &TestStore, disk: &SimDisk, numbers: &mut Numbers) {
        // The last stream is mostly stalled.
        let of = if numbers.below(12) == 0 {
            2
        } else {
            numbers.below(STREAMS)
        };
        let name = stream(of);
        let Ok(batch) = store.oldest(&name, None, some(1 + numbers.below(30))).await else {
            return;
        };
        let mut settlement = Settlement::new(name);
        let (mut deleted, mut counted) = (Vec::new(), Vec::new());
        for record in &batch.records {
            if of == 2 && numbers.below(3) > 0 {
                continue;
            }
            match numbers.below(8) {
                0 => {}
                1 => {
                    counted.push(number_of(record));
                    settlement.count_attempt.push(record.id);
                }
                _ => {
                    deleted.push(number_of(record));
                    settlement.delete.push(record.id);
                }
            }
        }
        let start = disk.events();
        let end = store.settle(settlement).await.ok().map(|_| disk.events());
        let span = Span { start, end };
        for number in deleted {
            self.records.get_mut(&number).unwrap().deleted.push(span);
        }
        for number in counted {
            self.records.get_mut(&number).unwrap().counted.push(span);
        }
    }

    async fn clear(&mut self, store: &TestStore, disk: &SimDisk) {
        let start = disk.events();
        let end = store.clear().await.ok().map(|_| disk.events());
        let span = Span { start, end };
        let behind = self.calls.len();
        self.clears.push(Clear { span, behind });
    }

    /// Checks that the store holds exactly what all calls together left in it.
    pub(crate) async fn assert_kept(&self, store: &TestStore, context: &str) {
        let checked = self.check(store, usize::MAX, Settled::Kept).await;
        checked.expect(context);
    }

    /// The number of failed calls.
    pub(crate) fn failures(&self) -> usize {
        self.calls
            .iter()
            .filter(|call| call.span.end.is_none())
            .count()
    }

    /// Finds what is wrong with a store opened after a crash at some event, if anything.
    pub(crate) async fn check(
        &self,
        store: &TestStore,
        at: usize,
        settled: Settled,
    ) -> Result<(), String> {
        let mut present = BTreeMap::new();
        for of in 0..STREAMS {
            let batch = store.oldest(&stream(of), None, some(usize::MAX)).await;
            let batch = batch.map_err(|error| format!("cannot read: {error}"))?;
            if batch.damaged.records > 0 {
                return Err("damage is reported where there is none".to_owned());
            }
            self.check_stream(of, &batch.records)?;
            for record in batch.records {
                present.insert(number_of(&record), record);
            }
        }
        let stats = store.stats();
        let others = stats
            .streams
            .get(&StreamName::new(OTHER).unwrap())
            .map_or(0, |s| s.records);
        if stats.records() - others != present.len() || stats.damaged_records > 0 {
            return Err(format!("the counters are wrong: {stats:?}"));
        }
        for (number, record) in &present {
            self.check_present(*number, record, at, settled)?;
        }
        for call in &self.calls {
            self.check_call(call, &present, at)?;
        }
        Ok(())
    }

    fn check_stream(&self, of: usize, records: &[Record]) -> Result<(), String> {
        let mut last: Option<(RecordId, u64)> = None;
        for record in records {
            let number = number_of(record);
            let life = self
                .records
                .get(&number)
                .ok_or("a record that was never appended")?;
            if record.data != payload(number)
                || record.key != Some(number.to_string())
                || record.explicit_hash_key != hash_key(number)
            {
                return Err(format!("record {number} came back changed"));
            }
            if life.stream != of {
                return Err(format!("record {number} is in another stream"));
            }
            if last.is_some_and(|(id, _)| id >= record.id) {
                return Err(format!("the id of record {number} does not grow"));
            }
            last = Some((record.id, number));
        }
        Ok(())
    }

    fn check_present(
        &self,
        number: u64,
        record: &Record,
        at: usize,
        settled: Settled,
    ) -> Result<(), String> {
        let life = &self.records[&number];
        let done = |span: &&Span| span.end.is_some_and(|end| end <= at);
        if settled == Settled::Kept && life.deleted.iter().any(|span| done(&span)) {
            return Err(format!("record {number} was deleted and is back"));
        }
        let appended = self
            .calls
            .iter()
            .position(|call| call.records.contains(&number))
            .unwrap();
        let cleared = |clear: &Clear| done(&&clear.span) && appended < clear.behind;
        if self.clears.iter().any(cleared) {
            return Err(format!("record {number} was cleared and is back"));
        }
        let most = life.counted.iter().filter(|span| span.start <= at).count();
        let least = life.counted.iter().filter(done).count();
        let least = if settled == Settled::Kept { least } else { 0 };
        let attempts = usize::try_from(record.attempts).unwrap();
        if !(least..=most).contains(&attempts) {
            return Err(format!(
                "record {number} has {attempts} attempts, not {least}..={most}"
            ));
        }
        Ok(())
    }

    fn check_call(
        &self,
        call: &Append,
        present: &BTreeMap<u64, Record>,
        at: usize,
    ) -> Result<(), String> {
        let may_be_gone = |number: &u64| {
            let started = |span: &Span| span.start <= at;
            let cleared =
                |clear: &Clear| started(&clear.span) && clear.span.start >= call.span.start;
            let life = &self.records[number];
            life.deleted.iter().any(started) || self.clears.iter().any(cleared)
        };
        let gone: Vec<u64> = call
            .records
            .iter()
            .copied()
            .filter(|number| !present.contains_key(number))
            .collect();
        let unexplained = gone.iter().filter(|number| !may_be_gone(number)).count();
        let acknowledged = call.span.end.is_some_and(|end| end <= at);
        if acknowledged && unexplained > 0 {
            return Err(format!(
                "acknowledged records are lost: {gone:?} of {call:?}"
            ));
        }
        if unexplained > 0 && gone.len() < call.records.len() {
            return Err(format!("a call is there in part: {gone:?} of {call:?}"));
        }
        // A refused call stays refused once something later was made durable.
        let refused = call.span.end.is_none() && call.span.start <= at;
        let later = |other: &Append| {
            other.span.start > call.span.start && other.span.end.is_some_and(|end| end <= at)
        };
        if refused && gone.len() < call.records.len() && self.calls.iter().any(later) {
            return Err(format!("records that were refused are there: {call:?}"));
        }
        Ok(())
    }
}
