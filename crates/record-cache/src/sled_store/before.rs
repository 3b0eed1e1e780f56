//! A copy of the database for as long as it is being opened.
//!
//! sled ends its log at the first damaged message and overwrites what lies behind. With
//! the copy, opening can be tried again from what was there, and that can be searched.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::disk::check_room;
use super::home::{Home, absent_is_fine};

/// Larger ones are opened without: copying them would take too long.
const LARGEST: u64 = 64 * 1024 * 1024;
/// Both are deleted at the next opening, should this one be cut short.
const COPY: &str = "before-open.tmp";
const RESTORED: &str = "restored.tmp";

/// The copy.
#[derive(Debug)]
pub(super) struct Before {
    copy: PathBuf,
    restored: PathBuf,
    database: PathBuf,
}

impl Before {
    /// Copies the database if it is small enough: a help where there is room, not a need.
    pub(super) fn take(home: &Home, database: PathBuf) -> Option<Self> {
        let length = fs::metadata(&database).ok()?.len();
        let fits = length <= LARGEST && check_room(home, 2 * length).is_ok();
        let copy = home.path().join(COPY);
        let copied = fits && fs::copy(&database, &copy).is_ok();
        copied.then(|| Self {
            copy,
            restored: home.path().join(RESTORED),
            database,
        })
    }

    /// Makes the database what it was, and keeps the copy.
    pub(super) fn restore(&self) -> io::Result<()> {
        fs::copy(&self.copy, &self.restored)?;
        put(&self.restored, &self.database)
    }

    /// Makes the database what it was.
    pub(super) fn give_back(self) -> io::Result<()> {
        put(&self.copy, &self.database)
    }

    pub(super) fn discard(self) -> io::Result<()> {
        absent_is_fine(fs::remove_file(self.copy))
    }
}

/// In one step, so that a crash leaves one of the two.
fn put(from: &Path, to: &Path) -> io::Result<()> {
    File::open(from)?.sync_all()?;
    fs::rename(from, to)
}
