//! A test that starts itself as a child process in order to kill it.

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

const PLACE: &str = "RECORD_CACHE_CHILD_PLACE";
const ARGUMENT: &str = "RECORD_CACHE_CHILD_ARGUMENT";

/// The directory and argument, in a process started by [`start`].
pub(crate) fn is_child() -> Option<(PathBuf, String)> {
    let place = std::env::var_os(PLACE)?;
    Some((place.into(), std::env::var(ARGUMENT).unwrap()))
}

/// A process that runs one test, and its output.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) lines: Lines<BufReader<ChildStdout>>,
}

/// Starts a process that runs the test of this name.
pub(crate) fn start(test: &str, place: &Path, argument: &str) -> Process {
    let this = std::env::current_exe().unwrap();
    let mut child = command(&this, test, place, argument).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    Process { child, lines }
}

/// The command that runs the test from `program`.
pub(crate) fn command(program: &Path, test: &str, place: &Path, argument: &str) -> Command {
    let mut command = Command::new(program);
    command
        .args(["--exact", test, "--nocapture"])
        .env(PLACE, place)
        .env(ARGUMENT, argument)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    command
}

impl Process {
    /// Waits for a line that contains `what`, perhaps after output of the test harness.
    pub(crate) fn wait_for(&mut self, what: &str) {
        let said = |line: std::io::Result<String>| line.unwrap().contains(what);
        assert!(self.lines.any(said), "the process ended before {what}");
    }

    /// Waits for a report of this name, and returns its number. `None` if the process ends first.
    pub(crate) fn wait_for_report(&mut self, name: &str) -> Option<u64> {
        self.lines.find_map(|line| {
            let line = line.unwrap();
            let number = line.strip_prefix(name)?.strip_prefix(' ')?;
            number.strip_suffix(" end")?.parse().ok()
        })
    }

    /// Kills the process and returns the rest of its output.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        let rest = self.lines.map_while(Result::ok).collect();
        self.child.wait().unwrap();
        rest
    }
}

/// Reports a number, for [`Process::wait_for_report`].
pub(crate) fn report(name: &str, number: u64) {
    say(&format!("{name} {number} end"));
}

/// Peak resident memory of this process in bytes, if the system reports it.
pub(crate) fn peak_memory() -> Option<u64> {
    of_status("VmHWM:")
}

/// A number of bytes from this process's status.
pub(crate) fn of_status(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Prints a line in one write, so that a kill leaves only whole lines.
pub(crate) fn say(line: &str) {
    let line = format!("\n{line}\n");
    // An error means that the reader is gone and this process is about to be killed.
    let _ = std::io::Write::write_all(&mut std::io::stdout().lock(), line.as_bytes());
}
