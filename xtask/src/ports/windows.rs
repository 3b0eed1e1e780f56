//! Tests on Windows, under Wine, and the demo there.

use std::env;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Command;
use tokio::time::timeout;

use super::{toolchain::Toolchain, wine::Wine};
use crate::shell;

const TARGET: &str = "x86_64-pc-windows-gnu";
const RUNNER: &str = "CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER";

/// What is built, always alike, so that nothing is built twice; the examples are for people.
const BUILT: [&str; 4] = [
    "--workspace",
    "--exclude=examples",
    "--features=flush-engine/aws,flush-engine/metrics",
    "--config=profile.dev.package.record-cache.opt-level=1",
];

/// The tests of the stores.
const STORES: [&str; 10] = [
    "--lib",
    "--test=conformance",
    "--test=damage",
    "--test=index",
    "--test=kill",
    "--test=log_lines",
    "--test=model",
    "--test=obstacles",
    "--test=open",
    "--test=toy_store",
];

/// Those of the engine on a store, and of the clients over loopback.
const CLIENTS: [&str; 11] = [
    "--test=close",
    "--test=close_with",
    "--test=parts",
    "--test=storage_faults",
    "--test=tracing",
    "--test=crash",
    "--test=faults",
    "--test=instances",
    "--test=secrets",
    "--test=storm",
    "--test=wire",
];

/// How often the suites try what is drawn at random, unless the environment says something else.
/// Starting a process, opening a file and syncing it take several times as long as without Wine.
const FEWER: [(&str, &str); 8] = [
    ("CRASH_KILLS", "3"),
    ("DAMAGES", "5"),
    ("INDEX_CASES", "3"),
    ("INDEX_HISTORIES", "2"),
    ("INSTANCES_SECONDS", "5"),
    ("KILLS", "60"),
    ("MODEL_CASES", "8"),
    ("STORM_SECONDS", "5"),
];

/// Far more than a run takes: only one that hangs is ended by it.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// The stores, and the demo.
pub(super) async fn run() -> Result<()> {
    let (toolchain, wine) = tools().await?;
    let outcome = tests(&toolchain, &wine, &STORES).await;
    let outcome = outcome.and(demo(&toolchain, &wine).await);
    wine.stop().await;
    outcome
}

pub(super) async fn clients() -> Result<()> {
    let (toolchain, wine) = tools().await?;
    let outcome = tests(&toolchain, &wine, &CLIENTS).await;
    wine.stop().await;
    outcome
}

async fn tools() -> Result<(Toolchain, Wine)> {
    let toolchain = Toolchain::find().await?;
    let wine = Wine::find().await?;
    wine.prepare().await?;
    Ok((toolchain, wine))
}

async fn tests(toolchain: &Toolchain, wine: &Wine, tests: &[&str]) -> Result<()> {
    let mut command = cargo(toolchain, "test")?;
    command.args(["--quiet", "--no-fail-fast"]).args(tests);
    let fewer = FEWER.into_iter();
    command.envs(fewer.filter(|(name, _)| env::var_os(name).is_none()));
    command.env(RUNNER, wine.program());
    wine.set_up(&mut command);
    within_limit(&mut command).await
}

/// The whole of it: the endpoint, the process that is killed, and who compares.
async fn demo(toolchain: &Toolchain, wine: &Wine) -> Result<()> {
    shell::run(cargo(toolchain, "build")?.args(["--quiet", "--bin=xtask"])).await?;
    let program = shell::target()?.join("ports/build").join(TARGET);
    let mut command = Command::new(wine.program());
    command.arg(program.join("debug/xtask.exe")).arg("demo");
    // By the disk that Wine has for what is here.
    let file = shell::workspace().join("Cargo.lock");
    command.arg(format!("Z:{}", file.display()));
    wine.set_up(&mut command);
    within_limit(&mut command).await
}

fn cargo(toolchain: &Toolchain, subcommand: &str) -> Result<Command> {
    let mut command = toolchain.cargo(subcommand)?;
    command
        .args(["--locked", "--target", TARGET])
        .args(BUILT)
        // Nobody debugs these, and they link in half the time without it.
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        // Instead of an assembler.
        .env("AWS_LC_SYS_PREBUILT_NASM", "1");
    Ok(command)
}

async fn within_limit(command: &mut Command) -> Result<()> {
    let run = timeout(LIMIT, shell::run(command)).await;
    run.context("it hangs").flatten()
}
