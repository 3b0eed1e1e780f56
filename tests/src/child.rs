//! The test program, started once more in a role of its own.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where a child finds what it is to do.
const ROLE: &str = "AMPLIFY_TEST_CHILD";

/// This test program once more, to run the one test `name` in a role of its own.
pub fn child(name: &str, role: &str) -> Command {
    child_of(&env::current_exe().unwrap(), name, role)
}

/// The same, of a copy of this test program.
pub fn child_of(program: &Path, name: &str, role: &str) -> Command {
    let mut command = Command::new(program);
    command
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env(ROLE, role)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// The role that this process was started in, if it is a child.
pub fn role() -> Option<String> {
    env::var(ROLE).ok()
}
