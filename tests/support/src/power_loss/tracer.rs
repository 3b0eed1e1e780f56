//! Runs a process under strace.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::strace::{self, Call};

/// All calls that change files, make changes durable or tell which file a descriptor refers to.
/// Some architectures lack some of them.
const CALLS: &str = "
    open openat openat2 creat close close_range dup dup2 dup3 fcntl ioctl
    read readv lseek write writev pwrite64 pwritev pwritev2 copy_file_range sendfile splice
    ftruncate truncate fallocate fsync fdatasync sync syncfs sync_file_range mmap
    rename renameat renameat2 link linkat symlink symlinkat unlink unlinkat rmdir mkdir mkdirat
    chdir fchdir io_uring_setup io_setup";

/// Longer than any write of a traced process.
const LONGEST_STRING: &str = "67108864";

/// The places that a traced process works with.
#[derive(Debug)]
pub struct Places {
    arena: PathBuf,
    marks: PathBuf,
    working_directory: PathBuf,
}

/// The system calls of a process.
#[derive(Debug)]
pub struct Calls(Vec<Call>);

impl Places {
    /// The arena is the directory whose files matter. Each line written to the file `marks` is a
    /// mark.
    ///
    /// # Errors
    /// If the arena or the directory of the marks does not exist.
    pub fn new(arena: &Path, marks: &Path) -> io::Result<Self> {
        let name = marks
            .file_name()
            .ok_or_else(|| io::Error::other("the marks need a file"))?;
        let directory = marks.parent().unwrap_or(Path::new("."));
        Ok(Self {
            arena: arena.canonicalize()?,
            marks: directory.canonicalize()?.join(name),
            working_directory: std::env::current_dir()?,
        })
    }

    #[cfg(test)]
    pub(super) fn pretended(arena: &Path, marks: &Path) -> Self {
        Self {
            arena: arena.to_owned(),
            marks: marks.to_owned(),
            working_directory: PathBuf::from("/"),
        }
    }

    /// The directory whose files matter.
    #[must_use]
    pub fn arena(&self) -> &Path {
        &self.arena
    }

    /// The file that receives the marks.
    #[must_use]
    pub fn marks(&self) -> &Path {
        &self.marks
    }

    pub(super) fn working_directory(&self) -> &Path {
        &self.working_directory
    }
}

impl Calls {
    /// Parses a log of `strace -f`.
    ///
    /// # Errors
    /// If the text is not such a log, or is cut off.
    pub fn parse(log: &[u8]) -> io::Result<Self> {
        strace::parse(log).map(Self)
    }

    pub(super) fn list(&self) -> &[Call] {
        &self.0
    }
}

/// Runs a command to its end and returns its system calls. `log` is the file for the trace.
///
/// # Errors
/// If strace is missing or not permitted, or if the command fails. The error includes the command's
/// output.
pub fn trace(command: &Command, log: &Path) -> io::Result<Calls> {
    let names: Vec<_> = CALLS
        .split_whitespace()
        .map(|name| format!("?{name}"))
        .collect();
    let mut traced = Command::new("strace");
    traced
        .args(["-f", "-qq", "--seccomp-bpf", "-xx", "-a", "0", "-s"])
        .arg(LONGEST_STRING)
        .arg("-e")
        .arg(format!("trace={}", names.join(",")))
        // Only the length of a read matters, not its data.
        .args(["-e", "raw=read,readv"])
        .arg("-o")
        .arg(log)
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    let output = traced
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => io::Error::other(
                "strace is needed to trace a process: install the package of that name",
            ),
            _ => error,
        })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let shown = String::from_utf8_lossy(&output.stdout);
        let status = output.status;
        return Err(io::Error::other(format!(
            "the traced process failed: status={status}\n{shown}\n{said}"
        )));
    }
    Calls::parse(&std::fs::read(log)?)
}
