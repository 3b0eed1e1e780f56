//! Debian's packages of the tools.

use std::process::Stdio;

use anyhow::Result;
use rustix::process::geteuid;
use tokio::process::Command;

use crate::shell;

/// Looks for something, and once more after these packages were installed.
///
/// Returns what is missing if it is not there even then.
pub(super) async fn find<T>(
    packages: &[&str],
    look: impl AsyncFn() -> Option<T>,
) -> Result<T, String> {
    if let Some(found) = look().await {
        return Ok(found);
    }
    let missing = match install(packages).await {
        Ok(()) => None,
        Err(error) => Some(format!("{error:#}")),
    };
    look().await.ok_or_else(|| {
        let mut text = format!("missing are Debian's packages {}", packages.join(", "));
        if let Some(error) = missing {
            text = format!("{text} ({error})");
        }
        text
    })
}

async fn install(packages: &[&str]) -> Result<()> {
    shell::run(apt_get(&["update"]).stdout(Stdio::null())).await?;
    let mut command = apt_get(&["install", "--yes", "--no-install-recommends"]);
    shell::run(command.args(packages).stdout(Stdio::null())).await
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = if geteuid().is_root() {
        Command::new("apt-get")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["--non-interactive", "apt-get"]);
        sudo
    };
    command
        .args(["--quiet", "--quiet", "--option", "DPkg::Use-Pty=0"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}
