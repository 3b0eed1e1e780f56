//! A full disk. Needs root and the feature `mount-tests`.

#![cfg(feature = "mount-tests")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use super::{ALL, checkpoint, entry, settings, stream};
use crate::index::paged::{PagedIndex, database};
use crate::index::{Broken, Index};

/// An in-memory file system, unmounted when dropped.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn of_size(size: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        let mounted = mount.arg(place.path()).status().unwrap();
        assert!(mounted.success(), "mounting needs root");
        Self(place)
    }

    fn fill(&self) {
        let mut filler = fs::File::create(self.0.path().join("filler")).unwrap();
        while filler.write(&[1; 512]).is_ok_and(|written| written > 0) {}
    }

    fn free(&self) {
        fs::remove_file(self.0.path().join("filler")).unwrap();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let mut unmount = Command::new("umount");
        let unmounted = unmount.arg("--lazy").arg(self.0.path()).status();
        assert!(unmounted.unwrap().success());
    }
}

/// Adds entries and makes checkpoints until something fails. Returns when and why.
fn until_broken(index: &mut PagedIndex) -> (u64, Broken) {
    for number in 0.. {
        if let Err(broken) = index.put_one(&stream(0), entry(2 * number, 0)) {
            return (number, broken);
        }
        if number % 1_000 == 999
            && let Err(broken) = index.checkpoint(&checkpoint(number / 1_000))
        {
            return (number / 1_000, broken);
        }
        assert!(number < 10_000_000, "the disk is never full");
    }
    unreachable!()
}

fn open(home: &Path) -> (PagedIndex, Option<u64>) {
    let (mut index, restored) = PagedIndex::open(home, settings(64));
    let at = restored.map(|(at, stats)| {
        let records = 1_000 * (at.offset + 1);
        assert_eq!(stats[&stream(0)].records as u64, records);
        let numbers = index.after(&stream(0), None, ALL).unwrap();
        let expected = (0..records).map(|n| entry(2 * n, 0));
        assert!(numbers.into_iter().eq(expected));
        at.offset
    });
    (index, at)
}

#[test]
fn a_checkpoint_that_finds_the_disk_full_breaks_the_index_and_the_one_before_stays() {
    let disk = Mounted::of_size("6m");
    let home = disk.0.path();
    let mut index = PagedIndex::empty(home, settings(64));
    let (failed, Broken(reason)) = until_broken(&mut index);
    assert!(failed > 3, "{failed}: {reason}");
    drop(index);
    disk.fill();
    // With no byte free, opening finds nothing or an earlier checkpoint.
    let (index, _) = open(home);
    drop(index);
    disk.free();
    let (index, at) = open(home);
    assert!(at.is_none_or(|at| at < failed));
    drop(index);

    // A new database cannot be created either.
    for number in database::numbers(home) {
        let _ = fs::remove_dir_all(database::path(home, number));
    }
    disk.fill();
    let mut index = PagedIndex::empty(home, settings(64));
    let (failed, _) = until_broken(&mut index);
    assert!(failed < 3, "it failed at {failed}");
    disk.free();
    assert_eq!(open(home).1, None);
}
