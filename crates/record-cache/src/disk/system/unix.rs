//! Unix: all access is relative to an open directory, and no link in it is followed.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::OnceLock;

use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use super::{Refusal, SystemFile, not_a_file};

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

/// A directory, held open and locked.
#[derive(Debug)]
pub(super) struct Directory {
    directory: File,
    is_locked: bool,
    lock: OnceLock<File>,
}

impl Directory {
    /// Opens a directory, following a link only if this user or root owns it.
    pub(super) fn open(path: &Path) -> Result<Self, Refusal> {
        let failed = |error: Errno| Refusal::Failed("cannot open", error.into());
        let found = rustix::fs::lstat(path).map_err(failed)?;
        let is_link = FileType::from_raw_mode(found.st_mode) == FileType::Symlink;
        if is_link && ![own_user(), ROOT].contains(&found.st_uid) {
            let why = "is a link of another user; use a directory of your own";
            return Err(Refusal::Unsafe(why));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
        Ok(Self {
            directory: File::from(directory),
            is_locked: false,
            lock: OnceLock::new(),
        })
    }

    /// Refuses a directory that is in use.
    pub(super) fn lock(mut self) -> Result<Self, Refusal> {
        match try_lock(&self.directory) {
            Ok(()) => self.is_locked = true,
            Err(Errno::WOULDBLOCK) => return Err(Refusal::InUse),
            // Not every file system supports this. The lock file then has to suffice.
            Err(_) => {}
        }
        Ok(self)
    }

    /// Refuses a directory that others own or can write to.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let failed = |error: Errno| Refusal::Failed("cannot read", error.into());
        let stat = rustix::fs::fstat(&self.directory).map_err(failed)?;
        if stat.st_uid != own_user() {
            let why = "belongs to another user; use one of your own";
            return Err(Refusal::Unsafe(why));
        }
        let mode = Mode::from_raw_mode(stat.st_mode);
        if mode.contains(Mode::WOTH) || (mode.contains(Mode::WGRP) && !is_private(stat.st_gid)) {
            let why = "can be written to by other users; take that right away (chmod go-w)";
            return Err(Refusal::Unsafe(why));
        }
        Ok(())
    }

    /// Refuses a file that another user planted under one of our names while the directory was
    /// writable to others.
    pub(super) fn check_owner_of(&self, name: &str) -> Result<(), Refusal> {
        let failed = |error: Errno| Refusal::Failed("cannot read", error.into());
        let found = rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW);
        match found {
            Ok(stat) if stat.st_uid != own_user() => Err(Refusal::Planted(name.to_owned())),
            Ok(_) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    pub(super) fn is_locked(&self) -> bool {
        self.is_locked
    }

    /// Locks a file in the directory, creating it if needed.
    pub(super) fn take_lock(&self, name: &str) -> Result<(), Refusal> {
        let failed = |error| Refusal::Failed("cannot write to", error);
        let flags = OFlags::RDWR | OFlags::CREATE | SAFELY;
        let file = self.open_with(name, flags).map_err(failed)?;
        match try_lock(&file) {
            Ok(()) => {
                let _ = self.lock.set(file);
                Ok(())
            }
            Err(Errno::WOULDBLOCK) => Err(Refusal::InUse),
            Err(_) if self.is_locked => Ok(()),
            Err(error) => Err(Refusal::Failed("cannot lock", error.into())),
        }
    }

    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for name in entries(&self.directory)? {
            names.push(String::from_utf8_lossy(&name).into_owned());
        }
        Ok(names)
    }

    pub(super) fn is_file(&self, name: &str) -> io::Result<bool> {
        let stat = rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
    }

    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | SAFELY;
        self.open_with(name, flags)
    }

    pub(super) fn open_file(&self, name: &str) -> io::Result<File> {
        self.open_with(name, OFlags::RDWR | SAFELY)
    }

    /// Opens a regular file that only its owner may read.
    fn open_with(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let opened = rustix::fs::openat(&self.directory, name, flags, PRIVATE_FILE);
        let file = match opened {
            // A link, a directory, or a FIFO without a reader.
            Err(Errno::LOOP | Errno::MLINK | Errno::ISDIR | Errno::NXIO) => {
                return Err(not_a_file());
            }
            opened => opened?,
        };
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(not_a_file());
        }
        let others = Mode::RWXG | Mode::RWXO;
        if Mode::from_raw_mode(stat.st_mode).intersects(others) {
            rustix::fs::fchmod(&file, PRIVATE_FILE)?;
        }
        Ok(File::from(file))
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(
            &self.directory,
            from,
            &self.directory,
            to,
        )?)
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.directory,
            name,
            AtFlags::empty(),
        )?)
    }

    pub(super) fn make_directory(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.directory, name, Mode::RWXU)?)
    }

    pub(super) fn remove_directory(&self, name: &str) -> io::Result<()> {
        remove_all(&self.directory, name.as_bytes(), 0)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.directory.sync_all()
    }

    /// Whether the directory was deleted.
    pub(super) fn is_gone(&self) -> bool {
        rustix::fs::fstat(&self.directory).is_ok_and(|stat| stat.st_nlink == 0)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // A child being started shares these files until it runs its program, so closing them is
        // not enough.
        if let Some(lock) = self.lock.get() {
            let _ = flock(lock, FlockOperation::Unlock);
        }
        if self.is_locked {
            let _ = flock(&self.directory, FlockOperation::Unlock);
        }
    }
}

/// Like std's `try_lock`, but also works on Android, where std does not support it.
fn try_lock(file: &File) -> Result<(), Errno> {
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::INTR) => {}
            outcome => return outcome,
        }
    }
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

pub(super) fn sync_by_path(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
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
        while buffer.len() < length {
            let at = offset + buffer.len() as u64;
            match rustix::io::pread(&self.0, spare_capacity(buffer), at) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        buffer.truncate(length);
        Ok(())
    }

    pub(super) fn write_at(
        &self,
        mut parts: &mut [IoSlice<'_>],
        mut offset: u64,
    ) -> io::Result<()> {
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            let now = parts.get(..PARTS_AT_ONCE).unwrap_or(parts);
            match rustix::io::pwritev(&self.0, now, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut parts, written);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
