//! Type checks for every supported system.

use anyhow::Result;

use super::toolchain::{PAGES, SYSTEMS, Toolchain};
use crate::shell;

/// A check for some targets.
struct Check {
    targets: &'static [&'static str],
    packages: &'static [&'static str],
    /// Of both clients, without the default features. The SDK's HTTPS client has C code, which
    /// cannot be compiled for all these systems here.
    features: &'static [&'static str],
}

const CHECKS: [Check; 2] = [
    Check {
        targets: &SYSTEMS,
        packages: &["record-cache", "amplify-kinesis", "amplify-firehose"],
        features: &["journal", "metrics", "rt-tokio", "sled"],
    },
    Check {
        targets: &[PAGES],
        packages: &[
            "record-cache",
            "batcher",
            "flush-engine",
            "amplify-kinesis",
            "amplify-firehose",
            "browser-example",
        ],
        features: &["browser"],
    },
];

pub(super) async fn run() -> Result<()> {
    let toolchain = Toolchain::find().await?;
    for check in CHECKS {
        let mut command = toolchain.cargo("check")?;
        command.args(["--locked", "--quiet", "--keep-going"]);
        command.arg("--no-default-features");
        for client in ["amplify-kinesis", "amplify-firehose"] {
            let features = check.features.iter();
            let features: Vec<_> = features.map(|name| format!("{client}/{name}")).collect();
            command.arg(format!("--features={}", features.join(",")));
        }
        for package in check.packages {
            command.args(["--package", package]);
        }
        for target in check.targets {
            command.args(["--target", target]);
        }
        shell::run(&mut command).await?;
    }
    Ok(())
}
