//! Directories and files of the operating system.

#[cfg(not(unix))]
mod portable;
#[cfg(unix)]
mod unix;

use std::fs::{self, DirBuilder};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

#[cfg(not(unix))]
use self::portable::{Directory, sync_by_path};
#[cfg(unix)]
use self::unix::{Directory, sync_by_path};
use crate::StoreError;
use crate::index::DIRECTORY_PREFIX;
use crate::log::catalog::lock;
use crate::log::directory;
use crate::log::files::{Disk, DiskFile, is_full};
use crate::log::format::{
    COPY_PREFIX, LOCK, MARK, RESERVE, TEMPORARY_MARK, TEMPORARY_SEGMENT, segment_number,
};

/// A directory held exclusively while this value exists.
#[derive(Debug)]
pub(crate) struct SystemDisk {
    path: PathBuf,
    /// Replaced when the directory is recreated.
    place: Mutex<Arc<Directory>>,
}

/// Why a directory was refused.
#[derive(Debug)]
enum Refusal {
    InUse,
    /// The directory belongs to another user, or others can write to it.
    #[cfg(unix)]
    Unsafe(&'static str),
    /// An entry with one of our names belongs to another user.
    #[cfg(unix)]
    Planted(String),
    /// This operation failed.
    Failed(&'static str, io::Error),
}

impl SystemDisk {
    /// Takes the directory, creating it if needed. The path is absolute.
    pub(crate) fn take(path: &Path) -> Result<Self, StoreError> {
        let refused = |refusal: Refusal| refusal.into_error(path);
        let directory = hold(path).map_err(refused)?;
        let names = directory.names();
        let names = names.map_err(|error| refused(Refusal::Failed("cannot read", error)))?;
        // A directory with other contents is left unchanged.
        if let Some(found) = foreign(&names) {
            return Err(StoreError::incompatible(path, found));
        }
        #[cfg(unix)]
        for name in names.iter().filter(|name| is_ours(name)) {
            directory.check_owner_of(name).map_err(refused)?;
        }
        let disk = Self {
            path: path.to_owned(),
            place: Mutex::new(Arc::new(directory)),
        };
        disk.lock_file().map_err(refused)?;
        Ok(disk)
    }

    fn place(&self) -> Arc<Directory> {
        Arc::clone(&lock(&self.place))
    }

    /// Locks the lock file too. Where directories cannot be locked, it shows that the directory is
    /// in use.
    fn lock_file(&self) -> Result<(), Refusal> {
        let place = self.place();
        match place.take_lock(LOCK) {
            Err(Refusal::Failed(_, error)) if error.kind() == io::ErrorKind::InvalidData => {
                let cleared = directory::clear_the_way(self);
                cleared.map_err(|error| Refusal::Failed("cannot clear", error))?;
                place.take_lock(LOCK)
            }
            // If there is no space for the file, the lock on the directory must suffice.
            Err(Refusal::Failed(_, error)) if place.is_locked() && is_full(&error) => Ok(()),
            outcome => outcome,
        }
    }
}

/// Creates the directory if needed, and locks it if possible.
fn hold(path: &Path) -> Result<Directory, Refusal> {
    create_directories(path).map_err(|error| Refusal::Failed("cannot create", error))?;
    open_directory(path)?.lock()
}

/// Opens a directory that only this user can write to.
fn open_directory(path: &Path) -> Result<Directory, Refusal> {
    let directory = Directory::open(path)?;
    directory.check()?;
    Ok(directory)
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
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => match open_directory(path) {
            Ok(_) => Ok(()),
            Err(refusal) => Err(refusal.into_error(path)),
        },
    }
}

/// Describes a directory that is not a cache.
fn foreign(names: &[String]) -> Option<String> {
    let is_own = |name: &String| name == MARK || segment_number(name).is_some();
    if names.iter().any(is_own) {
        return None;
    }
    let neutral = [
        LOCK,
        TEMPORARY_MARK,
        TEMPORARY_SEGMENT,
        RESERVE,
        "lost+found",
    ];
    let is_foreign = |name: &&String| {
        let name = name.as_str();
        !neutral.contains(&name)
            && ![COPY_PREFIX, DIRECTORY_PREFIX, "."]
                .iter()
                .any(|prefix| name.starts_with(prefix))
    };
    let found = names.iter().find(is_foreign)?;
    Some(format!("other files: {found}"))
}

/// Whether a store may use an entry with this name.
#[cfg(unix)]
fn is_ours(name: &str) -> bool {
    directory::is_own(name)
        || [COPY_PREFIX, DIRECTORY_PREFIX]
            .iter()
            .any(|p| name.starts_with(p))
}

/// Creates a directory and its parents, accessible only to the owner.
fn create_directories(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    if missing.is_empty() && !path.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    private_directory().recursive(true).create(path)?;
    // The last one is synced even if it exists, because an earlier process may have ended before
    // syncing it.
    for made in missing.into_iter().chain([path]) {
        if let Some(parent) = made.parent() {
            // Some parents may not be readable. The new directories are used anyway.
            let _ = sync_by_path(parent);
        }
    }
    Ok(())
}

fn private_directory() -> DirBuilder {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "there are no modes"))]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

/// An entry with one of our names is a link or not a regular file.
fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a regular file")
}

impl Refusal {
    fn into_error(self, path: &Path) -> StoreError {
        match self {
            Self::InUse => StoreError::in_use(path),
            #[cfg(unix)]
            Self::Unsafe(why) => {
                let path = path.display();
                StoreError::unavailable_because(format!("the directory {why}: path={path}"))
            }
            #[cfg(unix)]
            Self::Planted(name) => {
                let path = path.display();
                StoreError::unavailable_because(format!(
                    "the directory holds {name} of another user; remove that, or use another \
                     directory: path={path}"
                ))
            }
            Self::Failed(doing, error) => {
                let context = format!("{doing} the directory: path={}", path.display());
                StoreError::unavailable(context, error)
            }
        }
    }
}

impl Disk for SystemDisk {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.place().names()
    }

    fn is_file(&self, name: &str) -> io::Result<bool> {
        self.place().is_file(name)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(SystemFile(self.place().create(name)?)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(SystemFile(self.place().open_file(name)?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.place().rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.place().remove(name)
    }

    fn make_directory(&self, name: &str) -> io::Result<()> {
        self.place().make_directory(name)
    }

    fn remove_directory(&self, name: &str) -> io::Result<()> {
        self.place().remove_directory(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.place().sync()
    }

    fn is_gone(&self) -> bool {
        self.place().is_gone()
    }

    fn make_again(&self) -> io::Result<()> {
        let failed = |refusal: Refusal| io::Error::other(refusal.into_error(&self.path));
        let directory = hold(&self.path).map_err(failed)?;
        *lock(&self.place) = Arc::new(directory);
        self.lock_file().map_err(failed)
    }
}

/// A file of the operating system.
#[derive(Debug)]
struct SystemFile(fs::File);

impl DiskFile for SystemFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, buffer: &mut Vec<u8>, length: usize, offset: u64) -> io::Result<()> {
        self.read_at(buffer, length, offset)
    }

    fn write(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.write_at(parts, offset)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    #[cfg(unix)]
    fn is_gone(&self) -> bool {
        rustix::fs::fstat(&self.0).is_ok_and(|stat| stat.st_nlink == 0)
    }
}
