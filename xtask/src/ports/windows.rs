//! Tests on Windows, under Wine.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::timeout;

use super::{toolchain::Toolchain, wine::Wine};
use crate::shell;

const TARGET: &str = "x86_64-pc-windows-gnu";
const RUNNER: &str = "CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER";

/// What `cargo test` is told, one run each.
const SUITES: [&[&str]; 1] = [&[
    "--package=record-cache",
    "--features=journal,test-support",
    "--lib",
    "--tests",
]];

/// How often the suites try what is drawn at random: starting a process, opening a file and
/// syncing it take several times as long as without Wine.
const FEWER: [(&str, &str); 3] = [
    ("INDEX_CASES", "5"),
    ("INDEX_HISTORIES", "2"),
    ("MODEL_CASES", "8"),
];

/// Far more than a run takes: only one that hangs is ended by it.
const LIMIT: Duration = Duration::from_secs(30 * 60);

pub(super) async fn run() -> Result<()> {
    let toolchain = Toolchain::find().await?;
    let wine = Wine::find().await?;
    wine.prepare().await?;
    let mut outcome = Ok(());
    for suite in SUITES {
        let mut command = toolchain.cargo("test")?;
        command
            .args(["--locked", "--quiet", "--no-fail-fast", "--target", TARGET])
            .args(suite)
            .envs(FEWER)
            .env(RUNNER, wine.program());
        wine.set_up(&mut command);
        let run = timeout(LIMIT, shell::run(&mut command)).await;
        outcome = outcome.and(run.context("the tests hang").flatten());
    }
    wine.stop().await;
    outcome
}
