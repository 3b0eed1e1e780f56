//! Installs tools from Debian's packages.

use std::error::Error;
use std::fmt;
use std::process::Stdio;

use anyhow::Result;

use crate::shell;

/// Tools that are missing and cannot be installed.
#[derive(Debug)]
pub(super) struct Missing(pub(super) String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Missing {}

/// Looks for something. If it is missing, installs these packages and looks again.
///
/// # Errors
/// [`Missing`] if it is still not there.
pub(super) async fn find<T>(packages: &[&str], look: impl AsyncFn() -> Option<T>) -> Result<T> {
    if let Some(found) = look().await {
        return Ok(found);
    }
    let mut text = format!("Debian's packages {} are missing", packages.join(", "));
    if let Err(error) = install(packages).await {
        text = format!("{text} ({error:#})");
    }
    Ok(look().await.ok_or(Missing(text))?)
}

async fn install(packages: &[&str]) -> Result<()> {
    apt_get(&["update"], &[]).await?;
    apt_get(&["install", "--yes", "--no-install-recommends"], packages).await
}

async fn apt_get(arguments: &[&str], packages: &[&str]) -> Result<()> {
    let user = shell::output(&mut shell::command("id -u")).await;
    let mut command = shell::command(match user.as_deref() {
        Some("0") => "apt-get",
        _ => "sudo --non-interactive apt-get",
    });
    command
        .args(["--quiet", "--quiet", "--option", "DPkg::Use-Pty=0"])
        // Another program may be installing something.
        .args(["--option", "DPkg::Lock::Timeout=300"])
        .args(arguments)
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null());
    shell::run(&mut command).await
}
