//! A process that is killed again and again, and what the journal still holds.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod journal_support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use journal_support::{Numbers, limits, number_of, open, read_all, record, stream, times};
use record_cache::{Durability, JournalStore, RecordStore, Settlement};
use tempfile::TempDir;

const CHILD: &str = "JOURNAL_KILL_CHILD";
const FIRST: &str = "JOURNAL_KILL_FIRST";
const WRITERS: u64 = 6;

/// What the processes said before they were killed.
#[derive(Default)]
struct Said {
    appended: BTreeSet<u64>,
    asked_to_delete: BTreeSet<u64>,
    deleted: BTreeSet<u64>,
}

#[test]
fn no_kill_loses_what_was_acknowledged() {
    if let Ok(path) = std::env::var(CHILD) {
        return child(Path::new(&path));
    }
    let place = TempDir::new().unwrap();
    let mut random = Numbers::new(8);
    let mut said = Said::default();
    for kill in 0..times("JOURNAL_KILLS", 200) {
        let mut child = start(place.path(), 1 + kill as u64 * 1_000_000_000);
        let lines = 1 + random.below(600);
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut seen = 0;
        for line in output.lines() {
            said.note(&line.unwrap());
            seen += 1;
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
        if kill % 5 == 4 {
            check(place.path(), &said);
        }
    }
    check(place.path(), &said);
    let (appended, deleted) = (said.appended.len(), said.deleted.len());
    assert!(
        appended > 1000 && deleted > 100,
        "it was idle: {appended}, {deleted}"
    );
}

fn start(path: &Path, first: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "no_kill_loses_what_was_acknowledged",
            "--nocapture",
        ])
        .env(CHILD, path)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

impl Said {
    fn note(&mut self, line: &str) {
        let Some((what, numbers)) = line.split_once(' ') else {
            return;
        };
        let set = match what {
            "appended" => &mut self.appended,
            "deleting" => &mut self.asked_to_delete,
            "deleted" => &mut self.deleted,
            _ => return,
        };
        set.extend(
            numbers
                .split(',')
                .filter_map(|number| number.parse::<u64>().ok()),
        );
    }
}

fn check(path: &Path, said: &Said) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = open(path).await;
        assert_eq!(store.stats().damaged_records, 0);
        let mut held = BTreeSet::new();
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        for name in ["even", "odd"] {
            for record in read_all(&store, &stream(name)).await.records {
                let number = number_of(&record);
                assert!(held.insert(number), "{number} is there twice");
                let writer = number % WRITERS;
                let before = last.insert(writer, number);
                assert!(before < Some(number), "the order of a writer is kept");
            }
            last.clear();
        }
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

fn child(path: &Path) {
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
        let builder = JournalStore::builder(path).durability(durability);
        let store = Arc::new(builder.open().await.unwrap());
        let mut tasks = Vec::new();
        for writer in 0..WRITERS {
            tasks.push(tokio::spawn(write(Arc::clone(&store), first, writer)));
        }
        tasks.push(tokio::spawn(settle(store)));
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

async fn write(store: Arc<JournalStore>, first: u64, writer: u64) {
    let start = first.next_multiple_of(WRITERS) + writer;
    let mut numbers = (start..).step_by(usize::try_from(WRITERS).unwrap());
    for round in 0_u64.. {
        let count = usize::try_from(1 + round % 4).unwrap();
        let call: Vec<u64> = numbers.by_ref().take(count).collect();
        let name = |n: u64| stream(if n.is_multiple_of(2) { "even" } else { "odd" });
        let length = |n: u64| if n.is_multiple_of(40) { 20_000 } else { 300 };
        let records = call
            .iter()
            .map(|&n| record(&name(n), n, length(n)))
            .collect();
        store.append(records).await.unwrap();
        say("appended", &call);
    }
}

async fn settle(store: Arc<JournalStore>) {
    for round in 0_usize.. {
        let name = stream(if round % 2 == 0 { "even" } else { "odd" });
        let held = store
            .oldest(&name, None, limits(1 + round % 80))
            .await
            .unwrap()
            .records;
        let (done, tried): (Vec<_>, Vec<_>) =
            held.iter().partition(|r| !number_of(r).is_multiple_of(7));
        let numbers: Vec<u64> = done.iter().map(|record| number_of(record)).collect();
        say("deleting", &numbers);
        let settlement = Settlement::new(name)
            .delete(done.iter().map(|record| record.id))
            .count_attempt(tried.iter().map(|record| record.id));
        store.settle(settlement).await.unwrap();
        say("deleted", &numbers);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
