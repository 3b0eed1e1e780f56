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
pub(super) fn of(directory: &Path, slot: u32) -> Result<Option<u32>, StoreError> {
    let claims = find(directory, |claimed, _| claimed == slot)?;
    Ok(claims.into_iter().map(|(_, to)| to).min())
}

/// Makes the claimant's slot go first from now on, even after a power loss.
pub(super) fn set(directory: &Path, slot: u32, to: u32) -> Result<(), StoreError> {
    let path = path(directory, slot, to);
    let made = match of(directory, slot)? {
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
    let mut told = slot;
    while let Some(to) = of(directory, slot)? {
        // Others pass on claims at the same time, so this ends only when none is left. If the
        // records have moved on again, those that were told where they were are told again.
        let waiting = find(directory, |_, first| {
            first != to && (first == slot || first == told)
        })?;
        if waiting.is_empty() {
            let path = path(directory, slot, to);
            match sync(directory).and_then(|()| fs::remove_file(&path)) {
                // It was renamed first. On some systems, which list a deleted file until everybody has
                // closed it, it may still be renamed, and then stays. The second attempt tells.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(|error| failed("cannot give up", &path, error))?,
            }
            continue;
        }
        for (waiting, first) in waiting {
            let old = path(directory, waiting, first);
            match fs::rename(&old, path(directory, waiting, to)) {
                // Its holder renamed it first.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                renamed => renamed.map_err(|error| failed("cannot claim", &old, error))?,
            }
        }
        told = to;
    }
    Ok(())
}

/// Claims, each as the slot and its claimant.
fn find(
    directory: &Path,
    is_wanted: impl Fn(u32, u32) -> bool,
) -> Result<Vec<(u32, u32)>, StoreError> {
    let list = || {
        let found = list(directory, &is_wanted);
        found.map_err(|error| failed("cannot look for claims on", directory, error))
    };
    let found = list()?;
    // A listing may miss a claim that is renamed meanwhile.
    if found.is_empty() { list() } else { Ok(found) }
}

fn list(directory: &Path, is_wanted: impl Fn(u32, u32) -> bool) -> io::Result<Vec<(u32, u32)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let claim = name.to_str().and_then(parse);
        // A slot cannot wait for itself.
        found.extend(claim.filter(|&(slot, to)| slot != to && is_wanted(slot, to)));
    }
    Ok(found)
}

fn parse(claim: &str) -> Option<(u32, u32)> {
    let (slot, to) = claim.strip_prefix("slot-")?.split_once(".to-")?;
    let (slot, to) = (slot.parse().ok()?, to.parse().ok()?);
    (name(slot, to) == claim).then_some((slot, to))
}

fn name(slot: u32, to: u32) -> String {
    format!("slot-{slot}.to-{to}")
}

fn path(directory: &Path, slot: u32, to: u32) -> PathBuf {
    directory.join(name(slot, to))
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Barrier;
    use std::thread;

    use tempfile::TempDir;

    use super::*;

    fn claim(directory: &TempDir, slot: u32, to: u32) {
        fs::write(path(directory.path(), slot, to), "").unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_listed_is_not_taken_for_one_without_claims() {
        let directory = TempDir::new().unwrap();
        let missing = directory.path().join("missing");
        assert!(of(&missing, 1).is_err());
        assert!(set(&missing, 1, 2).is_err());
        assert!(pass_on(&missing, 1).is_err());
    }

    #[test]
    fn a_claim_that_one_listing_misses_is_found() {
        let directory = TempDir::new().unwrap();
        claim(&directory, 1, 2);
        // As if it was renamed during the first listing.
        let is_missed = Cell::new(true);
        let found = find(directory.path(), |_, _| !is_missed.replace(false));
        assert_eq!(found.unwrap(), [(1, 2)]);
    }

    #[test]
    fn other_names_are_no_claims() {
        for name in [
            "slot-1.to-x",
            "slot-01.to-2",
            "slot-1.to-+2",
            "slot-1",
            "1.to-2",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
        assert_eq!(parse("slot-1.to-2"), Some((1, 2)));
    }

    #[test]
    fn claims_that_are_passed_on_from_both_ends_at_once_lead_to_the_last_slot() {
        // Records of slot 1 moved to slot 2, then to 3, then to 4.
        for _ in 0..300 {
            let directory = TempDir::new().unwrap();
            for slot in 1..4 {
                claim(&directory, slot, slot + 1);
            }
            let place = directory.path();
            let both = Barrier::new(2);
            thread::scope(|scope| {
                for slot in [2, 3] {
                    let both = &both;
                    scope.spawn(move || {
                        both.wait();
                        let mut passed_on = pass_on(place, slot);
                        // Windows refuses to rename a file that is being deleted.
                        while cfg!(windows) && passed_on.is_err() {
                            passed_on = pass_on(place, slot);
                        }
                        passed_on.unwrap();
                    });
                }
            });
            assert_eq!(of(place, 1).unwrap(), Some(4));
            assert_eq!((of(place, 2).unwrap(), of(place, 3).unwrap()), (None, None));
        }
    }
}
