//! Finds or installs what LocalStack needs.

mod host;

use std::process::Stdio;
use std::time::Duration;

use amplify_test_support::localstack::{Engine, Installation};
use anyhow::{Context, Result, bail};
use tokio::time::timeout;

use self::host::HOW_TO_GO_ON;
use crate::{flags::EngineFlags, progress::Progress, shell};

const IMAGE: &str = "localstack/localstack:4.9.2";
/// Prepares LocalStack to be started, and installs it if necessary.
///
/// # Errors
/// If it cannot be installed; the message says what is missing and what to do.
///
/// # Cancel safety
/// The next call starts an interrupted installation afresh.
pub(crate) async fn prepare(flags: &EngineFlags) -> Result<Installation> {
    let home = shell::target()?.join("localstack");
    let engine = if !flags.host && docker_answers().await {
        docker_image().await?
    } else if flags.docker {
        bail!("no Docker engine answers\n{HOW_TO_GO_ON}")
    } else {
        Engine::Host(host::prepare(&home).await?)
    };
    Ok(Installation { home, engine })
}

async fn docker_answers() -> bool {
    let mut version = shell::command("docker version --format {{.Server.Version}}");
    let answer = timeout(Duration::from_secs(10), shell::output(&mut version)).await;
    matches!(answer, Ok(Some(_)))
}

async fn docker_image() -> Result<Engine> {
    let mut inspect = shell::command("docker image inspect --format {{.Id}}");
    if shell::output(inspect.arg(IMAGE)).await.is_none() {
        let progress = Progress::start(format!("pulling {IMAGE}"));
        let mut pull = shell::command("docker pull");
        pull.arg(IMAGE).stdin(Stdio::null());
        shell::run_lines(&mut pull, |line| progress.detail(line))
            .await
            .context("the image cannot be pulled; --host runs LocalStack without Docker")?;
        progress.done();
    }
    Ok(Engine::Docker {
        image: IMAGE.to_owned(),
    })
}
