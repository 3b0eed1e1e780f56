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
        let clients = ["amplify-kinesis", "amplify-firehose"].into_iter();
        let features = clients.flat_map(|client| {
            let of_client = check.features.iter();
            of_client.map(move |name| format!("{client}/{name}"))
        });
        let features: Vec<_> = features.collect();
        command.arg(format!("--features={}", features.join(",")));
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
