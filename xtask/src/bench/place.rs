//! The directories that measurements write to, and their disk usage.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::shell;

/// A new directory on the disk that cargo builds on, deleted on drop.
pub(crate) fn directory() -> Result<TempDir> {
    let parent = shell::target()?.join("bench-data");
    fs::create_dir_all(&parent).with_context(|| parent.display().to_string())?;
    Ok(tempfile::tempdir_in(parent)?)
}

/// Disk usage of a directory tree. Files deleted during the walk count as zero.
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

/// Evicts all files below a directory from the page cache.
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
