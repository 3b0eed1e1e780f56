//! What the tests of the sled store share.

#![allow(dead_code, reason = "each test target uses its own part")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "../store_support/mod.rs"]
mod store_support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use record_cache::{Durability, RecordStore, SledStore};

pub(crate) use self::store_support::*;

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
    // What an empty one takes is given back when nobody wants anything.
    #[cfg(unix)]
    while store.stats().records() == 0 && disk_usage(store.path()) > 3 * 1024 * 1024 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
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
