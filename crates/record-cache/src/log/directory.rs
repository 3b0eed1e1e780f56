//! What lies in the directory of a log.

use std::io;

use super::files::Disk;
use super::format::{COPY_PREFIX, LOCK, MARK, RESERVE, TEMPORARY_MARK, segment_number};
use crate::clock;

const KEPT_COPIES: usize = 2;

/// The numbers of all segments that are there, the oldest first.
pub(crate) fn segments(disk: &dyn Disk) -> io::Result<Vec<u32>> {
    let names = disk.names()?;
    let mut numbers: Vec<u32> = names
        .iter()
        .filter_map(|name| segment_number(name))
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Whether a file of a log has this name.
pub(crate) fn is_own(name: &str) -> bool {
    [LOCK, MARK, TEMPORARY_MARK, RESERVE].contains(&name) || segment_number(name).is_some()
}

/// Moves what has a name of ours and is no regular file out of the way.
pub(crate) fn clear_the_way(disk: &dyn Disk) -> io::Result<()> {
    let mut obstacles = Vec::new();
    for name in disk.names()? {
        if is_own(&name) && !disk.is_file(&name)? {
            obstacles.push(name);
        }
    }
    if !obstacles.is_empty() {
        let copy = set_aside(disk, &obstacles)?;
        let path = disk.path().display();
        tracing::warn!(target: "record_cache", %path, copy, ?obstacles, "no regular files, set aside");
    }
    Ok(())
}

/// Moves entries that nothing can be read of to a copy that is kept for a while.
pub(crate) fn set_aside(disk: &dyn Disk, entries: &[String]) -> io::Result<String> {
    let seconds = clock::to_unix_millis(clock::now()) / 1000;
    let names = disk.names()?;
    let plain = format!("{COPY_PREFIX}{seconds}");
    let numbered = (1_u32..).map(|n| format!("{COPY_PREFIX}{seconds}-{n}"));
    let mut free = std::iter::once(plain)
        .chain(numbered)
        .filter(|name| !names.contains(name));
    let to = free.next().ok_or(io::ErrorKind::AlreadyExists)?;
    match disk.make_directory(&to) {
        // On a full disk, the room that is kept for it.
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            disk.remove(RESERVE)?;
            disk.make_directory(&to)?;
        }
        made => made?,
    }
    for name in entries {
        disk.rename(name, &format!("{to}/{name}"))?;
    }
    disk.sync()?;
    let copies = copies(disk)?;
    for old in copies.iter().take(copies.len().saturating_sub(KEPT_COPIES)) {
        disk.remove_directory(old)?;
    }
    Ok(to)
}

/// Deletes all copies of damaged data.
pub(crate) fn remove_copies(disk: &dyn Disk) -> io::Result<()> {
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
