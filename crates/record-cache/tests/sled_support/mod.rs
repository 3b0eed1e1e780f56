//! What the tests of the sled store share.

#![allow(dead_code, reason = "each test target uses its own part")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};

use record_cache::{
    Durability, NewRecord, ReadBatch, ReadLimits, Record, RecordStore, SledStore, StreamName,
};

pub(crate) fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

pub(crate) fn limits(records: usize) -> ReadLimits {
    ReadLimits::new(NonZeroUsize::new(records).unwrap(), NonZeroU64::MAX)
}

/// A payload that says which it is, and whether it is whole.
pub(crate) fn payload(number: u64, length: usize) -> Vec<u8> {
    let filler = (0..length).map(|n| u8::try_from((n as u64 * 7 + number * 13) % 251).unwrap());
    let length = u64::try_from(length).unwrap();
    number
        .to_le_bytes()
        .into_iter()
        .chain(length.to_le_bytes())
        .chain(filler)
        .collect()
}

/// The number of a record; panics when the payload is not one that was ever made.
pub(crate) fn number_of(record: &Record) -> u64 {
    let (number, rest) = record.data.split_first_chunk().expect("a number");
    let (length, _) = rest.split_first_chunk().expect("a length");
    let number = u64::from_le_bytes(*number);
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
    assert!(length < 1 << 30, "a wrong payload was delivered");
    assert!(
        record.data == payload(number, length),
        "a wrong payload was delivered: {number}"
    );
    number
}

pub(crate) fn numbers(batch: &ReadBatch) -> Vec<u64> {
    batch.records.iter().map(number_of).collect()
}

pub(crate) fn record(stream: &StreamName, number: u64, length: usize) -> NewRecord {
    NewRecord::new(
        stream.clone(),
        Some("key".to_owned()),
        payload(number, length),
    )
}

pub(crate) async fn read_all(store: &dyn RecordStore, stream: &StreamName) -> ReadBatch {
    store
        .oldest(stream, None, limits(usize::MAX))
        .await
        .unwrap()
}

pub(crate) async fn open(path: &Path) -> SledStore {
    SledStore::open(path).await.unwrap()
}

/// Survives the end of the process only, so that it costs no syncs.
pub(crate) async fn open_fast(path: &Path) -> SledStore {
    SledStore::builder(path)
        .durability(Durability::ProcessCrash)
        .open()
        .await
        .unwrap()
}

/// Returns when the store has done everything that follows from earlier calls.
pub(crate) async fn settled_down(store: &SledStore) {
    for _ in 0..2 {
        store
            .oldest(&stream("nothing"), None, limits(1))
            .await
            .unwrap();
    }
}

/// The directories of databases.
pub(crate) fn generations(path: &Path) -> Vec<PathBuf> {
    entries(path, |name| name.starts_with("gen-"))
}

/// The only directory of a database.
pub(crate) fn generation(path: &Path) -> PathBuf {
    let mut all = generations(path);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// What was set aside because it was damaged.
pub(crate) fn copies(path: &Path) -> Vec<PathBuf> {
    entries(path, |name| name.starts_with("corrupt-"))
}

fn entries(path: &Path, which: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let paths = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths
        .filter(|path| which(path.file_name().unwrap().to_str().unwrap()))
        .collect();
    paths.sort();
    paths
}

/// sled must never put a value into a file of its own, because it never syncs these.
pub(crate) fn assert_no_blobs(path: &Path) {
    for generation in generations(path) {
        let blobs = fs::read_dir(generation.join("blobs")).unwrap().count();
        assert_eq!(blobs, 0, "values outside the log");
    }
}

/// Copies the files of a store as they are now, as a crash of the process leaves them.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Bytes that everything in the directory takes on the disk.
#[cfg(unix)]
pub(crate) fn disk_usage(path: &Path) -> u64 {
    // Files come and go while they are counted.
    let Ok(entries) = fs::read_dir(path) else {
        return 0;
    };
    let usage_of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_usage(&entry.path()),
        Ok(metadata) => std::os::unix::fs::MetadataExt::blocks(&metadata) * 512,
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(usage_of).sum()
}

/// A number of repetitions that the environment may raise.
pub(crate) fn times(variable: &str, usual: usize) -> usize {
    std::env::var(variable)
        .ok()
        .and_then(|times| times.parse().ok())
        .unwrap_or(usual)
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % bound.max(1)
    }
}
