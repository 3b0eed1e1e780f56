//! `cargo xtask ports`
//!
//! Checks other systems from this machine: type-checks the crates for each, and runs tests on
//! Windows under Wine and in headless Chromium. Missing tools are installed from Debian's packages
//! where possible; everything else is below `target/ports`. A part whose tools are unavailable is
//! skipped and reported.

pub(crate) mod browser;
mod check;
mod packages;
mod toolchain;
mod windows;
mod wine;

use anyhow::{Result, ensure};
use tokio::time::Instant;

use self::packages::Missing;
pub(crate) use self::toolchain::PAGES;
use self::toolchain::Toolchain;
use crate::flags::{Port, name};
use crate::progress::{seconds, table};

/// The default parts. The client tests wait for real timeouts, and the full-disk tests write for
/// minutes.
const USUAL: [Port; 3] = [Port::Check, Port::Windows, Port::Browser];

/// Whether the standard libraries of other systems need not be built, which takes long.
pub(crate) async fn have_libraries() -> bool {
    Toolchain::prebuilt().await.is_some()
}

/// Runs the named parts, or the usual ones.
pub(crate) async fn run(named: &[Port]) -> Result<()> {
    let parts = if named.is_empty() { &USUAL } else { named };
    let mut table = table(["part", "outcome", "time"]);
    let mut failed = false;
    for part in parts {
        let start = Instant::now();
        let outcome = match part {
            Port::Check => check::run().await,
            Port::Windows => windows::run().await,
            Port::Browser => browser::run().await,
            Port::WindowsClients => windows::clients().await,
        };
        let word = match outcome {
            Ok(()) => "passed".to_owned(),
            Err(error) => match error.downcast_ref::<Missing>() {
                Some(missing) => format!("NOT RUN: {missing}"),
                None => {
                    eprintln!("\nerror: {}: {error:#}", name(part));
                    failed = true;
                    "failed".to_owned()
                }
            },
        };
        table.add_row([name(part), word, seconds(start.elapsed())]);
    }
    eprintln!("\n{table}");
    ensure!(!failed, "not all parts passed");
    Ok(())
}
