//! Developer commands of this workspace, run as `cargo xtask COMMAND`.

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
mod package;
mod payloads;
mod ports;
mod power_loss;
mod progress;
mod rooms;
mod shell;
mod test;
mod webdriver;
mod weight;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;

use self::flags::{Command, Flags};

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
        Command::Test(flags) => test::run(flags).await,
        Command::PowerLoss(flags) => power_loss::run(flags).await,
        Command::E2e(flags) => e2e::run(flags).await,
        Command::Endpoint(flags) => endpoint::run(flags).await,
        Command::Browser(flags) => browser::run(flags).await,
        Command::Bench(flags) => bench::run(flags).await,
        #[cfg(feature = "bench")]
        Command::BenchWorker(flags) => bench::work(flags).await,
        Command::Consumers => consumers::run().await,
        Command::Package => package::run().await,
        Command::Weight(flags) => weight::run(flags).await,
        Command::Rooms { folder } => rooms::check(folder.as_deref()),
        Command::Ports(flags) => ports::run(flags).await,
        Command::Ci(flags) => ci::run(flags).await,
    }
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
