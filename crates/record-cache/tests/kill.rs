//! Processes killed again and again, and what their store still holds.
//!
//! `KILLS` sets the number of kills, for all stores together.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use record_cache::{Durability, Record, Settlement};
use support::process::{self, is_child, say};
use support::subject::for_each_store;
use support::{
    Numbers, Store, Subject, assert_no_blobs, block_on, indexes, limits, number_of, overwrite,
    read_all, record, stream, times,
};
use tempfile::TempDir;

for_each_store!(fn no_kill_loses_what_was_acknowledged);

const WRITERS: u64 = 6;
/// The range of record numbers reserved for each process.
const NUMBERS: u64 = 1_000_000_000;
const CHECK_EVERY: usize = 5;

/// The workload in a directory used by one process after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    /// The store holds many records.
    Full,
    /// The store holds few records, of all sizes, so it frees disk all the time.
    Small,
    /// Each process opens what another kind of store left.
    Mixed,
    /// Processes are killed while opening, every other time with an index to rebuild.
    Opening,
}

impl Lane {
    const ALL: [Self; 4] = [Self::Full, Self::Small, Self::Mixed, Self::Opening];

    /// Writers wait while the store holds more records than this.
    fn held(self) -> usize {
        match self {
            Self::Small => 200,
            Self::Full | Self::Mixed => usize::MAX,
            Self::Opening => 9_000,
        }
    }

    fn length(self, number: u64) -> usize {
        match (self, number) {
            (Self::Small, number) if number.is_multiple_of(96) => 300_000,
            (Self::Small, number) if number.is_multiple_of(8) => 30_000,
            (_, number) if number.is_multiple_of(40) => 20_000,
            _ => 300,
        }
    }

    /// The most records settled in one call.
    fn reach(self, round: usize) -> usize {
        match self {
            Self::Small if round % 10 > 7 => usize::MAX,
            _ => 1 + round % 80,
        }
    }

    fn expected_bytes(self) -> Option<u64> {
        (self == Self::Small).then_some(100_000)
    }

    /// The store that opens the directory for the given kill.
    fn opener(self, subject: Subject, kill: usize) -> Subject {
        match self {
            Self::Mixed => Subject::ALL[kill % Subject::ALL.len()],
            _ => subject,
        }
    }
}

fn no_kill_loses_what_was_acknowledged(subject: Subject) {
    if let Some((place, argument)) = is_child() {
        return child(&place, &argument);
    }
    let kills = times("KILLS", 200).div_ceil(Subject::ALL.len() * Lane::ALL.len());
    thread::scope(|scope| {
        for lane in Lane::ALL {
            scope.spawn(move || kill_again_and_again(subject, lane, kills));
        }
    });
}

fn kill_again_and_again(subject: Subject, lane: Lane, kills: usize) {
    let place = TempDir::new().unwrap();
    let mut random = Numbers::new(8 + lane as u64);
    let mut said = Said::default();
    let mut while_opening = 0;
    if lane == Lane::Opening {
        said.appended.extend(begin_with_much(subject, place.path()));
    }
    for kill in 0..kills {
        let opener = lane.opener(subject, kill);
        if lane == Lane::Opening && kill % 2 == 0 {
            spoil_the_index(place.path(), &mut random);
        }
        let test = subject.test("no_kill_loses_what_was_acknowledged");
        let first = (1 + kill as u64) * NUMBERS;
        let argument = format!("{} {} {first}", opener.name(), lane as usize);
        let mut process = process::start(&test, place.path(), &argument);
        process.wait_for("opening");
        if lane == Lane::Opening && kill % 4 != 3 {
            pause(&mut random);
            let rest = process.kill();
            while_opening += usize::from(!rest.iter().any(|line| line == "opened"));
            said.note_all(&rest);
        } else {
            let lines = 1 + random.below(if lane == Lane::Small { 300 } else { 600 });
            let mut seen = 0;
            while seen < lines {
                let line = process.lines.next();
                let line = line.unwrap_or_else(|| panic!("it ended by itself: {seen} of {lines}"));
                seen += usize::from(said.note(&line.unwrap()));
            }
            // Lines printed before it died count too.
            said.note_all(&process.kill());
        }
        if kill % CHECK_EVERY == CHECK_EVERY - 1 {
            check(lane.opener(subject, kill + 1), place.path(), &said);
        }
    }
    check(subject, place.path(), &said);
    let (appended, deleted) = (said.appended.len(), said.deleted.len());
    let idle = appended <= 2 * kills || deleted <= kills / 2;
    assert!(!idle, "{lane:?}: it was idle: {appended}, {deleted}");
    let enough = lane != Lane::Opening || while_opening > kills / 8;
    assert!(enough, "{while_opening} of {kills} were opening");
}

/// Enough records to make an open take a while.
fn begin_with_much(subject: Subject, path: &Path) -> std::ops::Range<u64> {
    block_on(async {
        let store = subject.open_fast(path).await;
        for call in 0..40 {
            let numbers = call * 200..call * 200 + 200;
            let records = numbers.map(|n| record(&stream(stream_of(n)), n, 100));
            store.append(records.collect()).await.unwrap();
        }
        store.close().await.unwrap();
    });
    0..8_000
}

fn stream_of(number: u64) -> &'static str {
    let is_even = number.is_multiple_of(2);
    if is_even { "even" } else { "odd" }
}

/// Waits until some moment during an open, roughly.
#[expect(
    clippy::disallowed_methods,
    reason = "the moment of the kill is drawn, not waited for"
)]
fn pause(random: &mut Numbers) {
    let most = 20_000_usize >> random.below(6);
    thread::sleep(Duration::from_micros(random.below(most) as u64));
}

/// Deletes or damages each index, and leaves the log alone.
fn spoil_the_index(path: &Path, random: &mut Numbers) {
    for index in indexes(path) {
        if random.below(2) == 0 {
            fs::remove_dir_all(index).unwrap();
        } else if let Ok(mut database) = fs::File::options().write(true).open(index.join("db")) {
            let length = usize::try_from(database.metadata().unwrap().len()).unwrap();
            overwrite(&mut database, random.below(length) as u64, &[0xa6; 600]);
        }
    }
}

/// What the processes reported before they were killed.
#[derive(Default)]
struct Said {
    appended: BTreeSet<u64>,
    asked_to_delete: BTreeSet<u64>,
    deleted: BTreeSet<u64>,
    /// The least number of attempts that a record must have.
    counted: BTreeMap<u64, u32>,
}

impl Said {
    fn note_all(&mut self, lines: &[String]) {
        for line in lines {
            self.note(line);
        }
    }

    /// Returns whether the line was a report.
    fn note(&mut self, line: &str) -> bool {
        let Some((what, numbers)) = line.split_once(' ') else {
            return false;
        };
        let numbers = numbers.split(',').filter_map(|number| number.parse().ok());
        match what {
            "appended" => self.appended.extend(numbers),
            "deleting" => self.asked_to_delete.extend(numbers),
            "deleted" => self.deleted.extend(numbers),
            "counted" => numbers.for_each(|number| *self.counted.entry(number).or_default() += 1),
            _ => return false,
        }
        true
    }
}

fn check(opener: Subject, path: &Path, said: &Said) {
    block_on(async {
        let store = opener.open(path).await;
        assert_eq!(store.stats().damaged_records, 0);
        assert_no_blobs(path);
        let mut held = BTreeSet::new();
        for name in ["even", "odd"] {
            let mut last: BTreeMap<u64, u64> = BTreeMap::new();
            for record in read_all(&*store, &stream(name)).await.records {
                let number = number_of(&record);
                assert!(held.insert(number), "{number} is there twice");
                let before = last.insert(number % WRITERS, number);
                assert!(before < Some(number), "the order of a writer is lost");
                let counted = said.counted.get(&number).copied().unwrap_or(0);
                assert!(record.attempts >= counted, "attempts of {number} are lost");
            }
        }
        let stats = store.stats();
        assert_eq!((stats.records(), stats.damaged_records), (held.len(), 0));
        let is_lost = |n: &&u64| !held.contains(n) && !said.asked_to_delete.contains(n);
        let lost: Vec<_> = said.appended.iter().filter(is_lost).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        let back: Vec<_> = said.deleted.intersection(&held).collect();
        assert!(back.is_empty(), "deleted and back: {back:?}");
        store.close().await.unwrap();
    });
}

fn child(path: &Path, argument: &str) {
    let mut words = argument.split(' ');
    let opener = Subject::named(words.next().unwrap());
    let lane = Lane::ALL[words.next().unwrap().parse::<usize>().unwrap()];
    let first: u64 = words.next().unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // Half of the processes run without syncs.
        let durability = match first / NUMBERS % 2 {
            0 => Durability::PowerLoss,
            _ => Durability::ProcessCrash,
        };
        say("opening");
        let opening = opener.try_open(path, durability, lane.expected_bytes());
        let store = opening.await.unwrap();
        say("opened");
        let mut tasks = Vec::new();
        for writer in 0..WRITERS {
            tasks.push(tokio::spawn(write(lane, Arc::clone(&store), first, writer)));
        }
        tasks.push(tokio::spawn(settle(lane, store)));
        for task in tasks {
            task.await.unwrap();
        }
    });
}

fn tell(what: &str, numbers: &[u64]) {
    let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
    say(&format!("{what} {}", numbers.join(",")));
}

async fn write(lane: Lane, store: Store, first: u64, writer: u64) {
    let start = first.next_multiple_of(WRITERS) + writer;
    let mut numbers = (start..).step_by(usize::try_from(WRITERS).unwrap());
    for round in 0_u64.. {
        let count = usize::try_from(1 + round % 4).unwrap();
        let call: Vec<u64> = numbers.by_ref().take(count).collect();
        let records = call
            .iter()
            .map(|&n| record(&stream(stream_of(n)), n, lane.length(n)));
        store.append(records.collect()).await.unwrap();
        tell("appended", &call);
        // Let the other task catch up.
        while store.stats().records() > lane.held() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn settle(lane: Lane, store: Store) {
    for round in 0_usize.. {
        let name = stream(if round % 2 == 0 { "even" } else { "odd" });
        let held = store.oldest(&name, None, limits(lane.reach(round))).await;
        let held = held.unwrap().records;
        let (done, tried): (Vec<_>, Vec<_>) = held
            .iter()
            .partition(|r| r.attempts > 1 || !number_of(r).is_multiple_of(7));
        let numbers = |of: &[&Record]| -> Vec<u64> { of.iter().map(|r| number_of(r)).collect() };
        tell("deleting", &numbers(&done));
        let settlement = Settlement::new(name)
            .delete(done.iter().map(|record| record.id))
            .count_attempt(tried.iter().map(|record| record.id));
        store.settle(settlement).await.unwrap();
        tell("deleted", &numbers(&done));
        tell("counted", &numbers(&tried));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
