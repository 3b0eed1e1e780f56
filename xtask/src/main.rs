//! Developer commands of this workspace, run as `cargo xtask COMMAND`.

#[cfg(feature = "bench")]
mod bench;
mod browser;
mod ci;
mod consumers;
mod demo;
mod e2e;
mod endpoint;
mod flags;
mod full_disks;
mod localstack;
mod outside;
mod package;
mod payloads;
mod ports;
mod power_loss;
mod progress;
mod rooms;
mod shell;
mod webdriver;
mod weight;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;

use self::flags::{BenchFlags, Command, Flags};

#[tokio::main]
async fn main() -> ExitCode {
    let flags = Flags::parse();
    // An endpoint ends only by interruption, so that counts as success.
    let is_endless = matches!(flags.command, Command::Endpoint(_));
    // When one ends, dropping the other stops what it started.
    let outcome = tokio::select! {
        outcome = dispatch(flags.command) => outcome,
        outcome = interruption() => match is_endless {
            true => outcome.or(Ok(())),
            false => outcome,
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Demo(flags) => demo::run(flags).await,
        Command::DemoRecorder(flags) => demo::record(flags).await,
        Command::Test { arguments } => {
            shell::run(shell::cargo("test --workspace").args(arguments)).await
        }
        Command::PowerLoss(flags) => power_loss::run(flags).await,
        Command::E2e(flags) => e2e::run(flags).await,
        Command::Endpoint(flags) => endpoint::run(flags).await,
        Command::Browser(flags) => browser::run(flags).await,
        Command::Bench(flags) => bench(flags).await,
        #[cfg(feature = "bench")]
        Command::BenchWorker { job, input } => bench::work(&job, &input).await,
        Command::Consumers => consumers::run().await,
        Command::Package => package::run().await,
        Command::Weight(flags) => weight::run(flags).await,
        Command::Rooms { folder } => rooms::check(folder.as_deref()),
        Command::Ports { parts } => ports::run(&parts).await,
        Command::Ci { steps } => ci::run(&steps).await,
    }
}

/// Runs the measurements, in a build made for them.
///
/// # Errors
/// If something cannot be built or run. No figure is an error.
///
/// # Cancel safety
/// Stops the started processes and deletes the written files.
async fn bench(flags: BenchFlags) -> Result<()> {
    #[cfg(feature = "bench")]
    if !cfg!(debug_assertions) {
        return bench::run(&flags).await;
    }
    drop(flags);
    let mut command = shell::cargo("run --release --package xtask --features bench --");
    command
        .args(std::env::args_os().skip(1))
        .env("CARGO_TARGET_DIR", shell::target()?.join("bench"));
    shell::run(&mut command).await
}

#[cfg(not(unix))]
async fn interruption() -> Result<()> {
    tokio::signal::ctrl_c().await?;
    bail!("interrupted")
}

#[cfg(unix)]
async fn interruption() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    bail!("interrupted")
}
