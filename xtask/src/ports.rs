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

use anyhow::{Result, bail};
use comfy_table::{Table, presets};
use tokio::time::Instant;

use self::packages::Missing;
use self::toolchain::Toolchain;
use crate::flags::{Port, PortsFlags};
use crate::progress::seconds;

/// The default parts. The client tests wait for real time-outs, and the full-disk tests write for
/// minutes.
const USUAL: [Port; 3] = [Port::Check, Port::Windows, Port::Browser];

/// Whether the standard libraries of other systems need not be built, which takes long.
pub(crate) async fn have_libraries() -> bool {
    Toolchain::prebuilt().await.is_some()
}

pub(crate) async fn run(flags: PortsFlags) -> Result<()> {
    let parts = match flags.parts.as_slice() {
        [] => &USUAL,
        parts => parts,
    };
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_BORDERS_ONLY)
        .set_header(["part", "outcome", "time"]);
    let mut failed = false;
    for part in parts {
        let start = Instant::now();
        let (name, outcome) = match part {
            Port::Check => ("check", check::run().await),
            Port::Windows => ("windows", windows::run().await),
            Port::Browser => ("browser", browser::run().await),
            Port::WindowsClients => ("windows-clients", windows::clients().await),
        };
        let word = match outcome {
            Ok(()) => "passed".to_owned(),
            Err(error) => match error.downcast_ref::<Missing>() {
                Some(missing) => format!("NOT RUN: {missing}"),
                None => {
                    eprintln!("\nerror: {name}: {error:#}");
                    failed = true;
                    "failed".to_owned()
                }
            },
        };
        table.add_row([name.to_owned(), word, seconds(start.elapsed())]);
    }
    eprintln!("\n{table}");
    if failed {
        bail!("not all parts passed");
    }
    Ok(())
}
