//! `cargo xtask ports`
//!
//! Other systems from this machine: the crates are type-checked for each, and tests run on
//! Windows under Wine, and in headless Chromium. Tools that are missing are installed from Debian's packages
//! where that is possible; everything else is kept below `target/ports`. A part whose tools
//! cannot be had is left out, and said to be.

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
use crate::flags::{Port, PortsFlags};
use crate::progress::seconds;

/// What runs if nothing is named: the tests of the clients wait for real time-outs, and those of full
/// disks write a lot, for minutes.
const USUAL: [Port; 3] = [Port::Check, Port::Windows, Port::Browser];

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
