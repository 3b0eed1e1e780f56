//! Runs tests and the demo for Windows under Wine.

use std::env;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use comfy_table::Table;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use super::toolchain::{Toolchain, WINDOWS};
use super::wine::Wine;
use crate::{
    full_disks,
    progress::{seconds, table},
    shell,
};

const RUNNER: &str = "CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER";

/// The packages and features that a part builds, the same for all its suites, so nothing is built
/// twice.
type Packages = &'static [&'static str];

/// The stores alone. Without the SDK, the build takes a minute.
const STORE_PACKAGES: Packages = &["--package=record-cache", "--features=journal,test-support"];

/// Everything but the examples; they are for people.
const ALL_PACKAGES: Packages = &[
    "--workspace",
    "--exclude=examples",
    "--features=flush-engine/aws,flush-engine/metrics,record-cache/mount-tests",
];

/// The store suites.
const STORES: [&str; 9] = [
    "conformance",
    "model",
    "kill",
    "damage",
    "open",
    "index",
    "obstacles",
    "log_lines",
    "toy_store",
];

/// Suites of the engine and of the clients over loopback, unit tests, and suites that take long.
const CLIENTS: [&str; 34] = [
    LIBRARIES,
    "cli",
    "large",
    "pack_properties",
    "properties",
    "adaptive",
    "admission",
    "callbacks",
    "catching_up",
    "charges",
    "close",
    "close_with",
    "delivered",
    "discard",
    "drain",
    "enable_disable",
    "expiry",
    "flush",
    "in_flight",
    "metrics",
    "outcomes",
    "overflow",
    "parts",
    "schedule",
    "shares",
    "storage_faults",
    "tracing",
    "waiting",
    "crash",
    "faults",
    "instances",
    "secrets",
    "storm",
    "wire",
];

/// The suite of full disks, whose file systems Linux mounts below Wine.
const FULL_DISKS: &str = "disk_full";

/// The unit tests of libraries.
const LIBRARIES: &str = "lib";

/// The number of random cases per suite, unless the environment says otherwise. Under Wine,
/// starting a process, opening a file and syncing it take several times as long.
const FEWER: [(&str, &str); 10] = [
    ("CRASH_KILLS", "3"),
    ("DAMAGES", "3"),
    ("FULL_DISK_ROUNDS", "2"),
    ("INDEX_CASES", "2"),
    ("INDEX_HISTORIES", "1"),
    ("INSTANCES_SECONDS", "5"),
    ("JOURNAL_CRASH_SAMPLES", "1"),
    ("MODEL_CASES", "5"),
    ("STORM_SECONDS", "10"),
    ("TORN_STEP", "11"),
];

/// Far longer than any suite; ends only one that hangs.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// The limit for a build of everything.
const LIMIT_OF_BUILDS: Duration = Duration::from_secs(60 * 60);

/// Runs the store suites.
pub(super) async fn run() -> Result<()> {
    let mut runs = Runs::prepare(STORE_PACKAGES).await?;
    runs.tests(&STORES).await?;
    runs.end()
}

/// Runs the demo and all other suites.
pub(super) async fn clients() -> Result<()> {
    let mut runs = Runs::prepare(ALL_PACKAGES).await?;
    runs.demo().await?;
    runs.tests(&CLIENTS).await?;
    if full_disks::may_mount().await? {
        runs.tests(&[FULL_DISKS]).await?;
    } else {
        let row = [FULL_DISKS, "NOT RUN: mounting needs root", ""];
        runs.table.add_row(row);
    }
    runs.end()
}

/// Runs suites in turn and keeps their results.
struct Runs {
    packages: Packages,
    toolchain: Toolchain,
    wine: Wine,
    table: Table,
    failed: Vec<String>,
}

impl Runs {
    async fn prepare(packages: Packages) -> Result<Self> {
        let toolchain = Toolchain::find().await?;
        let wine = Wine::find().await?;
        wine.prepare().await?;
        Ok(Self {
            packages,
            toolchain,
            wine,
            table: table(["under Wine", "outcome", "time"]),
            failed: Vec::new(),
        })
    }

    /// Builds all suites, then runs each, whatever the results of the others.
    async fn tests(&mut self, suites: &[&str]) -> Result<()> {
        let selected: Vec<_> = suites.iter().map(|suite| selection(suite)).collect();
        let mut build = self.cargo("test")?;
        build.args(["--quiet", "--no-run"]).args(selected);
        within(LIMIT_OF_BUILDS, &mut build).await?;
        for suite in suites {
            let mut command = self.cargo("test")?;
            command.args(["--quiet", "--no-fail-fast", &selection(suite)]);
            let fewer = FEWER.into_iter();
            command.envs(fewer.filter(|(name, _)| env::var_os(name).is_none()));
            command.env(RUNNER, self.wine.program());
            self.run(suite, &mut command).await;
        }
        Ok(())
    }

    /// Runs the whole demo: endpoint, killed process and comparison.
    async fn demo(&mut self) -> Result<()> {
        let mut build = self.cargo("build")?;
        within(LIMIT_OF_BUILDS, build.args(["--quiet", "--bin=xtask"])).await?;
        let program = shell::target()?.join("ports/build").join(WINDOWS);
        let mut command = Command::new(self.wine.program());
        command.arg(program.join("debug/xtask.exe")).arg("demo");
        // Through Wine's drive for the Linux file system.
        let file = shell::workspace().join("Cargo.lock");
        command.arg(format!("Z:{}", file.display()));
        self.run("demo", &mut command).await;
        Ok(())
    }

    fn cargo(&self, subcommand: &str) -> Result<Command> {
        let mut command = self.toolchain.cargo(subcommand)?;
        command
            .args(["--locked", "--target", WINDOWS])
            .arg("--config=profile.dev.package.record-cache.opt-level=1")
            .args(self.packages)
            // These are not debugged, and link in half the time without it.
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            // Instead of an assembler.
            .env("AWS_LC_SYS_PREBUILT_NASM", "1");
        Ok(command)
    }

    async fn run(&mut self, name: &str, command: &mut Command) {
        self.wine.set_up(command);
        let start = Instant::now();
        let outcome = within(LIMIT, command).await;
        let word = if outcome.is_ok() { "passed" } else { "failed" };
        if let Err(error) = outcome {
            eprintln!("\nerror: {name}: {error:#}");
            self.failed.push(name.to_owned());
        }
        // Leftover or hung processes must not slow down the next suite.
        self.wine.stop().await;
        self.table.add_row([name, word, &seconds(start.elapsed())]);
    }

    fn end(self) -> Result<()> {
        eprintln!("\n{}", self.table);
        ensure!(self.failed.is_empty(), "{} failed", self.failed.join(", "));
        Ok(())
    }
}

/// A suite's cargo option.
fn selection(suite: &str) -> String {
    match suite {
        LIBRARIES => "--lib".to_owned(),
        suite => format!("--test={suite}"),
    }
}

async fn within(limit: Duration, command: &mut Command) -> Result<()> {
    let run = timeout(limit, shell::run(command)).await;
    run.context("it hangs").flatten()
}
