//! `cargo xtask ports`
//!
//! Other systems from this machine: the crates are type-checked for each, and the tests of the
//! stores run on Windows under Wine. Tools that are missing are installed from Debian's packages
//! where that is possible; everything else is kept below `target/ports`. A part whose tools
//! cannot be had is left out, and said to be.

mod check;
mod packages;
mod toolchain;
mod windows;
mod wine;

use std::fmt;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use comfy_table::{Table, presets};
use tokio::time::Instant;

use crate::progress::seconds;

#[derive(Debug, Default, Args)]
pub(crate) struct PortsFlags {
    /// What to run; everything if nothing is named.
    #[arg(value_enum, value_name = "PART")]
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Part {
    /// Type-check the crates for Windows, macOS, iOS, Android and WebAssembly.
    Check,
    /// Run the tests of the stores on Windows, under Wine.
    Windows,
}

/// How a part that did not fail came out.
enum Outcome {
    Passed,
    /// Nothing was run, because this is missing.
    Missing(String),
}

pub(crate) async fn run(flags: PortsFlags) -> Result<()> {
    let parts = match flags.parts.as_slice() {
        [] => Part::value_variants(),
        parts => parts,
    };
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_BORDERS_ONLY)
        .set_header(["part", "outcome", "time"]);
    let mut failed = false;
    for part in parts {
        let start = Instant::now();
        let outcome = match part {
            Part::Check => check::run().await,
            Part::Windows => windows::run().await,
        };
        let word = match outcome {
            Ok(Outcome::Passed) => "passed".to_owned(),
            Ok(Outcome::Missing(what)) => format!("NOT RUN: {what}"),
            Err(error) => {
                eprintln!("\nerror: {part}: {error:#}");
                failed = true;
                "failed".to_owned()
            }
        };
        table.add_row([part.to_string(), word, seconds(start.elapsed())]);
    }
    eprintln!("\n{table}");
    if failed {
        bail!("not all parts passed");
    }
    Ok(())
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_possible_value() {
            Some(value) => f.write_str(value.get_name()),
            None => fmt::Debug::fmt(self, f),
        }
    }
}
