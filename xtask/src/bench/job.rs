//! One measurement in its own process, as seen by its parent.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::process::Command;

use crate::shell;

/// A measurement that runs in its own process.
pub(crate) trait Job: Serialize + DeserializeOwned {
    const NAME: &'static str;
    type Output: Serialize + DeserializeOwned;

    async fn run(self) -> Result<Self::Output>;
}

/// Runs a job in a new process.
///
/// # Cancel safety
/// Kills the process.
pub(crate) async fn measure<J: Job>(job: &J) -> Result<J::Output> {
    let output = command(job)?
        .output()
        .await
        .with_context(|| format!("cannot start {}", J::NAME))?;
    if !output.status.success() {
        bail!("{} ended with {}", J::NAME, output.status);
    }
    serde_json::from_slice(&output.stdout).with_context(|| format!("what {} said", J::NAME))
}

/// The command for a job's process.
pub(crate) fn command<J: Job>(job: &J) -> Result<Command> {
    let mut command = Command::new(shell::this_program()?);
    command
        .args(["bench-worker", J::NAME])
        .arg(serde_json::to_string(job)?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    Ok(command)
}
