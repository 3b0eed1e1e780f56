//! Runs other programs; none outlives this one.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::{Context, Result, bail, ensure};
#[cfg(unix)]
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// The directory of the workspace.
pub(crate) fn workspace() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Cargo's target directory.
pub(crate) fn target() -> Result<PathBuf> {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => std::path::absolute(directory).context("CARGO_TARGET_DIR is not a path"),
        None => Ok(workspace().join("target")),
    }
}

/// This program, for a child process.
///
/// Cargo may have replaced the file since this process started; Linux then marks its path.
pub(crate) fn this_program() -> Result<PathBuf> {
    let path = env::current_exe().context("cannot find this program's path")?;
    let replaced = path
        .to_str()
        .and_then(|path| path.strip_suffix(" (deleted)"));
    Ok(replaced.map_or(path.clone(), PathBuf::from))
}

/// The cargo that runs this program, in the workspace, with these arguments, none of which has a
/// space.
pub(crate) fn cargo(arguments: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(workspace())
        .args(arguments.split_whitespace());
    command
}

/// A program with arguments, none of which has a space.
pub(crate) fn command(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

/// Runs a command and lets it write to the terminal.
///
/// # Errors
/// If it cannot be started or does not succeed.
///
/// # Cancel safety
/// The command, and what it started, is ended.
pub(crate) async fn run(command: &mut Command) -> Result<()> {
    let text = text(command);
    eprintln!("$ {text}");
    let status = Group::spawn(command.stdin(Stdio::null()))?.wait().await?;
    succeeded(&text, status)
}

/// A command that runs beside others, with its output in a file. An early drop ends it and what it
/// started.
pub(crate) struct Aside {
    pub(crate) start: Instant,
    text: String,
    output: PathBuf,
    group: Group,
}

impl Aside {
    /// Starts a command that writes its output to this file.
    pub(crate) fn start(command: &mut Command, output: PathBuf) -> Result<Self> {
        let text = text(command);
        eprintln!(
            "$ {text} (beside the next steps, into {})",
            output.display()
        );
        let file =
            File::create(&output).with_context(|| format!("cannot create {}", output.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let group = Group::spawn(command)?;
        Ok(Self {
            start: Instant::now(),
            text,
            output,
            group,
        })
    }

    /// Waits for the end of the command and prints its output.
    pub(crate) async fn end(mut self) -> Result<()> {
        let status = self.group.wait().await?;
        let output = fs::read(&self.output)?;
        eprintln!("{}", String::from_utf8_lossy(&output));
        succeeded(&self.text, status)
    }
}

/// Runs a command and passes each line of its output, including standard error, to `line`.
///
/// # Errors
/// If it cannot be started or does not succeed.
///
/// # Cancel safety
/// The command, and what it started, is ended.
pub(crate) async fn run_lines(command: &mut Command, mut line: impl FnMut(&str)) -> Result<()> {
    let text = text(command);
    let mut group = Group::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let (Some(stdout), Some(stderr)) = (group.child.stdout.take(), group.child.stderr.take())
    else {
        bail!("cannot read the output of {text}");
    };
    let mut output = BufReader::new(stdout).lines();
    let mut errors = BufReader::new(stderr).lines();
    loop {
        let next = tokio::select! {
            Some(next) = async { output.next_line().await.transpose() } => next,
            Some(next) = async { errors.next_line().await.transpose() } => next,
            else => break,
        };
        line(&next?);
    }
    succeeded(&text, group.wait().await?)
}

/// Runs a command and returns its output, or `None` if it cannot be started or fails.
pub(crate) async fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = output.await.ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.trim().to_owned())
}

fn succeeded(text: &str, status: ExitStatus) -> Result<()> {
    ensure!(status.success(), "`{text}` failed ({status})");
    Ok(())
}

fn text(command: &Command) -> String {
    let command = command.as_std();
    let program = command.get_program();
    let mut words = vec![Path::new(program).file_name().unwrap_or(program)];
    words.extend(command.get_args());
    words.join(OsStr::new(" ")).to_string_lossy().into_owned()
}

/// A child process. On Unix it leads a process group. An early drop ends it, and its group.
struct Group {
    child: Child,
}

impl Group {
    fn spawn(command: &mut Command) -> Result<Self> {
        #[cfg(unix)]
        command.process_group(0);
        #[cfg(not(unix))]
        command.kill_on_drop(true);
        let child = command.spawn();
        let child = child.with_context(|| format!("cannot start {}", text(command)))?;
        Ok(Self { child })
    }

    async fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait().await?)
    }
}

#[cfg(unix)]
impl Drop for Group {
    fn drop(&mut self) {
        // There is no id once the child was waited for.
        let id = self.child.id().and_then(|id| id.try_into().ok());
        if let Some(pid) = id.and_then(Pid::from_raw) {
            // It can only fail because all of them have ended.
            let _ = kill_process_group(pid, Signal::TERM);
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn what_runs_aside_is_waited_for_and_its_failure_told() {
        let directory = TempDir::new().unwrap();
        let output = directory.path().join("output.txt");
        for (script, succeeds) in [("echo said", true), ("echo said; exit 3", false)] {
            let mut command = Command::new("sh");
            let aside = Aside::start(command.args(["-c", script]), output.clone()).unwrap();
            assert_eq!(aside.end().await.is_ok(), succeeds, "{script}");
            assert_eq!(fs::read_to_string(&output).unwrap(), "said\n");
        }
    }
}
