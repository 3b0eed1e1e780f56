//! The file operations a log needs, and no others.
//!
//! All changes to the disk go through this trait, so tests can make single operations fail or hang,
//! and record what a power loss may leave behind.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

/// A directory.
pub(crate) trait Disk: Debug + Send + Sync + 'static {
    fn path(&self) -> &Path;

    /// The names of all entries.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Whether there is a regular file with this name; a link does not count.
    fn is_file(&self, name: &str) -> io::Result<bool>;

    /// Creates a new file.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens an existing regular file.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&self, name: &str) -> io::Result<()>;

    fn make_directory(&self, name: &str) -> io::Result<()>;

    /// Removes a directory and everything in it.
    fn remove_directory(&self, name: &str) -> io::Result<()>;

    /// Makes the directory's entries durable.
    fn sync(&self) -> io::Result<()>;

    /// Whether the directory was deleted while it was in use.
    fn is_gone(&self) -> bool {
        false
    }

    /// Recreates a deleted directory, locks it, and returns it.
    fn make_again(&self) -> io::Result<Arc<dyn Disk>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

pub(crate) trait DiskFile: Debug + Send + Sync + 'static {
    fn length(&self) -> io::Result<u64>;

    /// Reads `length` bytes, or fewer at the end of the file.
    ///
    /// The bytes replace the contents of the buffer.
    fn read(&self, buffer: &mut Vec<u8>, length: usize, offset: u64) -> io::Result<()>;

    /// Writes all parts in sequence.
    fn write(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;

    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Makes contents and length durable.
    fn sync(&self) -> io::Result<()>;

    /// Whether the file was deleted while open.
    fn is_gone(&self) -> bool {
        false
    }
}

/// Whether the disk or the user's quota is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Whether there are only zeros at these places of a file, as far as it reaches.
pub(crate) fn is_blank(file: &dyn DiskFile, length: usize, offset: u64) -> io::Result<bool> {
    let mut bytes = Vec::new();
    file.read(&mut bytes, length, offset)?;
    Ok(bytes.iter().all(|&byte| byte == 0))
}

/// Removes a file. A missing file is not an error.
pub(crate) fn remove_if_there(disk: &dyn Disk, name: &str) -> io::Result<()> {
    match disk.remove(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}
