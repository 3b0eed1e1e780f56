//! One measurement in a process of its own, seen from its parent.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::process::Command;

use crate::shell;

/// Something that a process of its own measures.
pub(crate) trait Job: Serialize + DeserializeOwned {
    const NAME: &'static str;
    type Output: Serialize + DeserializeOwned;

    async fn run(self) -> Result<Self::Output>;
}

/// Has a new process do a job.
///
/// # Cancel safety
/// The process is killed.
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

/// The process that does a job, not started yet.
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
