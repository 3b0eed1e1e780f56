//! Small file systems for tests that fill a disk.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
#[cfg(windows)]
use std::sync::mpsc;
#[cfg(windows)]
use std::time::Duration;

use record_cache::{RecordStore, StoreError};
use tempfile::TempDir;

use super::{record, stream};

/// A file system in memory, unmounted on drop.
pub(crate) struct Mounted(TempDir);

impl Mounted {
    pub(crate) fn of_size(size: &str) -> Self {
        let place = place();
        let options = format!("size={size},mode=0700");
        let path = path_below(place.path());
        let mounted = run(&["mount", "-t", "tmpfs", "-o", &options, "tmpfs", &path]);
        assert!(mounted, "mounting needs root");
        Self(place)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let path = path_below(self.path());
        assert!(run(&["mount", "-o", &options, &path]));
    }

    /// Fills the disk as another program would, except for this many bytes.
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
        run(&["umount", "--lazy", &path_below(self.path())]);
    }
}

#[cfg(not(windows))]
fn place() -> TempDir {
    TempDir::new().unwrap()
}

/// Linux's directory for temporary files.
#[cfg(windows)]
fn place() -> TempDir {
    TempDir::new_in(r"Z:\tmp").unwrap()
}

#[cfg(not(windows))]
fn path_below(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// The path that Linux, below Wine, uses for this file.
#[cfg(windows)]
fn path_below(path: &Path) -> String {
    let path = path.to_str().unwrap().strip_prefix("Z:").unwrap();
    path.replace('\\', "/")
}

/// Runs a program to its end and returns whether it succeeded.
#[cfg(not(windows))]
fn run(words: &[&str]) -> bool {
    let status = Command::new(words[0]).args(&words[1..]).status();
    status.is_ok_and(|status| status.success())
}

/// The same for a Linux program. Wine starts it without a handle, so it writes its exit status to a
/// file.
#[cfg(windows)]
fn run(words: &[&str]) -> bool {
    const SCRIPT: &str = "f=$1; shift; $*; echo $? > $f.new; mv $f.new $f";
    let place = place();
    let said = place.path().join("said");
    let path = path_below(&said);
    let mut shell = Command::new(r"Z:\bin\sh");
    let _ = shell.args(["-c", SCRIPT, "sh", &path]).args(words).spawn();
    let (_never, pause) = mpsc::channel::<()>();
    for _ in 0..10_000 {
        if said.exists() {
            break;
        }
        let _ = pause.recv_timeout(Duration::from_millis(5));
    }
    fs::read_to_string(said).unwrap().trim() == "0"
}

/// Appends until the disk refuses, and returns the accepted numbers.
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
