//! What a sled store makes of files that are cut short, changed or gone.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sled_support;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use record_cache::{Durability, RecordStore, Settlement, SledStore};
use sled_support::{
    Numbers, assert_no_blobs, copies, copy, generation, generations, limits, number_of, open,
    read_all, record, settled_down, stream, times,
};
use tempfile::TempDir;

const STREAMS: [&str; 3] = ["one", "two", "three"];
const RECORDS: u64 = 450;

/// Nothing that is done to a store takes so long.
const LIMIT: Duration = Duration::from_secs(60);

fn stream_of(number: u64) -> &'static str {
    STREAMS[usize::try_from(number % 3).unwrap()]
}

fn length_of(number: u64) -> usize {
    match number % 20 {
        0 => 15_000,
        7 => 5_000,
        other => usize::try_from(other * 40).unwrap(),
    }
}

/// The files of a store with some records settled, and what is in it.
struct Sample {
    place: TempDir,
    live: BTreeSet<u64>,
    settled: BTreeSet<u64>,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Closed,
    Killed,
    /// Closed, opened again, changed, and killed then.
    KilledLater,
}

async fn sample(end: End) -> Sample {
    let work = TempDir::new().unwrap();
    let mut store = open_small(work.path()).await;
    let mut live = BTreeSet::new();
    let mut settled = BTreeSet::new();
    for call in 0..RECORDS / 5 {
        if matches!(end, End::KilledLater) && call == RECORDS / 8 {
            store.close().await.unwrap();
            store = open_small(work.path()).await;
        }
        let ids = call * 5..call * 5 + 5;
        live.extend(ids.clone());
        let records = ids.map(|n| record(&stream(stream_of(n)), n, length_of(n)));
        store.append(records.collect()).await.unwrap();
        if call % 7 == 3 {
            let name = stream("two");
            let held = store.oldest(&name, None, limits(6)).await.unwrap();
            let (done, tried): (Vec<_>, Vec<_>) =
                (0..).zip(&held.records).partition(|(n, _)| n % 2 == 0);
            for (_, record) in &done {
                live.remove(&number_of(record));
                settled.insert(number_of(record));
            }
            let settlement = Settlement::new(name)
                .delete(done.iter().map(|(_, record)| record.id))
                .count_attempt(tried.iter().map(|(_, record)| record.id));
            store.settle(settlement).await.unwrap();
        }
    }
    let place = TempDir::new().unwrap();
    settled_down(&store).await;
    if matches!(end, End::Closed) {
        store.close().await.unwrap();
    }
    copy(work.path(), place.path());
    store.close().await.unwrap();
    Sample {
        place,
        live,
        settled,
    }
}

async fn open_small(path: &Path) -> SledStore {
    let builder = SledStore::builder(path).durability(Durability::ProcessCrash);
    builder.open().await.unwrap()
}

/// What is done to the files.
#[derive(Debug, Clone, Copy)]
enum Damage {
    FlippedBit,
    Garbage,
    ZeroedPage,
    Truncated,
    Emptied,
    Longer,
    Missing,
}

const KINDS: [Damage; 7] = [
    Damage::FlippedBit,
    Damage::Garbage,
    Damage::ZeroedPage,
    Damage::Truncated,
    Damage::Emptied,
    Damage::Longer,
    Damage::Missing,
];

impl Damage {
    fn is_done_to(self, path: &Path, random: &mut Numbers) {
        if matches!(self, Self::Missing) {
            return fs::remove_file(path).unwrap();
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        let length = file.metadata().unwrap().len();
        let at = random.below(usize::try_from(length).unwrap()) as u64;
        match self {
            Self::FlippedBit => {
                let mut byte = [0];
                file.read_exact_at(&mut byte, at).unwrap();
                file.write_all_at(&[byte[0] ^ 1 << random.below(8)], at)
                    .unwrap();
            }
            Self::Garbage => file.write_all_at(&[0xa6; 64], at).unwrap(),
            Self::ZeroedPage => zero_page(&file, at, length),
            Self::Truncated => file.set_len(at).unwrap(),
            Self::Emptied => file.set_len(0).unwrap(),
            Self::Longer => file.write_all_at(&[0x5a; 5_000], length).unwrap(),
            Self::Missing => {}
        }
    }
}

fn zero_page(file: &File, at: u64, length: u64) {
    let start = at / 4096 * 4096;
    let bytes = usize::try_from((length - start).min(4096)).unwrap();
    file.write_all_at(&vec![0; bytes], start).unwrap();
}

impl Sample {
    /// Opens a damaged copy, and checks that it does no harm.
    async fn survives(&self, context: &str, damage: impl FnOnce(&Path)) -> Outcome {
        let place = TempDir::new().unwrap();
        copy(self.place.path(), place.path());
        damage(place.path());
        let outcome = tokio::time::timeout(LIMIT, self.check(place.path(), context));
        let Ok(outcome) = outcome.await else {
            unreachable!("{context}: it hangs");
        };
        outcome
    }

    async fn check(&self, path: &Path, context: &str) -> Outcome {
        let store = open_small(path).await;
        let (found, doubled) = self.read(&store, context).await;
        let damaged = store.stats().damaged_records;

        // It works as any other store, and what it holds now stays.
        for (n, name) in (RECORDS..).zip(STREAMS) {
            let new = record(&stream(name), n * 3, 100);
            store.append(vec![new]).await.unwrap();
        }
        assert_no_blobs(path);
        store.close().await.unwrap();
        let store = open_small(path).await;
        let (again, _) = self.read(&store, context).await;
        assert_eq!(store.stats().damaged_records, 0, "{context}: again");
        let new = BTreeSet::from([RECORDS * 3, RECORDS * 3 + 3, RECORDS * 3 + 6]);
        assert_eq!(&again - &new, found, "{context}: found once, lost later");
        assert!(again.is_superset(&new), "{context}: not appended");
        store.close().await.unwrap();
        Outcome {
            missing: self.live.difference(&found).count() as u64,
            back: self.settled.intersection(&found).count(),
            doubled,
            damaged,
            aside: copies(path).len(),
        }
    }

    /// What can be read, and how much of it twice.
    async fn read(&self, store: &SledStore, context: &str) -> (BTreeSet<u64>, usize) {
        let mut found = BTreeSet::new();
        let mut doubled = 0;
        for name in STREAMS {
            let batch = read_all(store, &stream(name)).await;
            for record in &batch.records {
                let number = number_of(record);
                let new = number >= RECORDS * 3;
                assert!(
                    new || (number < RECORDS && stream_of(number) == name),
                    "{context}: {number} was never in {name}"
                );
                doubled += usize::from(!found.insert(number));
            }
            let held = store.stats().streams.get(&stream(name)).copied();
            let held = held.map_or(0, |queue| queue.records);
            assert_eq!(held, batch.records.len(), "{context}: the counters");
        }
        (found, doubled)
    }
}

#[derive(Debug)]
struct Outcome {
    missing: u64,
    /// Settled records that are there again.
    back: usize,
    doubled: usize,
    damaged: u64,
    aside: usize,
}

impl Outcome {
    /// No more is missing than was reported, and nothing comes back but by salvage.
    fn is_honest(&self, context: &str) {
        assert!(self.missing <= self.damaged, "{context}: {self:?}");
        assert!(
            self.back + self.doubled == 0 || self.aside > 0,
            "{context}: {self:?}"
        );
    }

    fn is_harmless(&self, context: &str) {
        let harm = (self.missing, self.back, self.doubled, self.damaged);
        assert_eq!(harm, (0, 0, 0, 0), "{context}: {self:?}");
    }
}

fn database(path: &Path) -> PathBuf {
    generation(path).join("db")
}

async fn damages_to_the_database(end: End, seed: u64) {
    let sample = sample(end).await;
    sample.survives("untouched", |_| ()).await.is_harmless("-");
    let mut random = Numbers::new(seed);
    let cases = times("SLED_DAMAGES", 25) as u64;
    for case in 0..cases {
        for kind in &KINDS[..4] {
            let context = format!("{end:?} {case}: {kind:?}");
            let outcome = sample.survives(&context, |path| {
                kind.is_done_to(&database(path), &mut random);
            });
            let outcome = outcome.await;
            outcome.is_honest(&context);
            if matches!(kind, Damage::FlippedBit) {
                // A bit is in one value, which has up to two records; all else is found again.
                assert!(outcome.missing <= 2, "{context}: {outcome:?}");
            }
        }
    }
    for kind in &KINDS[4..] {
        let context = format!("{end:?}: {kind:?}");
        let outcome = sample.survives(&context, |path| {
            kind.is_done_to(&database(path), &mut random);
        });
        outcome.await.is_honest(&context);
    }
}

#[tokio::test]
async fn a_database_that_is_damaged_after_a_clean_close_opens() {
    damages_to_the_database(End::Closed, 1).await;
}

#[tokio::test]
async fn a_database_that_is_damaged_after_a_kill_opens() {
    damages_to_the_database(End::Killed, 2).await;
}

#[tokio::test]
async fn a_database_that_is_damaged_when_it_had_been_opened_before_opens() {
    damages_to_the_database(End::KilledLater, 3).await;
}

#[tokio::test]
async fn nothing_is_lost_with_any_other_file() {
    for end in [End::Closed, End::Killed, End::KilledLater] {
        let sample = sample(end).await;
        let mut random = Numbers::new(4);
        for kind in KINDS {
            for name in ["conf", "snapshot", "manifest", "mark", "lock"] {
                let context = format!("{end:?}: {kind:?} {name}");
                let outcome = sample.survives(&context, |path| {
                    let file = match name {
                        "conf" => Some(generation(path).join(name)),
                        "snapshot" => snapshot(path),
                        _ => Some(path.join(name)),
                    };
                    let has_bytes = |file: &PathBuf| fs::metadata(file).unwrap().len() > 0;
                    let needs_bytes = !matches!(kind, Damage::Missing | Damage::Longer);
                    if let Some(file) = file.filter(|file| !needs_bytes || has_bytes(file)) {
                        kind.is_done_to(&file, &mut random);
                    }
                });
                outcome.await.is_harmless(&context);
            }
        }
    }
}

#[tokio::test]
async fn nothing_but_settlements_is_lost_with_the_notes() {
    for end in [End::Closed, End::Killed, End::KilledLater] {
        let sample = sample(end).await;
        let mut random = Numbers::new(5);
        let mut back = 0;
        for case in 0..times("SLED_DAMAGES", 25) {
            for kind in KINDS {
                let context = format!("{end:?} {case}: {kind:?} settled");
                let outcome = sample.survives(&context, |path| {
                    kind.is_done_to(&generation(path).join("settled"), &mut random);
                });
                let outcome = outcome.await;
                let harm = (outcome.missing, outcome.doubled, outcome.damaged);
                assert_eq!((harm, outcome.aside), ((0, 0, 0), 0), "{context}");
                back += outcome.back;
            }
        }
        let is_closed = matches!(end, End::Closed);
        assert_eq!(back == 0, is_closed, "{end:?}: what was settled came back");
    }
}

fn snapshot(path: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(generation(path)).unwrap();
    let mut files = files.map(|entry| entry.unwrap().path());
    files.find(|file| {
        file.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("snap.")
    })
}

#[tokio::test]
async fn a_database_that_is_gone_is_reported() {
    let sample = sample(End::Closed).await;
    let outcome = sample
        .survives("all gone", |path| {
            fs::remove_dir_all(generation(path)).unwrap();
        })
        .await;
    assert_eq!(outcome.missing, sample.live.len() as u64);
    outcome.is_honest("all gone");

    // Without the manifest, what is there is found all the same.
    let outcome = sample.survives("only the database", |path| {
        fs::remove_file(path.join("manifest")).unwrap();
        fs::remove_file(path.join("mark")).unwrap();
    });
    outcome.await.is_harmless("only the database");
}

#[tokio::test]
async fn what_an_interrupted_snapshot_left_behind_does_no_harm() {
    let sample = sample(End::KilledLater).await;
    for content in [&b""[..], &[0x77; 3_000]] {
        let outcome = sample.survives("generating", |path| {
            let stale = generation(path).join("snap.0000000000001000.generating");
            fs::write(stale, content).unwrap();
        });
        outcome.await.is_harmless("generating");
    }
}

#[tokio::test]
async fn other_leftovers_do_no_harm() {
    let sample = sample(End::Killed).await;
    let outcome = sample.survives("leftovers", |path| {
        let current = generation(path);
        copy(&current, &path.join("gen-00000009-0123456789abcdef"));
        fs::write(path.join("manifest.tmp"), "half of a manif").unwrap();
        fs::write(path.join("before-open.tmp"), "half of a copy").unwrap();
        fs::write(path.join("restored.tmp"), "half of a copy").unwrap();
    });
    outcome.await.is_harmless("leftovers");
}

#[tokio::test]
async fn damage_that_comes_while_the_store_is_open_is_counted() {
    let place = TempDir::new().unwrap();
    let sample = sample(End::Closed).await;
    copy(sample.place.path(), place.path());
    let store = open_small(place.path()).await;
    // Everything that was cached in memory may be right; the file is not any more.
    let file = OpenOptions::new().write(true).open(database(place.path()));
    let file = file.unwrap();
    let length = file.metadata().unwrap().len();
    for at in (0..length).step_by(70_000) {
        file.write_all_at(&[0xa6; 300], at).unwrap();
    }
    let mut found = BTreeSet::new();
    for name in STREAMS {
        let batch = read_all(&store, &stream(name)).await;
        found.extend(batch.records.iter().map(number_of));
    }
    let missing = sample.live.difference(&found).count() as u64;
    assert!(missing <= store.stats().damaged_records);
    // Some of them were in memory only, and are missed when the store opens again.
    let held = store.stats().records() as u64;
    store.close().await.unwrap();
    let store = open_small(place.path()).await;
    let mut again = 0;
    for name in STREAMS {
        let batch = read_all(&store, &stream(name)).await;
        again += batch.records.iter().map(number_of).count() as u64;
    }
    assert!(held <= again + store.stats().damaged_records);
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_newest_two_copies_are_kept_until_the_cache_is_cleared() {
    let place = TempDir::new().unwrap();
    let sample = sample(End::Killed).await;
    copy(sample.place.path(), place.path());
    for round in 1..=4_u64 {
        let file = File::options().write(true).open(database(place.path()));
        file.unwrap().set_len(200_000).unwrap();
        let store = open(place.path()).await;
        let kept = copies(place.path()).len() as u64;
        assert_eq!(kept, round.min(2));
        assert!(store.stats().damaged_records > 0, "round {round}");
        // So much that the next round cuts something off again.
        let name = stream("one");
        let new = (0..100).map(|n| record(&name, n, 4_000)).collect();
        store.append(new).await.unwrap();
        store.close().await.unwrap();
    }
    let store = open(place.path()).await;
    store.clear().await.unwrap();
    assert!(copies(place.path()).is_empty());
    assert_eq!(generations(place.path()).len(), 1);
    store.close().await.unwrap();
}
