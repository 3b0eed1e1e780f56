//! One measurement in a process of its own, seen from inside and from its parent.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::process::Command;

use super::delivery::{bare, drain, endpoint, flow, pass};
use super::store::{churn, fill, ingest, open, settle};
use crate::flags::WorkerFlags;

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
    let mut command = Command::new(std::env::current_exe().context("this program's path")?);
    command
        .args(["bench-worker", J::NAME])
        .arg(serde_json::to_string(job)?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    Ok(command)
}

/// Does the job that this process was started for, and prints what came out.
pub(crate) async fn run(flags: WorkerFlags) -> Result<()> {
    let input = flags.input.as_str();
    match flags.job.as_str() {
        ingest::Ingest::NAME => work::<ingest::Ingest>(input).await,
        fill::Fill::NAME => work::<fill::Fill>(input).await,
        settle::Settle::NAME => work::<settle::Settle>(input).await,
        open::Open::NAME => work::<open::Open>(input).await,
        churn::Churn::NAME => work::<churn::Churn>(input).await,
        endpoint::Serve::NAME => work::<endpoint::Serve>(input).await,
        bare::Bare::NAME => work::<bare::Bare>(input).await,
        drain::Drain::NAME => work::<drain::Drain>(input).await,
        pass::Pass::NAME => work::<pass::Pass>(input).await,
        flow::Flow::NAME => work::<flow::Flow>(input).await,
        other => bail!("no such job: {other}"),
    }
}

async fn work<J: Job>(input: &str) -> Result<()> {
    let job: J =
        serde_json::from_str(input).with_context(|| format!("what {} is given", J::NAME))?;
    println!("{}", serde_json::to_string(&job.run().await?)?);
    Ok(())
}
