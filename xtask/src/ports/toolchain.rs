//! A Rust that can build for systems whose standard library nobody has built for it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Result;
use tokio::process::Command;

use super::packages;
use crate::shell;

/// What Debian calls the Rust that follows the current release.
const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm"];

/// A cargo and a compiler with the source of the standard library.
#[derive(Debug, Clone)]
pub(super) struct Toolchain {
    bin: PathBuf,
}

impl Toolchain {
    /// Finds one or installs it.
    pub(super) async fn find() -> Result<Self> {
        packages::find(&PACKAGES, async || {
            let own = env::var_os("CARGO").map(PathBuf::from);
            let own = own.as_deref().and_then(Path::parent);
            for bin in own.into_iter().chain([Path::new("/usr/bin")]) {
                if has_the_source(bin).await {
                    return Some(Self {
                        bin: bin.to_owned(),
                    });
                }
            }
            None
        })
        .await
    }

    /// This cargo in the workspace, which builds the standard library too, in a target
    /// directory of its own; a warning is an error.
    pub(super) fn cargo(&self, subcommand: &str) -> Result<Command> {
        let mut command = Command::new(self.bin.join("cargo"));
        command
            .current_dir(shell::workspace())
            .arg(subcommand)
            .arg("-Zbuild-std=std,panic_abort")
            .args(["-Zwarnings", "--config", "build.warnings='deny'"])
            .env("RUSTC", self.bin.join("rustc"))
            .env("RUSTDOC", self.bin.join("rustdoc"))
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_DIR", shell::target()?.join("ports/build"));
        // What the cargo that runs this program has set for its own compiler.
        for variable in ["CARGO", "LD_LIBRARY_PATH", "RUSTUP_TOOLCHAIN"] {
            command.env_remove(variable);
        }
        Ok(command)
    }
}

async fn has_the_source(bin: &Path) -> bool {
    let mut command = Command::new(bin.join("rustc"));
    command
        .args(["--print", "sysroot"])
        .env_remove("LD_LIBRARY_PATH");
    shell::output(&mut command).await.is_some_and(|sysroot| {
        Path::new(&sysroot)
            .join("lib/rustlib/src/rust/library/Cargo.lock")
            .exists()
    })
}
