//! Processes that are killed again and again, and what their store still holds.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use record_cache::{Durability, RecordStore, Settlement};
use tempfile::TempDir;

use super::{Numbers, limits, number_of, read_all, record, stream};

const CHILD: &str = "KILL_CHILD";
const FIRST: &str = "KILL_FIRST";
const WRITERS: u64 = 6;
/// Directories in which processes are killed, side by side.
const LANES: usize = 4;
const CHECK_EVERY: usize = 5;

/// What the processes said before they were killed.
#[derive(Default)]
struct Said {
    appended: BTreeSet<u64>,
    asked_to_delete: BTreeSet<u64>,
    deleted: BTreeSet<u64>,
    /// How often an attempt was counted, at least.
    counted: BTreeMap<u64, u32>,
}

/// A store, and what is done to it until the process is killed.
#[async_trait]
pub(crate) trait Victim: Copy + Send + Sync + 'static {
    /// The test that the processes run.
    const TEST: &'static str;
    /// How many lines a process says at most.
    const LINES: usize;
    /// Writers wait while more records are held.
    const HELD: usize;

    async fn open(self, path: &Path, durability: Durability) -> Arc<dyn RecordStore>;

    /// How long a payload is.
    fn length(self, number: u64) -> usize;

    /// How many records are settled at once, at most.
    fn reach(self, round: usize) -> usize;

    /// What has to be so between two lives.
    fn check(self, _path: &Path) {}
}

/// Kills processes so many times, in directories side by side.
pub(crate) fn no_kill_loses_what_was_acknowledged(victim: impl Victim, kills: usize) {
    if let Ok(path) = std::env::var(CHILD) {
        return child(victim, Path::new(&path));
    }
    let kills = kills.div_ceil(LANES);
    thread::scope(|scope| {
        for lane in 0..LANES {
            scope.spawn(move || kill_again_and_again(victim, lane as u64, kills));
        }
    });
}

fn kill_again_and_again<V: Victim>(victim: V, lane: u64, kills: usize) {
    let place = TempDir::new().unwrap();
    let mut random = Numbers::new(8 + lane);
    let mut said = Said::default();
    for kill in 0..kills {
        let mut child = start::<V>(place.path(), 1 + kill as u64 * 1_000_000_000);
        let lines = 1 + random.below(V::LINES);
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut seen = 0;
        for line in output.lines() {
            seen += usize::from(said.note(&line.unwrap()));
            if seen == lines {
                // What it says until it is gone counts too.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(
            seen >= lines,
            "the child ended by itself, after {seen} of {lines} lines"
        );
        if kill % CHECK_EVERY == CHECK_EVERY - 1 {
            check(victim, place.path(), &said);
        }
    }
    check(victim, place.path(), &said);
    let (appended, deleted) = (said.appended.len(), said.deleted.len());
    assert!(
        appended > 10 * kills && deleted > kills,
        "it was idle: {appended}, {deleted}"
    );
}

fn start<V: Victim>(path: &Path, first: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", V::TEST, "--nocapture"])
        .env(CHILD, path)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

impl Said {
    /// Whether the line said anything.
    fn note(&mut self, line: &str) -> bool {
        let Some((what, numbers)) = line.split_once(' ') else {
            return false;
        };
        let numbers = numbers
            .split(',')
            .filter_map(|number| number.parse::<u64>().ok());
        match what {
            "appended" => self.appended.extend(numbers),
            "deleting" => self.asked_to_delete.extend(numbers),
            "deleted" => self.deleted.extend(numbers),
            "counted" => {
                numbers.for_each(|number| *self.counted.entry(number).or_default() += 1);
            }
            _ => return false,
        }
        true
    }
}

fn check(victim: impl Victim, path: &Path, said: &Said) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = victim.open(path, Durability::PowerLoss).await;
        assert_eq!(store.stats().damaged_records, 0);
        victim.check(path);
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
        let lost = said
            .appended
            .iter()
            .filter(|n| !held.contains(n) && !said.asked_to_delete.contains(n));
        assert_eq!(
            lost.collect::<Vec<_>>(),
            Vec::<&u64>::new(),
            "acknowledged and lost"
        );
        let back: Vec<_> = said.deleted.intersection(&held).collect();
        assert!(back.is_empty(), "deleted and back: {back:?}");
        store.close().await.unwrap();
    });
}

fn child(victim: impl Victim, path: &Path) {
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // Half of the lives do without syncs.
        let durability = match first / 1_000_000_000 % 2 {
            0 => Durability::PowerLoss,
            _ => Durability::ProcessCrash,
        };
        let store = victim.open(path, durability).await;
        let mut tasks = Vec::new();
        for writer in 0..WRITERS {
            tasks.push(tokio::spawn(write(
                victim,
                Arc::clone(&store),
                first,
                writer,
            )));
        }
        tasks.push(tokio::spawn(settle(victim, store)));
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// One write for each line, so that a kill leaves only whole ones.
fn say(what: &str, numbers: &[u64]) {
    let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
    let line = format!("{what} {}\n", numbers.join(","));
    // Nobody listens any more: this process is about to be killed.
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
}

async fn write<V: Victim>(victim: V, store: Arc<dyn RecordStore>, first: u64, writer: u64) {
    let start = first.next_multiple_of(WRITERS) + writer;
    let mut numbers = (start..).step_by(usize::try_from(WRITERS).unwrap());
    for round in 0_u64.. {
        let count = usize::try_from(1 + round % 4).unwrap();
        let call: Vec<u64> = numbers.by_ref().take(count).collect();
        let name = |n: u64| stream(if n.is_multiple_of(2) { "even" } else { "odd" });
        let records = call
            .iter()
            .map(|&n| record(&name(n), n, victim.length(n)))
            .collect();
        store.append(records).await.unwrap();
        say("appended", &call);
        // Let the other task catch up.
        while store.stats().records() > V::HELD {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn settle(victim: impl Victim, store: Arc<dyn RecordStore>) {
    for round in 0_usize.. {
        let name = stream(if round % 2 == 0 { "even" } else { "odd" });
        let held = store
            .oldest(&name, None, limits(victim.reach(round)))
            .await
            .unwrap()
            .records;
        let (done, tried): (Vec<_>, Vec<_>) = held
            .iter()
            .partition(|r| r.attempts > 1 || !number_of(r).is_multiple_of(7));
        let numbers = |of: &[&_]| {
            of.iter()
                .map(|record| number_of(record))
                .collect::<Vec<_>>()
        };
        say("deleting", &numbers(&done));
        let settlement = Settlement::new(name)
            .delete(done.iter().map(|record| record.id))
            .count_attempt(tried.iter().map(|record| record.id));
        store.settle(settlement).await.unwrap();
        say("deleted", &numbers(&done));
        say("counted", &numbers(&tried));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
