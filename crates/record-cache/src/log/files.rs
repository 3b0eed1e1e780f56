//! The file operations that a log is made of, and no others.
//!
//! Everything that changes the disk passes through here, so that tests can make single
//! operations fail or hang, and can write down what a loss of power may leave behind.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

/// One directory.
pub(crate) trait Disk: Debug + Send + Sync + 'static {
    fn path(&self) -> &Path;

    /// The names of all entries.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Whether a regular file has this name; a link to one is none.
    fn is_file(&self, name: &str) -> io::Result<bool>;

    /// Makes a file that is not there yet.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a regular file that is there.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&self, name: &str) -> io::Result<()>;

    fn make_directory(&self, name: &str) -> io::Result<()>;

    /// Removes a directory and everything in it.
    fn remove_directory(&self, name: &str) -> io::Result<()>;

    /// Makes the entries of the directory durable.
    fn sync(&self) -> io::Result<()>;

    /// Whether the directory was deleted while it was in use.
    fn is_gone(&self) -> bool {
        false
    }

    /// Makes a directory that was deleted again, and takes hold of it.
    fn make_again(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// One file.
pub(crate) trait DiskFile: Debug + Send + Sync + 'static {
    fn length(&self) -> io::Result<u64>;

    /// Reads `length` bytes or, at the end of the file, fewer.
    ///
    /// They replace what the buffer held.
    fn read(&self, buffer: &mut Vec<u8>, length: usize, offset: u64) -> io::Result<()>;

    /// Writes all parts, one behind the other.
    fn write(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;

    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Makes content and length durable.
    fn sync(&self) -> io::Result<()>;

    /// Says that all of it is about to be read, which is a hint.
    fn will_be_read(&self) {}

    /// Whether it was deleted while it is open.
    fn is_gone(&self) -> bool {
        false
    }
}

/// Whether there is no room, on the disk or for its user.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Removes a file; it is no error that there is none.
pub(crate) fn remove_if_there(disk: &dyn Disk, name: &str) -> io::Result<()> {
    match disk.remove(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}
