//! `cargo xtask ci`

use std::fs;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use tokio::process::Command;
use tokio::time::Instant;

use crate::{
    consumers, demo, e2e,
    flags::{DemoFlags, EngineFlags, PowerLossFlags, Step, WeightFlags, name},
    full_disks, package, ports, power_loss,
    progress::{seconds, table},
    rooms,
    shell::{self, Aside},
    weight,
};

/// Steps that run only if named, since each needs a tool that takes minutes to install.
const ON_DEMAND: [Step; 2] = [Step::Machete, Step::SemverChecks];

/// From this step on, [`Step::Ports`] runs beside the others, up to its own place. Its tests under
/// Wine and in a browser wait more than they compute.
const BESIDE_FROM: Step = Step::FullDisks;

/// Runs the named steps, or the usual ones.
pub(crate) async fn run(named: &[Step]) -> Result<()> {
    let is_usual = |step: &Step| !ON_DEMAND.contains(step);
    let usual: Vec<Step> = Step::value_variants()
        .iter()
        .copied()
        .filter(is_usual)
        .collect();
    let steps = if named.is_empty() { &usual } else { named };
    let mut table = table(["step", "outcome", "time"]);
    let start = Instant::now();
    let mut passed = 0;
    let mut ports = None;
    for (index, step) in steps.iter().enumerate() {
        eprintln!("\n=== {} ({} of {})", name(step), index + 1, steps.len());
        if named.is_empty() && *step == BESIDE_FROM && ports::have_libraries().await {
            ports = Some(ports_beside()?);
        }
        if named.is_empty() && *step == Step::Ports && ports.is_none() {
            eprintln!("not run: rustup cannot fetch the standard libraries of other systems");
            table.add_row([&name(step), "not run", ""]);
            continue;
        }
        let (step_start, outcome) = match ports.take_if(|_| *step == Step::Ports) {
            Some(ports) => (ports.start, ports.end().await),
            None => (Instant::now(), run_step(*step).await),
        };
        let word = if outcome.is_ok() { "passed" } else { "failed" };
        passed += usize::from(outcome.is_ok());
        table.add_row([&name(step), word, &seconds(step_start.elapsed())]);
        if let Err(error) = outcome {
            for skipped in &steps[index + 1..] {
                table.add_row([&name(skipped), "not run", ""]);
            }
            eprintln!("\n{table}");
            return Err(error.context(format!("step {} failed", name(step))));
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
        Step::Fmt => cargo("fmt --all --check").await,
        Step::Clippy => {
            cargo("clippy --workspace --all-targets --all-features -- -D warnings").await?;
            // Crates that others may depend on without default features.
            let crates = "--package record-cache --package flush-engine";
            let clippy = format!("clippy {crates} --no-default-features -- -D warnings");
            cargo(&clippy).await
        }
        Step::Rooms => rooms::check(None),
        Step::Test => cargo("test --workspace").await,
        Step::PowerLoss => power_loss::run(PowerLossFlags::default()).await,
        Step::FullDisks => full_disks::run().await,
        Step::Demo => demo::run(DemoFlags::default()).await,
        Step::Doc => {
            let mut doc = shell::cargo("doc --workspace --no-deps");
            shell::run(doc.env("RUSTDOCFLAGS", "-D warnings")).await
        }
        Step::Deny => {
            needs("deny").await?;
            let checked = cargo("deny check bans licenses sources").await;
            checked.context("see deny.toml")
        }
        Step::Consumers => consumers::run().await,
        Step::Package => package::run().await,
        Step::Weight => weight::run(WeightFlags::default()).await,
        Step::Machete => {
            needs("machete").await?;
            cargo("machete").await
        }
        Step::SemverChecks => semver_checks().await,
        Step::Ports => ports::run(&[]).await,
        Step::E2e => {
            let (docker, host) = (false, true);
            e2e::run_managed(&EngineFlags { docker, host }, &[]).await?;
            // Tests that are ignored elsewhere, since they install programs: other readers of shared
            // records, and Prometheus for the dashboard.
            cargo("test --workspace --test=wire --test=readers -- --ignored the_readers_of")
                .await?;
            cargo("test --workspace --test=dashboard -- --ignored").await
        }
    }
}

async fn cargo(arguments: &str) -> Result<()> {
    shell::run(&mut shell::cargo(arguments)).await
}

/// Compares with the last tag; does nothing if there is none.
async fn semver_checks() -> Result<()> {
    let mut describe = shell::command("git describe --tags --abbrev=0");
    let Some(tag) = shell::output(describe.current_dir(shell::workspace())).await else {
        eprintln!("there is no tag yet, so nothing to compare with");
        return Ok(());
    };
    needs("semver-checks").await?;
    cargo(&format!("semver-checks --workspace --baseline-rev {tag}")).await
}

async fn needs(tool: &str) -> Result<()> {
    let version = shell::output(&mut shell::cargo(&format!("{tool} --version"))).await;
    ensure!(
        version.is_some(),
        "cargo-{tool} is missing: `cargo install --locked cargo-{tool}` installs it"
    );
    Ok(())
}
