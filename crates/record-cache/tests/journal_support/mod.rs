//! What the journal's tests share.

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

use record_cache::{Durability, JournalStore};
use tempfile::TempDir;

pub(crate) use self::store_support::*;

/// Where the frames of a segment begin.
pub(crate) const SEGMENT_HEADER: usize = 64;

/// A directory in memory where there is such a thing, for what does not depend on a disk.
pub(crate) fn in_memory() -> TempDir {
    let memory = Path::new("/dev/shm");
    TempDir::new_in(memory).unwrap_or_else(|_| TempDir::new().unwrap())
}

pub(crate) async fn open(path: &Path) -> JournalStore {
    JournalStore::open(path).await.unwrap()
}

pub(crate) async fn open_fast(path: &Path) -> JournalStore {
    JournalStore::builder(path)
        .durability(Durability::ProcessCrash)
        .open()
        .await
        .unwrap()
}

pub(crate) fn segments(path: &Path) -> Vec<PathBuf> {
    let mut segments: Vec<PathBuf> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "journal")
        })
        .collect();
    segments.sort();
    segments
}

/// Copies the files of a store as they are now, as a crash of the process leaves them.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() && entry.file_name() != "journal-reserve" {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Bytes that the directory takes.
pub(crate) fn disk_usage(path: &Path) -> u64 {
    let entries = fs::read_dir(path).unwrap().filter_map(Result::ok);
    entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}
