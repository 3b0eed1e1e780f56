//! Windows: files are opened by path, because std cannot open relative to a directory there.
//!
//! Files are opened so that others may delete or rename them, except for the lock file: while it is
//! open, neither it nor the directory can be deleted. Permissions are inherited from the parent
//! directory.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice};
use std::os::windows::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use super::{SystemDisk, failed, not_a_file};
use crate::StoreError;
use crate::log::files::{Disk, DiskFile};
use crate::log::format::LOCK;

const SHARE_READ_AND_WRITE: u32 = 0x1 | 0x2;

impl SystemDisk {
    pub(super) fn open_directory(path: &Path) -> Result<Self, StoreError> {
        fs::read_dir(path).map_err(|error| failed(path, "cannot open", error))?;
        Ok(Self {
            path: path.to_owned(),
            is_locked: false,
            lock: None,
        })
    }

    /// The lock file has to suffice.
    pub(super) fn lock_directory(self) -> Result<Self, StoreError> {
        Ok(self)
    }

    /// Opens the lock file, creating it if needed.
    pub(super) fn open_lock_file(&self) -> io::Result<File> {
        if let Ok(false) = self.is_file(LOCK) {
            return Err(not_a_file());
        }
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        options.share_mode(SHARE_READ_AND_WRITE);
        options.open(self.path.join(LOCK))
    }
}

impl Disk for SystemDisk {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    fn is_file(&self, name: &str) -> io::Result<bool> {
        Ok(self.path.join(name).symlink_metadata()?.is_file())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(File::create_new(self.path.join(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        if !self.is_file(name)? {
            return Err(not_a_file());
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        Ok(Arc::new(options.open(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn make_directory(&self, name: &str) -> io::Result<()> {
        fs::create_dir(self.path.join(name))
    }

    fn remove_directory(&self, name: &str) -> io::Result<()> {
        let path = self.path.join(name);
        if path.symlink_metadata()?.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        }
    }

    /// Windows has no equivalent.
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn try_lock(file: &File) -> Result<(), TryLockError> {
    file.try_lock()
}

pub(super) fn read_at(
    file: &File,
    buffer: &mut Vec<u8>,
    length: usize,
    offset: u64,
) -> io::Result<()> {
    buffer.clear();
    buffer.reserve_exact(length);
    buffer.resize(length, 0);
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.seek_read(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(done);
    Ok(())
}

pub(super) fn write_at(file: &File, parts: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
    for part in parts {
        let mut rest: &[u8] = part;
        while !rest.is_empty() {
            match file.seek_write(rest, offset) {
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
