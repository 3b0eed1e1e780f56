//! Finds or installs what LocalStack needs.

mod host;

use std::process::Stdio;
use std::time::Duration;

use amplify_test_support::localstack::{Engine, Installation};
use anyhow::{Context, Result, bail};
use tokio::process::Command;

use self::host::HOW_TO_GO_ON;
use crate::{flags::EngineChoice, progress::Progress, shell};

const IMAGE: &str = "localstack/localstack:4.9.2";
/// Prepares LocalStack to be started, and installs it if necessary.
///
/// # Errors
/// If it cannot be installed; the message says what is missing and what to do.
///
/// # Cancel safety
/// The next call starts an interrupted installation afresh.
pub(crate) async fn prepare(choice: EngineChoice) -> Result<Installation> {
    let home = shell::target()?.join("localstack");
    let docker = match choice {
        EngineChoice::Host => false,
        EngineChoice::Docker | EngineChoice::Detect => docker_answers().await,
    };
    let engine = match (choice, docker) {
        (EngineChoice::Docker, false) => bail!("no Docker engine answers\n{HOW_TO_GO_ON}"),
        (_, true) => docker_image().await?,
        (_, false) => Engine::Host(host::prepare(&home).await?),
    };
    Ok(Installation { home, engine })
}

async fn docker_answers() -> bool {
    let mut version = Command::new("docker");
    version.args(["version", "--format", "{{.Server.Version}}"]);
    matches!(
        tokio::time::timeout(Duration::from_secs(10), shell::output(&mut version)).await,
        Ok(Some(_))
    )
}

async fn docker_image() -> Result<Engine> {
    let mut inspect = Command::new("docker");
    inspect.args(["image", "inspect", "--format", "{{.Id}}", IMAGE]);
    if shell::output(&mut inspect).await.is_none() {
        let progress = Progress::start(format!("pulling {IMAGE}"));
        let mut pull = Command::new("docker");
        pull.args(["pull", IMAGE]).stdin(Stdio::null());
        shell::run_lines(&mut pull, |line| progress.detail(line))
            .await
            .context("the image cannot be pulled; --host runs LocalStack without Docker")?;
        progress.done();
    }
    Ok(Engine::Docker {
        image: IMAGE.to_owned(),
    })
}
