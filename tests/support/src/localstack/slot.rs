//! Directories for one LocalStack each.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// A numbered directory that nobody else uses while this value lives.
///
/// Directories are reused, so files that LocalStack caches there make later starts faster.
#[derive(Debug)]
pub(super) struct Slot {
    directory: PathBuf,
    _lock: File,
}

impl Slot {
    pub(super) fn reserve(home: &Path) -> io::Result<Self> {
        let slots = home.join("slots");
        fs::create_dir_all(&slots)?;
        let slots = slots.canonicalize()?;
        for number in 0_u32.. {
            let lock = File::create(slots.join(format!("{number}.lock")))?;
            match lock.try_lock() {
                Ok(()) => return Self::open(slots.join(number.to_string()), lock),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::other("every slot is in use"))
    }

    fn open(directory: PathBuf, lock: File) -> io::Result<Self> {
        fs::create_dir_all(&directory)?;
        let slot = Self {
            directory,
            _lock: lock,
        };
        File::create(slot.log())?;
        Ok(slot)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn log(&self) -> PathBuf {
        self.directory.join("localstack.log")
    }
}
