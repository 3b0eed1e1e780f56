//! Installs LocalStack in its own virtual environment, with its Kinesis back end.

use std::fs::{self, File, TryLockError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use amplify_test_support::localstack::HostEngine;
use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

use crate::{progress::Progress, shell};

pub(super) const HOW_TO_GO_ON: &str = "\
to go on, do one of these:
  - install what is missing; on Debian: apt-get install python3 python3-venv nodejs npm
  - start a Docker engine
  - start LocalStack 4.9.2 (kinesis, firehose, s3, sts) elsewhere, and add --endpoint URL";

const REQUIREMENTS: &str = include_str!("../../localstack/requirements.txt");
const PACKAGE: &str = include_str!("../../localstack/package.json");
const PACKAGE_LOCK: &str = include_str!("../../localstack/package-lock.json");
/// The version in the package files.
const KINESIS_LOCAL_VERSION: &str = "0.5.2";

const PYTHONS: &str = "python3 python3.13 python3.12 python3.11 python";
const PYTHON_VERSIONS: [&str; 3] = ["3.11", "3.12", "3.13"];
const OLDEST_NODE: u32 = 18;

pub(super) async fn prepare(home: &Path) -> Result<HostEngine> {
    let python = find_python().await?;
    let node = find_node().await?;
    let directory = home.join(format!("host-{:016x}", fingerprint(&python)));
    let engine = HostEngine {
        python: directory.join("venv/bin/python"),
        node,
        kinesis_local: directory.join("kinesis-local").join(KINESIS_LOCAL_VERSION),
    };

    let lock = lock(home).await?;
    let complete = directory.join("complete");
    if !complete.exists() {
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&engine.kinesis_local)?;
        let installer = Installer {
            directory: &directory,
            lock: &lock,
        };
        installer.install(&python, &engine).await?;
        File::create(complete)?;
    }
    Ok(engine)
}

/// A different interpreter or lock file needs a different installation.
fn fingerprint(python: &Python) -> u64 {
    let mut hasher = DefaultHasher::new();
    (REQUIREMENTS, PACKAGE, PACKAGE_LOCK).hash(&mut hasher);
    (&python.executable, &python.version).hash(&mut hasher);
    hasher.finish()
}

async fn lock(home: &Path) -> Result<File> {
    fs::create_dir_all(home)?;
    let lock = File::create(home.join("install.lock"))?;
    let mut waiting = None;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => {
                waiting.get_or_insert_with(|| {
                    Progress::start("waiting for another installation of LocalStack to end")
                });
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

struct Installer<'a> {
    directory: &'a Path,
    lock: &'a File,
}

impl Installer<'_> {
    async fn install(&self, python: &Python, engine: &HostEngine) -> Result<()> {
        let requirements = self.directory.join("requirements.txt");
        fs::write(&requirements, REQUIREMENTS)?;
        fs::write(engine.kinesis_local.join("package.json"), PACKAGE)?;
        fs::write(engine.kinesis_local.join("package-lock.json"), PACKAGE_LOCK)?;

        let what = "installing LocalStack's Kinesis back end";
        let mut backend = shell::command("npm ci --no-audit --no-fund --ignore-scripts");
        self.step(what, backend.current_dir(&engine.kinesis_local))
            .await?;

        let what = "making a virtual environment for LocalStack";
        let mut environment = Command::new(&python.executable);
        environment.args(["-m", "venv"]);
        self.step(what, environment.arg(self.directory.join("venv")))
            .await?;

        let what = "installing LocalStack (about 70 MB are downloaded)";
        let mut packages = Command::new(&engine.python);
        packages
            .args(["-m", "pip", "install", "--disable-pip-version-check"])
            .args(["--no-input", "--requirement"]);
        self.step(what, packages.arg(&requirements)).await
    }

    async fn step(&self, what: &str, command: &mut Command) -> Result<()> {
        let log_path = self.directory.join("install.log");
        let mut log = File::options().create(true).append(true).open(&log_path)?;
        // The command holds the lock as its input, so it keeps others out even if this process is
        // killed.
        command.stdin(Stdio::from(self.lock.try_clone()?));
        let progress = Progress::start(what);
        let mut last = String::new();
        let outcome = shell::run_lines(command, |line| {
            progress.detail(line);
            // The log is for people; an installation does not fail without it.
            let _ = writeln!(log, "{line}");
            if !line.trim().is_empty() {
                last = line.to_owned();
            }
        })
        .await;
        outcome.with_context(|| {
            format!(
                "LocalStack cannot be installed: {last}\nall of the output is in {}\n{HOW_TO_GO_ON}\n",
                log_path.display()
            )
        })?;
        progress.done();
        Ok(())
    }
}

struct Python {
    executable: PathBuf,
    version: String,
}

async fn find_python() -> Result<Python> {
    const PROBE: &str = "import sys, importlib.util as util
print('%d.%d' % sys.version_info[:2])
print(all(map(util.find_spec, ('venv', 'ensurepip'))))
print(sys.executable)";

    let mut rejected = String::new();
    for name in PYTHONS.split(' ') {
        let Some(answer) = shell::output(Command::new(name).args(["-c", PROBE])).await else {
            rejected.push_str(&format!("\n  {name}: not found, or does not run"));
            continue;
        };
        let lines: Vec<&str> = answer.lines().collect();
        let why = match lines[..] {
            [version, _, _] if !PYTHON_VERSIONS.contains(&version) => {
                format!("is Python {version}")
            }
            [_, "False", executable] => format!("{executable} has no venv or no ensurepip"),
            [version, _, executable] => {
                return Ok(Python {
                    executable: executable.into(),
                    version: version.to_owned(),
                });
            }
            _ => format!("unexpected answer {answer:?}"),
        };
        rejected.push_str(&format!("\n  {name}: {why}"));
    }
    bail!(
        "LocalStack needs Python 3.11, 3.12 or 3.13 with the modules venv and ensurepip:{rejected}\n{HOW_TO_GO_ON}"
    )
}

/// The Node.js executable itself, because launchers of version managers need their environment.
async fn find_node() -> Result<PathBuf> {
    const PROBE: &str = "process.versions.node.split('.')[0] + '\\n' + process.execPath";

    let answer = shell::output(Command::new("node").args(["-p", PROBE])).await;
    let Some((version, executable)) = answer.as_deref().and_then(|answer| answer.split_once('\n'))
    else {
        bail!(
            "LocalStack's Kinesis back end needs Node.js: node was not found, or does not run\n{HOW_TO_GO_ON}"
        );
    };
    ensure!(
        // A version that is not a number passes.
        version.parse().unwrap_or(OLDEST_NODE) >= OLDEST_NODE,
        "LocalStack's Kinesis back end needs Node.js {OLDEST_NODE} or later: {executable} is {version}\n{HOW_TO_GO_ON}"
    );
    let npm = shell::output(&mut shell::command("npm --version")).await;
    ensure!(
        npm.is_some(),
        "LocalStack's Kinesis back end needs npm: it was not found, or does not run\n{HOW_TO_GO_ON}"
    );
    Ok(executable.into())
}
