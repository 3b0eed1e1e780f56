//! Runs tests and the demo for Windows under Wine.

use std::env;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use comfy_table::{Table, presets};
use tokio::process::Command;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, timeout};

use super::{toolchain::Toolchain, wine::Wine};
use crate::{full_disks, progress::seconds, shell};

const TARGET: &str = "x86_64-pc-windows-gnu";
const RUNNER: &str = "CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER";

/// The packages and features, the same for all suites, so nothing is built twice. The examples are
/// for people.
const PACKAGES: [&str; 3] = [
    "--workspace",
    "--exclude=examples",
    "--features=flush-engine/aws,flush-engine/metrics,record-cache/mount-tests",
];

/// The suites of the stores.
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

/// The engine and the clients over loopback.
const FRONT_ENDS: [&str; 1] = ["wire"];

/// Other suites of the engine and the clients, unit tests, and suites that take long.
const CLIENTS: [&str; 33] = [
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

/// Runs the suites of the stores, which are built in a minute, then the demo and the clients.
pub(super) async fn run() -> Result<()> {
    let mut runs = Runs::prepare().await?;
    runs.tests(&STORES).await?;
    runs.demo().await?;
    runs.tests(&FRONT_ENDS).await?;
    runs.end()
}

/// Runs all other suites.
pub(super) async fn clients() -> Result<()> {
    let mut runs = Runs::prepare().await?;
    runs.tests(&CLIENTS).await?;
    if full_disks::may_mount().await? {
        runs.tests(&[FULL_DISKS]).await?;
    } else {
        let row = [FULL_DISKS, "NOT RUN: mounting needs root", ""];
        runs.table.add_row(row);
    }
    runs.end()
}

/// Held while suites run: the end of each ends all processes of this Windows.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Runs suites in turn and keeps their results.
struct Runs {
    _alone: MutexGuard<'static, ()>,
    toolchain: Toolchain,
    wine: Wine,
    table: Table,
    failed: Vec<String>,
}

impl Runs {
    async fn prepare() -> Result<Self> {
        let alone = ALONE.lock().await;
        let toolchain = Toolchain::find().await?;
        let wine = Wine::find().await?;
        wine.prepare().await?;
        let mut table = Table::new();
        table
            .load_preset(presets::UTF8_BORDERS_ONLY)
            .set_header(["under Wine", "outcome", "time"]);
        Ok(Self {
            _alone: alone,
            toolchain,
            wine,
            table,
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
        let program = shell::target()?.join("ports/build").join(TARGET);
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
            .args(["--locked", "--target", TARGET])
            .arg("--config=profile.dev.package.record-cache.opt-level=1")
            .args(PACKAGES)
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
