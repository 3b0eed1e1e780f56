//! The tests that mount small file systems and fill them, a step of `cargo xtask ci`.

use std::process::Stdio;

use anyhow::Result;
use tokio::process::Command;

use crate::shell;

/// Runs the tests where mounting is allowed; elsewhere says clearly that they were not run.
pub(crate) async fn run() -> Result<()> {
    if !may_mount().await? {
        eprintln!("\n!!! NOT RUN: the tests of full disks mount file systems, which needs root\n");
        return Ok(());
    }
    let mut tests = shell::cargo("test --workspace --features");
    tests.arg("record-cache/journal,record-cache/mount-tests");
    shell::run(tests.args(["--test", "disk_full"])).await
}

/// Whether this user may mount file systems.
pub(crate) async fn may_mount() -> Result<bool> {
    let place = tempfile::tempdir()?;
    let mut mount = shell::command("mount -t tmpfs -o size=64k tmpfs");
    mount
        .arg(place.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if !mount.status().await.is_ok_and(|status| status.success()) {
        return Ok(false);
    }
    let unmounted = Command::new("umount").arg(place.path()).status().await?;
    Ok(unmounted.success())
}
