//! Directories and files of the operating system.

#[cfg(not(unix))]
mod portable;
#[cfg(unix)]
mod unix;

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

#[cfg(not(unix))]
use self::portable::{read_at, try_lock, write_at};
#[cfg(unix)]
use self::unix::{read_at, try_lock, write_at};
use crate::StoreError;
use crate::index::DIRECTORY_PREFIX;
use crate::log::directory;
use crate::log::files::{Disk, DiskFile, is_full};
use crate::log::format::{COPY_PREFIX, MARK, segment_number};

/// A directory held exclusively while this value exists.
#[derive(Debug)]
pub(crate) struct SystemDisk {
    path: PathBuf,
    #[cfg(unix)]
    directory: File,
    /// Whether the directory itself is locked.
    is_locked: bool,
    lock: Option<File>,
}

impl SystemDisk {
    /// Takes the directory, creating it if needed. The path is absolute.
    pub(crate) fn take(path: &Path) -> Result<Self, StoreError> {
        let mut disk = Self::hold(path)?;
        let names = disk.names();
        let names = names.map_err(|error| failed(path, "cannot read", error))?;
        // A directory with other contents is left unchanged.
        if let Some(found) = foreign(&names) {
            return Err(StoreError::incompatible(path, found));
        }
        #[cfg(unix)]
        for name in names.iter().filter(|name| is_ours(name)) {
            disk.check_owner_of(name)?;
        }
        disk.lock_file()?;
        Ok(disk)
    }

    /// Creates the directory if needed, and locks it if possible.
    fn hold(path: &Path) -> Result<Self, StoreError> {
        create_directories(path).map_err(|error| failed(path, "cannot create", error))?;
        Self::open_directory(path)?.lock_directory()
    }

    /// Locks the lock file too. Where directories cannot be locked, it shows that the directory is
    /// in use.
    fn lock_file(&mut self) -> Result<(), StoreError> {
        let mut opened = self.open_lock_file();
        if matches!(&opened, Err(error) if error.kind() == io::ErrorKind::InvalidData) {
            let cleared = directory::clear_the_way(self);
            cleared.map_err(|error| failed(&self.path, "cannot clear", error))?;
            opened = self.open_lock_file();
        }
        let file = match opened {
            // If there is no space for the file, the lock on the directory must suffice.
            Err(error) if self.is_locked && is_full(&error) => return Ok(()),
            opened => opened.map_err(|error| failed(&self.path, "cannot write to", error))?,
        };
        match try_lock(&file) {
            Ok(()) => self.lock = Some(file),
            Err(TryLockError::WouldBlock) => return Err(StoreError::in_use(&self.path)),
            Err(TryLockError::Error(_)) if self.is_locked => {}
            Err(TryLockError::Error(error)) => {
                return Err(failed(&self.path, "cannot lock", error));
            }
        }
        Ok(())
    }
}

/// Refuses a directory whose contents others could replace: one that belongs to another user, that
/// others may write to, or that is reached through another user's link.
///
/// Accepts a path that does not exist, and any directory on systems without modes.
///
/// ```
/// use record_cache::check_directory;
///
/// let directory = tempfile::tempdir()?;
/// check_directory(directory.path())?;
/// # #[cfg(unix)]
/// # {
/// use std::fs::{Permissions, set_permissions};
/// use std::os::unix::fs::PermissionsExt;
///
/// // Anyone may write here, and so replace what a store has written.
/// set_permissions(directory.path(), Permissions::from_mode(0o777))?;
/// assert!(check_directory(directory.path()).is_err());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`StoreError::Unavailable`], whose text says what to do.
pub fn check_directory(path: &Path) -> Result<(), StoreError> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => SystemDisk::open_directory(path).map(drop),
    }
}

/// Whether a directory certainly holds no records: its store was closed without any, and nothing
/// was written since.
///
/// Takes no lock and writes nothing, so it is much cheaper than opening the store. A directory for
/// which this is false may still be empty; only opening it tells.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use record_cache::{RecordStore, SledStore, holds_nothing};
///
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// assert!(!holds_nothing(directory), "nobody has ever looked");
/// SledStore::open(directory).await?.close().await?;
/// assert!(holds_nothing(directory));
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn holds_nothing(path: &Path) -> bool {
    let disk = SystemDisk::open_directory(path);
    disk.is_ok_and(|disk| directory::was_closed_empty(&disk).unwrap_or(false))
}

/// Describes a directory that is not a cache.
fn foreign(names: &[String]) -> Option<String> {
    if names.iter().any(|name| is_of_cache(name)) {
        return None;
    }
    let is_foreign =
        |name: &&String| !is_ours(name) && !name.starts_with('.') && *name != "lost+found";
    let found = names.iter().find(is_foreign)?;
    Some(format!("other files: {found}"))
}

/// Whether only a directory with a log has an entry with this name.
fn is_of_cache(name: &str) -> bool {
    name == MARK || segment_number(name).is_some()
}

/// Whether a store may use an entry with this name.
fn is_ours(name: &str) -> bool {
    directory::is_own(name) || name.starts_with(COPY_PREFIX) || name.starts_with(DIRECTORY_PREFIX)
}

/// Creates a directory and its parents, accessible only to the owner.
fn create_directories(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    if missing.is_empty() && !path.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    // The last one is synced even if it exists, because an earlier process may have ended before
    // syncing it.
    for made in missing.into_iter().chain([path]) {
        if let Some(parent) = made.parent() {
            // Some parents may not be readable, and Windows opens no directories. The new
            // directories are used anyway.
            let _ = File::open(parent).and_then(|parent| parent.sync_all());
        }
    }
    Ok(())
}

/// An entry with one of our names is a link or not a regular file.
fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a regular file")
}

fn failed(path: &Path, doing: &str, error: io::Error) -> StoreError {
    let context = format!("{doing} the directory: path={}", path.display());
    StoreError::unavailable(context, error)
}

impl DiskFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, buffer: &mut Vec<u8>, length: usize, offset: u64) -> io::Result<()> {
        read_at(self, buffer, length, offset)
    }

    fn write(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        write_at(self, parts, offset)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    #[cfg(unix)]
    fn is_gone(&self) -> bool {
        rustix::fs::fstat(self).is_ok_and(|stat| stat.st_nlink == 0)
    }
}
