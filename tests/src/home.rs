//! A home for child processes, which holds their default directories.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::child::child_of;

/// A separate home for the children of a test, deleted on drop.
#[derive(Debug)]
pub struct Home {
    directory: TempDir,
    /// The program that the children run.
    program: PathBuf,
}

impl Home {
    /// A home for this test program.
    pub fn make() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = own_program(directory.path());
        Self { directory, program }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A command for a child with this home, which runs the test `name` in this role.
    pub fn child(&self, name: &str, role: &str) -> Command {
        let mut command = child_of(&self.program, name, role);
        command.env("HOME", self.path());
        command.env("XDG_DATA_HOME", self.path().join("data"));
        command
    }

    /// The data directory of the children's program.
    pub fn of_program(&self) -> PathBuf {
        Self::of(&self.program, self.path())
    }

    /// The same, in a child whose home is at this path.
    pub fn of_this_program(home: &Path) -> PathBuf {
        Self::of(&std::env::current_exe().unwrap(), home)
    }

    /// The client name for a test that wants the directory `name`. It differs where the directories
    /// of several homes lie in one place.
    pub fn own_name(home: &Path, name: &str) -> String {
        if cfg!(windows) {
            format!("{}-{name}", own_prefix(home))
        } else {
            name.to_owned()
        }
    }

    /// The directory of clients named `name`, in a child whose home is at this path.
    pub fn of_name(home: &Path, name: &str) -> PathBuf {
        local_data(home).join(name)
    }

    fn of(program: &Path, home: &Path) -> PathBuf {
        local_data(home).join(program.file_stem().unwrap())
    }
}

#[cfg(not(windows))]
fn own_program(_: &Path) -> PathBuf {
    std::env::current_exe().unwrap()
}

#[cfg(not(windows))]
fn local_data(home: &Path) -> PathBuf {
    if cfg!(target_os = "macos") {
        home.join("Library/Application Support")
    } else {
        home.join("data")
    }
}

/// The prefix of all directories of this home, where those of other homes lie beside them.
fn own_prefix(home: &Path) -> String {
    let name = home.file_name().unwrap().to_string_lossy();
    name.trim_start_matches('.').to_owned()
}

/// Windows has one local data directory per user, whatever the environment says, so the program
/// gets a name of its own.
#[cfg(windows)]
fn own_program(home: &Path) -> PathBuf {
    let own = home.join(own_prefix(home)).with_extension("exe");
    crate::link_to_this_program(&own);
    own
}

#[cfg(windows)]
fn local_data(_: &Path) -> PathBuf {
    std::env::var_os("LOCALAPPDATA").unwrap().into()
}

#[cfg(windows)]
impl Drop for Home {
    fn drop(&mut self) {
        let own = own_prefix(self.path());
        let all = std::fs::read_dir(local_data(self.path()));
        for entry in all.into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&own) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}
