//! The recording process, as seen by its parent.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{ChildStdout, Command};

use crate::shell;

/// The recording process. Dropping this kills it.
pub(crate) struct Child {
    process: tokio::process::Child,
    output: Lines<BufReader<ChildStdout>>,
}

/// A report from the recording process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// All lines before this one are recorded.
    Recorded(usize),
    /// The number of cached lines.
    Cached(usize),
}

impl Child {
    pub(crate) fn start(file: &Path, cache: &Path, endpoint: &str, from: usize) -> Result<Self> {
        let mut command = Command::new(shell::this_program()?);
        command
            .args(["demo-recorder", "--endpoint", endpoint])
            .args(["--from", &from.to_string(), "--file"])
            .arg(file)
            .arg("--cache")
            .arg(cache)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut process = command
            .spawn()
            .context("cannot start the recording process")?;
        let output = process.stdout.take();
        let output = output.context("the recording process has no output")?;
        let output = BufReader::new(output).lines();
        Ok(Self { process, output })
    }

    /// The next report; `None` once the process has ended.
    pub(crate) async fn news(&mut self) -> Result<Option<News>> {
        let Some(line) = self.output.next_line().await? else {
            return Ok(None);
        };
        let news = match line.split_once(' ') {
            Some(("recorded", count)) => News::Recorded(count.parse()?),
            Some(("cached", count)) => News::Cached(count.parse()?),
            _ => bail!("the recording process printed an unexpected line: {line:?}"),
        };
        Ok(Some(news))
    }

    /// Kills the process with SIGKILL, and returns how many lines it had reported as recorded.
    pub(crate) async fn kill(mut self) -> Result<usize> {
        let killed = self.process.kill().await;
        killed.context("cannot kill the recording process")?;
        let mut recorded = 0;
        while let Some(news) = self.news().await? {
            if let News::Recorded(lines) = news {
                recorded = lines;
            }
        }
        Ok(recorded)
    }

    pub(crate) async fn ended_well(mut self) -> Result<()> {
        let status = self.process.wait().await?;
        ensure!(
            status.success(),
            "the recording process ended with {status}"
        );
        Ok(())
    }
}
