//! Where measurements write, and what they take there.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::shell;

/// A directory of its own on the disk that cargo builds on, deleted when it is dropped.
pub(crate) fn directory() -> Result<TempDir> {
    let parent = shell::target()?.join("bench-data");
    fs::create_dir_all(&parent).with_context(|| parent.display().to_string())?;
    Ok(tempfile::tempdir_in(parent)?)
}

/// What all files below a directory take on the disk; files that go meanwhile take nothing.
pub(crate) fn allocated(directory: &Path) -> u64 {
    const BLOCK: u64 = 512;
    let Ok(entries) = fs::read_dir(directory) else {
        return 0;
    };
    let of_entry = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => allocated(&entry.path()),
        Ok(metadata) => metadata.blocks() * BLOCK,
        Err(_) => 0,
    };
    entries.flatten().map(of_entry).sum()
}

/// Has the operating system forget the contents of all files below a directory.
pub(crate) fn make_cold(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            make_cold(&path)?;
            continue;
        }
        let file = fs::File::open(&path)?;
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    Ok(())
}
