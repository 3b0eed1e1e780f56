//! The directory of a store: who holds it and what lies in it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::disk::{Disk, create_directories};
use super::format::{
    COPY_PREFIX, LOCK, MARK, RESERVE, TEMPORARY_MARK, segment_name, segment_number,
};
use crate::{StoreError, clock};

const KEPT_COPIES: usize = 2;

/// Takes the directory, which is made where there is none; it is free again when the
/// file is closed.
pub(super) fn take(path: &Path) -> Result<File, StoreError> {
    let unavailable = |doing: &str, error: io::Error| {
        StoreError::unavailable(format!("{doing}: path={}", path.display()), error)
    };
    create_directories(path).map_err(|error| unavailable("cannot create the directory", error))?;
    // Another format's directory is left exactly as it is.
    refuse_foreign(path).map_err(|error| unavailable("cannot read the directory", error))??;
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path.join(LOCK))
        .map_err(|error| unavailable("cannot write to the directory", error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::in_use(path)),
        Err(TryLockError::Error(error)) => Err(unavailable("cannot lock the directory", error)),
    }
}

/// The numbers of all segments that are there, the oldest first.
pub(super) fn segments(disk: &dyn Disk) -> io::Result<Vec<u32>> {
    let mut numbers: Vec<u32> = disk
        .names()?
        .iter()
        .filter_map(|name| segment_number(name))
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Moves segments that nothing can be read of to a copy that is kept for a while.
pub(super) fn set_aside(disk: &dyn Disk, numbers: &[u32]) -> io::Result<String> {
    let seconds = clock::to_unix_millis(clock::now()) / 1000;
    let names = disk.names()?;
    let plain = format!("{COPY_PREFIX}{seconds}");
    let numbered = (1_u32..).map(|n| format!("{COPY_PREFIX}{seconds}-{n}"));
    let mut free = std::iter::once(plain)
        .chain(numbered)
        .filter(|name| !names.contains(name));
    let to = free.next().ok_or(io::ErrorKind::AlreadyExists)?;
    disk.make_directory(&to)?;
    for number in numbers {
        let name = segment_name(*number);
        disk.rename(&name, &format!("{to}/{name}"))?;
    }
    disk.sync()?;
    let copies = copies(disk)?;
    for old in copies.iter().take(copies.len().saturating_sub(KEPT_COPIES)) {
        disk.remove_directory(old)?;
    }
    Ok(to)
}

/// Deletes all copies of damaged data.
pub(super) fn remove_copies(disk: &dyn Disk) -> io::Result<()> {
    let copies = copies(disk)?;
    for copy in &copies {
        disk.remove_directory(copy)?;
    }
    if copies.is_empty() {
        Ok(())
    } else {
        disk.sync()
    }
}

/// The oldest first.
fn copies(disk: &dyn Disk) -> io::Result<Vec<String>> {
    let mut copies = Vec::new();
    for name in disk.names()? {
        let Some(rest) = name.strip_prefix(COPY_PREFIX) else {
            continue;
        };
        let (seconds, number) = rest.split_once('-').unwrap_or((rest, "0"));
        if let (Ok(seconds), Ok(number)) = (seconds.parse::<u64>(), number.parse::<u32>()) {
            copies.push((seconds, number, name));
        }
    }
    copies.sort_unstable();
    Ok(copies.into_iter().map(|(_, _, name)| name).collect())
}

fn refuse_foreign(path: &Path) -> io::Result<Result<(), StoreError>> {
    let mut own = false;
    let mut foreign = None;
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name == MARK || segment_number(&name).is_some() {
            own = true;
        } else if let Some(found) = foreign_file(&name) {
            foreign = Some(found);
        }
    }
    Ok(match foreign {
        Some(found) if !own => Err(StoreError::incompatible(path, found)),
        _ => Ok(()),
    })
}

/// What a file says of a directory that has none of a journal's own.
fn foreign_file(name: &str) -> Option<String> {
    let neutral = [LOCK, TEMPORARY_MARK, RESERVE, "lost+found"];
    if neutral.contains(&name) || name.starts_with(COPY_PREFIX) || name.starts_with('.') {
        return None;
    }
    let what = if is_of_sled(name) || name.starts_with("snap.") || name == "db" {
        "a cache of the sled store"
    } else {
        "other files"
    };
    Some(format!("{what}: {name}"))
}

/// Whether a cache of the sled store is in this directory.
#[cfg(feature = "sled")]
pub(super) fn holds_sled(path: &Path) -> bool {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .any(|name| is_of_sled(&name))
}

fn is_of_sled(name: &str) -> bool {
    name == "manifest" || name.starts_with("gen-")
}
