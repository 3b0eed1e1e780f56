//! A Rust that can build for other systems.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use tokio::process::Command;
use tokio::time::timeout;

use super::packages;
use crate::shell;

/// The systems to build for.
pub(super) const SYSTEMS: [&str; 4] = [
    WINDOWS,
    "aarch64-apple-darwin",
    "aarch64-apple-ios",
    "aarch64-linux-android",
];
pub(super) const WINDOWS: &str = "x86_64-pc-windows-gnu";
/// The target of pages.
pub(crate) const PAGES: &str = "wasm32-unknown-unknown";

/// Debian's packages of a Rust that follows the current release.
const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm"];

/// How long rustup may take to fetch standard libraries.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// A cargo and a compiler, with a source of standard libraries for other systems.
#[derive(Debug, Clone)]
pub(super) struct Toolchain {
    bin: PathBuf,
    /// Whether cargo builds the libraries from their source, since none are prebuilt.
    builds_libraries: bool,
}

impl Toolchain {
    /// Finds or installs a toolchain.
    pub(super) async fn find() -> Result<Self> {
        if let Some(prebuilt) = Self::prebuilt().await {
            return Ok(prebuilt);
        }
        let own = own_bin();
        let own = own.as_deref();
        packages::find(&PACKAGES, async || {
            for bin in own.into_iter().chain([Path::new("/usr/bin")]) {
                if has_the_source(bin).await {
                    return Some(Self {
                        bin: bin.to_owned(),
                        builds_libraries: true,
                    });
                }
            }
            None
        })
        .await
    }

    /// The toolchain that runs this program, if its rustup has or can fetch the standard libraries.
    pub(super) async fn prebuilt() -> Option<Self> {
        let bin = own_bin()?;
        let has_them = has_the_libraries(&bin).await || fetch_the_libraries(&bin).await;
        has_them.then_some(Self {
            bin,
            builds_libraries: false,
        })
    }

    /// This cargo, run in the workspace, for other systems only. It has its own target directory,
    /// and warnings are errors.
    pub(super) fn cargo(&self, subcommand: &str) -> Result<Command> {
        let mut command = Command::new(self.bin.join("cargo"));
        command
            .current_dir(shell::workspace())
            .arg(subcommand)
            .env("RUSTC", self.bin.join("rustc"))
            .env("RUSTDOC", self.bin.join("rustdoc"))
            // Two full builds take gigabytes.
            .env("CARGO_INCREMENTAL", "0")
            .env("CARGO_TARGET_DIR", shell::target()?.join("ports/build"));
        if self.builds_libraries {
            command
                .arg("-Zbuild-std=std,panic_abort")
                .args(["-Zwarnings", "--config", "build.warnings='deny'"])
                .env("RUSTC_BOOTSTRAP", "1");
        } else {
            command.env("RUSTFLAGS", "--deny=warnings");
        }
        // Variables that the cargo running this program has set for its own compiler.
        for variable in ["CARGO", "LD_LIBRARY_PATH", "RUSTUP_TOOLCHAIN"] {
            command.env_remove(variable);
        }
        Ok(command)
    }
}

/// The directory of the cargo that runs this program.
fn own_bin() -> Option<PathBuf> {
    let cargo = env::var_os("CARGO").map(PathBuf::from)?;
    cargo.parent().map(Path::to_owned)
}

async fn has_the_libraries(bin: &Path) -> bool {
    for target in SYSTEMS.into_iter().chain([PAGES]) {
        let library = rustc_says(bin, &["target-libdir", "--target", target]).await;
        if !library.is_some_and(|path| Path::new(&path).is_dir()) {
            return false;
        }
    }
    true
}

/// Has rustup fetch the libraries, if this is a rustup toolchain. Returns whether it could.
async fn fetch_the_libraries(bin: &Path) -> bool {
    let mut command = shell::command("rustup target add");
    command
        .current_dir(shell::workspace())
        .args(SYSTEMS)
        .arg(PAGES);
    let fetched = timeout(LIMIT, shell::run(&mut command)).await;
    matches!(fetched, Ok(Ok(()))) && has_the_libraries(bin).await
}

async fn has_the_source(bin: &Path) -> bool {
    let source = "lib/rustlib/src/rust/library/Cargo.lock";
    let sysroot = rustc_says(bin, &["sysroot"]).await;
    sysroot.is_some_and(|sysroot| Path::new(&sysroot).join(source).exists())
}

async fn rustc_says(bin: &Path, what: &[&str]) -> Option<String> {
    let mut command = Command::new(bin.join("rustc"));
    command
        .arg("--print")
        .args(what)
        .env_remove("LD_LIBRARY_PATH");
    shell::output(&mut command).await
}
