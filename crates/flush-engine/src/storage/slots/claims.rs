//! Which slot holds the head of another slot's records.
//!
//! A claim is an empty file beside the slot, `slot-<number>.to-<number of the claimant>`. It can be
//! created on a full disk and replaced in one step. Only the holder of the slot changes it, or the
//! holder of the claimant's slot once the records in that slot have moved on.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use record_cache::StoreError;

/// The claimant of a slot.
pub(super) fn of(directory: &Path, slot: u32) -> Option<u32> {
    let entries = fs::read_dir(directory).ok()?.flatten();
    let prefix = prefix(slot);
    let claims = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.strip_prefix(&prefix)?.parse().ok()
    });
    // A slot cannot wait for itself.
    claims.filter(|&to| to != slot).min()
}

/// Makes the claimant's slot go first from now on, even after a power loss.
pub(super) fn set(directory: &Path, slot: u32, to: u32) -> Result<(), StoreError> {
    let path = path(directory, slot, to);
    let made = match of(directory, slot) {
        Some(old) if old == to => return Ok(()),
        Some(old) => fs::rename(self::path(directory, slot, old), &path),
        None => File::create_new(&path).map(drop),
    };
    made.and_then(|()| sync(directory))
        .map_err(|error| failed("cannot claim", &path, error))
}

/// Lets anyone use an empty slot. Slots that waited for its records now wait for the slot that the
/// records moved to.
pub(super) fn pass_on(directory: &Path, slot: u32) -> Result<(), StoreError> {
    let Some(to) = of(directory, slot) else {
        return Ok(());
    };
    let waiting = fs::read_dir(directory).into_iter().flatten().flatten();
    let suffix = format!(".to-{slot}");
    for entry in waiting {
        let name = entry.file_name().into_string().unwrap_or_default();
        let waiting = name
            .strip_prefix("slot-")
            .and_then(|name| name.strip_suffix(&suffix));
        let Some(waiting) = waiting.and_then(|number| number.parse().ok()) else {
            continue;
        };
        match fs::rename(entry.path(), path(directory, waiting, to)) {
            // Its holder renamed it first.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed.map_err(|error| failed("cannot claim", &entry.path(), error))?,
        }
    }
    let path = path(directory, slot, to);
    sync(directory)
        .and_then(|()| fs::remove_file(&path))
        .map_err(|error| failed("cannot give up", &path, error))
}

fn prefix(slot: u32) -> String {
    format!("slot-{slot}.to-")
}

fn path(directory: &Path, slot: u32, to: u32) -> PathBuf {
    directory.join(format!("{}{to}", prefix(slot)))
}

fn failed(doing: &str, path: &Path, error: io::Error) -> StoreError {
    StoreError::unavailable(format!("{doing} a slot: path={}", path.display()), error)
}

#[cfg(unix)]
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Windows has no such call, and journals file names itself.
#[cfg(not(unix))]
fn sync(_: &Path) -> io::Result<()> {
    Ok(())
}
