//! `cargo xtask ci`

use std::fmt;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use comfy_table::{Table, presets};
use tokio::process::Command;
use tokio::time::Instant;

use crate::{
    consumers, demo, e2e,
    flags::{CiFlags, DemoFlags, PowerLossFlags, TestFlags},
    full_disks,
    localstack::EngineChoice,
    ports::{self, PortsFlags},
    power_loss,
    progress::seconds,
    shell, test,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// Formatting.
    Fmt,
    /// Clippy, with warnings denied.
    Clippy,
    /// Unit, integration and documentation tests.
    Test,
    /// Tests that mount file systems and fill them.
    FullDisks,
    /// Losses of power, simulated from the traces of processes.
    PowerLoss,
    /// The demo, on this workspace's own lock file.
    Demo,
    /// Documentation, with warnings denied.
    Doc,
    /// Licences, sources and banned crates of the dependencies.
    Deny,
    /// Programs outside the workspace.
    Consumers,
    /// Other systems: type checks, and tests under Wine.
    Ports,
    /// End-to-end tests against LocalStack on this machine.
    E2e,
}

/// What others depend on with as little as they like.
const WITHOUT_FEATURES: [&str; 5] = [
    "--package",
    "record-cache",
    "--package",
    "flush-engine",
    "--no-default-features",
];

pub(crate) async fn run(flags: CiFlags) -> Result<()> {
    let steps = match flags.steps.as_slice() {
        [] => Step::value_variants(),
        steps => steps,
    };
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_BORDERS_ONLY)
        .set_header(["step", "outcome", "time"]);
    let start = Instant::now();
    for (index, step) in steps.iter().enumerate() {
        eprintln!("\n=== {step} ({} of {})", index + 1, steps.len());
        let step_start = Instant::now();
        let outcome = step.run().await;
        let word = if outcome.is_ok() { "passed" } else { "failed" };
        table.add_row([
            step.to_string(),
            word.to_owned(),
            seconds(step_start.elapsed()),
        ]);
        if let Err(error) = outcome {
            for skipped in &steps[index + 1..] {
                table.add_row([skipped.to_string(), "not run".to_owned(), String::new()]);
            }
            eprintln!("\n{table}");
            return Err(error.context(format!("step {step} failed")));
        }
    }
    eprintln!(
        "\n{table}\nall {} steps passed in {}",
        steps.len(),
        seconds(start.elapsed())
    );
    Ok(())
}

impl Step {
    async fn run(self) -> Result<()> {
        match self {
            Self::Fmt => shell::run(&mut shell::cargo(["fmt", "--all", "--check"])).await,
            Self::Clippy => {
                shell::run(&mut clippy(&[
                    "--workspace",
                    "--all-targets",
                    "--all-features",
                ]))
                .await?;
                shell::run(&mut clippy(&WITHOUT_FEATURES)).await
            }
            Self::Test => test::run(TestFlags::default()).await,
            Self::PowerLoss => power_loss::run(PowerLossFlags::default()).await,
            Self::FullDisks => full_disks::run().await,
            Self::Demo => demo::run(DemoFlags::default()).await,
            Self::Doc => shell::run(&mut doc()).await,
            Self::Deny => deny().await,
            Self::Consumers => consumers::run().await,
            Self::Ports => ports::run(PortsFlags::default()).await,
            Self::E2e => e2e::run_managed(EngineChoice::Host, &[]).await,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_possible_value() {
            Some(value) => f.write_str(value.get_name()),
            None => fmt::Debug::fmt(self, f),
        }
    }
}

fn clippy(what: &[&str]) -> Command {
    let mut command = shell::cargo(["clippy"]);
    command.args(what).args(["--", "-D", "warnings"]);
    command
}

fn doc() -> Command {
    let mut command = shell::cargo(["doc", "--workspace", "--no-deps"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    command
}

async fn deny() -> Result<()> {
    if shell::output(&mut shell::cargo(["deny", "--version"]))
        .await
        .is_none()
    {
        bail!("cargo-deny is missing: `cargo install --locked cargo-deny` installs it");
    }
    shell::run(&mut shell::cargo([
        "deny", "check", "bans", "licenses", "sources",
    ]))
    .await
    .context("see deny.toml")
}
