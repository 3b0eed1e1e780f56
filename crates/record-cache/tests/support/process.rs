//! A test that starts itself as a process of its own, to kill it.

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

const PLACE: &str = "RECORD_CACHE_CHILD_PLACE";
const ARGUMENT: &str = "RECORD_CACHE_CHILD_ARGUMENT";

/// In a process that was started by [`start`]: where it works, and the argument.
pub(crate) fn is_child() -> Option<(PathBuf, String)> {
    let place = std::env::var_os(PLACE)?;
    Some((place.into(), std::env::var(ARGUMENT).unwrap()))
}

/// A process that runs one test, and what it says.
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

/// What starts it, from this file.
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
    /// Waits for a line, which may stand behind what the test harness says.
    pub(crate) fn wait_for(&mut self, what: &str) {
        let said = |line: std::io::Result<String>| line.unwrap().contains(what);
        assert!(self.lines.any(said), "the process ended before {what}");
    }

    /// Kills it, and returns what it had said by then.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        let rest = self.lines.map_while(Result::ok).collect();
        self.child.wait().unwrap();
        rest
    }
}

/// Says a line in one write, so that a kill leaves only whole ones.
pub(crate) fn say(line: &str) {
    let line = format!("\n{line}\n");
    // Nobody listens any more: this process is about to be killed.
    let _ = std::io::Write::write_all(&mut std::io::stdout().lock(), line.as_bytes());
}
