//! The contents of a log's directory.

use std::io;

use super::files::{Disk, is_full};
use super::format::{
    COPY_PREFIX, Found, LOCK, MARK, Mark, RESERVE, TEMPORARY_MARK, TEMPORARY_SEGMENT, segment_name,
    segment_number,
};
use super::frame::Seal;
use super::outline::Outline;
use crate::clock;
use crate::index::directory_number;

const KEPT_COPIES: usize = 2;

/// The numbers of all segments, oldest first.
pub(crate) fn segments(disk: &dyn Disk) -> io::Result<Vec<u32>> {
    let names = disk.names()?;
    let numbers = names.iter().filter_map(|name| segment_number(name));
    let mut numbers: Vec<u32> = numbers.collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Whether the log was closed without records, and nothing was written since. Reads the mark, and
/// how far the last segment reaches.
pub(crate) fn was_closed_empty(disk: &dyn Disk) -> io::Result<bool> {
    let mut bytes = Vec::new();
    disk.open(MARK)?.read(&mut bytes, 64, 0)?;
    let Found::Sound(mark) = Mark::decode(&bytes) else {
        return Ok(false);
    };
    let last = segments(disk)?.pop();
    if mark.held > 0 || last != mark.last.map(|last| last.number) {
        return Ok(false);
    }
    let Some(last) = mark.last else {
        return Ok(true);
    };
    let file = disk.open(&segment_name(last.number))?;
    if file.length()? == last.end {
        return Ok(true);
    }
    // Behind the end, there may be an outline, which is cut off before anything else is written.
    let outline = Outline::read(&*file, &Seal::new(mark.salt, last.number))?;
    Ok(outline.is_some_and(|outline| outline.end() == last.end))
}

/// Whether this is the name of a file of a log.
pub(crate) fn is_own(name: &str) -> bool {
    let others = [LOCK, MARK, TEMPORARY_MARK, TEMPORARY_SEGMENT, RESERVE];
    others.contains(&name) || segment_number(name).is_some()
}

/// Moves aside any entry with one of our names that is not a regular file.
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
        tracing::warn!(target: "record_cache", %path, copy, ?obstacles, "files that are not regular were set aside");
    }
    Ok(())
}

/// Moves unreadable entries into a copy, which is kept for a while.
pub(crate) fn set_aside(disk: &dyn Disk, entries: &[String]) -> io::Result<String> {
    let to = name_of_next_copy(&disk.names()?)?;
    match disk.make_directory(&to) {
        // If the disk is full, use the reserved space.
        Err(error) if is_full(&error) => {
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
        // On Windows, a copy in which someone holds a file open stays until the next attempt.
        let _ = disk.remove_directory(old);
    }
    Ok(to)
}

/// Deletes all copies of damaged data.
pub(crate) fn remove_copies(disk: &dyn Disk) -> io::Result<()> {
    let copies = copies(disk)?;
    if copies.is_empty() {
        return Ok(());
    }
    for copy in &copies {
        disk.remove_directory(copy)?;
    }
    disk.sync()
}

/// Deletes index directories as far as possible.
pub(crate) fn remove_indexes(disk: &dyn Disk) {
    for name in disk.names().unwrap_or_default() {
        if directory_number(&name).is_some() {
            // The next open tries again.
            let _ = disk.remove_directory(&name);
        }
    }
}

/// The next copy's name: the current time, but always sorting after existing copies.
fn name_of_next_copy(names: &[String]) -> io::Result<String> {
    let now = clock::to_unix_millis(clock::now()) / 1000;
    match names.iter().filter_map(|name| moment_of_copy(name)).max() {
        Some((seconds, number)) if seconds >= now => {
            let number = number.checked_add(1).ok_or(io::ErrorKind::AlreadyExists)?;
            Ok(format!("{COPY_PREFIX}{seconds}-{number}"))
        }
        _ => Ok(format!("{COPY_PREFIX}{now}")),
    }
}

/// Seconds since 1970, and a number that tells copies of the same second apart.
fn moment_of_copy(name: &str) -> Option<(u64, u32)> {
    let rest = name.strip_prefix(COPY_PREFIX)?;
    let (seconds, number) = rest.split_once('-').unwrap_or((rest, "0"));
    Some((seconds.parse().ok()?, number.parse().ok()?))
}

/// All copies, oldest first.
fn copies(disk: &dyn Disk) -> io::Result<Vec<String>> {
    let names = disk.names()?.into_iter();
    let copies = names.filter_map(|name| Some((moment_of_copy(&name)?, name)));
    let mut copies: Vec<_> = copies.collect();
    copies.sort_unstable();
    Ok(copies.into_iter().map(|(_, name)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_copy_sorts_behind_those_that_are_there() {
        let later = format!("{COPY_PREFIX}99999999999");
        let names = [
            format!("{later}-2"),
            format!("{later}-1"),
            "corrupt-x".to_owned(),
        ];
        assert_eq!(name_of_next_copy(&names).unwrap(), format!("{later}-3"));
        let early = name_of_next_copy(&[format!("{COPY_PREFIX}1")]).unwrap();
        assert!(moment_of_copy(&early) > Some((1_000_000_000, 0)), "{early}");
    }
}
