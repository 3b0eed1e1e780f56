//! `cargo xtask e2e`

use amplify_test_support::localstack::{LocalStack, SHARED_ENDPOINT, await_kinesis, is_localstack};
use anyhow::{Context, Result, ensure};
use tokio::process::Command;
use tokio::time::Instant;

use crate::{
    flags::{E2eFlags, EngineFlags},
    localstack,
    progress::{Progress, seconds},
    shell,
};

/// Tests that use a given LocalStack.
const SHARED: &str = "integration-tests/e2e";
/// The same, plus tests that run LocalStack themselves to stop or configure it.
const MANAGED: &str = "integration-tests/e2e-managed";

pub(crate) async fn run(flags: E2eFlags) -> Result<()> {
    match &flags.endpoint {
        Some(endpoint) => run_against(endpoint, &flags.arguments).await,
        None => run_managed(&flags.engine, &flags.arguments).await,
    }
}

async fn run_against(endpoint: &str, arguments: &[String]) -> Result<()> {
    ensure!(
        endpoint.starts_with("http://"),
        "--endpoint takes an http:// URL, such as http://127.0.0.1:4566, not {endpoint}"
    );
    ensure!(
        is_localstack(endpoint).await,
        "no LocalStack answers at {endpoint}: start it there, or leave --endpoint out"
    );
    await_kinesis(endpoint)
        .await
        .context("the LocalStack there must run kinesis, firehose, s3, sts")?;
    eprintln!(
        "not run with --endpoint, since they stop or configure LocalStack: restart, error_injection"
    );
    run_and_count(tests(SHARED).env(SHARED_ENDPOINT, endpoint), arguments).await
}

/// Starts a LocalStack and runs the tests against it.
pub(crate) async fn run_managed(engine: &EngineFlags, arguments: &[String]) -> Result<()> {
    let installation = localstack::prepare(engine).await?;
    shell::run(tests(MANAGED).arg("--no-run")).await?;

    let stack = LocalStack::reserve(&installation)?;
    let progress = Progress::start("starting LocalStack");
    let running = stack.start().await?;
    progress.done();

    let mut tests = tests(MANAGED);
    tests
        .env(SHARED_ENDPOINT, running.endpoint())
        .envs(installation.to_env());
    let outcome = run_and_count(&mut tests, arguments).await;
    let progress = Progress::start("stopping LocalStack");
    running.stop();
    progress.done();
    if outcome.is_err() {
        eprintln!("LocalStack's log is {}", stack.log().display());
    }
    outcome
}

/// Runs tests, shows their output, and ends with a total.
async fn run_and_count(tests: &mut Command, arguments: &[String]) -> Result<()> {
    let start = Instant::now();
    let mut total = Total::default();
    tests.args(["--no-fail-fast", "--"]).args(arguments);
    let outcome = shell::run_lines(tests, |line| {
        total.hear(line);
        eprintln!("{line}");
    })
    .await;
    let Total { passed, failed } = total;
    let took = seconds(start.elapsed());
    eprintln!("\nend to end: {passed} passed, {failed} failed, in {took}");
    outcome
}

/// The results of all test programs, added up.
#[derive(Debug, Default, PartialEq, Eq)]
struct Total {
    passed: usize,
    failed: usize,
}

impl Total {
    /// Adds the numbers of a line `test result: ok. 3 passed; 0 failed; …`.
    fn hear(&mut self, line: &str) {
        if !line.starts_with("test result:") {
            return;
        }
        let words: Vec<_> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            let count = pair[0].parse().unwrap_or(0);
            match pair[1] {
                "passed;" => self.passed += count,
                "failed;" => self.failed += count,
                _ => {}
            }
        }
    }
}

/// The tests, with one of the features above. Builds what `cargo test --workspace` builds, to share
/// its artifacts.
fn tests(feature: &str) -> Command {
    let mut command = shell::cargo("test --workspace --test e2e --features");
    command.arg(feature);
    command
}

#[cfg(test)]
mod tests {
    use super::Total;

    #[test]
    fn the_results_of_all_programs_are_added_up() {
        let mut total = Total::default();
        total.hear("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured");
        total.hear("test result: FAILED. 4 passed; 2 failed; 0 ignored");
        total.hear("test a_name ... ok");
        let (passed, failed) = (7, 2);
        assert_eq!(total, Total { passed, failed });
    }
}
