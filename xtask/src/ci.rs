//! `cargo xtask ci`

use std::fs;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use comfy_table::{Table, presets};
use tokio::process::Command;
use tokio::time::Instant;

use crate::{
    consumers, demo, e2e,
    flags::{
        CiFlags, DemoFlags, EngineChoice, PortsFlags, PowerLossFlags, Step, TestFlags, WeightFlags,
    },
    full_disks, package, ports, power_loss,
    progress::seconds,
    rooms,
    shell::{self, Aside},
    test, weight,
};

/// Crates that others may depend on without default features.
const WITHOUT_FEATURES: [&str; 5] = [
    "--package",
    "record-cache",
    "--package",
    "flush-engine",
    "--no-default-features",
];

/// Steps that run only if named, since each needs a tool that takes minutes to install.
const ON_DEMAND: [Step; 2] = [Step::Machete, Step::SemverChecks];

/// From this step on, [`Step::Ports`] runs beside the others, up to its own place. Its tests under
/// Wine and in a browser wait more than they compute.
const BESIDE_FROM: Step = Step::FullDisks;

pub(crate) async fn run(flags: CiFlags) -> Result<()> {
    let all: Vec<Step> = Step::value_variants().to_vec();
    let usual: Vec<Step> = all
        .into_iter()
        .filter(|step| !ON_DEMAND.contains(step))
        .collect();
    let steps = match flags.steps.as_slice() {
        [] => usual.as_slice(),
        steps => steps,
    };
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_BORDERS_ONLY)
        .set_header(["step", "outcome", "time"]);
    let start = Instant::now();
    let mut passed = 0;
    let mut ports = None;
    for (index, step) in steps.iter().enumerate() {
        eprintln!("\n=== {step} ({} of {})", index + 1, steps.len());
        if flags.steps.is_empty() && *step == BESIDE_FROM && ports::have_libraries().await {
            ports = Some(ports_beside()?);
        }
        if flags.steps.is_empty() && *step == Step::Ports && ports.is_none() {
            eprintln!("not run: rustup cannot fetch the standard libraries of other systems");
            table.add_row([step.to_string(), "not run".to_owned(), String::new()]);
            continue;
        }
        let (step_start, outcome) = match ports.take_if(|_| *step == Step::Ports) {
            Some(ports) => (ports.start, ports.end().await),
            None => (Instant::now(), run_step(*step).await),
        };
        let word = if outcome.is_ok() { "passed" } else { "failed" };
        passed += usize::from(outcome.is_ok());
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
        "\n{table}\n{passed} of {} steps passed in {}",
        steps.len(),
        seconds(start.elapsed())
    );
    Ok(())
}

fn ports_beside() -> Result<Aside> {
    let output = shell::target()?.join("ports");
    fs::create_dir_all(&output)?;
    let mut ports = Command::new(shell::this_program()?);
    Aside::start(ports.arg("ports"), output.join("output.txt"))
}

async fn run_step(step: Step) -> Result<()> {
    match step {
        Step::Fmt => shell::run(&mut shell::cargo(["fmt", "--all", "--check"])).await,
        Step::Clippy => {
            shell::run(&mut clippy(&[
                "--workspace",
                "--all-targets",
                "--all-features",
            ]))
            .await?;
            shell::run(&mut clippy(&WITHOUT_FEATURES)).await
        }
        Step::Rooms => rooms::check(None),
        Step::Test => test::run(TestFlags::default()).await,
        Step::PowerLoss => power_loss::run(PowerLossFlags::default()).await,
        Step::FullDisks => full_disks::run().await,
        Step::Demo => demo::run(DemoFlags::default()).await,
        Step::Doc => shell::run(&mut doc()).await,
        Step::Deny => deny().await,
        Step::Consumers => consumers::run().await,
        Step::Package => package::run().await,
        Step::Weight => weight::run(WeightFlags::default()).await,
        Step::Machete => {
            needs("machete").await?;
            shell::run(&mut shell::cargo(["machete"])).await
        }
        Step::SemverChecks => semver_checks().await,
        Step::Ports => ports::run(PortsFlags::default()).await,
        Step::E2e => {
            e2e::run_managed(EngineChoice::Host, &[]).await?;
            shell::run(&mut other_readers()).await?;
            shell::run(&mut dashboard()).await
        }
    }
}

fn clippy(what: &[&str]) -> Command {
    let mut command = shell::cargo(["clippy"]);
    command.args(what).args(["--", "-D", "warnings"]);
    command
}

/// Tests that are ignored elsewhere, since they install programs, like the end-to-end tests.
fn other_readers() -> Command {
    shell::cargo([
        "test",
        "--workspace",
        "--test=wire",
        "--test=readers",
        "--",
        "--ignored",
        "the_readers_of",
    ])
}

fn doc() -> Command {
    let mut command = shell::cargo(["doc", "--workspace", "--no-deps"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    command
}

/// Likewise: installs Prometheus if there is none.
fn dashboard() -> Command {
    shell::cargo(["test", "--workspace", "--test=dashboard", "--", "--ignored"])
}

async fn deny() -> Result<()> {
    needs("deny").await?;
    shell::run(&mut shell::cargo([
        "deny", "check", "bans", "licenses", "sources",
    ]))
    .await
    .context("see deny.toml")
}

/// Compares with the last tag; does nothing if there is none.
async fn semver_checks() -> Result<()> {
    let mut describe = Command::new("git");
    describe
        .args(["describe", "--tags", "--abbrev=0"])
        .current_dir(shell::workspace());
    let Some(tag) = shell::output(&mut describe).await else {
        eprintln!("there is no tag yet, so nothing to compare with");
        return Ok(());
    };
    needs("semver-checks").await?;
    let mut check = shell::cargo(["semver-checks", "--workspace", "--baseline-rev"]);
    shell::run(check.arg(tag)).await
}

async fn needs(tool: &str) -> Result<()> {
    let version = shell::output(&mut shell::cargo([tool, "--version"])).await;
    if version.is_none() {
        bail!("cargo-{tool} is missing: `cargo install --locked cargo-{tool}` installs it");
    }
    Ok(())
}
