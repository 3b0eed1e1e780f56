//! `cargo xtask power-loss`

use anyhow::{Result, bail};

use crate::{flags::PowerLossFlags, shell};

pub(crate) async fn run(flags: PowerLossFlags) -> Result<()> {
    let version = shell::output(&mut shell::command("strace --version")).await;
    if version.is_none() {
        bail!("strace is missing: install the package of that name");
    }
    let mut command = shell::cargo("test --workspace --features integration-tests/power-loss");
    command.args(["--test", "power_loss", "--", "--nocapture"]);
    if let Some(states) = flags.states {
        command.env("POWER_LOSS_STATES", states.to_string());
    }
    if let Some(seed) = flags.seed {
        command.env("POWER_LOSS_SEED", seed.to_string());
    }
    shell::run(command.args(flags.arguments)).await
}
