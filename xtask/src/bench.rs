//! `cargo xtask bench`: the stores and the delivery, measured beside what limits them.
//!
//! Every measurement is a process of its own, so that memory and CPU time are its own; what is
//! compared is measured in turn, round by round.

#[cfg(feature = "bench")]
mod amount;
#[cfg(feature = "bench")]
mod contender;
#[cfg(feature = "bench")]
mod delivery;
#[cfg(feature = "bench")]
mod machine;
#[cfg(feature = "bench")]
mod measure;
#[cfg(feature = "bench")]
mod page;
#[cfg(feature = "bench")]
mod place;
#[cfg(feature = "bench")]
mod process;
#[cfg(feature = "bench")]
mod series;
#[cfg(feature = "bench")]
mod store;
#[cfg(feature = "bench")]
mod table;
#[cfg(feature = "bench")]
mod verdict;
#[cfg(feature = "bench")]
mod worker;

use anyhow::Result;
use clap::ValueEnum;

#[cfg(feature = "bench")]
pub(crate) use self::worker::run as work;
use crate::flags::BenchFlags;
use crate::shell;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// All that concerns the stores alone.
    Store,
    /// All that concerns delivery.
    Delivery,
    /// Durable ingest, by size of the records and number of tasks.
    Ingest,
    /// Reading and settling a batch, by the number of records behind it.
    Settle,
    /// Opening, by the bytes that are cached.
    Open,
    /// Disk and memory while records come and go.
    Churn,
    /// Draining a cache, with and without latency.
    Drain,
    /// One pass over eight streams.
    Pass,
    /// Recording and delivering at the same time, and a whole file.
    Flow,
}

/// Measures, in a build that is made for it.
///
/// # Errors
/// If something cannot be built or run; no figure is an error.
///
/// # Cancel safety
/// What was started is stopped, what was written is deleted.
pub(crate) async fn run(flags: BenchFlags) -> Result<()> {
    #[cfg(feature = "bench")]
    if !cfg!(debug_assertions) {
        return measure::run(&flags).await;
    }
    drop(flags);
    let mut command = shell::cargo(["run", "--release", "--package", "xtask"]);
    command
        .args(["--features", "bench", "--"])
        .args(std::env::args_os().skip(1))
        .env("CARGO_TARGET_DIR", shell::target()?.join("bench"));
    shell::run(&mut command).await
}
