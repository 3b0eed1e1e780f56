//! The sled database, in a directory `index-<number>` inside the cache's directory.
//!
//! The key (`b`, stream number, start) holds a block; the keys (`c`, part) hold the checkpoint.

use std::fs;
use std::io;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use sled::IVec;

use super::block::{Key, SEGMENT_BYTES};
use super::pages::Changes;
use super::worker::{Outcome, Progress, contained};
use crate::index::{DIRECTORY_PREFIX, directory_number};

/// sled uses considerably more regardless: see `age`.
const PAGE_CACHE_BYTES: u64 = 1024 * 1024;
/// One extra sled query is made per this many bytes: see `Database::age`.
const BYTES_OF_TOUCH: usize = 200;

/// A database up to this size is never copied.
const SMALL_BYTES: u64 = 8 * 1024 * 1024;
/// The size of a database relative to its blocks at which it is copied.
const SPARSE: u64 = 4;

#[derive(Debug)]
pub(super) struct Database {
    /// The directory of the cache.
    home: PathBuf,
    pub(super) number: u64,
    pub(super) sled: sled::Db,
    progress: Progress,
    /// The size above which the database is copied.
    bound: u64,
}

impl Database {
    /// Creates an empty database.
    pub(super) fn create(home: &Path, progress: &Progress) -> Outcome<Self> {
        let number = numbers(home).first().map_or(1, |highest| highest + 1);
        let path = path(home, number);
        private_directory(&path).map_err(|error| format!("cannot make {path:?}: {error}"))?;
        Self::open(home, number, progress)
    }

    /// Opens a database, which may be corrupt in any way.
    pub(super) fn open(home: &Path, number: u64, progress: &Progress) -> Outcome<Self> {
        let path = path(home, number);
        let describe = |error: io::Error| format!("{}: {error}", path.display());
        let directory = fs::symlink_metadata(&path).map_err(describe)?;
        if !directory.is_dir() {
            return Err(format!("{} is not a directory", path.display()));
        }
        for entry in fs::read_dir(&path).map_err(describe)? {
            let entry = entry.map_err(describe)?;
            // sled follows links, waits forever on some files, and trusts files planted by others.
            let found = entry.metadata().map_err(describe)?;
            if !(found.is_file() || found.is_dir()) || !have_one_owner(&directory, &found) {
                return Err(format!(
                    "{} is not one of our files",
                    entry.path().display()
                ));
            }
            // sled fails on a snapshot it had no space to finish.
            let unfinished = entry.path();
            let extension = unfinished.extension();
            if extension.is_some_and(|end| end == "generating") {
                fs::remove_file(unfinished).map_err(describe)?;
            }
        }
        make_private(&path).map_err(describe)?;
        let configuration = sled::Config::new()
            .path(path)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(PAGE_CACHE_BYTES)
            .flush_every_ms(None);
        let mut pauses = pauses();
        let sled = loop {
            match configuration.open() {
                Err(sled::Error::Io(error)) if is_held(&error) && wait(pauses.next()) => {}
                opened => break opened.map_err(text)?,
            }
        };
        Ok(Self {
            home: home.to_owned(),
            number,
            sled,
            progress: Arc::clone(progress),
            bound: SMALL_BYTES,
        })
    }

    /// The stored value of a block.
    pub(super) fn get(&self, key: Key) -> Outcome<IVec> {
        let key = key.bytes();
        let value = self.sled.get(key).map_err(text)?;
        let value = value.ok_or("a block is missing")?;
        self.age(&key, &value)?;
        Ok(value)
    }

    /// Passes on all entries, in the order of their keys.
    pub(super) fn scan(&self, mut take: impl FnMut(&[u8], &[u8]) -> Outcome<()>) -> Outcome<()> {
        for entry in self.sled.iter() {
            let (key, value) = entry.map_err(text)?;
            take(&key, &value)?;
            self.age(&key, &value)?;
            self.progress.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Makes all changes or none of them. If they complete a checkpoint, `bytes` is the size of its
    /// blocks.
    pub(super) fn apply(&mut self, changes: Changes, bytes: Option<u64>) -> Outcome<()> {
        let mut batch = sled::Batch::default();
        for (key, value) in &changes {
            match value {
                Some(value) => batch.insert(key.as_slice(), value.as_slice()),
                None => batch.remove(key.as_slice()),
            }
        }
        self.sled.apply_batch(batch).map_err(text)?;
        for (key, value) in &changes {
            self.age(key, value.as_deref().unwrap_or_default())?;
            self.progress.fetch_add(1, Ordering::Relaxed);
        }
        let Some(bytes) = bytes else {
            return Ok(());
        };
        self.sled.flush().map_err(text)?;
        let takes = self.sled.size_on_disk().unwrap_or(0);
        if takes > self.bound.max(SPARSE * bytes) {
            match self.copy() {
                Some(copy) => std::mem::replace(self, copy).delete(),
                None => self.bound = 2 * takes,
            }
        }
        Ok(())
    }

    /// Copies the database if there is space for two: sled never returns disk space, and a stream
    /// that is not read prevents reuse of much of it.
    fn copy(&self) -> Option<Self> {
        let mut copy = Self::create(&self.home, &self.progress).ok()?;
        let filled = contained(|| {
            // Key order puts the checkpoint last.
            self.scan(|key, value| {
                copy.sled.insert(key, value).map_err(text)?;
                copy.age(key, value)
            })?;
            copy.sled.flush().map_err(text)
        });
        if filled.is_err() {
            copy.delete();
            return None;
        }
        copy.bound = SMALL_BYTES.max(2 * copy.sled.size_on_disk().unwrap_or(0));
        Some(copy)
    }

    pub(super) fn close(self) {
        // Dropping the last handle syncs the file, and panics if that fails.
        let _ = contained(|| {
            drop(self);
            Ok(())
        });
    }

    pub(super) fn delete(self) {
        let path = path(&self.home, self.number);
        self.close();
        remove(&path);
    }

    /// Makes sled evict leaves that are no longer needed.
    ///
    /// Each of the 256 shards of sled's page cache checks its size only on every 64th access. With
    /// one access per block, 16,000 leaves would stay in memory.
    fn age(&self, key: &[u8], value: &[u8]) -> Outcome<()> {
        for _ in 0..=value.len() / BYTES_OF_TOUCH {
            self.sled.contains_key(key).map_err(text)?;
        }
        Ok(())
    }
}

/// The databases of a cache, newest first.
pub(super) fn numbers(home: &Path) -> Vec<u64> {
    let names = fs::read_dir(home).into_iter().flatten().flatten();
    let number = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        directory_number(&name)
    };
    let mut numbers: Vec<u64> = names.filter_map(number).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    numbers
}

pub(super) fn path(home: &Path, number: u64) -> PathBuf {
    home.join(format!("{DIRECTORY_PREFIX}{number}"))
}

/// Deletes all databases except one. If this fails, the next open tries again.
pub(super) fn delete_others(home: &Path, keep: Option<u64>) {
    for number in numbers(home) {
        if Some(number) != keep {
            remove(&path(home, number));
        }
    }
}

fn remove(path: &Path) {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    if !is_directory {
        let _ = fs::remove_file(path);
        return;
    }
    // An open file may keep its name for a while, and sled may be writing a snapshot.
    let mut pauses = pauses();
    while let Err(error) = fs::remove_dir_all(path) {
        if error.kind() != io::ErrorKind::DirectoryNotEmpty || !wait(pauses.next()) {
            return;
        }
    }
}

/// The pauses between attempts, two seconds in all. A handle that this process has just dropped may
/// still hold the file; so may sled's threads after a close or a failed open.
fn pauses() -> impl Iterator<Item = Duration> {
    // Some systems keep a handle for each attempt while the file is held, so attempts must be few.
    let longer = iter::repeat_n(50, 38);
    let pauses = [1, 2, 4, 8, 16, 32].into_iter().chain(longer);
    pauses.map(Duration::from_millis)
}

#[cfg(unix)]
fn have_one_owner(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    one.uid() == other.uid()
}

#[cfg(not(unix))]
fn have_one_owner(_: &fs::Metadata, _: &fs::Metadata) -> bool {
    true
}

/// Restricts a directory to its owner, whatever the modes of the files in it.
fn make_private(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

fn private_directory(path: &Path) -> io::Result<()> {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "there are no modes"))]
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Whether a handle being dropped still holds the file. No other process can, because it would hold
/// the whole directory.
fn is_held(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Other && error.to_string().contains("acquire lock")
}

fn text(error: sled::Error) -> String {
    error.to_string()
}

/// Sleeps for a pause. Returns whether there was one left.
#[expect(
    clippy::disallowed_methods,
    reason = "neither the index's own thread nor the one that opens it is a runtime's"
)]
fn wait(pause: Option<Duration>) -> bool {
    pause.map(thread::sleep).is_some()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::pauses;

    #[test]
    fn what_is_held_is_tried_for_two_seconds_at_first_often_and_never_many_times() {
        assert!(pauses().take_while(|pause| pause.as_millis() < 20).count() > 4);
        let total: Duration = pauses().sum();
        assert!((1_900..=2_000).contains(&total.as_millis()), "{total:?}");
        assert!(pauses().count() < 50);
    }
}
