//! Unix: all access is relative to an open directory, and no link in it is followed.

use std::fs::{File, TryLockError};
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, flock};
use rustix::io::{Errno, retry_on_intr};

use super::{SystemDisk, failed, is_of_cache, not_a_file};
use crate::StoreError;
use crate::log::files::{Disk, DiskFile};
use crate::log::format::LOCK;

/// The most parts that one vectored write accepts.
const PARTS_AT_ONCE: usize = 1024;
/// How deeply nested a directory may be and still be deleted.
const DEEPEST: u32 = 32;

const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);
const SAFELY: OFlags = OFlags::NOFOLLOW
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);

const ROOT: u32 = 0;

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether a group is this user's private group, whose id equals the user's.
fn is_private(group: u32) -> bool {
    group == rustix::process::getegid().as_raw() && group == own_user()
}

impl SystemDisk {
    /// Opens a directory that only this user can write to, following a link only if this user or
    /// root owns it.
    pub(super) fn open_directory(path: &Path) -> Result<Self, StoreError> {
        let refused = |why| Err(unsafe_because(path, why));
        let found = path.symlink_metadata();
        let found = found.map_err(|error| failed(path, "cannot open", error))?;
        if found.is_symlink() && ![own_user(), ROOT].contains(&found.uid()) {
            return refused("is a link of another user; use a directory of your own");
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty());
        let opened = opened.map_err(|error| failed(path, "cannot open", error.into()))?;
        let directory = File::from(opened);
        let found = directory.metadata();
        let found = found.map_err(|error| failed(path, "cannot read", error))?;
        if found.uid() != own_user() {
            return refused("belongs to another user; use one of your own");
        }
        let by_group = found.mode() & 0o020 != 0 && !is_private(found.gid());
        if by_group || found.mode() & 0o002 != 0 {
            let why = "can be written to by other users; take that right away (chmod go-w)";
            return refused(why);
        }
        Ok(Self {
            path: path.to_owned(),
            directory,
            is_locked: false,
            lock: None,
        })
    }

    /// Refuses a directory that is in use.
    pub(super) fn lock_directory(mut self) -> Result<Self, StoreError> {
        match try_lock(&self.directory) {
            Ok(()) => self.is_locked = true,
            Err(TryLockError::WouldBlock) => return Err(StoreError::in_use(&self.path)),
            // Not every file system supports this. The lock file then has to suffice.
            Err(TryLockError::Error(_)) => {}
        }
        Ok(self)
    }

    /// Refuses a file that another user planted under one of our names while the directory was
    /// writable to others.
    pub(super) fn check_owner_of(&self, name: &str) -> Result<(), StoreError> {
        let found = rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW);
        match found {
            Ok(stat) if stat.st_uid != own_user() => {
                let why = "of another user; remove that, or use another directory";
                Err(unsafe_because(&self.path, &format!("holds {name} {why}")))
            }
            Ok(_) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed(&self.path, "cannot read", error.into())),
        }
    }

    /// Opens the lock file, creating it if needed.
    pub(super) fn open_lock_file(&self) -> io::Result<File> {
        self.open_with(LOCK, OFlags::CREATE)
    }

    /// Opens a regular file that only its owner may read.
    fn open_with(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::RDWR | SAFELY;
        let opened = rustix::fs::openat(&self.directory, name, flags, PRIVATE_FILE);
        let file = match opened {
            // A link, a directory, or a FIFO without a reader.
            Err(Errno::LOOP | Errno::MLINK | Errno::ISDIR | Errno::NXIO) => {
                return Err(not_a_file());
            }
            opened => File::from(opened?),
        };
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(not_a_file());
        }
        if found.mode() & 0o077 != 0 {
            rustix::fs::fchmod(&file, PRIVATE_FILE)?;
        }
        Ok(file)
    }
}

impl Disk for SystemDisk {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let text = |name: Vec<u8>| String::from_utf8_lossy(&name).into_owned();
        Ok(entries(&self.directory)?.into_iter().map(text).collect())
    }

    fn is_file(&self, name: &str) -> io::Result<bool> {
        let stat = rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let flags = OFlags::CREATE | OFlags::EXCL;
        Ok(Arc::new(self.open_with(name, flags)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.open_with(name, OFlags::empty())?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let directory = &self.directory;
        Ok(rustix::fs::renameat(directory, from, directory, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let flags = AtFlags::empty();
        Ok(rustix::fs::unlinkat(&self.directory, name, flags)?)
    }

    fn make_directory(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.directory, name, Mode::RWXU)?)
    }

    fn remove_directory(&self, name: &str) -> io::Result<()> {
        remove_all(&self.directory, name.as_bytes(), 0)
    }

    fn sync(&self) -> io::Result<()> {
        self.directory.sync_all()
    }

    fn is_gone(&self) -> bool {
        self.directory.is_gone()
    }

    fn make_again(&self) -> io::Result<Arc<dyn Disk>> {
        let mut disk = Self::hold(&self.path).map_err(io::Error::other)?;
        disk.lock_file().map_err(io::Error::other)?;
        // Another store has used the path meanwhile, and may have left records.
        if disk.names()?.iter().any(|name| is_of_cache(name)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(Arc::new(disk))
    }
}

impl Drop for SystemDisk {
    fn drop(&mut self) {
        // A child being started shares these files until it runs its program, so closing them is
        // not enough.
        if let Some(lock) = &self.lock {
            let _ = flock(lock, FlockOperation::Unlock);
        }
        if self.is_locked {
            let _ = flock(&self.directory, FlockOperation::Unlock);
        }
    }
}

/// Like std's `try_lock`, but also works on Android, where std does not support it.
pub(super) fn try_lock(file: &File) -> Result<(), TryLockError> {
    match retry_on_intr(|| flock(file, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(TryLockError::WouldBlock),
        Err(error) => Err(TryLockError::Error(error.into())),
    }
}

fn unsafe_because(path: &Path, why: &str) -> StoreError {
    let path = path.display();
    StoreError::unavailable_because(format!("the directory {why}: path={path}"))
}

/// The names in a directory, without `.` and `..`.
fn entries(directory: impl rustix::fd::AsFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

/// Removes an entry and everything in it. Links are removed, not followed.
fn remove_all(above: &impl rustix::fd::AsFd, name: &[u8], depth: u32) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | SAFELY;
    let directory: OwnedFd = match rustix::fs::openat(above, name, flags, Mode::empty()) {
        Err(Errno::NOTDIR | Errno::LOOP | Errno::MLINK) => {
            return Ok(rustix::fs::unlinkat(above, name, AtFlags::empty())?);
        }
        opened => opened?,
    };
    if depth == DEEPEST {
        return Err(io::ErrorKind::DirectoryNotEmpty.into());
    }
    for inside in entries(&directory)? {
        remove_all(&directory, &inside, depth + 1)?;
    }
    Ok(rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR)?)
}

pub(super) fn read_at(
    file: &File,
    buffer: &mut Vec<u8>,
    length: usize,
    offset: u64,
) -> io::Result<()> {
    buffer.clear();
    buffer.reserve_exact(length);
    while buffer.len() < length {
        let at = offset + buffer.len() as u64;
        let read = retry_on_intr(|| rustix::io::pread(file, spare_capacity(buffer), at))?;
        if read == 0 {
            break;
        }
    }
    buffer.truncate(length);
    Ok(())
}

pub(super) fn write_at(
    file: &File,
    mut parts: &mut [IoSlice<'_>],
    mut offset: u64,
) -> io::Result<()> {
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        let now = parts.get(..PARTS_AT_ONCE).unwrap_or(parts);
        let written = retry_on_intr(|| rustix::io::pwritev(file, now, offset))?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        offset += written as u64;
        IoSlice::advance_slices(&mut parts, written);
    }
    Ok(())
}
