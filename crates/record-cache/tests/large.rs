//! Very large caches: filled, killed, opened, read, settled, killed, opened without their index,
//! killed while rebuilding it, opened and drained. Each step runs in its own process, which reports
//! its time and memory.
//!
//! Small enough for everyday runs unless `LARGE_RECORDS` and `LARGE_STREAMS` raise the size:
//!
//! ```console
//! $ LARGE_RECORDS=20000000 LARGE_STREAMS=100000 cargo test --release -p record-cache \
//!     --features journal --test large -- --nocapture --test-threads 1
//! ```

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fmt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use record_cache::{Durability, Settlement, StreamName};
use support::process::{self, is_child, of_status, peak_memory, say};
use support::subject::for_each_store;
use support::{
    Store, Subject, assert_no_blobs, delete, disk_usage, index_bytes, indexes, limits, number_of,
    record, remove_indexes, stream, times,
};
use tempfile::TempDir;
use tokio::time::Instant;

for_each_store!(
    a_cache_of_many_records_keeps_them_all,
    a_cache_of_many_streams_keeps_them_all,
);

const MIB: u64 = 1024 * 1024;
const EXPECTED: u64 = 64 * MIB;
/// Filler per payload. Number and length take 16 bytes more, 100 in all.
const BYTES: usize = 84;
const CALL: u64 = 500;

/// The load. Consecutive records go to different streams.
#[derive(Debug, Clone, Copy)]
struct Shape {
    records: u64,
    streams: u64,
    /// The number of oldest records in each stream that are settled before the last life.
    settled: u64,
}

impl Shape {
    fn of_records() -> Self {
        let records = times("LARGE_RECORDS", 400_000) as u64 / CALL * CALL;
        Self {
            records,
            streams: 4,
            settled: 5_000,
        }
    }

    fn of_streams() -> Self {
        let streams = times("LARGE_STREAMS", 5_000) as u64;
        Self {
            records: streams * 12,
            streams,
            settled: 3,
        }
    }

    fn name(self, of: u64) -> StreamName {
        stream(&format!("stream-{of}"))
    }

    fn of_each(self) -> u64 {
        self.records / self.streams
    }

    /// The number of the record at a place in a stream.
    fn number(self, of: u64, place: u64) -> u64 {
        place * self.streams + of
    }
}

async fn a_cache_of_many_records_keeps_them_all(subject: Subject) {
    const TEST: &str = "a_cache_of_many_records_keeps_them_all";
    lives(TEST, Shape::of_records(), subject).await;
}

async fn a_cache_of_many_streams_keeps_them_all(subject: Subject) {
    const TEST: &str = "a_cache_of_many_streams_keeps_them_all";
    lives(TEST, Shape::of_streams(), subject).await;
}

async fn lives(test: &str, shape: Shape, subject: Subject) {
    if let Some((path, life)) = is_child() {
        return live(&life, &path, shape, subject).await;
    }
    let test = subject.test(test);
    let place = TempDir::new().unwrap();
    let (records, streams) = (shape.records, shape.streams);
    eprintln!("{test}: {records} records of 100 B in {streams} streams");
    // Every process but the last is killed with its store open.
    for life in ["fill", "settle", "look", "rebuild", "drain"] {
        if life == "rebuild" {
            // With few records per stream, all positions may be in memory.
            if subject != Subject::Journal && shape.of_each() > 12 {
                assert!(!indexes(place.path()).is_empty(), "nothing is in sled");
            }
            kill_midway(&test, place.path());
        }
        let mut process = process::start(&test, place.path(), life);
        let done = format!("{life} done");
        let whole = process.lines.any(|line| {
            let line = line.unwrap();
            if line.starts_with(life) {
                eprintln!("  {line}");
            }
            line == done
        });
        assert!(whole, "{life} ended before it was done");
        process.kill();
    }
    let usage = disk_usage(place.path());
    // One segment, a quarter of the expected size.
    assert!(usage <= EXPECTED / 4 + MIB / 8, "{usage} bytes when empty");
}

/// Deletes the index, if any, and kills a process once it has started a new one.
fn kill_midway(test: &str, place: &Path) {
    let had_an_index = !indexes(place).is_empty();
    remove_indexes(place);
    let mut process = process::start(test, place, "rebuild");
    process.wait_for("rebuild: opening");
    while had_an_index && indexes(place).is_empty() {
        pause();
    }
    pause();
    let said = process.kill();
    let is_midway = !said.iter().any(|line| line.starts_with("rebuild: opened"));
    eprintln!("  killed while it opened: {is_midway}");
}

#[expect(
    clippy::disallowed_methods,
    reason = "another process creates what is waited for"
)]
fn pause() {
    thread::sleep(Duration::from_millis(5));
}

async fn live(life: &str, path: &Path, shape: Shape, subject: Subject) {
    let idle = resident();
    say(&format!("{life}: opening"));
    let opening = Instant::now();
    let store = subject.try_open(path, Durability::ProcessCrash, Some(EXPECTED));
    let store = store.await.unwrap();
    assert_eq!(store.stats().damaged_records, 0);
    report(life, "opened", opening, idle, path);
    let work = Instant::now();
    match life {
        "fill" => fill(&store, shape).await,
        "settle" => settle(&store, shape).await,
        "look" | "rebuild" => look(&store, shape).await,
        _ => drain(&store, shape).await,
    }
    report(life, "worked", work, idle, path);
    assert_no_blobs(path);
    if life == "drain" {
        let closing = Instant::now();
        store.close().await.unwrap();
        report(life, "closed", closing, idle, path);
    }
    bounded(subject, shape, idle);
    say(&format!("{life} done"));
    if life != "drain" {
        std::future::pending::<()>().await;
    }
}

async fn fill(store: &Store, shape: Shape) {
    for first in (0..shape.records).step_by(usize::try_from(CALL).unwrap()) {
        let numbers = first..shape.records.min(first + CALL);
        let new = numbers.map(|n| record(&shape.name(n % shape.streams), n, BYTES));
        store.append(new.collect()).await.unwrap();
    }
    assert_eq!(store.stats().records() as u64, shape.records);
}

/// Reads the oldest of each stream, settles most of them and counts an attempt on the last.
async fn settle(store: &Store, shape: Shape) {
    let held = store.stats().records() as u64;
    assert_eq!(held, shape.records, "all that was filled in");
    let settled = usize::try_from(shape.settled).unwrap();
    for of in 0..shape.streams {
        let name = shape.name(of);
        let held = store
            .oldest(&name, None, limits(settled + 1))
            .await
            .unwrap();
        assert_numbers(&held.records, shape, of, 0);
        let ids = || held.records.iter().map(|record| record.id);
        let settlement = Settlement::new(name)
            .delete(ids().take(settled))
            .count_attempt(ids().skip(settled));
        let removed = store.settle(settlement).await.unwrap();
        assert_eq!(removed.records, settled);
    }
}

/// Reads records here and there without changing anything.
async fn look(store: &Store, shape: Shape) {
    let held = (shape.of_each() - shape.settled) * shape.streams;
    let found = store.stats().records() as u64;
    assert_eq!(found, held, "what was settled stays so");
    for of in (0..shape.streams).step_by(7) {
        let name = shape.name(of);
        let first = store.oldest(&name, None, limits(2)).await.unwrap().records;
        assert_numbers(&first, shape, of, shape.settled);
        assert_eq!((first[0].attempts, first[1].attempts), (1, 0));
        let next = store.oldest(&name, Some(first[1].id), limits(300)).await;
        assert_numbers(&next.unwrap().records, shape, of, shape.settled + 2);
    }
}

/// Reads and settles everything, one batch per stream in turn.
async fn drain(store: &Store, shape: Shape) {
    let mut places = vec![shape.settled; usize::try_from(shape.streams).unwrap()];
    let mut left = store.stats().records();
    while left > 0 {
        for (of, place) in (0..).zip(&mut places) {
            let name = shape.name(of);
            let held = store
                .oldest(&name, None, limits(500))
                .await
                .unwrap()
                .records;
            assert_numbers(&held, shape, of, *place);
            *place += held.len() as u64;
            delete(&**store, &name, &held).await;
            left -= held.len();
        }
        assert_eq!(store.stats().records(), left);
    }
    let ends = vec![shape.of_each(); places.len()];
    assert_eq!(places, ends, "all were delivered");
}

fn assert_numbers(records: &[record_cache::Record], shape: Shape, of: u64, from: u64) {
    for (place, record) in (from..).zip(records) {
        let expected = shape.number(of, place);
        assert_eq!(number_of(record), expected, "stream {of}, in order");
    }
}

/// Checks that memory stays small however large the backlog. Each stream adds its name and
/// counters.
fn bounded(subject: Subject, shape: Shape, idle: Option<u64>) {
    if subject == Subject::Journal {
        return;
    }
    if let (Some(idle), Some(peak)) = (idle, peak_memory()) {
        let above = peak.saturating_sub(idle);
        let most = 64 * MIB + shape.streams * 2048;
        assert!(above <= most, "{above} bytes above idle, {most} allowed");
    }
}

/// Prints times and sizes. No check depends on the times.
fn report(life: &str, what: &str, begun: Instant, idle: Option<u64>, path: &Path) {
    let above = |bytes: Option<u64>| {
        let above = bytes.zip(idle).map(|(now, idle)| now.saturating_sub(idle));
        above.map_or("unknown".to_owned(), |bytes| Mib(bytes).to_string())
    };
    let (memory, peak) = (above(resident()), above(peak_memory()));
    let (disk, index) = (Mib(disk_usage(path)), Mib(index_bytes(path)));
    let time = begun.elapsed();
    say(&format!(
        "{life}: {what} in {time:.2?}, memory above idle {memory}, at most {peak}, disk {disk}, of it index {index}"
    ));
}

struct Mib(u64);

impl fmt::Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} MiB", self.0 as f64 / MIB as f64)
    }
}

/// Resident memory of this process in bytes, if the system reports it.
fn resident() -> Option<u64> {
    of_status("VmRSS:")
}
