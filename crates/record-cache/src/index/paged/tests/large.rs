//! Measures very large indexes. Run with `--release`, `--ignored`, `--nocapture` and one name.
//!
//! Each phase runs in a separate process, so its memory is measured separately.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use super::{checkpoint, settings};
use crate::index::Entry;
use crate::index::Index;
use crate::index::paged::{IndexSettings, PagedIndex};
use crate::index::ranges::Ranges;
use crate::{ReadLimits, StreamName};

const PHASE: &str = "RECORD_INDEX_PHASE";
const BATCH: usize = 500;

#[derive(Debug, Clone, Copy)]
struct Shape {
    entries: u64,
    streams: u64,
    /// Whether all records are equally large, with none of another stream in between.
    alike: bool,
}

fn now() -> Instant {
    crate::clock::monotonic()
}

/// Current and peak memory in MiB.
fn memory() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let value = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib / 1024
    };
    (value("VmRSS:"), value("VmHWM:"))
}

/// CPU seconds used by all threads of this process.
fn worked() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    let ticks = fields
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<f64>().unwrap());
    ticks.sum::<f64>() / 100.0
}

fn on_disk(path: &Path) -> u64 {
    let entries = fs::read_dir(path).unwrap().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata().unwrap() {
        found if found.is_dir() => on_disk(&entry.path()),
        found => found.len(),
    };
    entries.map(size).sum()
}

/// A measurement in progress.
struct Measured {
    idle: u64,
    began: Instant,
    worked: f64,
}

impl Measured {
    fn begin(idle: u64) -> Self {
        let (began, worked) = (now(), worked());
        Self {
            idle,
            began,
            worked,
        }
    }

    fn end(self, what: &str, count: u64, home: &Path) {
        let took = self.began.elapsed();
        let (memory, peak) = memory();
        let each = |seconds: f64| seconds * 1e6 / count as f64;
        println!(
            "{what:12} {took:>9.2?}, each {:.2} µs, {:.2} µs of CPU; MiB above idle: {}, at most {}; {} MiB on disk",
            each(took.as_secs_f64()),
            each(worked() - self.worked),
            memory.saturating_sub(self.idle),
            peak.saturating_sub(self.idle),
            on_disk(home) >> 20,
        );
    }
}

fn names(shape: Shape) -> Vec<StreamName> {
    let name = |n| StreamName::new(format!("telemetry.device.{n:06}")).unwrap();
    (0..shape.streams).map(name).collect()
}

/// The entries of a log, with their streams.
fn entries(shape: Shape) -> impl Iterator<Item = (usize, Entry)> {
    let mut random = 88_172_645_463_325_252_u64;
    let mut place = 64_u64;
    (0..shape.entries).map(move |sequence| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (size, stream) = match shape.alike {
            true => (100, sequence * shape.streams / shape.entries),
            false => (60 + (random >> 20) % 80, (random >> 40) % shape.streams),
        };
        let entry = Entry {
            sequence,
            segment: (place >> 23) as u32,
            place: (place & ((1 << 23) - 1)) as u32,
            size: size as u32,
            attempts: 0,
        };
        place += (64 + size).next_multiple_of(8);
        (stream as usize, entry)
    })
}

fn keep(index: &mut PagedIndex, checkpoints: &mut (u64, Duration)) {
    if index.wants_checkpoint() {
        let began = now();
        checkpoints.0 += 1;
        index.checkpoint(&checkpoint(checkpoints.0)).unwrap();
        checkpoints.1 += began.elapsed();
    }
}

fn fill(home: &Path, shape: Shape) {
    let names = names(shape);
    let idle = memory().0;
    let put = Measured::begin(idle);
    let mut index = PagedIndex::empty(home, IndexSettings::default());
    let mut checkpoints = (0, Duration::ZERO);
    for (stream, entry) in entries(shape) {
        index.put_one(&names[stream], entry).unwrap();
        keep(&mut index, &mut checkpoints);
    }
    put.end("put", shape.entries, home);
    let close = Measured::begin(idle);
    index.close(&checkpoint(0)).unwrap();
    close.end("close", 1, home);
    println!(
        "{} checkpoints, {:.2?} of their owner's time",
        checkpoints.0, checkpoints.1
    );
}

fn reopen(home: &Path, shape: Shape) {
    let idle = memory().0;
    let open = Measured::begin(idle);
    let (index, restored) = PagedIndex::open(home, IndexSettings::default());
    let (_, stats) = restored.unwrap();
    open.end("open", 1, home);
    let records: usize = stats.values().map(|stream| stream.records).sum();
    assert_eq!(records as u64, shape.entries);
    drop(index);
}

fn drain(home: &Path, shape: Shape) {
    let idle = memory().0;
    let open = Measured::begin(idle);
    let (mut index, restored) = PagedIndex::open(home, IndexSettings::default());
    restored.unwrap();
    open.end("open again", 1, home);
    let limits = ReadLimits::new(BATCH.try_into().unwrap(), u64::MAX.try_into().unwrap());
    let (mut checkpoints, mut batches, mut left) = ((0, Duration::ZERO), 0, shape.entries);
    let batch = Measured::begin(idle);
    let (mut worst, mut disk) = (Duration::ZERO, 0);
    while left > 0 {
        for name in &names(shape) {
            let start = now();
            let found = index.after(name, None, limits).unwrap();
            let numbers: Ranges = found.iter().map(|entry| entry.sequence).collect();
            assert_eq!(index.find(name, &numbers).unwrap().len(), found.len());
            index.remove(name, &numbers, &mut |_| left -= 1).unwrap();
            worst = worst.max(start.elapsed());
            batches += 1;
            keep(&mut index, &mut checkpoints);
            if batches % 1_000 == 0 {
                disk = disk.max(on_disk(home));
            }
        }
    }
    batch.end("batch", batches, home);
    println!(
        "{} checkpoints, {:.2?} of their owner's time; slowest batch {worst:.2?}; {} MiB on disk at most",
        checkpoints.0,
        checkpoints.1,
        disk >> 20
    );
    index.close(&checkpoint(0)).unwrap();
}

/// Runs each phase in a separate process.
fn measure(test: &str, shape: Shape) {
    let home = |text: &str| PathBuf::from(text.split_once(' ').unwrap().1);
    if let Ok(phase) = env::var(PHASE) {
        let home = home(&phase);
        return match phase.split_once(' ').unwrap().0 {
            "fill" => fill(&home, shape),
            "reopen" => reopen(&home, shape),
            _ => drain(&home, shape),
        };
    }
    let home = tempfile::tempdir().unwrap();
    println!("{shape:?}");
    for phase in ["fill", "reopen", "drain"] {
        let status = Command::new(env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "--quiet", test])
            .env(PHASE, format!("{phase} {}", home.path().display()))
            .status();
        assert!(status.unwrap().success());
    }
}

macro_rules! measured {
    ($($name:ident: $shape:expr;)*) => {$(
        #[test]
        #[ignore = "a measurement"]
        fn $name() {
            measure(concat!("index::paged::tests::large::", stringify!($name)), $shape);
        }
    )*};
}

measured! {
    one_million: Shape { entries: 1_000_000, streams: 8, alike: false };
    twenty_million: Shape { entries: 20_000_000, streams: 8, alike: false };
    twenty_million_alike: Shape { entries: 20_000_000, streams: 1, alike: true };
    many_streams: Shape { entries: 20_000_000, streams: 100_000, alike: false };
}

#[test]
#[ignore = "a measurement"]
fn small() {
    let home = tempfile::tempdir().unwrap();
    let name = StreamName::new("one").unwrap();
    let shape = Shape {
        entries: 100_000,
        streams: 1,
        alike: true,
    };
    let mut index = PagedIndex::empty(home.path(), settings(1 << 17));
    let mut took = Duration::ZERO;
    for round in 0..20 {
        let began = now();
        for (_, mut entry) in entries(shape) {
            entry.sequence += round * shape.entries;
            index.put_one(&name, entry).unwrap();
        }
        let all = (0..(round + 1) * shape.entries).collect();
        index.remove(&name, &all, &mut |_| ()).unwrap();
        took += began.elapsed();
    }
    let each = took.as_secs_f64() * 1e9 / (20.0 * shape.entries as f64);
    println!("put and remove: {each:.1} ns");
}
