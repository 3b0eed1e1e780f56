//! A store with a history. Tests damage copies of it and examine them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use record_cache::{RecordStore, Settlement};
use tempfile::TempDir;

use super::{
    Subject, append, assert_no_blobs, copies, copy, crash, in_memory, limits, number_of, read_all,
    record, segments, stream,
};

pub(crate) const STREAMS: [&str; 3] = ["one", "two", "three"];

/// Longest examination allowed, whatever the damage.
const LIMIT: Duration = Duration::from_secs(60);

/// The first number of the records that the examination appends.
const ADDED: u64 = 3_000_000;

pub(crate) fn stream_of(number: u64) -> &'static str {
    STREAMS[usize::try_from(number % 3).unwrap()]
}

/// Short records, longer ones, and some that span several pages.
pub(crate) fn mixed_lengths(number: u64) -> usize {
    match number % 20 {
        0 => 15_000,
        7 => 5_000,
        other => usize::try_from(other * 40).unwrap(),
    }
}

/// How the process that wrote the files ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Closed,
    Killed,
    /// Closed, reopened, changed, then killed.
    KilledLater,
}

impl End {
    pub(crate) const ALL: [Self; 3] = [Self::Closed, Self::Killed, Self::KilledLater];
}

/// The files of a store with some records settled, and their expected contents.
pub(crate) struct Sample {
    /// The store that opens the copies.
    pub(crate) subject: Subject,
    pub(crate) place: TempDir,
    pub(crate) live: BTreeSet<u64>,
    pub(crate) settled: BTreeSet<u64>,
    /// The number of attempts counted per record.
    attempts: BTreeMap<u64, u32>,
    /// Offset of the last call in the last segment.
    pub(crate) last_call: u64,
}

impl Sample {
    pub(crate) async fn new(
        subject: Subject,
        end: End,
        records: u64,
        length_of: impl Fn(u64) -> usize,
    ) -> Self {
        let work = in_memory();
        let mut store = subject.open_fast(work.path()).await;
        let mut live = BTreeSet::new();
        let mut settled = BTreeSet::new();
        let mut attempts = BTreeMap::new();
        let mut last_call = 0;
        for call in 0..records / 5 {
            if end == End::KilledLater && call == records / 8 {
                store.close().await.unwrap();
                store = subject.open_fast(work.path()).await;
            }
            last_call = segments(work.path())
                .pop()
                .map_or(0, |last| fs::metadata(last).unwrap().len());
            let ids = call * 5..call * 5 + 5;
            live.extend(ids.clone());
            let records = ids.map(|n| record(&stream(stream_of(n)), n, length_of(n)));
            store.append(records.collect()).await.unwrap();
            if call % 7 == 3 {
                settle(&*store, &mut live, &mut settled, &mut attempts).await;
            }
        }
        let place = in_memory();
        if end == End::Closed {
            store.close().await.unwrap();
            copy(work.path(), place.path());
        } else {
            crash(&*store, work.path(), place.path()).await;
            store.close().await.unwrap();
        }
        Self {
            subject,
            place,
            live,
            settled,
            attempts,
            last_call,
        }
    }

    /// Opens a damaged copy and checks what must hold after any damage.
    pub(crate) async fn survives(&self, context: &str, damage: impl FnOnce(&Path)) -> Outcome {
        let place = in_memory();
        copy(self.place.path(), place.path());
        damage(place.path());
        let examined = tokio::time::timeout(LIMIT, self.examine(place.path(), context)).await;
        examined.unwrap_or_else(|_| unreachable!("{context}: it hangs"))
    }

    /// Checks that an undamaged copy is as it should be.
    pub(crate) async fn is_untouched(&self) {
        let outcome = self.survives("untouched", |_| ()).await;
        outcome.is_harmless("untouched");
    }

    async fn examine(&self, path: &Path, context: &str) -> Outcome {
        let store = self.subject.open_fast(path).await;
        let at_open = store.stats().damaged_records;
        let (found, reported) = read(&*store, context).await;
        let damaged = store.stats().damaged_records;
        let expected = at_open + reported;
        assert_eq!(damaged, expected, "{context}: what is dropped is reported");
        let known = |n: &u64| self.live.contains(n) || self.settled.contains(n);
        let invented = found.keys().find(|number| !known(number));
        assert_eq!(invented, None, "{context}: nothing is invented");

        // The store works normally, keeps what it holds now, and counts damage once.
        for (n, name) in (ADDED..).step_by(3).zip(STREAMS) {
            let n = n + STREAMS.iter().position(|other| *other == name).unwrap() as u64;
            append(&*store, &stream(name), [n], 100).await;
        }
        assert_no_blobs(path);
        store.close().await.unwrap();
        let store = self.subject.open_fast(path).await;
        assert_eq!(store.stats().damaged_records, 0, "{context}: counted once");
        let (again, reported) = read(&*store, context).await;
        assert_eq!(reported, 0, "{context}: reported once");
        let kept = again.range(..ADDED).map(|(n, attempts)| (*n, *attempts));
        let kept = kept.collect::<BTreeMap<_, _>>();
        assert_eq!(kept, found, "{context}: found once, lost later");
        assert_eq!(again.len(), found.len() + 3, "{context}: appended");
        store.close().await.unwrap();
        let attempts = |number: &u64| self.attempts.get(number).copied().unwrap_or(0);
        let is_live = |number: &&u64| self.live.contains(number);
        let is_found = |number: &&u64| found.contains_key(number);
        let miscounted = found
            .iter()
            .filter(|(n, counted)| is_live(n) && attempts(n) != **counted);
        Outcome {
            lost: self.live.iter().filter(|n| !is_found(n)).count(),
            counted: usize::try_from(damaged).unwrap(),
            back: self.settled.iter().filter(is_found).count(),
            miscounted: miscounted.count(),
            aside: copies(path).len(),
        }
    }
}

async fn settle(
    store: &dyn RecordStore,
    live: &mut BTreeSet<u64>,
    settled: &mut BTreeSet<u64>,
    attempts: &mut BTreeMap<u64, u32>,
) {
    let name = stream("two");
    let held = store.oldest(&name, None, limits(6)).await.unwrap();
    let (done, tried): (Vec<_>, Vec<_>) = (0..).zip(&held.records).partition(|(n, _)| n % 2 == 0);
    for (_, record) in &done {
        live.remove(&number_of(record));
        settled.insert(number_of(record));
    }
    for (_, record) in &tried {
        *attempts.entry(number_of(record)).or_default() += 1;
    }
    let settlement = Settlement::new(name)
        .delete(done.iter().map(|(_, record)| record.id))
        .count_attempt(tried.iter().map(|(_, record)| record.id));
    store.settle(settlement).await.unwrap();
}

/// All readable records with their attempts, and the number reported as damaged.
async fn read(store: &dyn RecordStore, context: &str) -> (BTreeMap<u64, u32>, u64) {
    let mut found = BTreeMap::new();
    let mut reported = 0;
    for name in STREAMS {
        let batch = read_all(store, &stream(name)).await;
        reported += batch.damaged.records as u64;
        let mut last = None;
        for record in &batch.records {
            let number = number_of(record);
            assert_eq!(stream_of(number), name, "{context}: in its own stream");
            assert!(last < Some(number), "{context}: in order, and once");
            last = Some(number);
            found.insert(number, record.attempts);
        }
        let held = store.stats().streams.get(&stream(name)).copied();
        let held = held.map_or((0, 0), |queue| (queue.records, queue.bytes));
        let bytes = batch.records.iter().map(record_cache::Record::size).sum();
        let expected = (batch.records.len(), bytes);
        assert_eq!(held, expected, "{context}: the counters");
    }
    (found, reported)
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) lost: usize,
    pub(crate) counted: usize,
    /// Settled records that came back.
    pub(crate) back: usize,
    /// Records with the wrong number of attempts.
    pub(crate) miscounted: usize,
    /// Copies of damaged data that the store kept.
    pub(crate) aside: usize,
}

impl Outcome {
    pub(crate) fn is_harmless(&self, context: &str) {
        assert_eq!(*self, Self::default(), "{context}");
    }
}
