//! `cargo xtask e2e`

use amplify_test_support::localstack::{LocalStack, SHARED_ENDPOINT, await_kinesis, is_localstack};
use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::{
    flags::{E2eFlags, EngineChoice},
    localstack,
    progress::Progress,
    shell,
};

/// Tests that use the LocalStack they are given.
const SHARED: Suite = Suite("integration-tests/e2e");
/// The same, and tests that run LocalStack themselves, to stop or configure it.
const MANAGED: Suite = Suite("integration-tests/e2e-managed");

pub(crate) async fn run(flags: E2eFlags) -> Result<()> {
    match &flags.endpoint {
        Some(endpoint) => run_against(endpoint, &flags.arguments).await,
        None => run_managed(flags.engine.choice(), &flags.arguments).await,
    }
}

async fn run_against(endpoint: &str, arguments: &[String]) -> Result<()> {
    if !endpoint.starts_with("http://") {
        bail!("--endpoint takes an http:// URL, such as http://127.0.0.1:4566, not {endpoint}");
    }
    if !is_localstack(endpoint).await {
        bail!("no LocalStack answers at {endpoint}: start it there, or leave --endpoint out");
    }
    await_kinesis(endpoint)
        .await
        .context("the LocalStack there must run kinesis, firehose, s3, sts")?;
    eprintln!(
        "not run with --endpoint, since they stop or configure LocalStack: restart, error_injection"
    );
    shell::run(SHARED.run(arguments).env(SHARED_ENDPOINT, endpoint)).await
}

/// Runs the tests against a LocalStack that is started for them.
pub(crate) async fn run_managed(choice: EngineChoice, arguments: &[String]) -> Result<()> {
    let installation = localstack::prepare(choice).await?;
    shell::run(&mut MANAGED.build()).await?;

    let stack = LocalStack::reserve(&installation)?;
    let progress = Progress::start("starting LocalStack");
    let running = stack.start().await?;
    progress.done();

    let tests = shell::run(
        MANAGED
            .run(arguments)
            .env(SHARED_ENDPOINT, running.endpoint())
            .envs(installation.to_env()),
    )
    .await;
    let progress = Progress::start("stopping LocalStack");
    running.stop();
    progress.done();
    if tests.is_err() {
        eprintln!("LocalStack's log is {}", stack.log().display());
    }
    tests
}

/// The tests, by the feature that they are built with.
struct Suite(&'static str);

impl Suite {
    fn build(&self) -> Command {
        let mut command = self.command();
        command.arg("--no-run");
        command
    }

    fn run(&self, arguments: &[String]) -> Command {
        let mut command = self.command();
        command.args(["--no-fail-fast", "--"]).args(arguments);
        command
    }

    /// Builds what `cargo test --workspace` builds, so that the two share it.
    fn command(&self) -> Command {
        let mut command = shell::cargo(["test", "--workspace", "--test", "e2e"]);
        command.args(["--features", self.0]);
        command
    }
}
