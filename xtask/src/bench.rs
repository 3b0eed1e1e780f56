//! `cargo xtask bench`: measures the stores and the delivery against their limits.
//!
//! Every measurement runs in its own process, so memory and CPU time are its own. Contenders take
//! turns, round by round.

#[cfg(feature = "bench")]
mod amount;
#[cfg(feature = "bench")]
mod chart;
#[cfg(feature = "bench")]
mod contender;
#[cfg(feature = "bench")]
mod delivery;
#[cfg(feature = "bench")]
mod effort;
#[cfg(feature = "bench")]
mod job;
#[cfg(feature = "bench")]
mod machine;
#[cfg(feature = "bench")]
mod measured;
#[cfg(feature = "bench")]
mod page;
#[cfg(feature = "bench")]
mod place;
#[cfg(feature = "bench")]
mod prelude;
#[cfg(feature = "bench")]
mod process;
#[cfg(feature = "bench")]
mod run;
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

#[cfg(feature = "bench")]
pub(crate) use self::worker::run as work;
use crate::flags::BenchFlags;
use crate::shell;

/// Runs the measurements, in a build made for them.
///
/// # Errors
/// If something cannot be built or run. No figure is an error.
///
/// # Cancel safety
/// Stops the started processes and deletes the written files.
pub(crate) async fn run(flags: BenchFlags) -> Result<()> {
    #[cfg(feature = "bench")]
    if !cfg!(debug_assertions) {
        return run::run(&flags).await;
    }
    drop(flags);
    let mut command = shell::cargo(["run", "--release", "--package", "xtask"]);
    command
        .args(["--features", "bench", "--"])
        .args(std::env::args_os().skip(1))
        .env("CARGO_TARGET_DIR", shell::target()?.join("bench"));
    shell::run(&mut command).await
}
