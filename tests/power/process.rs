//! Runs the test again in another process, to be traced or to open a state.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs, io};

use serde::{Deserialize, Serialize};

use super::inspect::{Report, inspect};
use super::stores::Subject;
use super::workload::{Setting, Workload, run};

/// The test that performs the job.
const TEST: &str = "nothing_is_missing_while_the_power_stays_on";

const JOB: &str = "POWER_LOSS_JOB";

/// Longest time allowed for a job.
const LIMIT: Duration = Duration::from_secs(120);

/// The job of another process.
#[derive(Debug, Serialize, Deserialize)]
pub enum Job {
    /// Uses a store.
    Work(Workload, Setting),
    /// Opens a store and writes down the findings.
    Inspect {
        subject: Subject,
        place: PathBuf,
        report: PathBuf,
    },
}

impl Job {
    /// The job that this process was started for, if any.
    pub fn given() -> Option<Self> {
        let job = env::var(JOB).ok()?;
        Some(serde_json::from_str(&job).unwrap())
    }

    /// Performs the job.
    pub async fn perform(self) {
        match self {
            Self::Work(workload, setting) => {
                let done = tokio::time::timeout(LIMIT, run(workload, setting)).await;
                done.unwrap();
            }
            Self::Inspect {
                subject,
                place,
                report,
            } => {
                let found = inspect(subject, &place).await;
                fs::write(report, serde_json::to_vec(&found).unwrap()).unwrap();
            }
        }
    }

    /// The command that performs the job in another process.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args([TEST, "--exact", "--nocapture", "--test-threads=1"])
            .env(JOB, serde_json::to_string(self).unwrap())
            .stdin(Stdio::null());
        command
    }
}

/// Inspects a state in another process, and kills the process if it hangs.
pub async fn inspect_elsewhere(
    subject: Subject,
    place: &Path,
    report: &Path,
) -> io::Result<Report> {
    let job = Job::Inspect {
        subject,
        place: place.to_owned(),
        report: report.to_owned(),
    };
    let mut command = tokio::process::Command::from(job.command());
    let process = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let failed = |how: String| Report {
        failures: vec![format!("the process that opens the store {how}")],
        ..Report::default()
    };
    let Ok(output) = tokio::time::timeout(LIMIT, process.wait_with_output()).await else {
        return Ok(failed("hangs".to_owned()));
    };
    let output = output?;
    let written = fs::read_to_string(report).unwrap_or_default();
    Ok(match serde_json::from_str(&written) {
        Ok(report) if output.status.success() => report,
        _ => failed(format!(
            "fell over: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    })
}
