//! `cargo xtask power-loss`

use anyhow::{Result, bail};
use tokio::process::Command;

use crate::{flags::PowerLossFlags, shell};

pub(crate) async fn run(flags: PowerLossFlags) -> Result<()> {
    if shell::output(Command::new("strace").arg("--version"))
        .await
        .is_none()
    {
        bail!("strace is missing: install the package of that name");
    }
    let mut command = shell::cargo([
        "test",
        "--workspace",
        "--features",
        "integration-tests/power-loss",
        "--test",
        "power_loss",
        "--",
        "--nocapture",
    ]);
    if let Some(states) = flags.states {
        command.env("POWER_LOSS_STATES", states.to_string());
    }
    if let Some(seed) = flags.seed {
        command.env("POWER_LOSS_SEED", seed.to_string());
    }
    shell::run(command.args(flags.arguments)).await
}
