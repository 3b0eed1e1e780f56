//! Starts the test program again in another role.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

/// The environment variable with a child's role.
const ROLE: &str = "AMPLIFY_TEST_CHILD";

/// A command that runs the test `name` of this program in this role.
pub fn child(name: &str, role: &str) -> Command {
    child_of(&env::current_exe().unwrap(), name, role)
}

/// The same for a copy of this test program.
pub fn child_of(program: &Path, name: &str, role: &str) -> Command {
    let mut command = Command::new(program);
    command
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env(ROLE, role)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// Gives this test program another path.
pub fn link_to_this_program(path: &Path) {
    let this = env::current_exe().unwrap();
    // A copy takes half a gigabyte.
    if fs::hard_link(&this, path).is_err() {
        fs::copy(&this, path).unwrap();
    }
}

/// The role of this process, if it is a child.
pub fn role() -> Option<String> {
    env::var(ROLE).ok()
}
