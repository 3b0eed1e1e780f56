//! Type checks for every supported system.

use anyhow::Result;

use super::toolchain::Toolchain;
use crate::shell;

/// A check for some targets.
struct Check {
    targets: &'static [&'static str],
    packages: &'static [&'static str],
    /// Without the default features. The SDK's HTTPS client has C code, which cannot be compiled
    /// for all these systems here.
    features: &'static [&'static str],
}

const CHECKS: [Check; 2] = [
    Check {
        targets: &[
            "x86_64-pc-windows-gnu",
            "aarch64-apple-darwin",
            "aarch64-apple-ios",
            "aarch64-linux-android",
        ],
        packages: &["record-cache", "amplify-kinesis", "amplify-firehose"],
        features: &[
            "amplify-kinesis/journal",
            "amplify-kinesis/metrics",
            "amplify-kinesis/rt-tokio",
            "amplify-kinesis/sled",
            "amplify-firehose/journal",
            "amplify-firehose/metrics",
            "amplify-firehose/rt-tokio",
            "amplify-firehose/sled",
        ],
    },
    Check {
        targets: &["wasm32-unknown-unknown"],
        packages: &[
            "record-cache",
            "batcher",
            "flush-engine",
            "amplify-kinesis",
            "amplify-firehose",
            "browser-example",
        ],
        features: &["amplify-kinesis/browser", "amplify-firehose/browser"],
    },
];

pub(super) async fn run() -> Result<()> {
    let toolchain = Toolchain::find().await?;
    for check in CHECKS {
        let mut command = toolchain.cargo("check")?;
        command.args([
            "--locked",
            "--quiet",
            "--keep-going",
            "--no-default-features",
        ]);
        command.arg(format!("--features={}", check.features.join(",")));
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
