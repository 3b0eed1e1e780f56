//! The directory of a store: who holds it and what lies in it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::fault::unavailable;
use crate::{StoreError, clock};

const LOCK: &str = "lock";
const COPY_PREFIX: &str = "corrupt-";
const TEMPORARY_SUFFIX: &str = ".tmp";
const KEPT_COPIES: usize = 2;

/// One generation's number, and the salt that its values are bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GenerationId {
    pub(super) number: u64,
    pub(super) salt: u64,
}

impl GenerationId {
    fn directory_name(self) -> String {
        format!("gen-{:08}-{:016x}", self.number, self.salt)
    }

    fn of_directory_name(name: &str) -> Option<Self> {
        let (number, salt) = name.strip_prefix("gen-")?.split_once('-')?;
        let salt = u64::from_str_radix(salt, 16).ok()?;
        let id = Self {
            number: number.parse().ok()?,
            salt,
        };
        (id.directory_name() == name).then_some(id)
    }
}

/// A directory that no other store uses as long as this value lives.
#[derive(Debug)]
pub(super) struct Home {
    path: PathBuf,
    _lock: File,
}

impl Home {
    /// Takes the directory, which is made where there is none.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        create_directories(path)
            .map_err(|error| unavailable("cannot create the directory", path, error))?;
        let lock_path = path.join(LOCK);
        let lock = private_file(&lock_path, OpenOptions::new().write(true).create(true))
            .map_err(|error| unavailable("cannot write to the directory", path, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(StoreError::in_use(path)),
            Err(TryLockError::Error(error)) => {
                Err(unavailable("cannot lock the directory", path, error))
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn generation_path(&self, id: GenerationId) -> PathBuf {
        self.path.join(id.directory_name())
    }

    /// All generations that are there, the oldest first.
    pub(super) fn generations(&self) -> io::Result<Vec<GenerationId>> {
        let names = entry_names(&self.path)?;
        let mut ids: Vec<_> = names
            .iter()
            .filter_map(|name| GenerationId::of_directory_name(name))
            .collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Makes the directory for a generation, with nothing in it.
    pub(super) fn create_generation(&self, id: GenerationId) -> io::Result<PathBuf> {
        let path = self.generation_path(id);
        private_directory().create(&path)?;
        Ok(path)
    }

    /// Deletes a generation; nothing happens when there is none.
    pub(super) fn remove_generation(&self, id: GenerationId) -> io::Result<()> {
        absent_is_fine(fs::remove_dir_all(self.generation_path(id)))
    }

    /// Deletes what an interrupted write left behind.
    pub(super) fn remove_temporaries(&self) -> io::Result<()> {
        for name in entry_names(&self.path)? {
            if name.ends_with(TEMPORARY_SUFFIX) {
                absent_is_fine(fs::remove_file(self.path.join(name)))?;
            }
        }
        Ok(())
    }

    /// Renames a damaged generation to a copy that is kept for a while.
    pub(super) fn set_aside(&self, id: GenerationId) -> io::Result<PathBuf> {
        let seconds = clock::to_unix_millis(clock::now()) / 1000;
        let plain = self.path.join(format!("{COPY_PREFIX}{seconds}"));
        let numbered = (1_u32..).map(|n| self.path.join(format!("{COPY_PREFIX}{seconds}-{n}")));
        let free = std::iter::once(plain)
            .chain(numbered)
            .find(|path| !path.exists());
        let to = free.ok_or(io::ErrorKind::AlreadyExists)?;
        fs::rename(self.generation_path(id), &to)?;
        let mut copies = self.copies()?;
        copies.truncate(copies.len().saturating_sub(KEPT_COPIES));
        for old in copies {
            fs::remove_dir_all(old)?;
        }
        Ok(to)
    }

    /// Deletes all copies of damaged data.
    pub(super) fn remove_copies(&self) -> io::Result<()> {
        self.copies()?
            .into_iter()
            .try_for_each(|path| absent_is_fine(fs::remove_dir_all(path)))
    }

    /// Writes a small file so that either its old or its new content is there; which of
    /// them survives the loss of power is open until the directory is synced.
    pub(super) fn replace_file(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let temporary = self.path.join(format!("{name}{TEMPORARY_SUFFIX}"));
        let mut options = OpenOptions::new();
        let mut file = private_file(&temporary, options.write(true).create(true).truncate(true))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, self.path.join(name))
    }

    /// Makes the entries of the directory durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        sync_directory(&self.path)
    }

    /// The oldest first.
    fn copies(&self) -> io::Result<Vec<PathBuf>> {
        let mut copies = Vec::new();
        for name in entry_names(&self.path)? {
            let Some(rest) = name.strip_prefix(COPY_PREFIX) else {
                continue;
            };
            let (seconds, number) = rest.split_once('-').unwrap_or((rest, "0"));
            if let (Ok(seconds), Ok(number)) = (seconds.parse::<u64>(), number.parse::<u32>()) {
                copies.push((seconds, number, self.path.join(&name)));
            }
        }
        copies.sort_unstable();
        Ok(copies.into_iter().map(|(_, _, path)| path).collect())
    }
}

/// Opens a file that nobody but its owner may read.
pub(super) fn private_file(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.open(path)
}

pub(super) fn private_directory() -> DirBuilder {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

/// Takes a file that someone else made away from group and others.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    // Elsewhere directories cannot be opened as files.
    #[cfg(unix)]
    File::open(path)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

pub(super) fn entry_names(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.extend(entry?.file_name().into_string().ok());
    }
    Ok(names)
}

pub(super) fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes the directory and those above it that are missing, each durable before the next.
fn create_directories(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && !path.is_dir())
        .collect();
    for directory in missing.into_iter().rev() {
        match private_directory().create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Err(_) if !directory.is_dir() => return Err(io::ErrorKind::NotADirectory.into()),
            _ => sync_parent(directory),
        }
    }
    // It may be there from a process that ended before it had synced.
    sync_parent(path);
    Ok(())
}

/// Not every parent may be read; what was made there is used all the same.
fn sync_parent(path: &Path) {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let _ = sync_directory(parent.unwrap_or(Path::new(".")));
}
