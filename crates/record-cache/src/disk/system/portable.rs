//! Windows: files are opened by path, because std cannot open relative to a directory there.
//!
//! Files are opened so that others may delete or rename them, except for the lock file: while it is
//! open, neither it nor the directory can be deleted. Permissions are inherited from the parent
//! directory.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice};
use std::os::windows::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::{Refusal, SystemFile, not_a_file};

const SHARE_READ_AND_WRITE: u32 = 0x1 | 0x2;

/// A directory, and the lock that shows that it is in use.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    lock: OnceLock<File>,
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self, Refusal> {
        fs::read_dir(path).map_err(|error| Refusal::Failed("cannot open", error))?;
        Ok(Self {
            path: path.to_owned(),
            lock: OnceLock::new(),
        })
    }

    pub(super) fn check(&self) -> Result<(), Refusal> {
        Ok(())
    }

    /// The lock file has to suffice.
    pub(super) fn lock(self) -> Result<Self, Refusal> {
        Ok(self)
    }

    pub(super) fn is_locked(&self) -> bool {
        false
    }

    /// Locks a file in the directory, creating it if needed.
    pub(super) fn take_lock(&self, name: &str) -> Result<(), Refusal> {
        let failed = |error| Refusal::Failed("cannot write to", error);
        if self.path.join(name).symlink_metadata().is_ok() && !self.is_file(name).map_err(failed)? {
            return Err(failed(not_a_file()));
        }
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        options.share_mode(SHARE_READ_AND_WRITE);
        let file = options.open(self.path.join(name)).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                let _ = self.lock.set(file);
                Ok(())
            }
            Err(TryLockError::WouldBlock) => Err(Refusal::InUse),
            Err(TryLockError::Error(error)) => Err(Refusal::Failed("cannot lock", error)),
        }
    }

    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    pub(super) fn is_file(&self, name: &str) -> io::Result<bool> {
        Ok(self.path.join(name).symlink_metadata()?.is_file())
    }

    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        options.open(self.path.join(name))
    }

    pub(super) fn open_file(&self, name: &str) -> io::Result<File> {
        if !self.is_file(name)? {
            return Err(not_a_file());
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).open(self.path.join(name))
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    pub(super) fn make_directory(&self, name: &str) -> io::Result<()> {
        fs::create_dir(self.path.join(name))
    }

    pub(super) fn remove_directory(&self, name: &str) -> io::Result<()> {
        let path = self.path.join(name);
        if path.symlink_metadata()?.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        }
    }

    /// Windows has no equivalent.
    #[expect(clippy::unused_self, reason = "other systems need it")]
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    /// The directory cannot be deleted while the lock is held.
    #[expect(clippy::unused_self, reason = "other systems need it")]
    pub(super) fn is_gone(&self) -> bool {
        false
    }
}

pub(super) fn sync_by_path(_: &Path) -> io::Result<()> {
    Ok(())
}

impl SystemFile {
    pub(super) fn read_at(
        &self,
        buffer: &mut Vec<u8>,
        length: usize,
        offset: u64,
    ) -> io::Result<()> {
        buffer.clear();
        buffer.reserve_exact(length);
        buffer.resize(length, 0);
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.0.seek_read(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buffer.truncate(done);
        Ok(())
    }

    pub(super) fn write_at(&self, parts: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        for part in parts {
            let mut rest: &[u8] = part;
            while !rest.is_empty() {
                match self.0.seek_write(rest, offset) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => {
                        offset += written as u64;
                        rest = rest.get(written..).unwrap_or_default();
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}
