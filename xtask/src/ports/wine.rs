//! Wine, with its own Windows below `target/ports`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokio::process::Command;

use super::packages;
use crate::{progress::Progress, shell};

const COMPILER: &str = "x86_64-w64-mingw32-gcc";
const PACKAGES: [&str; 2] = ["gcc-mingw-w64-x86-64-posix", "wine64"];

/// Debian's path of Wine, which is not on the `PATH`.
const DEBIANS: &str = "/usr/lib/wine/wine64";

#[derive(Debug)]
pub(super) struct Wine {
    program: &'static str,
    /// The directory that holds the disk and the registry.
    prefix: PathBuf,
}

impl Wine {
    /// Finds Wine and the linker for its programs or installs them.
    pub(super) async fn find() -> Result<Self> {
        let program = packages::find(&PACKAGES, async || {
            shell::output(Command::new(COMPILER).arg("--version")).await?;
            for program in ["wine64", DEBIANS, "wine"] {
                let mut version = Command::new(program);
                if shell::output(version.arg("--version")).await.is_some() {
                    return Some(program);
                }
            }
            None
        })
        .await?;
        Ok(Self {
            program,
            prefix: shell::target()?.join("ports/wine"),
        })
    }

    pub(super) fn program(&self) -> &OsStr {
        self.program.as_ref()
    }

    /// Sets the environment of a command that runs Wine in this Windows.
    pub(super) fn set_up(&self, command: &mut Command) {
        command
            .env("WINEPREFIX", &self.prefix)
            .env("WINEDEBUG", "-all")
            // No desktop integration, and no offers to install more.
            .env("WINEDLLOVERRIDES", "winemenubuilder.exe,mscoree,mshtml=")
            .env_remove("DISPLAY");
    }

    /// Creates the Windows, unless an earlier run did.
    pub(super) async fn prepare(&self) -> Result<()> {
        let ready = self.prefix.join("ready");
        if ready.exists() {
            return Ok(());
        }
        let progress = Progress::start("creating a Windows for Wine");
        if self.prefix.exists() {
            fs::remove_dir_all(&self.prefix).context("cannot remove an earlier attempt")?;
        }
        fs::create_dir_all(&self.prefix)?;
        self.run("wineboot --init").await?;
        self.run(r"reg add HKCU\Software\Wine /v Version /d win10 /f")
            .await?;
        self.random_numbers().await?;
        fs::write(ready, "")?;
        progress.done();
        Ok(())
    }

    /// Ends all processes in this Windows.
    pub(super) async fn stop(&self) {
        let server = Path::new(self.program).with_file_name("wineserver");
        let mut command = Command::new(server);
        self.set_up(&mut command);
        // Fails if no process is running.
        let _ = shell::output(command.arg("--kill")).await;
    }

    /// Adds the library that Rust's standard library takes random numbers from; older Wines lack
    /// it.
    async fn random_numbers(&self) -> Result<()> {
        let library = self
            .prefix
            .join("drive_c/windows/system32/bcryptprimitives.dll");
        if library.exists() {
            return Ok(());
        }
        let mut compiler = Command::new(COMPILER);
        compiler
            .args(["-shared", "-o"])
            .arg(library)
            .arg(shell::workspace().join("xtask/src/ports/bcryptprimitives.c"))
            .arg("-ladvapi32");
        shell::run(&mut compiler).await
    }

    async fn run(&self, arguments: &str) -> Result<()> {
        let mut command = Command::new(self.program);
        self.set_up(&mut command);
        shell::run(command.args(arguments.split(' '))).await
    }
}
