//! Small file systems that fill up.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use record_cache::{RecordStore, StoreError};
use tempfile::TempDir;

use super::{record, stream};

/// A file system in memory, unmounted when dropped.
pub(crate) struct Mounted(TempDir);

impl Mounted {
    pub(crate) fn of_size(size: &str) -> Self {
        let place = TempDir::new().unwrap();
        let options = format!("size={size},mode=0700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(place.path())
            .status()
            .unwrap();
        assert!(mounted.success(), "mounting needs root");
        Self(place)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn remount(&self, options: &str) {
        let mounted = Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(self.path())
            .status()
            .unwrap();
        assert!(mounted.success());
    }

    /// Another program takes what is left, but for this many bytes.
    pub(crate) fn fill_but_for(&self, left: usize) {
        let mut filler = fs::File::create(self.path().join("filler")).unwrap();
        let mut reserve = fs::File::create(self.path().join("reserve")).unwrap();
        let _ = reserve.write_all(&vec![1; left]);
        while filler.write(&[1; 512]).is_ok_and(|written| written > 0) {}
        drop(reserve);
        fs::remove_file(self.path().join("reserve")).unwrap();
    }

    pub(crate) fn free(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.path())
            .status();
    }
}

/// Appends until the disk refuses, and returns what was accepted.
pub(crate) async fn fill(store: &dyn RecordStore, from: u64) -> Vec<u64> {
    let name = stream("full");
    let mut accepted = Vec::new();
    for n in from.. {
        match store.append(vec![record(&name, n, 1000)]).await {
            Ok(()) => accepted.push(n),
            Err(error) => {
                assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
                break;
            }
        }
        assert!(accepted.len() < 100_000, "the disk is never full");
    }
    accepted
}
